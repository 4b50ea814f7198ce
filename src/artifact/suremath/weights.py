"""The weights file: exactly what weighted training reads, one row per training problem (UOPD, Eq. 6 and 9).

A row holds w, H, H / log N, a fingerprint of the prompt text, and the key of the annotation it comes from. Weights are
float64 and come back bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artifact.errors import Mismatch
from artifact.phase1.records import Annotation
from artifact.phase1.weights import weights_for
from artifact.provenance import text_hash
from artifact.records import Problem, Record, RecordError, index_by_id, read_parquet, write_parquet
from artifact.suremath.lineage import Evolved
from artifact.train.methods.base import Weighting


@dataclass(frozen=True, slots=True)
class Weight(Record):
    """The weight of one problem. `entropy` H in nats; `prompt`: `question_fingerprint`; `scheme` as in `weights`."""

    problem_id: str
    weight: float
    entropy: float
    normalised: float
    scheme: str
    prompt: str
    annotation: str

    COLUMNS: ClassVar[dict[str, str]] = {
        "problem_id": "str",
        "weight": "float",
        "entropy": "float",
        "normalised": "float",
        "scheme": "str",
        "prompt": "str",
        "annotation": "str",
    }


def question_fingerprint(question: str) -> str:
    """16 hex digits of the question's exact text."""
    return text_hash(question)


SOFT = Weighting("soft")
"""The method's own weights, w = 1 − H / log N."""


def export_weights(
    path: Path,
    problems: Sequence[Problem | Evolved],
    annotations: Sequence[Annotation],
    *,
    key: str,
    weighting: Weighting = SOFT,
) -> Path:
    """Write the weights of `problems`, in their order, and return `path`.

    `key` names the annotation (its cache key). Raises Mismatch where a problem is not annotated or an annotation is of
    no problem given, ValueError on the scheme (see `phase1.weights`).
    """
    by_id = {a.problem_id: a for a in annotations}
    ids = [p.id for p in problems]
    if missing := [i for i in ids if i not in by_id]:
        raise Mismatch(
            f"{len(missing)} of {len(ids)} problems have no annotation, first {missing[0]!r}: annotate this very "
            "training set before exporting its weights"
        )
    if foreign := sorted(set(by_id) - set(ids)):
        raise Mismatch(
            f"{len(foreign)} annotations are of other problems, first {foreign[0]!r}: give those of this set"
        )
    weights = weights_for(weighting, annotations)
    rows = [
        Weight(
            p.id,
            weights[p.id],
            by_id[p.id].entropy,
            by_id[p.id].normalised,
            weighting.scheme,
            question_fingerprint(p.question),
            key,
        )
        for p in problems
    ]
    write_parquet(path, rows, Weight)
    return path


def import_weights(path: Path, problems: Sequence[Problem]) -> dict[str, Weight]:
    """The weights of exactly these problems, by id, in their order.

    Raises Mismatch where the file is for other prompts: an id that lacks or is too many, or another text under the same
    id; RecordError where it is damaged, repeats an id, mixes annotations or holds a weight outside [0, 1].
    """
    rows: dict[str, Weight] = {}
    for row in read_parquet(path, Weight):
        if row.problem_id in rows:
            raise RecordError(f"{path}: problem {row.problem_id!r} has two weights; export the file again")
        if not 0 <= row.weight <= 1:
            raise RecordError(
                f"{path}: problem {row.problem_id!r} has weight {row.weight}, not in [0, 1]; export it again"
            )
        rows[row.problem_id] = row
    if len(sources := {(r.annotation, r.scheme) for r in rows.values()}) > 1:
        raise RecordError(f"{path} mixes weights of {len(sources)} annotations or schemes; export it again")
    wanted = index_by_id(problems)
    missing, extra = [i for i in wanted if i not in rows], [i for i in rows if i not in wanted]
    if missing or extra:
        example = f"{missing[0]!r} has no weight" if missing else f"{extra[0]!r} is not in the training set"
        raise Mismatch(
            f"{path} is for other prompts: {len(missing)} training problems lack a weight and {len(extra)} weights are "
            f"of other problems ({example}); export the weights of this training set"
        )
    changed = [i for i, p in wanted.items() if rows[i].prompt != question_fingerprint(p.question)]
    if changed:
        raise Mismatch(
            f"{path} is for other prompts: the question of {len(changed)} problem(s) has another text now, first "
            f"{changed[0]!r}; annotate and export again"
        )
    return {i: rows[i] for i in wanted}

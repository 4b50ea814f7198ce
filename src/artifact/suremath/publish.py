"""Publishes a finished build: a folder that `datasets.load_dataset` reads, with card, metadata, checksums and weights.

    data/<split>-<i>-of-<n>.parquet   the rows (`load.Published`): problem, lineage, entropy
    lineage.parquet, dropped.parquet  ancestry and fate of every proposal; what was dropped and why. Without texts:
                                      a dropped text may quote a benchmark
    annotations.parquet, weights.parquet   the teacher's annotations and the file training reads, where there are some
    README.md, croissant.json, statistics.json, report.json, SHA256SUMS

The folder appears under its name when whole; the same build and annotations give the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from artifact.errors import ArtifactError, Mismatch
from artifact.files import folder_atomically, write_text
from artifact.phase1.records import Annotation
from artifact.provenance import file_sha256
from artifact.records import Record, RecordError, read_parquet, write_parquet
from artifact.suremath.accounting import BuildReport
from artifact.suremath.card import card, statistics
from artifact.suremath.croissant import croissant
from artifact.suremath.lineage import Dropped, Evolved, by_id
from artifact.suremath.load import SPLITS, SUMS, Published
from artifact.suremath.settings import SureMathSettings
from artifact.suremath.weights import export_weights


@dataclass(frozen=True, slots=True)
class LineageRow(Record):
    """One problem of the build without its text: ancestry, and where it ended (a split, or `stage: reason`)."""

    id: str
    root_id: str
    parent_ids: tuple[str, ...]
    strategy: str
    round: int
    seed_difficulty: str
    source: str
    generator: str
    fate: str

    COLUMNS: ClassVar[dict[str, str]] = {
        "id": "str",
        "root_id": "str",
        "parent_ids": "[str]",
        "strategy": "str",
        "round": "int",
        "seed_difficulty": "str",
        "source": "str",
        "generator": "str",
        "fate": "str",
    }


@dataclass(frozen=True, slots=True)
class Removed(Record):
    """A `Dropped` row without the texts."""

    id: str
    stage: str
    reason: str
    root_id: str
    source: str
    seed_difficulty: str
    strategy: str
    round: int
    benchmark: str
    benchmark_id: str

    COLUMNS: ClassVar[dict[str, str]] = {
        name: kind for name, kind in Dropped.COLUMNS.items() if name not in ("question", "span", "detail")
    }


def publish(
    build_folder: Path,
    folder: Path,
    settings: SureMathSettings,
    annotations: Sequence[Annotation] | None = None,
    *,
    teacher: str = "",
    key: str = "",
) -> Path:
    """Write the published form of the build in `build_folder` to `folder`, replacing an earlier publication.

    `annotations` are the teacher's, one for each training problem, `teacher` its name and `key` their cache key;
    without them the entropy columns stay null and there is no weights file. Raises RecordError where the build is
    unfinished or damaged, Mismatch where annotations are of other problems or lack some, ArtifactError where `folder`
    holds something that is no publication.
    """
    report = BuildReport.read(build_folder / "report.json")
    counts = {"train": report.train, "validation": report.validation, "test": report.test}
    splits = {s: read_parquet(build_folder / f"{s}.parquet", Evolved) for s in SPLITS if counts[s]}
    by_id([item for items in splits.values() for item in items])
    if any(len(items) != counts[s] for s, items in splits.items()):
        raise RecordError(f"{build_folder} holds other numbers of problems than its report.json says; build it again")
    given = _by_problem(annotations, splits["train"], teacher)
    rows = {s: [_row(item, given.get(item.id), teacher) for item in items] for s, items in splits.items()}
    _refuse_to_overwrite(folder)
    dropped = read_parquet(build_folder / "dropped.parquet", Dropped)
    facts = statistics(rows)
    with folder_atomically(folder) as partial:
        files = {s: _write_shards(partial / "data", s, rows[s], settings.rows_per_shard) for s in splits}
        write_parquet(partial / "lineage.parquet", _lineage_rows(build_folder, splits, dropped), LineageRow)
        write_parquet(partial / "dropped.parquet", [_removed(d) for d in dropped], Removed)
        if annotations is not None:
            ordered = [given[item.id] for item in splits["train"]]
            write_parquet(partial / "annotations.parquet", ordered, Annotation)
            export_weights(partial / "weights.parquet", splits["train"], ordered, key=key)
        write_text(partial / "statistics.json", _json(facts))
        write_text(partial / "README.md", card(settings, report, facts, teacher))
        write_text(partial / "croissant.json", _json(croissant(settings, partial, files)))
        shutil.copyfile(build_folder / "report.json", partial / "report.json")
        names = sorted(p.relative_to(partial).as_posix() for p in partial.rglob("*") if p.is_file())
        write_text(partial / SUMS, "".join(f"{file_sha256(partial / n)}  {n}\n" for n in names))
    return folder


def _by_problem(
    annotations: Sequence[Annotation] | None, train: Sequence[Evolved], teacher: str
) -> dict[str, Annotation]:
    if annotations is None:
        return {}
    if not teacher:
        raise ValueError("annotations need the name of their teacher: an entropy is a property of a teacher")
    given = {a.problem_id: a for a in annotations}
    if len(given) != len(annotations):
        raise RecordError(
            f"{len(annotations) - len(given)} problem(s) are annotated twice; keep one annotation a problem"
        )
    ids = {i.id for i in train}
    missing, foreign = sorted(ids - set(given)), sorted(set(given) - ids)
    if missing or foreign:
        example = f"{missing[0]!r} is not annotated" if missing else f"{foreign[0]!r} is not in the training set"
        raise Mismatch(
            f"the annotations do not fit this build: {len(missing)} training problems lack one, {len(foreign)} are of "
            f"other problems ({example}); annotate {len(ids)} problems of this build's train.parquet"
        )
    return given


def _row(item: Evolved, a: Annotation | None, teacher: str) -> Published:
    own = {name: getattr(item, name) for name in Evolved.COLUMNS}
    if a is None:
        return Published(**own)
    return Published(
        **own,
        teacher=teacher,
        samples=a.n,
        entropy=a.entropy,
        normalised=a.normalised,
        weight=a.weight,
        clusters=a.clusters,
        cluster_ids=a.cluster_ids,
        teacher_answers=a.answers,
        majority_answer=a.majority_answer,
        majority_share=a.majority_share,
        majority_correct=a.majority_correct if item.answer_source == "ground_truth" else -1,
    )


def _refuse_to_overwrite(folder: Path) -> None:
    """ArtifactError where `folder` holds something that is no publication."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / SUMS).is_file())):
        raise ArtifactError(
            f"{folder} exists and is no SURE-Math publication: it would be overwritten; choose another folder"
        )


def _write_shards(folder: Path, split: str, rows: Sequence[Published], per_shard: int) -> list[Path]:
    count = max(1, -(-len(rows) // per_shard))
    paths = []
    for i in range(count):
        path = folder / f"{split}-{i:05d}-of-{count:05d}.parquet"
        write_parquet(path, rows[i * per_shard : (i + 1) * per_shard], Published)
        paths.append(path)
    return paths


def _lineage_rows(
    build_folder: Path, splits: Mapping[str, Sequence[Evolved]], dropped: Sequence[Dropped]
) -> list[LineageRow]:
    """Every curated problem, seed and proposal of the build, with where it ended."""
    ended = {d.id: f"{d.stage}: {d.reason}" for d in dropped} | {i.id: s for s, items in splits.items() for i in items}
    work = build_folder / "work"
    shards = sorted(work.glob("round-*/*.parquet"), key=lambda p: (int(p.parent.name.split("-")[1]), p.name))
    items = [i for p in (work / "curated.parquet", work / "seeds.parquet", *shards) for i in read_parquet(p, Evolved)]
    return [
        LineageRow(
            i.id,
            i.root_id,
            i.parent_ids,
            i.strategy,
            i.round,
            i.seed_difficulty,
            i.source,
            i.generator,
            ended.get(i.id, "seed"),
        )
        for i in items
    ]


def _removed(d: Dropped) -> Removed:
    return Removed(**{name: getattr(d, name) for name in Removed.COLUMNS})


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

"""Labels: the annotation of every candidate by an injected labeller, stored in shards.

A labeller samples a model and verifies the samples; or it hands over finished annotations. Left out: sampling itself,
which needs engines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import Annotation
from artifact.records import Problem, RecordError, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.suremath.lineage import GROUND_TRUTH, Evolved
from artifact.suremath.settings import SureMathSettings
from artifact.tasks.extract import DEFAULT_RULES, extract_answer

Labels = Sequence[Sequence[Rollout]] | Sequence[Annotation]
Labeller = Callable[[Sequence[Problem]], Labels]
"""Problems in; for each, in order, its N ≥ 2 verified samples, or its finished annotation. Where a problem's answer is
"", only the extracted answers count. Must depend on the problems alone."""


Verify = Callable[[list[str], list[Problem]], Sequence[Verdict]]
"""Response texts and the problem of each in; a verdict each."""


def verify_samples(
    problems: Sequence[Problem],
    groups: Sequence[Sequence[Rollout]],
    verify: Verify,
    rules: Sequence[str] = DEFAULT_RULES,
) -> list[list[Rollout]]:
    """Sampled rollouts with verdicts, as a labeller must return them.

    A problem without an answer has nothing to be verified against: its samples carry the extracted answer under status
    `error` ("no ground truth"), or `unparsed`, and cost no algebra.
    """
    known = [(p, r) for p, group in zip(problems, groups, strict=True) for r in group if p.answer]
    verdicts = iter(verify([r.text for _, r in known], [p for p, _ in known]) if known else ())
    return [
        [r.with_verdict(next(verdicts) if p.answer else _extracted(r.text, rules)) for r in group]
        for p, group in zip(problems, groups, strict=True)
    ]


def _extracted(text: str, rules: Sequence[str]) -> Verdict:
    found = extract_answer(text, rules)
    if found is None:
        return Verdict(Status.UNPARSED, detail=f"no answer by the rules {', '.join(rules)}")
    return Verdict(Status.ERROR, found.answer, "no ground truth to compare with", found.rule)


def label_all(
    settings: SureMathSettings,
    labeller: Labeller,
    items: Sequence[Evolved],
    work: Path,
    judge: EquivalenceJudge,
    progress: bool,
) -> dict[str, Annotation]:
    """The labeller's annotation of each item; samples and annotations are stored in shards."""
    out: dict[str, Annotation] = {}
    quiet = not (progress and sys.stderr.isatty())
    bar = tqdm(total=len(items), desc=f"label ({settings.labels.name})", unit="problem", disable=quiet, leave=False)
    for start in range(0, len(items), settings.labels.batch):
        batch = items[start : start + settings.labels.batch]
        path = work / "labels" / f"{start // settings.labels.batch:05d}.parquet"
        if not path.exists():
            problems = [i.problem for i in batch]
            found, samples = _annotations(labeller(problems), problems, judge, settings.labels.name)
            write_parquet(work / "samples" / path.name, samples, Rollout)
            known = {i.id for i in batch if i.answer_source == GROUND_TRUTH}
            found = [a if a.problem_id in known else replace(a, majority_correct=-1) for a in found]
            write_parquet(path, found, Annotation)
        stored = read_parquet(path, Annotation)
        if [a.problem_id for a in stored] != [i.id for i in batch]:
            raise RecordError(
                f"{path} labels other problems than this build has; delete the working folder and build again"
            )
        out.update((a.problem_id, a) for a in stored)
        bar.update(len(batch))
    bar.close()
    return out


def _annotations(
    labels: Labels, problems: Sequence[Problem], judge: EquivalenceJudge, name: str
) -> tuple[list[Annotation], list[Rollout]]:
    if len(labels) != len(problems):
        raise RecordError(
            f"labeller {name!r} returned {len(labels)} entries for {len(problems)} problems; one each is needed"
        )
    if all(isinstance(entry, Annotation) for entry in labels):
        given: list[Annotation] = list(labels)  # type: ignore[arg-type]
        if [a.problem_id for a in given] != [p.id for p in problems]:
            raise RecordError(f"labeller {name!r} returned annotations of other problems, or in another order")
        return given, []
    samples: list[Rollout] = [r for group in labels for r in group]  # type: ignore[union-attr]
    return annotate_all(problems, samples, judge)[0], samples

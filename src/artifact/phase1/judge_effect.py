"""Two judges on the same samples: what one merges beyond the other, was it right, what do entropy and AUROC do.

`before` and `after` are annotations of the same samples by two judges, such as the exact rules alone and the rules with
algebra. A merge is checked against gold where gold can tell:

    wrong      it joins a right answer with a wrong one
    consistent it joins right answers only: they equal one gold answer
    unknown    it joins wrong answers, on which gold is silent, or one whose verdict is an accident

Where the grader and the judge share their algebra, `consistent` says that clustering and grading agree, not that both
are right; that is measured where the truth is known by construction (`constructed_answers.py`). The AUROC need not
rise: merging also lowers the entropy of questions the teacher gets wrong. Left out: drawing samples, and words
(`report/`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, Status
from artifact.stats.auroc import compare_auroc
from artifact.stats.bootstrap import cluster_bootstrap
from artifact.stats.interval import wilson_interval

LEAST_OF_EACH = 5
"""Fewest problems that the teacher gets right, and gets wrong, for an AUROC with an interval."""


def _matched(before: Sequence[Annotation], after: Sequence[Annotation]) -> list[tuple[Annotation, Annotation]]:
    """The annotations of each problem by both judges; ArtifactError where they are not of the same samples."""
    other = {a.problem_id: a for a in after}
    if len(other) != len(after) or [a.problem_id for a in before] != [a.problem_id for a in after]:
        raise ArtifactError(
            f"{len(before)} annotations before and {len(after)} after are not of the same problems in the same order, "
            "each once; annotate one list of problems with both judges"
        )
    for a in before:
        if (a.answers, a.normaliser) != (other[a.problem_id].answers, other[a.problem_id].normaliser):
            raise ArtifactError(f"problem {a.problem_id!r} has other samples, or another normaliser, before and after")
    return [(a, other[a.problem_id]) for a in before]


def entropy_changes(
    problems: Sequence[Problem], before: Sequence[Annotation], after: Sequence[Annotation], wrong: Mapping[str, bool]
) -> pd.DataFrame:
    """One row per problem: task, difficulty, wrong, and under both judges clusters, H in nats and H / log N.

    changed     whether the classes differ
    merged, split  pairs of samples that share a class after and not before, and the other way round
    undecided, accidents, contradicted  judgements of the second judge without verdict, failed, overruled
    wrong       by `wrong`, the verdict on the teacher's answer. Raises ArtifactError for a problem without one
    """
    by_id = {p.id: p for p in problems}
    missing = [a.problem_id for a in before if a.problem_id not in wrong or a.problem_id not in by_id]
    if missing:
        raise ArtifactError(f"{len(missing)} of {len(before)} annotated problems have no label, first {missing[0]!r}")
    rows = []
    for a, b in _matched(before, after):
        pairs = list(combinations(range(a.n), 2))
        together = [(a.cluster_ids[i] == a.cluster_ids[j], b.cluster_ids[i] == b.cluster_ids[j]) for i, j in pairs]
        rows.append(
            {
                "problem_id": a.problem_id,
                "task": by_id[a.problem_id].task,
                "difficulty": by_id[a.problem_id].difficulty,
                "wrong": bool(wrong[a.problem_id]),
                "clusters_before": a.clusters,
                "clusters_after": b.clusters,
                "entropy_before": a.entropy,
                "entropy_after": b.entropy,
                "normalised_before": a.normalised,
                "normalised_after": b.normalised,
                "changed": any(x != y for x, y in together),
                "merged": sum(y and not x for x, y in together),
                "split": sum(x and not y for x, y in together),
                "undecided": sum(j.equivalent is None for j in b.judgements),
                "accidents": sum(bool(j.accident) for j in b.judgements),
                "contradicted": len(b.contradictions),
            }
        )
    return pd.DataFrame(rows)


def merged_answers(
    problems: Sequence[Problem], before: Sequence[Annotation], after: Sequence[Annotation], rollouts: Iterable[Rollout]
) -> pd.DataFrame:
    """One row per pair of former classes that are one class after: an answer of each, its samples, what gold says.

    `rollouts` are the verified samples of the annotations. Columns: problem_id, task, difficulty, gold, left,
    right, samples_left, samples_right, by_gold (`wrong`, `consistent`, `unknown`).
    """
    by_id = {p.id: p for p in problems}
    verdicts: dict[tuple[str, str], Counter[Status]] = {}
    for r in rollouts:
        if r.verdict is not None and r.verdict.extracted is not None:
            verdicts.setdefault((r.problem_id, r.verdict.extracted), Counter())[r.verdict.status] += 1

    def right(problem_id: str, answers: Iterable[str]) -> bool | None:
        found = {status for answer in answers for status in verdicts[problem_id, answer]}
        return {frozenset({Status.CORRECT}): True, frozenset({Status.WRONG}): False}.get(frozenset(found))

    rows = []
    for a, b in _matched(before, after):
        members: dict[int, list[int]] = {}
        for sample, c in enumerate(a.cluster_ids):
            members.setdefault(c, []).append(sample)
        for one, other in combinations(members.values(), 2):
            if b.cluster_ids[one[0]] != b.cluster_ids[other[0]]:
                continue
            labels = [right(a.problem_id, [a.answers[i] for i in samples]) for samples in (one, other)]
            known = None not in labels
            by_gold = (
                "wrong" if known and labels[0] != labels[1] else "consistent" if labels[0] and known else "unknown"
            )
            p = by_id[a.problem_id]
            texts = a.answers[one[0]], a.answers[other[0]]
            rows.append((p.id, p.task, p.difficulty, p.answer, *texts, len(one), len(other), by_gold))
    columns = ["problem_id", "task", "difficulty", "gold", "left", "right", "samples_left", "samples_right"]
    return pd.DataFrame(rows, columns=[*columns, "by_gold"])


def compare_judges(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    before: EquivalenceJudge,
    after: EquivalenceJudge,
    wrong: Mapping[str, bool],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(`entropy_changes`, `merged_answers`) of the same verified samples clustered by two judges (normaliser log N)."""
    first, second = (annotate_all(problems, rollouts, judge)[0] for judge in (before, after))
    return entropy_changes(problems, first, second, wrong), merged_answers(problems, first, second, rollouts)


def effect_table(changes: pd.DataFrame, *, resamples: int = 2000) -> pd.DataFrame:
    """The effect over all problems, by task and by difficulty; intervals 95 %, over problems.

    changes  from `entropy_changes`
    Columns: group, n, n_wrong; changed (share of problems, Wilson) with ends; merged and split pairs, undecided,
    accidents, contradicted; entropy_before and _after (means of H / log N); entropy_change with ends (paired bootstrap;
    NaN ends where all changes are equal and there is nothing to resample); auroc_before, auroc_after and auroc_change
    with ends (paired; NaN where fewer than `LEAST_OF_EACH` problems are right, or wrong, and NaN ends where no entropy
    changes).
    """
    groups = [("all", changes)]
    for by in ("task", "difficulty"):
        if changes[by].nunique() > 1:
            groups += [(f"{by} {name}", part) for name, part in changes.groupby(by, sort=False)]
    rows = []
    for group, part in groups:
        n, wrong = len(part), part["wrong"].to_numpy(dtype=bool)
        share = wilson_interval(int(part["changed"].sum()), n)
        change = (part["normalised_after"] - part["normalised_before"]).to_numpy(dtype=np.float64)
        ends = (math.nan, math.nan)
        if np.ptp(change) >= 1e-12:
            moved = cluster_bootstrap(change, part["problem_id"], resamples=resamples)
            ends = (moved.low, moved.high)
        aurocs = (math.nan,) * 5
        if min(wrong.sum(), (~wrong).sum()) >= LEAST_OF_EACH:
            c = compare_auroc(part["normalised_after"], part["normalised_before"], wrong, resamples=resamples)
            ends_of = (c.difference.low, c.difference.high) if np.any(change) else (math.nan, math.nan)
            aurocs = (c.auroc_b, c.auroc_a, c.difference.estimate, *ends_of)
        counts = [int(part[name].sum()) for name in COUNTS]
        means = (part["normalised_before"].mean(), part["normalised_after"].mean(), change.mean())
        rows.append(
            (group, n, int(wrong.sum()), share.estimate, share.low, share.high, *counts, *means, *ends, *aurocs)
        )
    columns = ["group", "n", "n_wrong", "changed", "changed_lower", "changed_upper", *COUNTS]
    columns += ["entropy_before", "entropy_after", "entropy_change", "entropy_change_lower", "entropy_change_upper"]
    columns += ["auroc_before", "auroc_after", "auroc_change", "auroc_change_lower", "auroc_change_upper"]
    return pd.DataFrame(rows, columns=columns)


COUNTS = ("merged", "split", "undecided", "accidents", "contradicted")
"""The columns of `entropy_changes` that `effect_table` adds up."""


def merge_rates(pairs: pd.DataFrame) -> pd.DataFrame:
    """Error rates of judges on pairs of known relation, by kind of question and over all, with 95 % intervals.

    pairs  from `constructed_answers.pair_frame`, those of several judges under one another
    Columns: judge, kind, questions, equal, missed, missed_share, different, false, false_share, each share with its
    ends, accidents. The pairs of a question depend on each other, so the intervals resample questions; where every
    question has the same share it is the Wilson interval over questions.
    """
    rows = []
    for judge, of_judge in pairs.groupby("judge", sort=False):
        for kind, part in [("all", of_judge), *of_judge.groupby("kind", sort=False)]:
            row: dict[str, object] = {"judge": judge, "kind": kind, "questions": part["question"].nunique()}
            for sort, error, chosen in (
                ("equal", "missed", part[part["equal"]]),
                ("different", "false", part[~part["equal"]]),
            ):
                failed = ~chosen["merged"] if error == "missed" else chosen["merged"]
                share = cluster_bootstrap(failed.to_numpy(dtype=np.float64), chosen["question"])
                row |= {sort: len(chosen), error: int(failed.sum()), f"{error}_share": share.estimate}
                row |= {f"{error}_share_lower": share.low, f"{error}_share_upper": share.high}
            rows.append(row | {"accidents": int(part["accident"].sum())})
    return pd.DataFrame(rows)

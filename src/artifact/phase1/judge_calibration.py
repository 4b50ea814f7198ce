"""Is an equivalence judge fit for use? Its error rates on pairs of answers whose relation is known.

`data/equivalence_pairs.json` holds 160 pairs, written for this purpose: 80 that mean the same and 80 near-misses, in
eight kinds. Rates, with 95 % Wilson intervals over pairs:

    true-merge rate   pairs that mean the same and were merged
    false-merge rate  pairs that differ and were merged
    undecided         pairs of either sort without a verdict (None), which do not merge

A judge is *usable* when its false-merge rate is at most 5 % and its true-merge rate at least 50 %: a false merge hides
a disagreement of the teacher (entropy too low), a missed one only blurs it. Left out: repairing a judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from artifact.files import read_json
from artifact.phase1.judge import EquivalenceJudge, JudgeError
from artifact.stats.interval import Interval, wilson_interval
from artifact.tasks.answer_text import untypeset

PAIRS = Path(__file__).with_name("data") / "equivalence_pairs.json"
MOST_FALSE_MERGES, LEAST_TRUE_MERGES = 0.05, 0.50


@dataclass(frozen=True, slots=True)
class KnownPair:
    """Two untypeset answers to a question, and whether they mean the same."""

    kind: str
    equal: bool
    question: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Verdicts on the pairs of one kind: how many there are of each sort, how many were merged and left undecided."""

    kind: str
    equal: int
    equal_merged: int
    equal_undecided: int
    different: int
    different_merged: int
    different_undecided: int


@dataclass(frozen=True)
class CalibrationReport:
    """Error rates of one judge, by kind of pair and over all."""

    judge: str
    kinds: tuple[Counts, ...]

    @property
    def total(self) -> Counts:
        """The counts over all kinds."""
        names = ("equal", "equal_merged", "equal_undecided", "different", "different_merged", "different_undecided")
        return Counts("all", *(sum(getattr(k, name) for k in self.kinds) for name in names))

    @property
    def true_merge(self) -> Interval:
        """Share of the equal pairs that were merged."""
        return wilson_interval(self.total.equal_merged, self.total.equal)

    @property
    def false_merge(self) -> Interval:
        """Share of the different pairs that were merged."""
        return wilson_interval(self.total.different_merged, self.total.different)

    @property
    def undecided(self) -> Interval:
        """Share of all pairs without a verdict."""
        t = self.total
        return wilson_interval(t.equal_undecided + t.different_undecided, t.equal + t.different)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the judge is not usable, one line per reason; empty when it is."""
        out = []
        if self.false_merge.estimate > MOST_FALSE_MERGES:
            out.append(
                f"merges {_percent(self.false_merge)} of the pairs that differ, more than {MOST_FALSE_MERGES:.0%}"
            )
        if self.true_merge.estimate < LEAST_TRUE_MERGES:
            out.append(
                f"merges {_percent(self.true_merge)} of the pairs that mean the same, less than {LEAST_TRUE_MERGES:.0%}"
            )
        return tuple(out)

    @property
    def usable(self) -> bool:
        """Whether both rates are within their limits."""
        return not self.faults

    def frame(self) -> pd.DataFrame:
        """One row per kind and measure: judge, kind (`all` first), measure, n, count, rate, low, high."""
        rows = []
        for c in (self.total, *self.kinds):
            measures = (
                ("true_merge", c.equal_merged, c.equal),
                ("false_merge", c.different_merged, c.different),
                ("undecided", c.equal_undecided + c.different_undecided, c.equal + c.different),
            )
            for measure, count, n in measures:
                rate = wilson_interval(count, n)
                rows.append((self.judge, c.kind, measure, n, count, rate.estimate, rate.low, rate.high))
        return pd.DataFrame(rows, columns=["judge", "kind", "measure", "n", "count", "rate", "low", "high"])


@lru_cache
def known_pairs() -> tuple[KnownPair, ...]:
    """The calibration set, answers without typesetting, as the clustering has them before it asks a judge."""
    rows = read_json(PAIRS, "restore it from the repository")
    answers = [[str(untypeset(r[side])) for side in ("left", "right")] for r in rows]
    return tuple(KnownPair(r["kind"], r["equal"], r["question"], *pair) for r, pair in zip(rows, answers, strict=True))


def calibrate(judge: EquivalenceJudge, pairs: Sequence[KnownPair] | None = None) -> CalibrationReport:
    """The error rates of `judge` on `pairs` (None = all known ones), asked in one batch, each with its question.

    Raises JudgeError when a kind lacks pairs of one sort: its rates would not exist.
    """
    pairs = known_pairs() if pairs is None else pairs
    judgements = judge.judge([(p.left, p.right) for p in pairs], [p.question for p in pairs])
    counts: dict[str, Counter[str]] = {}
    for p, j in zip(pairs, judgements, strict=True):
        sort = "equal" if p.equal else "different"
        of_kind = counts.setdefault(p.kind, Counter())
        of_kind[sort] += 1
        of_kind[f"{sort}_merged"] += j.equivalent is True
        of_kind[f"{sort}_undecided"] += j.equivalent is None
    poor = [kind for kind, c in counts.items() if not c["equal"] or not c["different"]]
    if poor or not counts:
        raise JudgeError(
            f"judge {judge.name!r} cannot be calibrated: {', '.join(poor) or 'the set'} has no pairs that mean the "
            "same, or none that differ; give pairs of both sorts for each kind"
        )
    names = ("equal", "equal_merged", "equal_undecided", "different", "different_merged", "different_undecided")
    return CalibrationReport(judge.name, tuple(Counts(kind, *(c[n] for n in names)) for kind, c in counts.items()))


def require_usable(report: CalibrationReport, go_on: bool = False) -> None:
    """Stop before an unusable judge clusters anything: JudgeError with its rates and the remedy, unless `go_on`."""
    if report.usable or go_on:
        return
    raise JudgeError(
        f"judge {report.judge!r} is not usable: it {'; it '.join(report.faults)} ({_percent(report.undecided)} "
        f"undecided). Use a stronger judge model (models.judge), fit its threshold, set annotation.clustering = "
        "symbolic, or go on regardless with annotation.accept_poor_judge = true"
    )


def _percent(rate: Interval) -> str:
    return f"{100 * rate.estimate:.1f} % (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f})"

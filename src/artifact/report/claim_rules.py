"""How a claim is judged: the rule of its test on the stored numbers that it names, and what is said of it.

    PASS             the stored numbers say what is claimed
    WITHIN INTERVAL  they do not, but they do not say the opposite either: the interval holds what is claimed
    FAIL             they say something else
    NOT RUN          the numbers were not made

For intervals [l, h] of an estimate x and a claimed value v: `within` tolerance t passes where |x − v| ≤ t, and is
within the interval where l ≤ v ≤ h; `bound` above v passes where l > v and fails where h < v. A difference passes where
its table claims it, which problems and seeds must both support (`differences.py`). A series is monotone where no pair
of its points goes the other way; pairs that do, with overlapping intervals, decide nothing unless they are most.
A row over no problem (an empty bin) says nothing, and decides nothing (`NoProblems` where no other is left).
What cannot be found (`NotMade`) and what is not as it was saved or names no row (`BrokenEvidence`) is no verdict.
Left out: the claims (`claims.py`), which are judged at which tier, and what it costs to make what is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.report.claims import (
    Agree,
    Bound,
    Cells,
    Difference,
    Equivalent,
    Monotone,
    Product,
    Ratio,
    Rule,
    Scalar,
    Within,
)
from artifact.report.stored import StoredOutput, read
from artifact.report.text import percent

PASS, WITHIN, FAIL, NOT_RUN = "PASS", "WITHIN INTERVAL", "FAIL", "NOT RUN"
VERDICTS = (PASS, WITHIN, FAIL, NOT_RUN)

COUNTS = ("problems", "n", "rollouts")
"""Columns that say over how many an estimate is, the first that a table has."""


class NotMade(ArtifactError):
    """The output that decides a claim does not exist on this tier."""

    def __init__(self, cells: Cells) -> None:
        super().__init__(f"{cells.kind} {cells.name} was not made")
        self.cells = cells


class NoProblems(ArtifactError):
    """What would decide a claim lies over no problem, so nothing was measured there."""


class BrokenEvidence(ArtifactError):
    """A claim names a row or column that its output does not have: one of the two was changed without the other."""


@dataclass(frozen=True)
class Found:
    """What the stored numbers say of a test: verdict, the numbers in words, over how much, of which runs."""

    verdict: str
    numbers: str
    n: int | None = None
    seeds: int | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The rows that a test reads: estimates and, where there are any, their intervals."""

    output: StoredOutput
    frame: pd.DataFrame
    cells: Cells

    @property
    def values(self) -> list[float]:
        return [float(v) for v in self.frame[self.cells.column]]

    @property
    def intervals(self) -> list[tuple[float, float]] | None:
        if self.cells.spread is not None:
            spans = zip(self.values, self.frame[self.cells.spread], strict=True)
            return [(x - 2 * float(sd), x + 2 * float(sd)) for x, sd in spans]
        if self.cells.low is None or self.cells.high is None:
            return None
        pairs = zip(self.frame[self.cells.low], self.frame[self.cells.high], strict=True)
        return [(float(low), float(high)) for low, high in pairs]

    def found(self, verdict: str, numbers: str) -> Found:
        """A verdict on these rows, with the fewest problems and seeds that stand behind one of them."""
        n = next((int(self.frame[c].min()) for c in COUNTS if c in self.frame), None)
        seeds = int(self.frame["seeds"].min()) if "seeds" in self.frame else None
        return Found(verdict, numbers, n, seeds, tuple(self.output.keys))


def judge(test: Rule, tier: str) -> Found:
    """The verdict of one test on what is stored of `tier`.

    Raises NotMade, NoProblems, BrokenEvidence, DamagedOutput.
    """
    if isinstance(test, Agree):
        return _agree(test)
    if isinstance(test, Ratio):
        return _ratio(test, tier)
    rows = rows_of(test.of, tier, 2 if isinstance(test, Monotone) else 1)
    match test:
        case Within():
            return _within(test, rows)
        case Bound():
            return _bound(test, rows)
        case Difference():
            return _difference(test, rows)
        case Equivalent():
            return _equivalent(test, rows)
        case Monotone():
            return _monotone(test, rows)


def rows_of(cells: Cells, tier: str, least: int = 1) -> Rows:
    """The rows that `cells` names. Each value it asks for must be there, and no number missing.

    least  so many of them must be over a problem
    """
    output = read(cells.kind, cells.name, tier)
    if output is None:
        raise NotMade(cells)
    frame = output.frame
    for column in (*cells.where, *cells.columns):
        if column not in frame:
            near = difflib.get_close_matches(column, list(frame), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(str, frame))}"
            raise BrokenEvidence(f"{cells.kind} {cells.name} ({tier}) has no column {column!r}; {hint}")
    for column, wanted in cells.where.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        matches = [_equal(frame[column], value) for value in several]
        for value, match in zip(several, matches, strict=True):
            if not match.any():
                there = ", ".join(map(str, dict.fromkeys(frame[column])))
                raise BrokenEvidence(
                    f"{cells.kind} {cells.name} ({tier}) has no row with {column} = {value!r} left; it has {there}"
                )
        frame = frame[np.logical_or.reduce(matches)]
    counted = next((c for c in COUNTS if c in frame), None)
    if counted is not None:
        filled = frame[frame[counted] != 0]
        if len(frame) > len(filled) and len(filled) < least:
            raise NoProblems(f"no problem lies in {len(frame) - len(filled)} of the rows of {cells.kind} {cells.name}")
        frame = filled
    numbers = frame[list(cells.columns)]
    if numbers.isna().to_numpy().any() or not all(pd.api.types.is_numeric_dtype(numbers[c]) for c in numbers):
        raise BrokenEvidence(f"{cells.kind} {cells.name} ({tier}): {', '.join(numbers)} holds what is no number")
    if cells.sum:
        frame = pd.DataFrame({cells.column: [numbers[cells.column].sum()]})
    return Rows(output, frame, cells)


def _equal(column: pd.Series, value: Scalar) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and isinstance(value, int | float):
        return pd.Series(np.isclose(column.astype(float), float(value)), index=column.index)
    return column.astype(str) == str(value)


def _single(rows: Rows) -> None:
    if len(rows.frame) != 1:
        raise BrokenEvidence(
            f"{rows.cells.kind} {rows.cells.name}: {rows.cells.where} finds {len(rows.frame)} rows where one number is "
            "judged; say more in `where`"
        )


def _within(test: Within, rows: Rows) -> Found:
    _single(rows)
    x, low, high = rows.values[0], *(rows.intervals or [(np.nan, np.nan)])[0]
    close = abs(x - test.value) <= test.tolerance
    verdict = PASS if close else WITHIN if low <= test.value <= high else FAIL
    return rows.found(verdict, f"{_shown(rows)[0]}; claimed {test.value:g} ± {test.tolerance:g}")


def _bound(test: Bound, rows: Rows) -> Found:
    sign = 1.0 if test.side == "above" else -1.0
    verdicts = []
    for x, (low, high) in zip(rows.values, rows.intervals or [(x, x) for x in rows.values], strict=True):
        worst, best = sorted((sign * (low - test.value), sign * (high - test.value)))
        single = sign * (x - test.value) > 0 if rows.intervals is None else worst > 0
        verdicts.append(PASS if single else WITHIN if rows.intervals is not None and best >= 0 else FAIL)
    return rows.found(_all(verdicts), f"{_listed(_shown(rows))}; claimed {test.side} {test.value:g}")


def _difference(test: Difference, rows: Rows) -> Found:
    for column in ("verdict", "p_holm"):
        if column not in rows.frame:
            raise BrokenEvidence(f"{rows.cells.kind} {rows.cells.name} has no column {column!r}: it claims nothing")
    sign = 1.0 if test.direction == "higher" else -1.0
    other = "lower" if test.direction == "higher" else "higher"
    verdicts, words = [], []
    spans, shown = rows.intervals or [(-np.inf, np.inf)] * len(rows.frame), _shown(rows, points=True)
    for row, (low, high), text in zip(rows.frame.to_dict("records"), spans, shown, strict=True):
        best, claimed = max(sign * low, sign * high), str(row["verdict"])
        verdicts.append(PASS if claimed == test.direction else FAIL if claimed == other or best < 0 else WITHIN)
        seeds = row.get("seeds_agreeing")
        agreeing = f", {seeds} seeds agree" if isinstance(seeds, str) else ""
        words.append(f"{text}, p (Holm) {row['p_holm']:.3g}{agreeing}: {claimed}")
    return rows.found(_all(verdicts), f"{_listed(words)}; claimed {test.direction}")


def _equivalent(test: Equivalent, rows: Rows) -> Found:
    verdicts = []
    for low, high in rows.intervals or [(x, x) for x in rows.values]:
        apart = low > test.margin or high < -test.margin
        verdicts.append(PASS if max(abs(low), abs(high)) <= test.margin else FAIL if apart else WITHIN)
    words = _listed(_shown(rows, points=True))
    return rows.found(_all(verdicts), f"{words}; no difference is read as ± {percent(test.margin)} points")


def _monotone(test: Monotone, rows: Rows) -> Found:
    """Of several splits each is a series, and the claim is about all of them."""
    if test.along not in rows.frame:
        raise BrokenEvidence(f"{rows.cells.kind} {rows.cells.name} has no column {test.along!r} to go along")
    several = "split" in rows.frame and rows.frame["split"].nunique() > 1
    parts = rows.frame.groupby("split", sort=False) if several else [("", rows.frame)]
    verdicts, words = [], []
    for split, frame in parts:
        verdict, said = _series(test, Rows(rows.output, frame, rows.cells))
        verdicts.append(verdict)
        words.append(f"{split}: {said}" if several else said)
    return rows.found(_all(verdicts), f"{_listed(words)}; claimed {test.direction}")


def _series(test: Monotone, rows: Rows) -> tuple[str, str]:
    """The verdict on one series, and its numbers in words."""
    frame = rows.frame.sort_values(test.along)
    if len(frame) < 2 or frame[test.along].duplicated().any():
        raise BrokenEvidence(
            f"{rows.cells.kind} {rows.cells.name}: {rows.cells.where} is no series along {test.along!r}: it needs two "
            "points or more, each place once; say more in `where`"
        )
    rows = Rows(rows.output, frame, rows.cells)
    sign = 1.0 if test.direction == "increasing" else -1.0
    spans = rows.intervals or [(x, x) for x in rows.values]
    ends = [sorted((sign * low, sign * high)) for low, high in spans]
    against = [(i, j) for i, j in combinations(range(len(ends)), 2) if sign * (rows.values[j] - rows.values[i]) < 0]
    beyond = [(i, j) for i, j in against if ends[j][1] < ends[i][0]]
    pairs = len(ends) * (len(ends) - 1) // 2
    verdict = FAIL if beyond or 2 * len(against) > pairs else WITHIN if against else PASS
    words = (
        f"{len(ends)} points from {rows.values[0]:.3g} to {rows.values[-1]:.3g}; {len(against)} of {pairs} pairs go "
        f"the other way, {len(beyond)} beyond their intervals"
    )
    return verdict, words


def _ratio(test: Ratio, tier: str) -> Found:
    sources: list[Rows] = []

    def number(part: Cells | Product) -> float:
        if isinstance(part, Product):
            return float(np.prod(part.product))
        rows = rows_of(part, tier)
        _single(rows)
        sources.append(rows)
        return rows.values[0]

    above, below = number(test.of), number(test.over)
    if below == 0:
        raise BrokenEvidence("a ratio over 0 has no value")
    ratio = above / below
    verdict = PASS if abs(ratio / test.value - 1) <= test.tolerance else FAIL
    words = f"{above:,.6g} / {below:,.6g} = {ratio:,.4g}; claimed {test.value:g} ± {percent(test.tolerance, 0)} %"
    return sources[0].found(verdict, words) if sources else Found(verdict, words)


def _agree(test: Agree) -> Found:
    first, second = test.first, test.second
    same = first.says == second.says
    said = [f"{s.says:,g}" if isinstance(s.says, float) else s.says for s in (first, second)]
    words = f"{said[0]} ({first.where}) and {said[1]} ({second.where})"
    return Found(PASS if same else FAIL, words if same else f"{words}: not both can be meant")


def _all(verdicts: Sequence[str]) -> str:
    """What holds of a claim about several rows: it passes where all do, and fails where one does."""
    return max(verdicts, key=(PASS, WITHIN, FAIL).index)


def _shown(rows: Rows, *, points: bool = False) -> list[str]:
    """Each estimate with its interval; of several splits behind the name of its own."""
    form: Callable[[float], str] = (lambda v: percent(v, sign=True)) if points else (lambda v: f"{v:.4g}")
    unit = " points" if points else ""
    texts = [form(x) + unit for x in rows.values]
    if rows.intervals is not None:
        pairs = zip(texts, rows.intervals, strict=True)
        texts = [f"{text} ({form(low)} to {form(high)})" for text, (low, high) in pairs]
    splits = list(rows.frame["split"]) if "split" in rows.frame else []
    return [f"{split}: {text}" for split, text in zip(splits, texts, strict=True)] if len({*splits}) > 1 else texts


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts)

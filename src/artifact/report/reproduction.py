"""What was made here beside the committed reference of its tier: value by value, what is outside first.

    identical         the same digits
    within interval   other digits, inside the interval that the reference gives its own value; without one, the same
                      three digits
    outside           outside that interval; or the design of the experiment is another one (problems, seeds, rows)
    no interval       another number or word, and nothing that says how far it may be (p-values, counts)

An interval is read off the columns: an estimate, then its two ends (`low` `high`, `diff_lower` `diff_upper`), or its SD
over seeds (± 2 SD). The ends of an interval have the verdict of their estimate. Outputs with seconds (`…_times`) are
never compared as values, nor are the keys of runs, which name code and not what it found. Left out: where the reference
lies and when it changes (`reference.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

IDENTICAL, WITHIN, OUTSIDE, NO_INTERVAL = "identical", "within interval", "outside", "no interval"
CLASSES = (OUTSIDE, NO_INTERVAL, WITHIN, IDENTICAL)

DESIGN = ("problems", "seeds", "samples", "steps", "prompts", "confidence", "n_samples", "episodes")
"""Columns of what was set and not measured: another number there is another experiment."""

KEYS = ("run", "runs")
"""Columns of keys of runs."""

DIGITS = 1e-3
"""Relative difference up to which two numbers without an interval are the same."""

_LOW = re.compile(r"^(|.*_)low(er)?$")
_HIGH = re.compile(r"^(|.*_)(high|upper)$")
_SD = re.compile(r"^sd(:.*)?$")


@dataclass(frozen=True)
class Value:
    """One value that is not identical: where it stands, what it is, what the reference says and allows."""

    output: str
    row: str
    column: str
    verdict: str
    here: str
    reference: str
    allowed: str = ""

    def in_words(self) -> str:
        """`table uopd_accuracy, B / UOPD (soft), accuracy: 0.52, reference 0.42 (0.40 to 0.44)`."""
        allowed = f" ({self.allowed})" if self.allowed else ""
        return f"{self.output}, {self.row}, {self.column}: {self.here}, reference {self.reference}{allowed}"


@dataclass(frozen=True)
class Compared:
    """How many values of how many outputs are of each class, and those that are not identical."""

    counts: Mapping[str, int]
    outputs: int
    values: tuple[Value, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def of(self, verdict: str) -> list[Value]:
        """The values of one class, in the order of the outputs."""
        return [v for v in self.values if v.verdict == verdict]

    @property
    def is_outside(self) -> bool:
        """Whether something is not what the reference allows."""
        return self.counts[OUTSIDE] > 0


def compare(here: Mapping[str, pd.DataFrame], reference: Mapping[str, pd.DataFrame]) -> Compared:
    """Every value of the outputs that both have; frames hold text, as CSV does (`dtype=str`)."""
    counts, values = dict.fromkeys(CLASSES, 0), []
    both = [name for name in reference if name in here]
    for name in both:
        new, old = (frames[name].drop(columns=list(KEYS), errors="ignore") for frames in (here, reference))
        for value, times in _differing(name, new, old):
            values.append(value)
            counts[value.verdict] += times
        counts[IDENTICAL] += _identical(new, old)
    missing = tuple(name for name in reference if name not in here)
    return Compared(counts, len(both), tuple(values), missing, tuple(n for n in here if n not in reference))


def intervals(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Estimate → the columns of its ends, of a frame of numbers; a pair of ends that no estimate fits is a bin."""
    found, columns = {}, [str(c) for c in frame.columns]
    for i in range(1, len(columns) - 1):
        low, high = columns[i], columns[i + 1]
        low_name, high_name = _LOW.match(low), _HIGH.match(high)
        if not (low_name and high_name and low_name[1] == high_name[1]):
            continue
        before = [c for c in columns[:i] if not (_LOW.match(c) or _HIGH.match(c) or _SD.match(c))]
        estimate = before[-1] if before else ""
        if estimate and _encloses(frame[low], frame[estimate], frame[high]):
            found[estimate] = (low, high)
    return found


def _encloses(low: pd.Series, estimate: pd.Series, high: pd.Series) -> bool:
    numbers = [pd.to_numeric(c, errors="coerce") for c in (low, estimate, high)]
    whole = pd.concat(numbers, axis=1).dropna().to_numpy()
    slack = 1e-9
    return len(whole) > 0 and bool(np.all((whole[:, 0] <= whole[:, 1] + slack) & (whole[:, 1] <= whole[:, 2] + slack)))


def spreads(columns: Iterable[str]) -> dict[str, str]:
    """Estimate → the column of its SD over seeds: the one before `sd`, or `x` of `sd:x` (as `difficulty:x`)."""
    names, found = list(columns), {}
    for i, name in enumerate(names):
        if _SD.match(name) and i:
            found[names[i - 1]] = name
    return found


def _identical(here: pd.DataFrame, reference: pd.DataFrame) -> int:
    if list(here.columns) != list(reference.columns) or len(here) != len(reference):
        return 0
    return int((here.fillna("").to_numpy() == reference.fillna("").to_numpy()).sum())


def _differing(name: str, here: pd.DataFrame, reference: pd.DataFrame) -> Iterator[tuple[Value, int]]:
    """Each value that differs; where rows or columns do, the output as one, with as many values as it had."""
    if list(here.columns) != list(reference.columns):
        changed = ", ".join(sorted(set(here.columns) ^ set(reference.columns)) or ["their order"])
        yield Value(name, "all rows", changed, OUTSIDE, "other columns", "the columns of the reference"), reference.size
        return
    if len(here) != len(reference):
        design = [c for c in ("teacher", "label", "cell", "split", "step") if c in reference]
        same = bool(design) and _names(here, design) == _names(reference, design)
        verdict = NO_INTERVAL if same or not design else OUTSIDE
        yield Value(name, "all rows", "rows", verdict, str(len(here)), str(len(reference))), reference.size
        return
    ends, sds = intervals(reference), spreads(reference.columns)
    belongs = {end: estimate for estimate, pair in ends.items() for end in pair} | {sd: e for e, sd in sds.items()}
    a, b = here.fillna("").to_numpy(), reference.fillna("").to_numpy()
    for row in sorted({int(i) for i in np.argwhere(a != b)[:, 0]}):
        new, old = here.iloc[row].fillna(""), reference.iloc[row].fillna("")
        who = _row(old, row)
        for column in (c for c in reference.columns if new[c] != old[c]):
            verdict, allowed = _judged(belongs.get(column, column), new, old, ends, sds)
            yield Value(name, who, column, verdict, str(new[column]), str(old[column]), allowed), 1


def _judged(
    column: str, new: pd.Series, old: pd.Series, ends: Mapping[str, tuple[str, str]], sds: Mapping[str, str]
) -> tuple[str, str]:
    """The class of an estimate that differs, or whose ends do, and the interval that it may be in."""
    if column in DESIGN:
        return OUTSIDE, "set, not measured"
    low, high = math.nan, math.nan
    if column in ends:
        low, high = (_number(old[end]) for end in ends[column])
    elif column in sds:
        spread = _number(old[sds[column]])
        low, high = _number(old[column]) - 2 * spread, _number(old[column]) + 2 * spread
    x, y = _number(new[column]), _number(old[column])
    if math.isnan(low) and math.isclose(x, y, rel_tol=DIGITS):
        return WITHIN, "three digits"
    if math.isnan(x) or math.isnan(low) or math.isnan(high):
        return NO_INTERVAL, ""
    return (WITHIN if low <= x <= high else OUTSIDE), f"{low:.4g} to {high:.4g}"


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return math.nan


def _names(frame: pd.DataFrame, columns: Sequence[str]) -> set[tuple[str, ...]]:
    return set(frame[list(columns)].fillna("").itertuples(index=False, name=None))


def _row(row: pd.Series, number: int) -> str:
    """What a row is about: its words, else its number."""
    words = [str(v) for v in row if v and math.isnan(_number(v)) and len(str(v)) <= 40]
    return " / ".join(words[:5]) or f"row {number + 1}"

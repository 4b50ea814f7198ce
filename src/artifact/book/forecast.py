"""How long a series of notebooks will still take, from what each took before and what was measured so far.

Pure: no clock, no file. A notebook's cost is what it needs beside its training runs, and so much per run, because runs
found in the store cost nothing. Everything measured in this process, over the same work's cost, is one ratio: how fast
this machine is now. Left out: where costs come from and how the forecast is shown (`progress.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

ENOUGH_RUNS = 4
"""So many runs after the first of a notebook say how fast the machine is; lanes finish in bunches, which misleads."""

_RUN = re.compile(r"\[(\d+)/(\d+)\] .*: (?:[2-9]|\d\d+) s, run \S+")
"""What `run_study` says of a run; one of a second was found in the store."""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall clock that a notebook takes: `own_s` beside its `runs`, of which each adds `run_s`."""

    own_s: float
    runs: int = 0
    run_s: float = 0.0

    def seconds(self, runs: int | None = None) -> float:
        """The whole, with `runs` computed in place of all."""
        return self.own_s + self.run_s * (self.runs if runs is None else runs)


@dataclass
class Runs:
    """The training runs of the notebook at work, counted by the lines that `run_study` says of those it computes.

    at  seconds into the notebook at which each was finished
    """

    at: list[float] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    size: int = 0

    def hear(self, line: str, elapsed_s: float) -> bool:
        """Count the run that `line` is about; False where it is about none."""
        found = _RUN.fullmatch(line)
        if found is None:
            return False
        number, size = int(found[1]), int(found[2])
        if size != self.size or number in self.seen:  # the next study of the notebook
            self.seen, self.size = set(), size
        self.seen.add(number)
        self.at.append(elapsed_s)
        return True

    def left(self, expected: int) -> float:
        """Runs to be computed yet: the rest of the `expected`; beyond those, what the study at work has to come.

        A study passes over runs that are in the store; of those to come as many are passed over as of those before.
        """
        if len(self.at) < expected:
            return expected - len(self.at)
        last = max(self.seen, default=0)
        return (self.size - last) * len(self.seen) / last if last else 0.0


@dataclass(frozen=True)
class Running:
    """The notebook at work: its cost, the seconds since it began, and its runs so far."""

    cost: Cost
    elapsed_s: float
    runs: Runs = field(default_factory=Runs)


def remaining(
    done: Sequence[tuple[Cost, int, float]], running: Running | None, left: Sequence[Cost | None]
) -> float | None:
    """Seconds until the last notebook is finished; None where the cost of one is not known.

    done     cost, runs computed, and seconds taken, of each notebook executed in this process
    running  the one at work
    left     costs of those that have yet to begin
    """
    if any(cost is None for cost in left):
        return None
    rest = sum(cost.seconds() for cost in left if cost is not None)
    expected = sum(cost.seconds(runs) for cost, runs, _ in done)
    taken = sum(seconds for _, _, seconds in done)
    if running is None:
        return rest * _ratio(expected, taken)
    cost, at = running.cost, running.runs.at
    if len(at) > ENOUGH_RUNS:
        expected, taken = expected + cost.run_s * (len(at) - 1), taken + at[-1] - at[0]
    elif not at and running.elapsed_s > cost.seconds() * _ratio(expected, taken):  # overdue: slower than it was thought
        expected, taken = expected + cost.seconds(), taken + running.elapsed_s
    ratio = _ratio(expected, taken)
    if not at:
        return max(0.0, cost.seconds() * ratio - running.elapsed_s) + rest * ratio
    own = max(0.0, cost.own_s * ratio - max(0.0, at[0] - cost.run_s * ratio))  # what came before the first run is spent
    runs = cost.run_s * ratio * running.runs.left(cost.runs)
    return max(0.0, own + runs - (running.elapsed_s - at[-1])) + rest * ratio


def _ratio(expected: float, taken: float) -> float:
    return taken / expected if expected > 0 and taken > 0 else 1.0

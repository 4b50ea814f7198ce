"""How long a series of notebooks will still take, from what each took before and what was measured so far.

A series is a pipeline of two stages. The training queue makes the runs in the order of the notebooks; a notebook takes
what is its own (`Cost.own_s`) once the one before it is done and the runs that it shows are there:

    trained_k = Σ_{i ≤ k} runs_i · run_s_i,      done_k = max(done_{k-1}, trained_k) + own_k

Pure: no clock, no file. What was measured in this process, over its cost, says how fast this machine is now: one ratio
for runs, one for what is a notebook's own. Left out: where costs come from and how the forecast is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_RUNS = 4
"""So many runs after the first say how fast the machine is; lanes finish in bunches, which misleads."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a notebook takes: `own_s` beside the `runs` that none before it shows; each adds `run_s`."""

    own_s: float
    runs: int = 0
    run_s: float = 0.0

    def seconds(self) -> float:
        """The whole, as if nothing were done beside it."""
        return self.own_s + self.run_s * self.runs


@dataclass(frozen=True)
class Running:
    """The notebook at work: its cost, with the runs still to be trained, and the seconds it had all it needs for."""

    cost: Cost
    elapsed_s: float


@dataclass(frozen=True)
class Trained:
    """Runs trained in this process: how many, the seconds they should have taken and took, and those since the last."""

    runs: int = 0
    expected_s: float = 0.0
    taken_s: float = 0.0
    since_s: float = 0.0


def remaining(
    done: Sequence[tuple[Cost, float]], running: Running | None, left: Sequence[Cost | None], trained: Trained
) -> float | None:
    """Seconds until the last notebook is finished; None where the cost of one is not known.

    done     the cost, and the seconds taken by what is its own, of each notebook executed in this process
    running  the one at work
    left     costs of those that have yet to begin, with the runs still to be trained for each
    """
    if any(cost is None for cost in left):
        return None
    own_s, taken = sum(cost.own_s for cost, _ in done), sum(seconds for _, seconds in done)
    by_runs = _ratio(trained.expected_s, trained.taken_s) if trained.runs > ENOUGH_RUNS else 0.0
    if running is not None and not running.cost.runs:
        usual = running.cost.own_s * (_ratio(own_s, taken) or by_runs or 1.0)
        if running.elapsed_s > usual:  # overdue: slower than it was thought
            own_s, taken = own_s + running.cost.own_s, taken + running.elapsed_s
    own = _ratio(own_s, taken) or by_runs or 1.0
    run = by_runs or own
    trained_at, done_at = -trained.since_s, 0.0
    for cost in ([running.cost] if running else []) + [cost for cost in left if cost is not None]:
        trained_at += cost.runs * cost.run_s * run
        spent = running.elapsed_s if running is not None and cost is running.cost and not cost.runs else 0.0
        done_at = max(done_at, trained_at if cost.runs else 0.0) + max(0.0, cost.own_s * own - spent)
    return done_at


def _ratio(expected: float, taken: float) -> float:
    """How many times longer things take than they should; 0 where nothing was measured."""
    return taken / expected if expected > 0 and taken > 0 else 0.0

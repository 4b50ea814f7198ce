"""Mutants of the forecast of a series of notebooks."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

FORECAST = ("book/test_forecast.py",)

MUTANTS = (
    Mutant(
        "forecast: the machine's speed is left aside",
        "book/forecast.py",
        "return taken / expected if expected > 0 and taken > 0 else 1.0",
        "return 1.0",
        FORECAST,
    ),
    Mutant(
        "forecast: runs from the store count as computed",
        "book/forecast.py",
        "expected = sum(cost.seconds(runs) for cost, runs, _ in done)",
        "expected = sum(cost.seconds() for cost, runs, _ in done)",
        FORECAST,
    ),
    Mutant(
        "forecast: the runs of the notebook at work tell nothing",
        "book/forecast.py",
        "if len(at) > ENOUGH_RUNS:",
        "if False:",
        FORECAST,
    ),
    Mutant(
        "forecast: what came before the first run is waited for again",
        "book/forecast.py",
        "own = max(0.0, cost.own_s * ratio - max(0.0, at[0] - cost.run_s * ratio))",
        "own = cost.own_s * ratio",
        FORECAST,
    ),
    Mutant(
        "costs: a run shown by two notebooks is made twice",
        "book/costs.py",
        "_runs_of(record) - others",
        "_runs_of(record)",
        ("book/test_progress.py::test_the_last_execution_tells_the_cost",),
    ),
)

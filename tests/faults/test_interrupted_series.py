"""A series of notebooks killed at random five times ends with the bytes of one that was left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.interrupted_series import Kill, differences, interrupted, kind_of, table

SMALL = {
    "task.train_limit": 40,
    "annotation.draw": 4,
    "annotation.samples": 4,
    "cluster.lanes": 1,
    "cluster.engine.count": 1,
    "cluster.engine.enforce_eager": "true",
}
"""Phase 1 of both teachers and its notebook: a minute on a quiet machine, undisturbed."""


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_series_killed_at_random_leaves_what_it_always_leaves(tmp_path: Path) -> None:
    arguments = ["--quick", "--only", "03", *(f"--set={name}={value}" for name, value in SMALL.items())]
    kills, expected, differ = interrupted(tmp_path / "series", arguments, times=5, seed=0, within=0.5)
    print(table(kills, expected, differ))
    assert len(kills) == 5 and not differ
    assert {kind_of(name) for name in expected} >= {"samples", "annotations", "tables", "figures", "notebooks"}


def test_what_differs_is_named() -> None:
    expected = {"results/runs/K/manifest.json": b"1", "results/tables/t/a.csv": b"x", "figures/t/b.csv": b"y"}
    found = {"results/runs/K/manifest.json": b"2", "results/tables/t/a.csv": b"x", "results/runs/L.partial/c": b""}
    differ = differences(expected, found)
    assert differ == ["figures/t/b.csv", "results/runs/K/manifest.json", "results/runs/L.partial/c"]
    shown = table([Kill(3.0, "all its processes", 7, "a | b")], expected, differ)
    assert "| 3 s | all its processes | 7 | a   b |" in shown and "| tables | 1 | 1 |" in shown
    assert "| runs | 1 | 0 |" in shown and "DIFFERENT: results/runs/L.partial/c" in shown
    assert not differences(expected, dict(expected))

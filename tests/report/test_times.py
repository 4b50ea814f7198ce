"""What the machine decides is recognised by its column, and stands in no kept CSV beside results."""

from __future__ import annotations

import csv

import pytest

from artifact.paths import project_root
from artifact.report.times import SUFFIX, volatile_columns

ROOT = project_root()
CSVS = sorted([*(ROOT / "results" / "tables").glob("*/*.csv"), *(ROOT / "figures").glob("*/*.csv")])


@pytest.mark.parametrize(
    "name", ["seconds", "seconds_so_far", "tokens_per_second", "memory_gib", "minutes", "host", "date"]
)
def test_what_the_machine_decides_is_recognised(name: str) -> None:
    assert volatile_columns(["label", name]) == [name]


def test_ordinals_verdicts_and_counts_are_results() -> None:
    assert volatile_columns(["second", "weight_second", "timeout", "response_tokens", "estimator", "steps"]) == []


@pytest.mark.parametrize("path", CSVS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_result_stands_beside_seconds(path) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        volatile = volatile_columns(next(csv.reader(stream)))
    if path.stem.endswith(SUFFIX):
        assert volatile, f"{path.stem} holds nothing that the machine decides"
    else:
        assert not volatile, f"{path.stem} holds results and {volatile}: save these as {path.stem}{SUFFIX}"

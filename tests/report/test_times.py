"""Outputs that another machine changes are the listed ones; every other figure and table holds results alone."""

from __future__ import annotations

import csv
import json
import re

import pytest

from artifact.paths import project_root
from artifact.report.times import SUFFIX, TIMES, volatile_columns

ROOT = project_root()
SAVED = re.compile(r"(?:show_figure|show_table|\.figure|\.table)\(\s*.*?\"([a-z0-9_]+)\",\s", re.DOTALL)
CSVS = sorted([*(ROOT / "results" / "tables").glob("*/*.csv"), *(ROOT / "figures").glob("*/*.csv")])


@pytest.mark.parametrize(
    "name", ["seconds", "seconds_so_far", "tokens_per_second", "memory_gib", "minutes", "host", "date"]
)
def test_what_the_machine_decides_is_recognised(name: str) -> None:
    assert volatile_columns(["label", name]) == [name]


def test_ordinals_verdicts_and_counts_are_results() -> None:
    assert volatile_columns(["second", "weight_second", "timeout", "response_tokens", "estimator", "steps"]) == []


def test_the_notebooks_save_exactly_the_listed_outputs_with_the_suffix() -> None:
    cells = [
        "".join(cell["source"])
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    saved = {name for code in cells for name in SAVED.findall(code)}
    assert len(saved) > 50, "the calls that save outputs were not found"
    assert {name for name in saved if name.endswith(SUFFIX)} == TIMES


@pytest.mark.parametrize("path", CSVS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_result_stands_beside_seconds(path) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        volatile = volatile_columns(next(csv.reader(stream)))
    if path.stem in TIMES:
        assert volatile, f"{path.stem} is listed as one that the machine decides, but holds no such column"
    else:
        assert not volatile, f"{path.stem} holds results and {volatile}: save these as {path.stem}{SUFFIX}"

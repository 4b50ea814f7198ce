"""The ten-line method shown in notebooks 06 and 08: its cell is taken from there, run, and put through a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifact.config import load
from artifact.records import Group, Problem, Rollout, Status, Verdict
from artifact.train.methods.base import StepContext, available

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SHOWN_IN = ("06_what_each_loss_does", "08_core_training")


def method_cell(name: str) -> str:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    found = ["".join(c["source"]) for c in cells if c["cell_type"] == "code" and "@register(" in "".join(c["source"])]
    assert len(found) == 1
    return found[0]


def group(lengths: dict[int, Status], name: str = "p") -> Group:
    rollouts = tuple(
        Rollout(name, i, (1,), (7,) * n, (-0.1,) * n, "", "stop", 0, Verdict(status))
        for i, (n, status) in enumerate(lengths.items())
    )
    return Group(Problem(name, "?", "1", None, "t", "easy"), (1,), rollouts)


@pytest.mark.parametrize("name", SHOWN_IN)
def test_a_method_of_ten_lines_registered_from_a_notebook(name: str) -> None:
    source = method_cell(name)
    body = source[source.index("@register(") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 10
    for _ in range(2):  # running the cell again must not be an error
        exec(compile(source, name, "exec"), {"__name__": "__main__"})
    assert "shortest" in available()
    method = load("tiny", {"method": "shortest"}).make_method()
    assert method.needs.verdicts and method.needs.teacher and method.needs.gold and not method.needs.reference
    right, wrong = Status.CORRECT, Status.WRONG
    groups = [group({5: right, 2: wrong, 4: right}), group({1: wrong, 2: wrong, 3: wrong}, "q")]
    batch = method.batch(groups, StepContext(0, lambda problem, context: (1,), lambda text: (1,)))
    assert [(e.problem_id, len(e.response_ids), e.weight) for e in batch.examples] == [("p", 4, 1.0)]
    assert batch.coefficients == {"distil": 1.0} and batch.metrics == {"kept": 1.0}


def test_both_notebooks_show_the_same_method() -> None:
    assert method_cell(SHOWN_IN[0]) == method_cell(SHOWN_IN[1])

"""The area below a learning curve as an outcome, against areas by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.errors import ArtifactError
from artifact.report.convergence import over_the_curve
from artifact.report.differences import difference_table


def curves(**solved_at: int) -> pd.DataFrame:
    """Cells that solve every problem from step `solved_at` on, at the steps 0, 4 and 8; two seeds, four problems."""
    rows = [
        {"cell": cell, "label": cell, "teacher": "A", "seed": seed, "step": step, "problem_id": f"p{i}"}
        | {"difficulty": "easy", "family": "sum", "correct": step >= at + 4 * (i == 0 and seed == 1)}
        for cell, at in solved_at.items()
        for seed in (0, 1)
        for step in (0, 4, 8)
        for i in range(4)
    ]
    return pd.DataFrame(rows)


def test_the_difference_is_that_of_the_areas() -> None:
    table = difference_table(over_the_curve(curves(fast=0, slow=8, opd=4)), resamples=100)
    found = table.set_index("cell")["difference"]
    opd = (2 / 3 * 7 + 1 / 3) / 8
    assert found["fast"] == pytest.approx((1 * 7 + 2 / 3) / 8 - opd)
    assert found["slow"] == pytest.approx((1 / 3 * 7 + 0) / 8 - opd)
    assert set(table["split"]) == {"curve"} and set(table["problems"]) == {4} and set(table["seeds"]) == {2}


def test_curves_at_other_steps_do_not_compare() -> None:
    frame = curves(a=0, b=4)
    with pytest.raises(ArtifactError, match="taken at different steps"):
        over_the_curve(frame[~((frame["cell"] == "a") & (frame["step"] == 8))])


def test_only_the_comparisons_that_are_claimed() -> None:
    frame = over_the_curve(curves(mine=0, other=4, opd=8))
    table = difference_table(frame, reference=("opd", "other"), of="mine", resamples=100)
    assert table[["cell", "reference_cell"]].to_numpy().tolist() == [["mine", "opd"], ["mine", "other"]]
    with pytest.raises(ArtifactError, match="the cell 'nobody' was not run"):
        difference_table(frame, reference="opd", of="nobody")

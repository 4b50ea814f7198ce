"""Sentences made from numbers: what is claimed where no verdict differs."""

from __future__ import annotations

import pandas as pd

from artifact.report import narrative as S
from artifact.report.text import SAME


def test_unchanged_verdicts_claim_no_power() -> None:
    """Zero changes on 64 problems: at most 1 − 0.05^(1/64) = 4.57 % change, not a detectable difference of 0."""
    row = {
        "split": "s",
        "teacher": "t",
        "label": "OPD",
        "reference": "Base",
        "scope": "all",
        "problems": 64,
        "seeds": 1,
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "p_value": 1.0,
        "p_holm": 1.0,
        "smallest_detectable": 0.0,
        "seeds_agreeing": None,
        "verdict": SAME,
    }
    other = row | {"label": "CORE", "difference": 0.05, "low": -0.01, "high": 0.1, "smallest_detectable": 0.08}
    unchanged, changed = S.differences(pd.DataFrame([row, other]))
    assert "no verdict differs between OPD and Base on 64 problems, so at most 4.6 %" in unchanged
    assert "true difference of 8.0 points would be found" in changed
    assert changed.startswith("Teacher t: no significant difference between CORE and Base (+5.0 points, 95 % interval ")


def test_costs_name_the_extremes_and_take_seconds_from_their_own_frame() -> None:
    budget = pd.DataFrame({"teacher": ["A"] * 3, "label": ["x", "y", "z"], "response_tokens": [2000.0, 1000.0, 3000.0]})
    times = pd.DataFrame({"teacher": ["A", "A", "B"], "label": ["x", "y", "x"], "seconds": [9.6, 20.0, 99.0]})
    assert S.costs(budget, times) == [
        "Teacher A: at equal steps, sampled tokens per run go from 1,000 (y) to 3,000 (z), and training time from "
        "10 to 20 s."
    ]
    (equal,) = S.costs(budget.assign(response_tokens=500.0), times)
    assert equal == "Teacher A: every method sampled 500 tokens per run, and trained from 10 to 20 s."

"""Sentences made from numbers: what is claimed where no verdict differs."""

from __future__ import annotations

import pandas as pd

from artifact.report import narrative as S


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
        "verdict": "cannot be told apart",
    }
    other = row | {"label": "CORE", "difference": 0.05, "low": -0.01, "high": 0.1, "smallest_detectable": 0.08}
    unchanged, changed = S.differences(pd.DataFrame([row, other]))
    assert "no verdict differs between OPD and Base on 64 problems, so at most 4.6 %" in unchanged
    assert "true difference of 8.0 points would be found" in changed

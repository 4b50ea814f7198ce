"""What the page of the claims says of one: the rows that were read, the rule, the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifact.report.claims import Difference, load_claims
from artifact.report.claims_page import MECHANISM, Judgement
from artifact.report.outputs import save_table
from artifact.site import claims, outputs
from artifact.site.sources import Source


def judged(*keys: tuple[str, ...]) -> list[Judgement]:
    """A mechanism that a difference decides, judged as often as there are sets of keys."""
    claim = next(c for c in load_claims() if c.id == "uopd-beats-opd")
    says, _, test = list(claim.forms())[1]
    assert isinstance(test, Difference)
    common: dict[str, Any] = {
        "id": claim.id,
        "paper": "UOPD",
        "where": "abstract",
        "kind": "ordering",
        "output": "U-T1",
    }
    return [Judgement(**common, part=MECHANISM, says=says, tier="tiny", verdict="PASS", keys=k) for k in keys]


@pytest.fixture
def stored(results: Path) -> outputs.Outputs:
    """The table that the claim reads: its row is the second of four."""
    rows = [("A", "opd"), ("B", "opd"), ("B", "grpo"), ("B", "sft")]
    frame = pd.DataFrame(
        [
            {"teacher": t, "cell": "uopd-soft", "reference_cell": r, "scope": "all", "difference": 0.1}
            | {"low": 0.05, "high": 0.15, "verdict": "higher"}
            for t, r in rows
        ]
    )
    save_table(frame, "uopd_claimed", tier="tiny", keys=["a"], caption="Claimed.")
    return outputs.collect("tiny", {}, {}, {})


def test_a_claim_shows_its_row_its_rule_and_its_settings(stored: outputs.Outputs) -> None:
    (row,) = claims.as_rows(judged(("a",)), stored)
    (evidence,) = row["evidence"]
    assert evidence.page == "output/table-uopd_claimed.html" and evidence.rows == (1,)
    assert "teacher = B" in evidence.reads and "reference_cell = opd" in evidence.reads
    assert row["rule"].startswith("difference: PASS where") and row["rule"].endswith("; direction higher")


def test_what_was_not_made_has_no_page(results: Path) -> None:
    (row,) = claims.as_rows(judged(()), outputs.Outputs())
    assert [(e.page, e.rows) for e in row["evidence"]] == [(None, ())]


def test_runs_behind_a_claim_are_those_of_its_judgement() -> None:
    known = {key: Source(key, "runs", Path(key), {}, key) for key in "abcd"}
    found = claims.behind(judged(("a", "c"), (), ("c", "gone")), known)
    assert [[found["keys"][i] for i in row] for row in found["rows"]] == [["a", "c"], [], ["c"]]
    assert found["page"] == "claims.html" and found["about"][0][0].startswith("With an unreliable teacher")

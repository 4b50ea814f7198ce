"""The claims of the papers meet the notebooks and the studies: each names evidence that exists, each cost is told."""

from __future__ import annotations

import pytest

from artifact.report.claims import Claim, cells_of, load_claims
from artifact.studies import claims
from artifact.studies.claims import check_claims, cost, made_by
from artifact.studies.study import load_study

CLAIMS = load_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_the_evidence_of_each_claim_is_made_or_the_claim_says_why_not(claim: Claim) -> None:
    for _, _, test in claim.forms():
        for cells in cells_of(test):
            assert cells.name in made_by() or cells.awaits, cells.name


def test_a_cost_is_told_without_data_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    cost.cache_clear()
    told = {output: cost(output, "paper") for output in ("U-T1", "C-F1", "U-F4b", "C-F2")}
    runs = [cell.id for cell, _ in load_study("uopd_methods").runs("paper")]
    tokens = sum(cell != "seqkd" for cell in runs) * 1563 * 32 * 4 * 4096  # SeqKD samples nothing from the student
    assert told["U-T1"].endswith(f": {len(runs)} runs on 4 GPUs, at most {tokens:,} tokens sampled in training")
    assert "runs on 4 GPUs" in told["C-F1"] and told["C-F1"].endswith("of them over whole episodes of the data")
    assert told["U-F4b"].startswith("phase 1 of `artifact plan --tier paper`: 8 samples and a greedy answer")
    assert "no study feeds it" in told["C-F2"]
    assert "on a processor" in cost("U-T1", "tiny")


def test_where_nothing_was_made_nothing_is_judged(results: object) -> None:
    """Of a fresh folder: no claim and no mechanism has a verdict but those that the drafts alone decide."""
    checked = check_claims("tiny")
    assert not checked.broken and checked.damaged == ()
    parts = ("claim", "mechanism", "draft")
    by_part = {part: {j.verdict for j in checked.judgements if j.part == part} for part in parts}
    assert by_part["claim"] == by_part["mechanism"] == {"NOT RUN"} and by_part["draft"] == {"PASS", "FAIL"}
    assert all(j.reason and j.cost for j in checked.judgements if j.verdict == "NOT RUN")
    assert claims.BROKEN not in {j.verdict for j in checked.judgements}

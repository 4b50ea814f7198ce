"""Counting what a budget cuts off, on hand-made rollouts."""

from __future__ import annotations

import pytest

from artifact.errors import EmptyDataset
from artifact.records import Rollout, Status, Verdict
from artifact.tasks.truncation import count_truncation, fit_prompts


def _rollout(problem: str, finish: str, verdict: Verdict | None = None) -> Rollout:
    return Rollout(problem, 0, (1,), (2,), (-0.5,), "text", finish, verdict=verdict)


def test_counts_by_hand() -> None:
    found = count_truncation([
        _rollout("a", "stop", Verdict(Status.CORRECT, "1")), _rollout("a", "length", Verdict(Status.UNPARSED)),
        _rollout("b", "length", Verdict(Status.CORRECT, "2")), _rollout("a", "length", Verdict(Status.UNPARSED)),
    ])  # fmt: skip
    assert (found.responses, found.cut, found.cut_unparsed, found.problems) == (4, 3, 2, ("a", "b"))
    assert found.share == 0.75
    with pytest.raises(EmptyDataset, match="no rollout"):
        count_truncation([])


def test_prompts_that_leave_no_room_are_named() -> None:
    prompts = [("short", (1,) * 6), ("edge", (1,) * 10), ("long", (1,) * 11)]
    kept, dropped = fit_prompts(prompts, max_model_len=30, max_new_tokens=20)
    assert [name for name, _ in kept] == ["short", "edge"]
    assert dropped == {"long": 11}
    with pytest.raises(EmptyDataset, match=r"shortest of 3 has 6 tokens.*leaves 5"):
        fit_prompts(prompts, max_model_len=25, max_new_tokens=20)
    assert fit_prompts([], 30, 20) == ([], {})

"""Timeouts and errors of the verifier are no verdicts: a run with too many of them stops and says why."""

from __future__ import annotations

import pytest

from artifact.records import Problem, Rollout, Status, Verdict
from artifact.train.rollouts import TooManyAccidents, refuse_accidents, verify_groups

PROBLEM = Problem("p", "q", "1", None, "t", "easy")


def rollout(sample: int) -> Rollout:
    """An unverified rollout of one token."""
    return Rollout("p", sample, (1,), (2,), (-0.5,), r"\boxed{1}", "stop")


def test_too_many_accidents_stop_a_run():
    right, hung = Verdict(Status.CORRECT, "1"), Verdict(Status.TIMEOUT, "9^{9^{9}}", "stopped after 5 s")
    refuse_accidents([right] * 95 + [hung] * 5)
    refuse_accidents([hung, hung])  # two hard answers of two say nothing about the machine
    with pytest.raises(TooManyAccidents, match=r"6 of 100 .*5%.*6 × timeout: stopped after 5 s.*9\^\{9.*memory"):
        refuse_accidents([right] * 94 + [hung] * 6)
    with pytest.raises(TooManyAccidents, match="128 of 128"):
        verify_groups([PROBLEM], [[rollout(i) for i in range(128)]], lambda texts, problems: [hung] * len(texts))

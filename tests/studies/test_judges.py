"""Which judge clusters, and how teacher and judge share devices."""

from __future__ import annotations

import pytest

from artifact.config import ConfigError, load
from artifact.studies.annotate import make_judge, sharing


def test_exact_and_symbolic_judges_need_no_engine() -> None:
    for kind in ("exact", "symbolic"):
        judge, judge_report = make_judge(load("tiny", {"annotation.clustering": kind}))
        assert judge.name == judge_report["name"] == kind


def test_a_tier_without_a_judge_model_says_so() -> None:
    with pytest.raises(ConfigError, match=r"set models\.judge"):
        make_judge(load("tiny", {"annotation.clustering": "llm"}))


def test_teacher_and_judge_take_turns_unless_told_to_share() -> None:
    turns = load("paper")
    assert sharing(turns, "judge") is turns
    shared = load("paper", {"annotation.colocate_judge": True})
    # UOPD appendix A.1: 0.65 for the teacher, 0.20 for the judge.
    assert sharing(shared, "teacher").cluster.engine.gpu_memory_utilization == 0.65
    assert sharing(shared, "judge").cluster.engine.gpu_memory_utilization == 0.20
    assert shared.cluster.engine.gpu_memory_utilization == turns.cluster.engine.gpu_memory_utilization

"""Which judge clusters."""

from __future__ import annotations

import pytest

from artifact.config import ConfigError, load
from artifact.studies.judging import make_judge


def test_exact_and_symbolic_judges_need_no_engine() -> None:
    for kind in ("exact", "symbolic"):
        judge, judge_report = make_judge(load("tiny", {"annotation.clustering": kind}))
        assert judge.name == judge_report["name"] == kind


def test_a_tier_without_a_judge_model_says_so() -> None:
    with pytest.raises(ConfigError, match=r"set models\.judge"):
        make_judge(load("tiny", {"annotation.clustering": "llm"}))

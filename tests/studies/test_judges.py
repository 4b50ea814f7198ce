"""Which judge clusters."""

from __future__ import annotations

import pytest

from artifact.config import ConfigError, load
from artifact.studies import judging
from artifact.studies.inputs import metric_of
from artifact.studies.judging import make_judge
from artifact.tasks.catalogue.tinytext import TinyText


def test_exact_and_symbolic_judges_need_no_engine() -> None:
    for kind in ("exact", "symbolic"):
        judge, judge_report = make_judge(load("tiny", {"annotation.clustering": kind}))
        assert judge.name == judge_report["name"] == kind


def test_a_tier_without_a_judge_model_says_so() -> None:
    with pytest.raises(ConfigError, match=r"set models\.judge"):
        make_judge(load("tiny", {"annotation.clustering": "llm"}))


def test_a_graded_task_without_pairs_is_refused_before_its_judge_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*asked: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(judging, "load_classifier", never)
    monkeypatch.setattr(TinyText, "known_pairs", lambda self: [])
    changes = {"annotation.clustering": "nli", "models.judge": "models/none"}
    with pytest.raises(ConfigError, match=r"nli needs pairs of known relation .* task 'tinytext' gives none"):
        make_judge(load("tiny-text", changes))


def test_answers_of_a_task_without_a_metric_are_not_alike() -> None:
    with pytest.raises(ConfigError, match="'tinymath' is graded by no metric"):
        metric_of(load("tiny").task, [])

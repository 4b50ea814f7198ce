"""A study may take another tier's settings: its runs stay runs of the tier that asks, and nothing goes stale unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact.book import notebooks
from artifact.config import ConfigError, load, load_tier
from artifact.studies import study as matrix
from artifact.studies.study import load_study, settings_borrowed
from artifact.studies.training_queue import union


def test_runs_have_the_settings_of_the_other_tier_and_belong_to_the_one_that_asks() -> None:
    study = load_study("other_tasks")
    mine, theirs = study.runs("tiny"), study.runs("tiny-text")
    assert {c.tier for _, c in mine} == {"tiny"} and {c.tier for _, c in theirs} == {"tiny-text"}
    assert [c.model_copy(update={"tier": "tiny-text"}) for _, c in mine] == [c for _, c in theirs]
    assert mine[0][1].task.name == "tinytext" and mine[0][1].optimiser.lr == load("tiny-text").optimiser.lr


def test_a_quick_look_takes_the_quick_settings() -> None:
    runs = load_study("other_tasks").runs("tiny-quick")
    assert {c.seed for _, c in runs} == {0} and {c.tier for _, c in runs} == {"tiny-quick"}
    assert {c.train.steps for _, c in runs} == {load("tiny-text-quick").train.steps}
    assert load_tier("tiny-quick").seeds == load_tier("tiny-text-quick").seeds


def test_runs_of_both_worlds_share_actors() -> None:
    """An actor is named by the whole section: one setting more or less, and each lane would start all anew."""
    assert load("tiny").cluster == load("tiny-text").cluster and load("tiny").models.dtype == "float32"


def test_a_caller_changes_what_the_other_tier_sets() -> None:
    changes = {"train.steps": 3}
    assert {c.train.steps for _, c in load_study("other_tasks").runs("tiny", changes)} == {3}
    assert len(union(["other_tasks"], "tiny", changes)) == len(union(["other_tasks"], "tiny"))


def test_a_tier_that_is_none_is_told() -> None:
    facts = load_study("other_tasks").model_dump() | {"settings_of": {"tiny": "tiny-txt"}}
    with pytest.raises(ValueError, match=r"settings_of\.tiny-txt is no tier; the tiers are"):
        matrix.Study.model_validate(facts)


def test_settings_that_are_borrowed_make_a_notebook_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_borrowed("tiny") == ["tiny-text"] and settings_borrowed("cpu-llm") == []
    source = Path(__file__).parents[2] / "notebooks" / "12_other_tasks.ipynb"
    before = notebooks.fingerprint(source, "tiny", {}, [])
    tiers = {"tiny": load("tiny"), "tiny-text": load("tiny-text", {"train.steps": 99})}
    monkeypatch.setattr(notebooks, "load", lambda tier, changes=None: tiers[tier])
    after = notebooks.fingerprint(source, "tiny", {}, [])
    assert {part for part in before if before[part] != after[part]} == {"configuration"}
    other = {"student": load("tiny-text").models.teachers["A"]}
    models = load("tiny-text").models.model_copy(update=other)
    tiers["tiny-text"] = load("tiny-text").model_copy(update={"models": models})
    assert notebooks.fingerprint(source, "tiny", {}, [])["models"] != before["models"]


def test_a_tier_that_extends_the_named_one_takes_the_same_settings() -> None:
    alone = load_study("other_tasks").model_copy(update={"settings_of": {"tiny": "tiny-text"}})
    assert [alone.settings_tier(t) for t in ("tiny", "tiny-quick", "paper")] == ["tiny-text", "tiny-text", "paper"]


def test_an_unknown_tier_is_still_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown tier 'tny'"):
        load_study("other_tasks").runs("tny")

"""The configuration: every tier and study is valid; every mistake is told with its place and the nearest right name."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from artifact.config import (
    ConfigError,
    apply_overrides,
    load,
    load_tier,
    parse_overrides,
    read_extended,
    read_yaml,
    tier_names,
)
from artifact.paths import project_root
from artifact.studies.study import load_study

STUDIES = sorted(p.stem for p in (project_root() / "configs" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("tier", tier_names())
def test_every_tier_validates(tier: str) -> None:
    config = load(tier)
    assert config.tier == tier
    assert config.description and load_tier(tier).note
    assert config.teacher_path == config.models.teachers[config.teacher]


@pytest.mark.parametrize("tier", tier_names())
@pytest.mark.parametrize("study", STUDIES)
def test_every_study_expands_on_every_tier_that_it_is_made_on(study: str, tier: str) -> None:
    loaded = load_study(study)
    if not loaded.is_made_on(tier):
        with pytest.raises(ConfigError, match=f"not on '{tier}'"):
            loaded.runs(tier)
        return
    runs = loaded.runs(tier)
    teachers = len({config.teacher for _, config in runs})
    per_teacher = sum(len(loaded.seeds_of(cell.id)[: load_tier(tier).seeds]) for cell in loaded.cells)
    assert len(runs) == teachers * per_teacher
    assert len({config.model_dump_json() for _, config in runs}) == len(runs), "two runs are the same run"


def test_unknown_tier_lists_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown tier 'tny'; there are: cpu-llm, paper, paper-4b, paper-8b, single"):
        load("tny")


def test_unknown_study_lists_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown study 'uodp'; there are:.*uopd"):
        load_study("uodp")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer.lr": 1}, "override 'optimizer.lr': unknown key 'optimizer'; did you mean 'optimiser'?"),
        (
            {"losses.distil.topk": 3},
            "override 'losses.distil.topk': unknown key 'losses.distil.topk'; did you mean 'top_k'?",
        ),
        (
            {"cluster.engine.cuont": 3},
            "override 'cluster.engine.cuont': unknown key 'cluster.engine.cuont'; did you mean 'count'?",
        ),
        ({"optimiser.lr": -1}, "override 'optimiser.lr': optimiser.lr = -1: Input should be greater than 0"),
        (
            {"losses.distil.divergence": "kl"},
            "override 'losses.distil.divergence': losses.distil.divergence = 'kl': Input should be",
        ),
        ({"teacher": "Z"}, "tiny.yaml: teacher 'Z' is not one of models.teachers: ['A', 'B']"),
    ],
)
def test_mistakes_in_overrides_name_the_override(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("tiny", overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_mistakes_in_a_file_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (project_root() / "configs" / "tiers" / "tiny.yaml").read_text()
    (tmp_path / "configs" / "tiers").mkdir(parents=True)
    (tmp_path / "configs" / "tiers" / "mine.yaml").write_text(
        text.replace("tier: tiny", "tier: mine").replace("max_new_tokens: 120}", "max_new_tokns: 120}", 1)
    )
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        load("mine", {"train.steps": 3})
    lines = str(caught.value).splitlines()
    assert all(line.startswith("mine.yaml: ") for line in lines)
    assert "mine.yaml: unknown key 'sampling.max_new_tokns'; did you mean 'max_new_tokens'?" in lines
    assert "mine.yaml: key 'sampling.max_new_tokens' is missing" in lines


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("a.b=3", 3),
        ("a.b=1e-3", 0.001),
        ("a.b=1.0e-3", 0.001),
        ("a.b=true", True),
        ("a.b=null", None),
        ("a.b=text", "text"),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b={x: 1}", {"x": 1}),
        ("a.b=x=y", "x=y"),
        (" a.b = 3", 3),
    ],
)
def test_override_values_are_yaml(item: str, value: object) -> None:
    assert parse_overrides([item]) == {"a.b": value}


@pytest.mark.parametrize("item", ["train.steps", "=3", ""])
def test_malformed_override(item: str) -> None:
    with pytest.raises(ConfigError, match="not of the form"):
        parse_overrides([item])


def test_overrides_leave_the_original_alone_and_refuse_values_as_sections() -> None:
    data = {"a": {"b": 1}, "c": 2}
    assert apply_overrides(data, {"a.b": 5, "d.e": 6}) == {"a": {"b": 5}, "c": 2, "d": {"e": 6}}
    assert data == {"a": {"b": 1}, "c": 2}
    with pytest.raises(ConfigError, match="'c' is a value, not a section"):
        apply_overrides(data, {"c.x": 1})


def test_study_order_and_precedence() -> None:
    """Caller beats cell beats the study's tier overrides; teacher, method, options and seed are the cell's."""
    study = load_study("uopd").model_copy(
        update={
            "teachers": ("B", "A"),
            "seeds": (5,),
            "more_seeds": {"opd": (6,)},
            "cells": (
                load_study("uopd")
                .cells[0]
                .model_copy(update={"overrides": {"train.steps": 7, "sampling.temperature": 0.5}}),
                load_study("uopd").cells[1],
            ),
            "tiers": {"tiny": {"train.steps": 9, "optimiser.lr": 0.5}},
        }
    )
    runs = study.runs("tiny", {"sampling.temperature": 0.9})
    assert [(c.teacher, cell.label, c.seed) for cell, c in runs] == [
        (teacher, study.cells[i].label, seed) for teacher in ("B", "A") for i, seed in ((0, 5), (0, 6), (1, 5))
    ]
    assert [c.train.steps for _, c in runs[:3]] == [7, 7, 9]
    assert {c.optimiser.lr for _, c in runs} == {0.5}
    assert {c.sampling.temperature for _, c in runs} == {0.9}
    assert runs[2][1].method_options == study.cells[1].options


def test_all_teachers_means_those_of_the_tier() -> None:
    study = load_study("uopd")
    assert study.teachers == "all"
    assert {c.teacher for _, c in study.runs("tiny")} == set(load("tiny").models.teachers)


def test_sections_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load("tiny").task.name = "other"
    with pytest.raises(FrozenInstanceError):
        load("tiny").train.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("key", ["optimiser.lr", "losses.distil.temperature", "cluster.sync_tolerance"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"override '{key}'.*finite"):
        load("tiny", {key: value})


@pytest.mark.parametrize(
    ("text", "said"), [("- 1\n- 2\n", "found list"), ("a: [1", "not valid YAML"), ("", "found NoneType")]
)
def test_files_that_are_no_mapping(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"broken.yaml.*{said}"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("problems", "episodes", "per_step", "steps"),
    [(100, None, 8, 7), (100, 1, 8, 13), (100, 3, 8, 39), (96, 3, 8, 36), (5, 2, 8, 2), (1, 4, 1, 4)],
)
def test_episodes_replace_the_number_of_steps(problems: int, episodes: int | None, per_step: int, steps: int) -> None:
    """E passes over n problems, P a step: E · ⌈n / P⌉ steps."""
    config = load("tiny", {"train.steps": 7, "train.episodes": episodes, "train.prompts_per_step": per_step})
    assert config.train.total_steps(problems) == steps


def test_component_norms_need_whole_parameters() -> None:
    partitioned = {"cluster.zero_stage": 3, "train.component_norms_every": 2}
    with pytest.raises(
        ConfigError, match=r"component_norms_every needs whole parameters.*ZeRO stage 3.*zero_stage to 2"
    ):
        load("tiny", partitioned)
    for stage, every in ((3, 0), (2, 2), (0, 1)):
        config = load("tiny", {"cluster.zero_stage": stage, "train.component_norms_every": every})
        assert (config.cluster.zero_stage, config.train.component_norms_every) == (stage, every)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train.staleness": 1, "cluster.device": "cuda"}, "train.staleness has been run on CPU alone"),
        ({"cluster.device": "cuda"}, "train.stream has been run on CPU alone"),
        ({"task.calculator": True}, "drawn in rounds"),
        ({"cluster.zero_stage": 2}, "zero_stage = 2: set it to 1"),
    ],
)
def test_phases_overlap_where_that_was_run(changed: dict[str, Any], said: str) -> None:
    streamed = {"train.stream": True, "train.part_prompts": 2} if "train.staleness" not in changed else {}
    plain = {"optimiser.shared_prompts": False, "train.component_norms_every": 0, "cluster.engine.scheduler": "vllm"}
    load("tiny", plain | {name: value for name, value in changed.items() if name != "train.staleness"})
    with pytest.raises(ConfigError, match=said):
        load("tiny", plain | streamed | changed)


def test_a_tier_that_extends_another_says_only_what_differs() -> None:
    base, quick = load("tiny"), load("tiny-quick")
    assert quick.losses == base.losses and quick.cluster == base.cluster, "sections that it does not name"
    assert quick.train.steps < base.train.steps and quick.train.checkpoint_every == base.train.checkpoint_every
    assert load_tier("tiny-quick").base == "tiny" and load_tier("tiny").base == "tiny"
    assert load_tier("tiny-quick").note != load_tier("tiny").note
    few, all_ = load_study("uopd").runs("tiny-quick"), load_study("uopd").runs("tiny")
    first = [(cell.id, c) for cell, c in all_ if c.seed == 0]
    assert [cell.id for cell, _ in few] == [cell for cell, _ in first], "its one seed of each cell"
    assert [c.optimiser.lr for _, c in few] == [c.optimiser.lr for _, c in first], "the rates of its base"
    episodes = load_study("core_episodes")
    limits = {t: episodes.runs(t)[0][1].task.train_limit for t in ("tiny", "tiny-quick")}
    assert limits == {t: episodes.tiers[t]["task.train_limit"] for t in limits}, (
        "what the study says of the tier itself"
    )


@pytest.mark.parametrize(
    ("base", "message"), [("nowhere", "there is no nowhere.yaml beside it"), ("middle", "which extends 'bottom'")]
)
def test_two_layers_at_most(tmp_path: Path, base: str, message: str) -> None:
    (tmp_path / "top.yaml").write_text(f"extends: {base}\na: 1\n")
    (tmp_path / "middle.yaml").write_text("extends: bottom\n")
    (tmp_path / "bottom.yaml").write_text("a: 0\n")
    with pytest.raises(ConfigError, match=message):
        read_extended(tmp_path / "top.yaml")


def test_sections_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    (tmp_path / "top.yaml").write_text("extends: bottom\ns: {b: [3]}\n")
    (tmp_path / "bottom.yaml").write_text("a: 0\ns: {b: [1, 2], c: 4}\n")
    assert read_extended(tmp_path / "top.yaml") == {"extends": "bottom", "a": 0, "s": {"b": [3], "c": 4}}


def test_what_a_file_says_is_read_once_and_shared_by_nobody(tmp_path: Path) -> None:
    """A caller may change what it was given; a file that says something else is another value."""
    path = tmp_path / "mine.yaml"
    path.write_text("of: {a: [1]}\n")
    first = read_yaml(path)
    first["of"]["a"].append(2)
    assert read_yaml(path) == {"of": {"a": [1]}}
    path.write_text("of: {a: [3]}\n")
    assert read_yaml(path) == {"of": {"a": [3]}}

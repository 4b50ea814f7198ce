"""What a run measures is what the studies read of its cell, all together: no run is trained twice for a figure."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from artifact.config import ConfigError, load
from artifact.paths import project_root
from artifact.studies import study as matrix
from artifact.studies.comparison import merge_studies
from artifact.studies.learning_rates import selection_study
from artifact.studies.study import Cell, Study, load_study, study_names

TIER = load("tiny").train


def every(study: Study, tier: str = "tiny", **overrides: object) -> dict[str, set[tuple[int, int]]]:
    """Cell → how often its runs measure (the curve, the norms of the components)."""
    out: dict[str, set[tuple[int, int]]] = {}
    for cell, config in study.runs(tier, {name.replace("__", "."): value for name, value in overrides.items()}):
        out.setdefault(cell.id, set()).add((config.train.curve_every, config.train.component_norms_every))
    return out


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's configurations, in whose `studies` a test may write."""
    shutil.copytree(project_root() / "configs", tmp_path / "configs")
    for module in ("artifact.studies.study", "artifact.config.files"):
        monkeypatch.setattr(f"{module}.project_root", lambda: tmp_path)
    return tmp_path / "configs" / "studies"


def add(configs: Path, name: str, cells: list[Cell], **facts: object) -> Study:
    """A study of its own file, teacher A and seed 0."""
    rows = [cell.model_dump(exclude_defaults=True) for cell in cells]
    base = {"study": name, "title": "t", "outputs": [], "teachers": ["A"], "seeds": [0], "cells": rows}
    (configs / f"{name}.yaml").write_text(yaml.safe_dump(base | facts))
    return load_study(name)


def test_a_measure_is_taken_where_a_figure_reads_it_alone() -> None:
    both, curve, none = (TIER.curve_every, TIER.component_norms_every), (TIER.curve_every, 0), (0, 0)
    assert both == (4, 4)
    main = every(load_study("core")) | every(load_study("uopd")) | every(load_study("uopd_methods"))
    assert main.pop("core") == {both} and {frozenset(v) for v in main.values()} == {frozenset({curve})}
    controls = every(load_study("core_controls")) | every(load_study("uopd_controls"))
    shared = {cell: controls.pop(cell) for cell in ("core", "opd", "uopd-soft")}
    assert shared == {"core": {both}, "opd": {curve}, "uopd-soft": {curve}}, "they are runs of the main tables"
    assert controls and all(v == {none} for v in controls.values())


def test_a_cell_means_one_run_whichever_study_asks_for_it() -> None:
    known: dict[tuple[str, str, int], object] = {}
    for name in study_names():
        study = load_study(name)
        if study.is_made_on("tiny") and not (study.tiers or study.settings_of):
            for cell, config in study.runs("tiny"):
                assert known.setdefault((cell.id, config.teacher, config.seed), config) == config


def test_a_study_that_reads_more_changes_the_runs_of_all(configs: Path) -> None:
    shuffled = load_study("uopd_controls").cells[2]
    assert every(load_study("uopd_controls"))[shuffled.id] == {(0, 0)}
    reader = add(configs, "reader", [shuffled], reads={"curve": [shuffled.id]})
    assert every(load_study("uopd_controls"))[shuffled.id] == every(reader)[shuffled.id] == {(4, 0)}
    silent = add(configs, "silent", [load_study("core").cells[-1]])
    assert every(silent) == {"core": {(4, 4)}}, "it says nothing of its own, and shares what the main study reads"


def test_the_tier_says_how_often_and_the_caller_has_the_last_word(configs: Path) -> None:
    cell = Cell(id="mine", label="Mine", method="opd", learning_rate="opd")
    assert every(add(configs, "a", [cell])) == {"mine": {(0, 0)}}
    assert every(load_study("a"), train__curve_every=2) == {"mine": {(2, 0)}}
    own = cell.model_copy(update={"overrides": {"train.component_norms_every": 8}})
    assert every(add(configs, "a", [own])) == {"mine": {(0, 8)}}
    reads = {"curve": "all", "component_norms": "all"}
    assert every(add(configs, "a", [cell], reads=reads, teachers="all"), "cpu-llm") == {"mine": {(0, 0)}}


def test_studies_side_by_side_read_what_each_reads() -> None:
    merged = merge_studies(["core", "uopd_methods"], ["seqkd", "core", "opd"])
    assert merged.reads == {"curve": ("seqkd", "core", "opd"), "component_norms": ("core",)}
    assert merged.measured("curve") == {"seqkd", "core", "opd"}


def test_the_choice_of_rates_measures_nothing_beside() -> None:
    study = selection_study(load_study("core"), "tiny", {"core": [1e-3], "opd": [1e-3]})
    assert every(study) == {"opd.lr-0.001": {(0, 0)}, "core.lr-0.001": {(0, 0)}}


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ({"curve": ["mien"]}, "reads.curve names 'mien', which is no cell of study 'a'; it has mine"),
        ({"curves": "all"}, "reads.curves"),
        ({"curve": "every"}, "reads.curve"),
    ],
)
def test_mistakes_are_told(configs: Path, reads: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        add(configs, "a", [Cell(id="mine", label="Mine", method="opd")], reads=reads)


def test_measures_are_settings_of_the_loop() -> None:
    for path in matrix.MEASURED_EVERY.values():
        section, name = path.split(".")
        assert section == "train" and getattr(TIER, name) > 0

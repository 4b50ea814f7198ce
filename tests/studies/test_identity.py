"""A cell is its id: what is printed changes no number, no rate and no colour, and an id means one cell everywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from artifact.config import ConfigError, load, load_tier, tier_names
from artifact.report import tables
from artifact.report.styles import METHODS, label_styles
from artifact.studies import comparison
from artifact.studies import study as matrix
from artifact.studies.comparison import merge_studies, same_cell
from artifact.studies.plan import plan
from artifact.studies.study import Cell, Study, load_study, study_names

_spec = importlib.util.spec_from_file_location("report_frames", Path(__file__).parents[1] / "report" / "frames.py")
assert _spec is not None and _spec.loader is not None
frames = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(frames)


def renamed(study: Study) -> Study:
    """The study with every label another one, in another alphabetical order."""
    cells = tuple(c.model_copy(update={"label": f"{len(study.cells) - i} other"}) for i, c in enumerate(study.cells))
    return study.model_copy(update={"cells": cells})


@pytest.mark.parametrize("tier", tier_names())
@pytest.mark.parametrize("name", study_names())
def test_labels_change_no_setting_of_any_run(name: str, tier: str) -> None:
    study = load_study(name)
    if not study.is_made_on(tier):
        pytest.skip("it has no runs there")
    before, after = study.runs(tier), renamed(study).runs(tier)
    assert [(c.id, config) for c, config in before] == [(c.id, config) for c, config in after]


def test_labels_change_no_number_of_any_table_and_no_colour() -> None:
    evaluation = frames.evaluation_frame(20)
    other = evaluation.assign(label=evaluation["cell"].map({c: f"{i} z" for i, c in enumerate(METHODS)}))
    for make in (tables.accuracy_table, tables.difference_table):
        a, b = (
            make(f, resamples=50).drop(columns=["label", "reference"], errors="ignore") for f in (evaluation, other)
        )
        pd.testing.assert_frame_equal(a, b)
    assert list(label_styles(evaluation).values()) == list(label_styles(other).values())
    assert set(tables.difference_table(other, resamples=50)["reference"]) == {f"{list(METHODS).index('opd')} z"}


def test_studies_with_other_labels_still_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    core = load_study("core")
    monkeypatch.setattr(comparison, "load_study", {"core": core, "other": renamed(core)}.get)
    assert merge_studies(["core", "other"], ["core", "sft"]).cells == (core.cells[-1], core.cells[0])


def test_an_id_that_two_studies_use_is_the_same_cell() -> None:
    known: dict[str, Cell] = {}
    for name in study_names():
        for cell in load_study(name).cells:
            assert same_cell(known.setdefault(cell.id, cell), cell), f"{cell.id} of {name} is another cell elsewhere"


def test_every_chosen_rate_belongs_to_a_cell() -> None:
    ids = {cell.id for name in study_names() for cell in load_study(name).cells}
    for tier in tier_names():
        assert matrix.read_learning_rates(tier).get("cells", {}).keys() <= ids


CELL = {"id": "a", "label": "A", "method": "opd"}


@pytest.mark.parametrize(
    ("cells", "more", "said"),
    [
        ([CELL, CELL | {"label": "B"}], {}, "has the id 'a' twice"),
        ([CELL, CELL | {"id": "b"}], {}, "has the label 'A' twice"),
        ([CELL | {"id": "OPD (uniform)"}], {}, "cells.0.id = 'OPD .uniform.'"),
        ([{"label": "A", "method": "opd"}], {}, "key 'cells.0.id' is missing"),
        ([CELL], {"tiers": {"tinny": {}}}, "tiers.tinny is no tier; the tiers are cpu-llm"),
        ([CELL], {"more_seeds": {"b": [1]}}, "more_seeds names 'b', which is no cell of study 'mine'; it has a"),
        ([CELL], {"more_seeds": {"a": [1, 0]}}, r"more_seeds.a repeats a seed: \[0, 1, 0\]"),
    ],
)
def test_mistakes_in_a_study_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[Any], more: dict[str, Any], said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"study": "mine", "title": "t", "outputs": [], "seeds": [0], "cells": cells, **more})
    )
    monkeypatch.setattr(matrix, "named_file", lambda *a: path)
    with pytest.raises(ConfigError, match=said):
        load_study("mine")


@pytest.mark.parametrize("name", ["core_controls", "uopd_controls"])
def test_studies_of_controls_are_planned(name: str) -> None:
    stages, configs = plan("tiny", name)
    study = load_study(name)
    trained = [stage for stage in stages if stage.name == "train"]
    assert len(trained) == len(study.cells) and len(configs) == len(study.seeds) * len(study.cells)
    assert {config.teacher for config in configs} == {"B"}


@pytest.mark.parametrize("tier", ["tiny", "tiny-quick"])
def test_a_reference_row_of_an_ablation_is_the_run_of_the_main_study(tier: str) -> None:
    """Same id, teacher and seed, same configuration, in every study: found by its key and not trained twice."""
    known: dict[tuple[str, str, int], Any] = {}
    for name in study_names():
        study = load_study(name)
        if tier in study.settings_of or not study.is_made_on(tier):
            continue  # those are trained with the settings of another tier alone
        for cell, config in study.runs(tier):
            found = known.setdefault((cell.id, config.teacher, config.seed), config)
            assert found == config, f"{cell.id} of {name} is another run elsewhere"


@pytest.mark.parametrize("tier", ["single-gpu", "paper"])
def test_studies_of_core_share_the_settings_of_its_main_study(tier: str) -> None:
    names = [n for n in study_names() if load_study(n).tiers_of == "core"]
    assert {"core_alpha", "core_controls", "core_fallback", "core_top_k", "loss_forms"} <= set(names)
    [main] = [c for cell, c in load_study("core").runs(tier) if cell.id == "core" and c.seed == 0]
    without = main.model_copy(update={"task": main.task.model_copy(update={"calculator": False})})
    for name in names:
        own = without if load_study(name).tiers.get(tier, {}).get("task.calculator") is False else main
        for cell, config in load_study(name).runs(tier):
            assert (config.task.name, config.task.template) == (main.task.name, main.task.template)
            assert cell.id != "core" or config.seed or config == own, name


def one_cell(**of_study: Any) -> Study:
    cell = {"id": "a", "label": "A", "method": "opd", "learning_rate": "tier"} | of_study.pop("cell", {})
    return Study.model_validate(
        {"study": "mine", "title": "t", "outputs": [], "seeds": [0], "cells": [cell]} | of_study
    )


def test_factors_multiply_what_stands_there_last_of_all() -> None:
    """A count is rounded and stays at least 1; a caller's value is multiplied too, a whole number stays one."""
    tier = load("tiny")
    study = one_cell(
        cell={"factors": {"train.steps": 2.1, "optimiser.lr": 0.3, "losses.distil.top_k": 0.25}}, teachers=["B"]
    )
    [(_, config)] = study.runs("tiny")
    assert (config.train.steps, config.losses.distil.top_k) == (round(2.1 * tier.train.steps), 2)
    assert config.optimiser.lr == pytest.approx(0.3 * tier.optimiser.lr)
    [(_, small)] = study.runs("tiny", {"train.steps": 3, "losses.distil.top_k": 1})
    assert (small.train.steps, small.losses.distil.top_k) == (6, 1)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.stepz", "None"),
        ("task.train_limit", "None"),
        ("models.dtype", "'float32'"),
        ("task.calculator", "False"),
    ],
)
def test_a_factor_on_what_is_no_number_is_told(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"cell 'a': factors.{key} would multiply {said}, which is no number"):
        one_cell(cell={"factors": {key: 2}}).runs("tiny")


def test_teachers_may_be_named_for_one_tier() -> None:
    study = one_cell(teachers={"tiny": ["B"]})
    assert [c.teacher for _, c in study.runs("tiny")] == [c.teacher for _, c in study.runs("tiny-quick")] == ["B"]
    assert [c.teacher for _, c in study.runs("paper")] == ["qwen3-8b"], "all teachers of a tier that is not named"
    with pytest.raises(ValueError, match=r"teachers.tinny is no tier"):
        one_cell(teachers={"tinny": ["B"]})


def test_a_study_may_take_over_the_tiers_of_another() -> None:
    core = load_study("core").tiers["paper"]
    study = one_cell(tiers_of="core", tiers={"paper": {"train.episodes": 1}})
    assert study.overrides_on("paper") == core | {"train.episodes": 1} and study.overrides_on("tiny") == {}
    with pytest.raises(ConfigError, match="unknown study 'cor'"):
        one_cell(tiers_of="cor").runs("tiny")


@pytest.mark.parametrize("tier", tier_names())
def test_every_tier_says_where_its_rates_come_from(tier: str) -> None:
    facts = load_tier(tier)
    assert (facts.learning_rates == "chosen") == matrix.learning_rates_path(facts.base).is_file()


def test_the_values_of_a_setting_are_those_of_the_runs() -> None:
    from artifact.studies.comparison import reads_gold, setting_values

    planned = load_study("core_alpha").runs("tiny")
    alpha = setting_values(planned, "options.alpha")
    assert [alpha[f"core-alpha-{a:g}"] for a in (0.1, 1, 10)] == [0.1, 1.0, 10.0] and alpha["core"] == 5.0
    beta = setting_values(load_study("core_sensitivity").runs("tiny"), "losses.contrast.beta_in_force")
    assert (beta["core"], beta["core-beta-0.03"]) == (0.1, 0.03)
    assert set(setting_values(load_study("uopd_samples").runs("tiny"), "annotation.samples").values()) == {2, 4, 8, 16}
    for wrong, part in (("train.stepz", "stepz"), ("options.tau", "tau")):
        with pytest.raises(ConfigError, match=f"has no setting '{wrong}': there is no '{part}' in it"):
            setting_values(planned, wrong)
    with pytest.raises(ConfigError, match="seed is 0 in one run and 1 in another"):
        setting_values(planned, "seed")
    gold = reads_gold([*load_study("uopd_controls").runs("tiny"), *planned])
    assert {cell for cell, reads in gold.items() if not reads} == {
        "opd", "uopd-soft", "uopd-shuffled", "uopd-majority", "uopd-miller-madow", "uopd-chao-shen"
    }  # fmt: skip

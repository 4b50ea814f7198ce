"""A cell is its id: what is printed changes no number, no rate and no colour, and an id means one cell everywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from artifact.config import ConfigError, load_tier, tier_names
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
    ("cells", "tiers", "said"),
    [
        ([CELL, CELL | {"label": "B"}], {}, "has the id 'a' twice"),
        ([CELL, CELL | {"id": "b"}], {}, "has the label 'A' twice"),
        ([CELL | {"id": "OPD (uniform)"}], {}, "cells.0.id = 'OPD .uniform.'"),
        ([{"label": "A", "method": "opd"}], {}, "key 'cells.0.id' is missing"),
        ([CELL], {"tinny": {}}, "tiers.tinny is no tier; the tiers are cpu-llm"),
    ],
)
def test_mistakes_in_a_study_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[Any], tiers: dict[str, Any], said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"study": "mine", "title": "t", "outputs": [], "seeds": [0], "cells": cells, "tiers": tiers})
    )
    monkeypatch.setattr(matrix, "named_file", lambda *a: path)
    with pytest.raises(ConfigError, match=said):
        load_study("mine")


@pytest.mark.parametrize("name", ["core_controls", "uopd_controls"])
def test_studies_of_controls_are_planned(name: str) -> None:
    stages, configs = plan("tiny", name)
    study = load_study(name)
    trained = [stage for stage in stages if stage.name == "train"]
    assert len(trained) == len(study.cells) and len(configs) == 2 * len(study.seeds) * len(study.cells)


@pytest.mark.parametrize("tier", tier_names())
def test_every_tier_says_where_its_rates_come_from(tier: str) -> None:
    facts = load_tier(tier)
    assert (facts.learning_rates == "chosen") == matrix.learning_rates_path(facts.base).is_file()

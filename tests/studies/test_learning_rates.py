"""The choice of learning rates: one grid and split for all, the rule, and that studies read what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifact.config import ConfigError
from artifact.studies import learning_rates
from artifact.studies import study as matrix
from artifact.studies.runner import RunInfo
from artifact.studies.study import load_study


@pytest.fixture
def kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The choices of this test go to a folder of its own."""
    for module in (matrix, learning_rates):
        monkeypatch.setattr(module, "learning_rates_path", lambda tier: tmp_path / f"{tier}.yaml")
    return tmp_path


def test_every_cell_is_tried_at_every_rate_on_validation_with_a_seed_no_study_uses() -> None:
    study = load_study("core")
    grid = learning_rates.selection_study(study, "tiny", {cell.id: [1e-4, 1e-3] for cell in study.cells})
    runs = grid.runs("tiny")
    assert len(runs) == 2 * len(study.cells)
    assert {c.optimiser.lr for _, c in runs} == {1e-4, 1e-3}
    assert {c.evaluation.final for _, c in runs} == {("validation",)}
    assert {c.seed for _, c in runs}.isdisjoint(study.seeds)
    assert len({c.teacher for _, c in runs}) == 1


def test_the_best_rate_is_kept_and_of_equal_ones_the_smallest(
    kept_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {"opd": {1e-4: 5, 1e-3: 7, 1e-2: 7}, "uopd-soft": {1e-6: 9, 1e-5: 8, 1e-4: 7, 1e-3: 6, 1e-2: 1}}

    def run_study(study: Any, tier: str, overrides: Any, progress: bool) -> list[RunInfo]:
        return [
            RunInfo(cell.label, cell.method, "A", 1000, cell.label, Path(), {}, cell.id) for cell, _ in study.runs(tier)
        ]

    def evaluation_frame(runs: list[RunInfo]) -> pd.DataFrame:
        cell, rate = runs[0].cell.split(".lr-")
        correct = outcomes.get(cell, {1e-5: 0, 1e-4: 1, 1e-3: 0, 1e-2: 0})[float(rate)]
        return pd.DataFrame({"correct": [True] * correct + [False] * (10 - correct)})

    monkeypatch.setattr(learning_rates, "run_study", run_study)
    monkeypatch.setattr("artifact.studies.results.evaluation_frame", evaluation_frame)
    learning_rates.select("uopd", "tiny", [1e-2, 1e-4, 1e-3])
    tried = learning_rates.selection_table("tiny", load_study("uopd").cells).groupby("cell")["lr"].apply(list)
    assert tried["opd"] == [1e-4, 1e-3, 1e-2]  # an interior winner needs no further rate
    assert tried["uopd-soft"] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]  # 1e-5 beat 1e-4, 1e-6 beat it: twice, then no more
    assert tried["uopd-binary-0.5"] == [1e-5, 1e-4, 1e-3, 1e-2]  # a step beyond the edge, and it lost
    chosen = {cell.id: c.optimiser.lr for cell, c in load_study("uopd").runs("tiny")}
    assert chosen["opd"] == 1e-3
    assert chosen["uopd-soft"] == 1e-6
    overridden = load_study("uopd").runs("tiny", {"optimiser.lr": 0.5})
    assert {c.optimiser.lr for _, c in overridden} == {0.5}
    table = learning_rates.selection_table("tiny", load_study("uopd").cells)
    assert table.groupby("cell")["chosen"].sum().eq(1).all()
    row = table[(table["cell"] == "opd") & table["chosen"]].iloc[0]
    # Wilson interval of 7 of 10 at 95 %: 0.397 to 0.892 (textbook value).
    assert (row["accuracy"], round(row["low"], 3), round(row["high"], 3)) == (0.7, 0.397, 0.892)


def test_a_rate_that_was_not_chosen_is_an_error_that_says_what_to_run(kept_elsewhere: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cell 'opd': no learning rate .* select-learning-rates --study uopd --tier tiny"
    ):
        load_study("uopd").runs("tiny")
    assert {c.optimiser.lr for _, c in load_study("uopd").runs("tiny", {"optimiser.lr": 0.5})} == {0.5}
    assert learning_rates.selection_table("tiny", load_study("uopd").cells).empty


def test_a_cell_may_say_whose_rate_it_has(kept_elsewhere: Path) -> None:
    (kept_elsewhere / "tiny.yaml").write_text("tier: tiny\ncells: {opd: {lr: 0.25, tried: []}}\n")
    opd = load_study("uopd").cells[0]
    others = (opd.model_copy(update={"id": f"x-{r}", "label": r, "learning_rate": r}) for r in ("tier", "opd"))
    study = load_study("uopd").model_copy(update={"cells": (opd, *others)})
    assert {cell.id: c.optimiser.lr for cell, c in study.runs("tiny")} == {"opd": 0.25, "x-tier": 1e-3, "x-opd": 0.25}
    with pytest.raises(ConfigError, match="no learning rate was chosen for 'sft'"):
        study.model_copy(update={"cells": (opd.model_copy(update={"learning_rate": "sft"}),)}).runs("tiny")


def test_a_tier_that_says_so_keeps_its_own_rate_and_no_file_may_contradict_it(kept_elsewhere: Path) -> None:
    assert {c.optimiser.lr for _, c in load_study("uopd").runs("paper")} == {3e-6}
    (kept_elsewhere / "paper.yaml").write_text("tier: paper\ncells: {}\n")
    with pytest.raises(ConfigError, match="say `learning_rates: chosen` there, or remove the file"):
        load_study("uopd").runs("paper")
    (kept_elsewhere / "tiny.yaml").write_text("tier: paper\ncells: {}\n")
    with pytest.raises(ConfigError, match="tier = 'paper'; the file's name says 'tiny'"):
        load_study("uopd").runs("tiny")


@pytest.mark.parametrize(
    ("study", "tier", "said"), [("uopd", "paper", "does not read chosen"), ("mine", "tiny", "none to")]
)
def test_a_choice_that_nothing_would_read_is_refused(
    kept_elsewhere: Path, monkeypatch: pytest.MonkeyPatch, study: str, tier: str, said: str
) -> None:
    cells = tuple(c.model_copy(update={"learning_rate": "tier"}) for c in load_study("uopd").cells)
    mine = load_study("uopd").model_copy(update={"cells": cells} if study == "mine" else {})
    monkeypatch.setattr(learning_rates, "load_study", lambda name: mine)
    with pytest.raises(ConfigError, match=said):
        learning_rates.select(study, tier, [1e-4, 1e-3])


@pytest.mark.parametrize(
    "overrides",
    [{"optimiser.lr": 1e-3}, {"evaluation.final": ["evaluation"]}, {"train.curve_every": 4, "train.steps": 2}],
)
def test_overrides_of_what_the_selection_sets_itself_are_refused(
    kept_elsewhere: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]
) -> None:
    monkeypatch.setattr(learning_rates, "run_study", lambda *a, **k: pytest.fail("a run was begun"))
    with pytest.raises(ConfigError, match=rf"the selection sets {next(iter(overrides))} of its runs itself"):
        learning_rates.select("uopd", "tiny", [1e-4, 1e-3], overrides)
    assert not list(kept_elsewhere.iterdir())


@pytest.mark.parametrize(
    "more", [{"seeds": (0, learning_rates.SEED)}, {"more_seeds": {"uopd-soft": (3, learning_rates.SEED)}}]
)
def test_a_study_with_the_seed_of_the_selection_is_refused(
    kept_elsewhere: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    study = load_study("uopd")
    taken = study.model_copy(update=more)
    monkeypatch.setattr(learning_rates, "load_study", lambda name: taken)
    monkeypatch.setattr(learning_rates, "run_study", lambda *a, **k: pytest.fail("a run was begun"))
    with pytest.raises(ConfigError, match="seed 1000, which is kept for choosing learning rates"):
        learning_rates.select("uopd", "tiny", [1e-4, 1e-3])

"""Ablation tables and figures: numbers against the frames they come from, and what is drawn against the numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artifact.errors import ArtifactError
from artifact.report import ablations, tables


def evaluation(accuracies: dict[str, dict[int, float]], problems: int = 20, teacher: str = "B") -> pd.DataFrame:
    """cell → seed → share of the problems, the first ones, that are right."""
    rows = []
    for cell, per_seed in accuracies.items():
        for seed, share in per_seed.items():
            for i in range(problems):
                rows.append(
                    {
                        "label": cell.upper(),
                        "cell": cell,
                        "teacher": teacher,
                        "seed": seed,
                        "split": "evaluation",
                        "problem_id": f"p{i:02d}",
                        "difficulty": "easy",
                        "family": "eq",
                        "reads_gold": False,
                        "sample": 0,
                        "correct": i < share * problems,
                        "response_tokens": 10,
                    }
                )
    return pd.DataFrame(rows)


FRAME = evaluation(
    {"n-16": {0: 0.8, 1: 0.6}, "opd": {0: 0.5, 1: 0.5}, "n-2": {0: 0.4, 1: 0.5}, "other": {0: 0.1, 1: 0.1}}
)
VALUES = {"n-16": 16, "n-2": 2, "opd": 8}


def test_cells_are_ordered_by_the_value_of_their_setting() -> None:
    table = ablations.by_setting(FRAME, VALUES, {"n-16": "many"}, resamples=200)
    assert list(table["cell"]) == ["n-2", "opd", "n-16"] and list(table["name"]) == ["2", "8", "many"]
    assert table["accuracy"].tolist() == pytest.approx([0.45, 0.5, 0.7])
    assert table["seed_low"].tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert table["seed_high"].tolist() == pytest.approx([0.5, 0.5, 0.8])
    assert table["sd"].tolist() == pytest.approx([np.std([0.4, 0.5], ddof=1), 0.0, np.std([0.8, 0.6], ddof=1)])
    assert (table["low"] < table["accuracy"]).all() and (table["accuracy"] < table["high"]).all()


def test_a_cell_that_was_not_run_is_told() -> None:
    with pytest.raises(ArtifactError, match=r"no run of the cell\(s\) n-4 in this evaluation"):
        ablations.by_setting(FRAME, VALUES | {"n-4": 4})


def test_a_panel_holds_its_values_its_references_and_nothing_that_hides_them() -> None:
    table = ablations.by_setting(FRAME, VALUES, {"n-16": "many"}, resamples=200)
    linear = ablations.by_setting(FRAME, {"opd": 0.4, "n-2": 1.0}, resamples=200)
    figure, data = ablations.setting_panels(
        {("a", "N"): table, ("b", "T"): linear}, {"untrained": {"evaluation": 0.25}}
    )
    first, second = figure.axes[:2]
    assert [t.get_text() for t in first.get_xticklabels()] == ["2", "8", "many"]
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    assert (first.get_title(), first.get_xlabel(), second.get_xlabel()) == ("a", "N", "T")
    drawn = [np.asarray(line.get_ydata()).tolist() for line in first.get_lines()]
    assert any(values == pytest.approx([0.45, 0.5, 0.7]) for values in drawn) and [0.25, 0.25] in drawn
    assert list(data["panel"]) == ["a"] * 3 + ["b"] * 2 and list(data["setting"]) == ["N"] * 3 + ["T"] * 2


def on_two_splits(frame: pd.DataFrame) -> pd.DataFrame:
    """The same again on a second split, with right and wrong exchanged."""
    return pd.concat([frame, frame.assign(split="amo-bench", correct=~frame["correct"])], ignore_index=True)


def test_of_several_splits_each_has_a_panel_and_a_level_of_its_own() -> None:
    table = ablations.by_setting(on_two_splits(FRAME), VALUES, resamples=50)
    levels = {"untrained": {"evaluation": 0.25, "amo-bench": 0.75}}
    figure, data = ablations.setting_panels({("a", "N"): table, ("b", "N"): table}, levels)
    drawn = {axis.get_title(): [np.asarray(x.get_ydata()).tolist() for x in axis.get_lines()] for axis in figure.axes}
    assert set(drawn) == {"a\nevaluation", "a\namo-bench", "b\nevaluation", "b\namo-bench"}
    for title, lines in drawn.items():
        right = [0.45, 0.5, 0.7] if "evaluation" in title else [0.55, 0.5, 0.3]
        assert any(values == pytest.approx(right) for values in lines)
        level = levels["untrained"][title.split("\n")[1]]
        assert [level, level] in lines and all(len(values) in (2, 3) for values in lines)
    assert len(data) == 12


def test_a_forest_of_several_splits_has_a_panel_for_each() -> None:
    accuracies = {"opd": dict.fromkeys((0, 1), 0.2), "better": dict.fromkeys((0, 1), 0.8)}
    differences = tables.difference_table(on_two_splits(evaluation(accuracies)), resamples=200)
    figure, _ = ablations.difference_forest(differences, {"better": False, "opd": False})
    found = {axis.get_title(): np.asarray(axis.collections[-1].get_offsets())[:, 0] for axis in figure.axes}
    assert found["teacher B\nevaluation"] == pytest.approx([60]) and found["teacher B\namo-bench"] == pytest.approx(
        [-60]
    )


def test_rows_of_several_splits_and_comparisons_can_be_told_apart() -> None:
    one, two = FRAME[FRAME["cell"].isin(["opd", "n-2"])], on_two_splits(FRAME[FRAME["cell"].isin(["opd", "n-2"])])
    found = {len(f): ablations.compared_at("equal steps", tables.difference_table(f, resamples=50)) for f in (one, two)}
    assert set(found[len(one)]["split"]) == {"equal steps"}
    assert set(found[len(two)]["split"]) == {"equal steps, evaluation", "equal steps, amo-bench"}
    costs = {"bytes_per_token": 1, "bytes_per_step": 1.0, "teacher_mass": 1.0, "student_mass": 1.0}
    for frame, named in ((one, False), (two, True)):
        shown = ablations.format_top_k(ablations.by_setting(frame, {"n-2": 2, "opd": 8}, resamples=50).assign(**costs))
        assert ("split" in shown) == named
        assert not shown[[c for c in ("split", "teacher", "k", "method") if c in shown]].duplicated().any()


def test_more_panels_than_columns_go_into_rows() -> None:
    table = ablations.by_setting(FRAME, VALUES, resamples=50)
    figure, _ = ablations.setting_panels({(str(i), "N"): table for i in range(5)}, columns=4)
    assert sum(axis.axison for axis in figure.axes) == 5 and len(figure.axes) == 8


def test_a_forest_fills_claims_and_stars_what_reads_labels() -> None:
    accuracies = {
        "opd": dict.fromkeys((0, 1, 2), 0.2),
        "better": {0: 0.8, 1: 0.81, 2: 0.8},
        "same": dict.fromkeys((0, 1, 2), 0.2),
    }
    differences = tables.difference_table(evaluation(accuracies, 100), resamples=500)
    figure, data = ablations.difference_forest(differences, {"better": True, "same": False, "opd": False})
    assert dict(zip(data["cell"], data["verdict"], strict=True)) == {"better": "higher", "same": tables.SAME}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["BETTER *", "SAME"]
    marks = figure.axes[0].collections[-1]
    assert np.asarray(marks.get_offsets())[:, 0].tolist() == pytest.approx((100 * data["difference"]).tolist())
    faces = np.atleast_2d(np.asarray(marks.get_facecolor(), dtype=float))
    assert (faces[:, :3] != 1.0).any(axis=1).tolist() == [True, False]


def test_the_column_of_labels_names_what_was_trained_and_leaves_the_rest_open() -> None:
    shown = pd.DataFrame({"teacher": ["B"] * 3, "method": ["x", "y", "z"], "n": ["1", "2", "3"]})
    marked = ablations.with_gold(shown, pd.Series(["grpo", "opd", "base"]), {"grpo": True, "opd": False})
    assert list(marked.columns) == ["teacher", "method", "reads labels", "n"]
    assert list(marked["reads labels"]) == ["yes", "no", "–"] and "reads labels" not in shown


def metrics(cell: str, seeds: int = 2) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for step in range(8):
            mass = 0.5 if step < 6 else (0.9 if step == 6 else 0.6)
            rows.append(
                {"cell": cell, "teacher": "B", "seed": seed, "step": step, "teacher_tokens": 2**20}
                | {
                    "distil/tokens": 300.0 if step == 6 else 100.0,
                    "distil/teacher_mass": mass,
                    "distil/student_mass": mass / 2,
                }
            )
    return pd.DataFrame(rows)


def test_top_k_counts_bytes_and_weighs_the_last_quarter_by_tokens() -> None:
    table = ablations.by_setting(FRAME, {"n-2": 2, "opd": 8}, resamples=50)
    out = ablations.top_k_table(table, pd.concat([metrics("n-2"), metrics("opd")]), {"n-2": 20, "opd": 68})
    assert out["bytes_per_step"].tolist() == pytest.approx([20 * 2**20, 68 * 2**20])
    late = (300 * 0.9 + 100 * 0.6) / 400
    assert out["teacher_mass"].tolist() == pytest.approx([late] * 2)
    assert out["student_mass"].tolist() == pytest.approx([late / 2] * 2)
    few = metrics("opd").query("step < 2")
    [row] = ablations.top_k_table(table[table["cell"] == "opd"], few, {"opd": 68}).to_dict("records")
    assert row["teacher_mass"] == pytest.approx(0.5), "of two steps the last quarter is the last one"
    shown = ablations.format_top_k(out)
    assert shown["bytes a token"].tolist() == ["20", "68"] and shown["MiB a step"].tolist() == ["20.00", "68.00"]
    assert not shown.isna().to_numpy().any()


def test_counts_have_a_dash_where_nothing_is_counted() -> None:
    table = pd.DataFrame(
        {
            "teacher": ["B", "B"],
            "cell": ["a", "b"],
            "label": ["A", "B"],
            "pairs": [3.25, 0.0],
            "fallback_prompts": [math.nan, 2],
        }
    )
    shown = ablations.format_counts(table)
    assert list(shown.columns) == ["teacher", "method", "pairs", "fallback prompts"]
    assert shown["pairs"].tolist() == ["3.2", "0.0"] and shown["fallback prompts"].tolist() == ["–", "2.0"]

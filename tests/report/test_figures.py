"""Figures: the numbers they draw against hand counts, what is on the axes, and one look a label."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artifact.config import load
from artifact.report import figures_overview, figures_se, figures_training
from artifact.report import styles as style
from artifact.report.times import volatile_columns
from artifact.worlds.tiny.splits import load_split

_spec = importlib.util.spec_from_file_location("report_frames", Path(__file__).with_name("frames.py"))
assert _spec is not None and _spec.loader is not None
frames = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(frames)


def test_difficulties_and_families_have_their_own_order() -> None:
    assert style.ordered(["hard", "easy", "competition", "hard"]) == ["easy", "hard", "competition"]
    assert style.ordered(["z", "mod", "a", "sum"]) == ["sum", "mod", "z", "a"]


def test_accuracy_by_entropy_counts() -> None:
    table = pd.DataFrame({"normalised": [0.0, 0.1, 0.9, 1.0, 0.5], "wrong": [False, False, True, False, True]})
    figure, data = figures_se.accuracy_by_entropy({"A": table}, bins=2)
    assert data["n"].tolist() == [2, 3] and data["correct"].tolist() == [2, 1]
    assert data["accuracy"].tolist() == pytest.approx([1.0, 1 / 3])
    assert [t.get_text() for t in figure.axes[0].texts] == ["2", "3"]


def test_entropy_by_difficulty_shares() -> None:
    frame = pd.DataFrame({"difficulty": ["hard", "easy", "easy", "hard"], "normalised": [1.0, 0.0, 0.6, 0.0]})
    figure, data = figures_se.entropy_by_difficulty({"A": frame}, bins=2)
    assert data["difficulty"].unique().tolist() == ["easy", "hard"]
    assert data["n"].tolist() == [1, 1, 1, 1] and data["share"].tolist() == [0.5] * 4
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["easy (n = 2)", "hard (n = 2)"]


def test_entropy_of_one_difficulty_is_drawn_once() -> None:
    frame = pd.DataFrame({"difficulty": ["easy"] * 3, "normalised": [1.0, 0.0, 0.6]})
    figure, data = figures_se.entropy_by_difficulty({"A": frame, "B": frame}, bins=2)
    assert len(figure.axes) == 2 and data["n"].tolist() == [1, 2] * 2
    assert {ax.get_ylabel() for ax in figure.axes} == {"share of all problems", ""}


def test_weights_by_verdict_add_up() -> None:
    _, data = figures_se.weight_by_verdict({"A": frames.annotation_frame(0), "B": frames.annotation_frame(1)})
    assert data.groupby("teacher")["n"].sum().tolist() == [200, 200]
    assert data.groupby("teacher")["share"].sum().tolist() == pytest.approx([1.0, 1.0])


def test_roc_draws_every_score_and_says_its_auroc() -> None:
    scores = {"A": frames.score_table()}
    names = ["semantic_entropy", "negative_mean_logprob"]
    aurocs = pd.DataFrame(
        {"teacher": "A", "score": names, "auroc": [0.9, 0.8], "lower": [0.85, 0.7], "upper": [0.95, 0.9]}
    )
    figure, data = figures_se.roc(scores, aurocs)
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == [
        "semantic entropy\n0.900 (0.850 to 0.950)",
        "negative mean logprob\n0.800 (0.700 to 0.900)",
    ]
    ends = data.groupby("score", sort=False)[["false_positive_rate", "true_positive_rate"]].agg(["first", "last"])
    assert np.array_equal(ends.to_numpy(), [[0, 1, 0, 1]] * 2)


def test_curve_points_by_hand() -> None:
    rows = [
        {
            "label": "CORE",
            "cell": "core",
            "teacher": "A",
            "seed": seed,
            "step": 10,
            "problem_id": f"c{i}",
            "correct": correct,
            "response_tokens_so_far": 100 * (1 + seed),
            "teacher_tokens_so_far": 50,
            "seconds_so_far": 2.0,
        }
        for seed, outcomes in ((0, (True, False)), (1, (True, True)))
        for i, correct in enumerate(outcomes)
    ]
    point = figures_training.curve_points(pd.DataFrame(rows)).iloc[0]
    assert point["accuracy"] == 0.75 and point["sd"] == pytest.approx(0.5 / 2**0.5)
    assert (point["response_tokens"], point["seeds"], point["problems"]) == (150, 2, 2)
    assert figures_training.curve_points(pd.DataFrame(rows), times=True)["seconds"].tolist() == [2.0]


def test_learning_curves_have_a_row_per_teacher_and_say_what_the_band_is() -> None:
    figure, data = figures_training.learning_curves(frames.curve_frame())
    assert len(figure.axes) == 2 * 2 and len(data) == 2 * 3 * 5
    assert figure.axes[0].get_title() == "greedy accuracy on 20 problems; band: ± 1 SD over 3 seeds"
    colors = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    assert colors == {label: style.METHODS[frames.CELLS[label]].color for label in frames.LABELS}


def test_seconds_stand_in_a_figure_of_their_own() -> None:
    """Another machine changes the second frame and nothing of the first."""
    slower = frames.curve_frame().assign(seconds_so_far=lambda t: 3 * t["seconds_so_far"])
    for draw, moved in ((figures_training.learning_curves, 0), (figures_training.learning_curve_times, 5)):
        (_, here), (_, there) = draw(frames.curve_frame()), draw(slower)
        changed = here.ne(there) & here.notna()
        assert changed.any(axis=0).sum() == bool(moved) and volatile_columns(here) == (["seconds"] if moved else [])
        assert changed.to_numpy().sum() == moved * 2 * 3  # every step, per teacher and label


def test_cost_shares_by_hand() -> None:
    data = figures_training.cost_points(frames.metrics_frame(steps=4))
    row = data[(data["teacher"] == "A") & (data["label"] == "UOPD (soft)")].set_index("phase")
    assert row.loc["rollout", "seconds"] == pytest.approx(2.0)
    assert row.loc["teacher", "share"] == pytest.approx(0.25 / 1.4) and row["share"].sum() == pytest.approx(1)


def test_splits_whose_problems_have_other_families_have_panels_of_their_own() -> None:
    """MATH-500 has subjects, AIME has none, and no split has those of another."""
    frame = frames.evaluation_frame(20)
    other = frame.assign(split="other", family="")
    drawn, data = figures_training.family_bars(pd.concat([frame, other], ignore_index=True), resamples=50)
    groups = data.groupby("split", sort=False)["group"].unique().map(set).to_dict()
    assert groups.pop("other") == {""} and list(groups.values()) == [set(frame["family"])]
    ticks = [[text.get_text() for text in axis.get_xticklabels()] for axis in drawn.axes]
    assert sorted(map(len, ticks)) == [1, 1, 5, 5], "two teachers on each"


def test_family_points_by_hand() -> None:
    frame = frames.evaluation_frame(20)
    data = figures_training.family_points(frame, ["base", "uopd-soft"], resamples=50)
    part = frame[(frame["label"] == "UOPD (soft)") & (frame["teacher"] == "B") & (frame["family"] == "eq")]
    row = data[(data["label"] == "UOPD (soft)") & (data["teacher"] == "B") & (data["group"] == "eq")].iloc[0]
    assert row["accuracy"] == pytest.approx(part["correct"].mean()) and (row["n"], row["seeds"]) == (4, 3)
    assert len(data) == 2 * 2 * 5


@pytest.mark.parametrize("draw", ["signals", "families", "cost"])
def test_the_other_figures_draw(draw: str) -> None:
    figure, data = {
        "signals": lambda: figures_training.training_signals(frames.metrics_frame(4)),
        "families": lambda: figures_training.family_bars(frames.evaluation_frame(20), resamples=50),
        "cost": lambda: figures_training.cost_shares(frames.metrics_frame(4)),
    }[draw]()
    shown = [t.get_text() for t in figure.legends[0].get_texts()]
    expected = {"signals": list(frames.LABELS), "families": ["Base", "OPD (uniform)", "UOPD (soft)"]}
    assert shown == expected.get(draw, ["rollout", "verify", "method", "teacher", "student", "sync"])
    assert not data.empty


def test_the_pipeline_shows_the_settings_of_the_tier() -> None:
    config = load("tiny", {"annotation.samples": 5, "sampling.samples_per_prompt": 3, "losses.distil.top_k": 7})
    figure, data = figures_overview.pipeline(config)
    text = " ".join(t.get_text() for t in figure.axes[0].texts)
    assert "N = 5" in text and "K = 3" in text and "top-7" in text
    assert ("step", "rollouts", "new weights") in data.itertuples(index=False, name=None)


def test_model_accuracy_turns_percent_back_into_counts() -> None:
    problems = load_split("evaluation", 40)  # 10 per difficulty, 8 per family
    accuracy = dict.fromkeys(("easy", "medium", "hard", "competition"), 30.0) | dict.fromkeys(
        ("sum", "mul", "frac", "eq", "mod"), 12.5
    )
    _, data = figures_overview.model_accuracy({"models": {"m": {"greedy_accuracy_evaluation": accuracy}}}, problems)
    assert (
        data[data["kind"] == "difficulty"]["n"].tolist() == [10] * 4
        and data[data["kind"] == "family"]["n"].tolist() == [8] * 5
    )
    assert data["accuracy"].tolist() == pytest.approx([0.3] * 4 + [0.125] * 5)
    with pytest.raises(ValueError, match="make-models"):
        figures_overview.model_accuracy({"models": {"m": {"greedy_accuracy_evaluation": None}}}, problems)

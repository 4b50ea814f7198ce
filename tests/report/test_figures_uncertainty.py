"""Uncertainty figures: the numbers they draw against hand counts, one look an estimator, what is on the axes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artifact.phase1.retest import paired_entropies
from artifact.phase1.subsample import ESTIMATORS
from artifact.phase1.validation import auroc_by_group
from artifact.report import figures_se
from artifact.report import figures_uncertainty as F
from artifact.stats.calibration import calibration
from artifact.stats.risk import rejection_table

_spec = importlib.util.spec_from_file_location("report_frames", Path(__file__).with_name("frames.py"))
assert _spec is not None and _spec.loader is not None
frames = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(frames)

BOTH = {"A": frames.annotation_frame(0).assign(n=8), "B": frames.annotation_frame(1).assign(n=8)}
SCORES = {"A": frames.score_table(0), "B": frames.score_table(1)}


def by_n_table(teacher_offset: float) -> pd.DataFrame:
    rows = [
        {
            "estimator": e,
            "normaliser": rule,
            "n": n,
            "problems": 100,
            "n_wrong": 40,
            "left_out": 0,
            "auroc": 0.6 + 0.01 * n + teacher_offset,
            "lower": 0.55 + 0.01 * n,
            "upper": 0.7 + 0.01 * n,
            "minus_largest": 0.01 * (n - 16) if n < 16 else np.nan,
            "diff_lower": -0.2,
            "diff_upper": 0.01 * (n - 15),
            "confidence": 0.95,
        }
        for rule in ("n", "n_valid")
        for e in ESTIMATORS
        for n in (2, 4, 8, 16)
    ]
    return pd.DataFrame(rows)


def test_every_estimator_has_a_look_and_a_name_of_its_own() -> None:
    assert set(ESTIMATORS) < set(F.LOOKS) == set(F.NAMES)
    for part in ("color", "marker", "linestyle"):
        assert len({getattr(look, part) for look in F.LOOKS.values()}) == len(F.LOOKS), part


def test_auroc_by_n_draws_each_estimator_once_and_the_second_normaliser_for_semantic_entropy() -> None:
    figure, data = F.auroc_by_n({"A": by_n_table(0), "B": by_n_table(0.05)})
    assert len(data) == 2 * 4 * (len(ESTIMATORS) + 1) and data["teacher"].unique().tolist() == ["A", "B"]
    assert set(data["line"]) == set(F.LOOKS)
    shown = [t.get_text() for t in figure.legends[0].get_texts()]
    assert shown == [F.NAMES[name] for name in F.LOOKS]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["2", "4", "8", "16"]
    assert figure.axes[1].get_title() == "teacher B: 40 of 100 wrong"


def test_rejection_curves_draw_the_tables_numbers() -> None:
    names = ["semantic_entropy", "negative_mean_logprob"]
    figure, data = F.rejection_curves(SCORES, names, coverages=(1.0, 0.5), resamples=20)
    expected = rejection_table(
        SCORES["B"]["semantic_entropy"], SCORES["B"]["wrong"], coverages=(1.0, 0.5), resamples=20
    )
    mine = data[(data["teacher"] == "B") & (data["score"] == "semantic_entropy")]
    np.testing.assert_array_equal(mine[expected.columns], expected)
    shown = {t.get_text() for t in figure.legends[0].get_texts()}
    assert shown == {"oracle", "without information", *(F.NAMES[n] for n in names)}


def test_weight_calibration_counts_and_says_ece() -> None:
    figure, data = F.weight_calibration(BOTH, bins=4)
    assert data.groupby("teacher")["n"].sum().tolist() == [200, 200]
    frame = BOTH["A"]
    inside = frame[(frame["weight"] >= 0.25) & (frame["weight"] < 0.5)]
    row = data[(data["teacher"] == "A") & (data["low"] == 0.25)].iloc[0]
    assert (row["n"], row["accuracy"]) == (len(inside), inside["greedy_correct"].mean())
    own = calibration(frame["weight"], frame["greedy_correct"], bins=4)
    assert figure.axes[0].get_title() == f"teacher A: ECE {own.ece:.3f}, Brier {own.brier:.3f}"


def test_retest_map_shows_all_pairs() -> None:
    pairs = {"A": paired_entropies(BOTH["A"], BOTH["B"].assign(problem_id=BOTH["A"]["problem_id"]))[0]}
    figure, data = F.retest_map(pairs)
    hexagons = figure.axes[0].collections[0].get_array()
    assert hexagons is not None and int(hexagons.sum()) == len(data) == 200
    r = np.corrcoef(data["first"], data["second"])[0, 1]
    assert figure.axes[0].get_title().startswith(f"teacher A: r = {r:.3f}, rank ")


def test_retest_by_n_draws_both_statistics() -> None:
    table = pd.DataFrame(
        {
            "n": [2, 2, 4, 4],
            "statistic": ["spearman", "moved"] * 2,
            "value": [0.5, 0.3, 0.7, 0.2],
            "lower": [0.4, 0.2, 0.6, 0.1],
            "upper": [0.6, 0.4, 0.8, 0.3],
        }
    )
    figure, data = F.retest_by_n({"A": table, "B": table})
    assert len(data) == 8 and len(figure.axes) == 2
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["teacher A", "teacher B"]


def test_intra_inter_counts_cells() -> None:
    log8 = np.log(8)
    frame = pd.DataFrame(
        {
            "entropy": [0.0, 0.0, 0.5 * log8, 1.0 * log8],
            "answer_string_entropy": [0.0, 0.3 * log8, 0.5 * log8, log8],
            "n": 8,
            "greedy_correct": [True, False, True, True],
        }
    )
    _, data = F.intra_inter({"A": frame, "B": pd.concat([frame, frame])})
    first = data[data["teacher"] == "A"].set_index(["inter", "intra"])
    assert first["n"].tolist() == [1, 1, 1, 1] and data[data["teacher"] == "B"]["n"].tolist() == [2, 2, 2, 2]
    cells = [(round(a, 3), round(b, 3)) for a, b in first.index]
    assert cells == [(0, 0), (0, 0.3), (0.5, 0), (0.9, 0)] and first["accuracy"].tolist() == [1, 0, 1, 1]


def test_auroc_within_difficulties_keeps_the_order_of_difficulties() -> None:
    groups = dict(zip(BOTH["A"]["problem_id"], BOTH["A"]["difficulty"], strict=True))
    tables = {name: auroc_by_group(table, groups, resamples=20) for name, table in SCORES.items()}
    figure, data = F.auroc_within_difficulties(tables)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        "all problems",
        "pairs of one difficulty",
        "easy",
        "medium",
        "hard",
        "competition",
    ]
    assert len(data) == 12


def test_entropy_by_difficulty_adds_up_to_the_whole_set() -> None:
    figure, data = figures_se.entropy_by_difficulty(BOTH)
    assert data.groupby("teacher")["share_of_all"].sum().tolist() == pytest.approx([1, 1])
    zeros = {name: int((frame["normalised"] == 0).sum()) for name, frame in BOTH.items()}
    assert data.groupby("teacher")["zero"].sum().to_dict() == zeros
    assert figure.axes[0].get_title() == f"teacher A; H = 0 on {zeros['A'] / 2:.1f} %"

"""What thresholds and weights do to a training set, worked out by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from artifact.phase1.records import Annotation
from artifact.report import weightings
from artifact.stats.auroc import auroc
from artifact.stats.interval import wilson_interval

FRAME = pd.DataFrame({"normalised": [0.0, 0.2, 0.4, 0.9, 0.9], "greedy_correct": [True, True, False, True, False]})


def test_a_threshold_keeps_what_is_at_most_it() -> None:
    kept = weightings.kept_by_threshold(FRAME).set_index("tau")
    assert kept["kept"].to_dict() == {0.0: 1, 0.2: 2, 0.3: 2, 0.4: 3, 0.5: 3, 0.9: 5, 1.0: 5}
    assert kept["correct"].tolist() == [1, 2, 2, 2, 2, 3, 3]
    assert kept.loc[0.5, "accuracy"] == pytest.approx(2 / 3) and kept.loc[1.0, "share"] == 1
    ends = wilson_interval(2, 3, 0.95)
    assert (kept.loc[0.4, "lower"], kept.loc[0.4, "upper"]) == (ends.low, ends.high)


def test_a_threshold_that_keeps_nothing_has_no_accuracy() -> None:
    kept = weightings.kept_by_threshold(FRAME.assign(normalised=0.8))
    assert kept.iloc[0]["kept"] == 0 and math.isnan(kept.iloc[0]["accuracy"]) and kept.iloc[-1]["kept"] == 5


def test_curves_draw_accuracy_share_and_the_papers_thresholds() -> None:
    figure, data = weightings.threshold_curves({"A": FRAME, "B": FRAME.iloc[::-1]})
    assert list(dict.fromkeys(data["teacher"])) == ["A", "B"] and len(figure.axes) == 2
    lines, of_a = figure.axes[0].get_lines(), data[data["teacher"] == "A"]
    accuracy, share = (np.asarray(line.get_ydata()).tolist() for line in lines[:2])
    assert accuracy == of_a["accuracy"].tolist() and share == of_a["share"].tolist()
    assert [float(np.asarray(line.get_xdata())[0]) for line in lines[2:]] == [0.3, 0.5]


def annotation(i: int, classes: tuple[int, ...], right: int, tokens: int = 10) -> Annotation:
    n = len(classes)
    counts = Counter(classes)
    h = -sum(c / n * math.log(c / n) for c in counts.values())
    return Annotation(
        f"p{i:02d}", n, n, "n", h, h, h / math.log(n), 1 - h / math.log(n), len(counts), classes, ("1",) * n, (1,) * n,
        tuple(c / n for c in counts.values()), (0.0,) * len(counts), "1", max(counts.values()) / n, right, h, -1.0,
        (tokens,) * n, (-1.0,) * n, "exact",
    )  # fmt: skip


RECORDS = [annotation(0, (0, 0, 0, 0), 1), annotation(1, (0, 0, 0, 0), 0), annotation(2, (0, 0, 1, 1), 1),
           annotation(3, (0, 1, 2, 3), 0), annotation(4, (0, 0, 0, 1), 1)]  # fmt: skip
WRONG = {f"p{i:02d}": w for i, w in enumerate([False, True, False, True, False])}


def test_weights_are_summed_up_scheme_by_scheme() -> None:
    table = weightings.weighting_table({"B": RECORDS}, {"B": WRONG}, resamples=50).set_index("scheme")
    assert list(table.index) == list(weightings.SCHEMES)
    assert table["reads_gold"].to_dict() == {s: s in ("verified", "gold") for s in table.index}
    soft = [a.weight for a in RECORDS]
    assert table.loc["soft", "mean_weight"] == pytest.approx(np.mean(soft))
    assert table.loc["soft", "on_wrong"] == pytest.approx((soft[1] + soft[3]) / sum(soft))
    assert table.loc["gold", "on_wrong"] == table.loc["verified", "on_wrong"] == 0
    assert table.loc["majority", "mean_weight"] == pytest.approx((1 + 1 + 0.5 + 0.25 + 0.75) / 5)
    assert table.loc["soft", "zero"] == pytest.approx(0.2) and table.loc["gold", "zero"] == pytest.approx(0.4)
    assert table.loc["soft", "auroc"] == pytest.approx(auroc(1 - np.array(soft), list(WRONG.values())))
    shown = weightings.format_weightings(table.reset_index())
    assert list(shown["weight"]) == ["soft", "majority", "Miller–Madow", "Chao–Shen", "verified", "gold"]


def test_entropy_that_only_follows_length_ranks_nothing_within_a_length() -> None:
    """Two lengths; all long problems are wrong, or right, half and half; entropy is a function of length alone."""
    short, long = (0, 0, 0, 0), (0, 1, 2, 3)
    records = [annotation(i, long if i < 10 else short, 1, 50 if i < 10 else 5) for i in range(20)]
    wrong = {a.problem_id: i < 8 or i in (10, 11) for i, a in enumerate(records)}
    table = weightings.length_audit({"B": records}, {"B": wrong}, groups=2, resamples=50).set_index("row")
    assert table.loc["within", "auroc"] == 0.5
    assert table.loc["all", "auroc"] == table.loc["length", "auroc"] == pytest.approx(0.8)
    assert table.loc["group 1", "tokens"] == 5 and table.loc["group 2", "tokens"] == 50
    assert list(table.index) == ["length", "all", "within", "group 1", "group 2"]
    shown = weightings.format_length_audit(table.reset_index())
    assert shown["score and problems"].tolist()[:3] == [
        "length itself, all problems",
        "semantic entropy, all problems",
        "semantic entropy, pairs of like length",
    ]


def test_a_fifth_holds_a_fifth() -> None:
    records = [annotation(i, (0, 0, 1, 1), 1, 10 + i) for i in range(23)]
    wrong = {a.problem_id: i % 2 == 0 for i, a in enumerate(records)}
    table = weightings.length_audit({"B": records}, {"B": wrong}, resamples=20)
    sizes = table[table["row"].str.startswith("fifth")]["n"].tolist()
    assert sum(sizes) == 23 and max(sizes) - min(sizes) <= 1


def test_entropy_that_has_nothing_to_do_with_length_ranks_as_well_within_a_length() -> None:
    records = [annotation(i, (0, 1, 2, 3) if i % 2 else (0, 0, 0, 0), 1, 5 if i < 10 else 50) for i in range(20)]
    wrong = {a.problem_id: i % 2 == 1 for i, a in enumerate(records)}
    table = weightings.length_audit({"B": records}, {"B": wrong}, groups=2, resamples=20).set_index("row")
    assert table.loc["length", "auroc"] == 0.5
    assert table.loc["within", "auroc"] == table.loc["all", "auroc"] == table.loc["group 1", "auroc"] == 1.0

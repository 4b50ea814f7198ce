"""Tables and figures of free text, on numbers that can be told by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from artifact.records import Problem, Status, Verdict
from artifact.report import free_text
from artifact.report.figures_free_text import auroc_by_family
from artifact.report.free_text import ENTROPIES, entropy_by_family, format_entropies, format_scores, verdict_rows


def table(values: list[tuple[str, bool, float]]) -> pd.DataFrame:
    """A score table whose three entropies are alike: (problem, wrong, entropy)."""
    frame = pd.DataFrame(values, columns=["problem_id", "wrong", "semantic_entropy"])
    return frame.assign(**dict.fromkeys(ENTROPIES, frame["semantic_entropy"]))


FAMILIES = {f"s{i}": "summary" for i in range(4)} | {f"t{i}": "translation" for i in range(3)}
SCORES = {
    "A": table(
        [("s0", True, 0.9), ("s1", True, 0.4), ("s2", False, 0.5), ("s3", False, 0.1)]
        + [(f"t{i}", False, 0.0) for i in range(3)]
    )
}


def test_each_family_has_its_own_auroc() -> None:
    """Of the four pairs of a wrong and a right summary the entropy orders three: AUROC 3/4."""
    found = entropy_by_family(SCORES, FAMILIES, resamples=50)
    assert list(found["entropy"]) == list(ENTROPIES) * 2 and set(found["teacher"]) == {"A"}
    summary, translation = found[found["family"] == "summary"], found[found["family"] == "translation"]
    assert (summary["auroc"] == 0.75).all() and (summary["wrong"] == 2).all() and (summary["n"] == 4).all()
    assert (summary["lower"] <= 0.75).all() and (summary["upper"] >= 0.75).all()
    assert summary["mean"].iloc[0] == pytest.approx((0.9 + 0.4 + 0.5 + 0.1) / 4)
    assert translation["auroc"].isna().all() and (translation["mean"] == 0).all()
    assert set(format_entropies(translation)["AUROC (95 % interval)"]) == {"one class only"}


def test_the_figure_draws_what_the_table_holds_and_nothing_where_there_is_no_auroc() -> None:
    found = entropy_by_family(SCORES, FAMILIES, resamples=50)
    figure, data = auroc_by_family(found)
    pd.testing.assert_frame_equal(data, found)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["summary", "translation"]
    drawn = [x for line in axis.get_lines() for x in line.get_xdata() if len(line.get_xdata()) == 2 and x != 0.5]
    assert drawn.count(0.75) == len(ENTROPIES)
    assert sum(math.isnan(x) for x in drawn) >= len(ENTROPIES)


def test_a_row_says_verdict_metric_and_score() -> None:
    asked = Problem("p", "Summarize it.", "a", None, "t", "easy", {"family": "summary"})
    verdicts = [Verdict(Status.WRONG, "b", "why", "rougeL", 0.25), Verdict(Status.CORRECT, "3", "why")]
    rows = verdict_rows([asked, asked], ["b", "3"], verdicts)
    assert list(rows["verdict"]) == ["wrong", "correct"] and rows["score"].iloc[0] == 0.25
    assert math.isnan(rows["score"].iloc[1]), "a verdict without a score has none"


def test_scores_are_shown_in_percent_with_their_metric() -> None:
    row = {"teacher": "B", "label": "CORE", "family": "summary", "metric": "rougeL", "responses": 4, "problems": 4}
    row |= {"score": 0.5, "score_low": 0.25, "score_high": 0.75}
    row |= {"correct": 0.1, "correct_low": 0.0, "correct_high": 0.2}
    (shown,) = format_scores(pd.DataFrame([row])).to_dict("records")
    assert shown["metric"] == "rougeL" and shown["method"] == "CORE" and free_text.percent(0.5) in shown["score %"]
    assert shown["correct %"].startswith(free_text.percent(0.1))


def test_changes_are_paired_by_problem() -> None:
    base = [0.1 * i for i in range(8)]
    of = {"Base": base, "OPD": [x + 0.1 for x in base], "GRPO": base[::-1]}
    rows = [(label, f"p{i}", x) for label, scores in of.items() for i, x in enumerate(scores)]
    frame = pd.DataFrame(rows, columns=["label", "problem_id", "score"]).assign(family="summary", rule="rougeL")
    changes = free_text.score_changes(frame, "Base").set_index("label")
    assert changes.loc["OPD", ["change", "lower", "upper"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert changes.loc["OPD", "p_value"] == pytest.approx(2 / 2**8)  # of the sign flips the two without a mixed sign
    assert changes.loc["GRPO", "change"] == pytest.approx(0.0)
    assert changes.loc["GRPO", "lower"] < 0 < changes.loc["GRPO", "upper"]
    shown = free_text.format_changes(changes.reset_index()).set_index("method")
    assert shown.loc["OPD", "in words"] == "better" and shown.loc["GRPO", "in words"] == "no difference to be told"
    assert shown.loc["OPD", "change"] == "+10.0 (+10.0 to +10.0)"

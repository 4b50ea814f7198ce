"""A student's uncertainty from its own samples: classes, confidence and calibration counted by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from artifact.errors import ArtifactError
from artifact.report import student_uncertainty as su


def frame(answers: dict[str, str], gold: str = "a", **names: object) -> pd.DataFrame:
    """problem → one letter a sample; `a` is correct, `-` has no answer."""
    who: dict[str, object] = {"split": "evaluation", "teacher": "B", "cell": "opd", "label": "OPD", "seed": 0}
    return pd.DataFrame(
        [
            who | {"problem_id": p, "sample": i, "correct": c == gold, "extracted": None if c == "-" else c} | names
            for p, letters in answers.items()
            for i, c in enumerate(letters)
        ]
    )


ANSWERS = {"p0": "aaaa", "p1": "aabb", "p2": "bbba", "p3": "abc-", "p4": "--aa"}


def test_classes_confidence_and_entropy_of_each_problem() -> None:
    out = su.self_uncertainty(frame(ANSWERS)).set_index("problem_id")
    assert out["confidence"].to_dict() == {"p0": 1.0, "p1": 0.5, "p2": 0.75, "p3": 0.25, "p4": 0.5}
    assert out["right"].to_dict() == {"p0": 1.0, "p1": 0.5, "p2": 0.0, "p3": 0.25, "p4": 1.0}
    log = math.log
    three_one = -(0.75 * log(0.75) + 0.25 * log(0.25)) / log(4)
    expected = {"p0": 0.0, "p1": 0.5, "p2": three_one, "p3": 1.0, "p4": 0.75}
    assert out["normalised"].to_dict() == pytest.approx(expected)


def test_a_model_in_one_row() -> None:
    [row] = su.student_table(frame(ANSWERS), ks=(2, 4), resamples=200).to_dict("records")
    assert (row["problems"], row["samples"]) == (5, 4)
    assert row["avg"] == pytest.approx((4 + 2 + 1 + 1 + 2) / 20)
    assert row["pass@4"] == 1.0 and row["pass@2"] == pytest.approx((1 + 5 / 6 + 1 / 2 + 1 / 2 + 5 / 6) / 5)
    assert row["majority"] == pytest.approx(2.75 / 5) and row["confidence"] == pytest.approx(3.0 / 5)
    assert row["over"] == pytest.approx(0.05) and row["over_lower"] <= 0.05 <= row["over_upper"]
    # Bins of a tenth: 1.0 right; 0.5 (p1 wrong, p4 right); 0.75 wrong; 0.25 wrong.
    assert row["ece"] == pytest.approx((0 + abs(1 - 1.0) + 0.75 + 0.25) / 5)
    # H of the right: 0, 0.75; of the wrong: 0.5, 0.41, 1: four of six pairs in order.
    assert row["auroc"] == pytest.approx(4 / 6)


def test_a_model_that_is_always_right_has_no_auroc() -> None:
    [row] = su.student_table(frame({"p0": "aaa", "p1": "aab"}), ks=(2,), resamples=50).to_dict("records")
    assert math.isnan(row["auroc"]) and row["majority"] == 1.0
    assert su.format_student(pd.DataFrame([row]))["AUROC of H"].tolist() == ["–"]


def test_models_are_kept_apart_and_seeds_are_not_mixed() -> None:
    two = pd.concat([frame(ANSWERS), frame(ANSWERS, cell="core", label="CORE", seed=3)])
    assert list(su.student_table(two, ks=(2,), resamples=50)["label"]) == ["OPD", "CORE"]
    with pytest.raises(ArtifactError, match="give one seed"):
        su.student_table(pd.concat([frame(ANSWERS), frame(ANSWERS, seed=1)]))
    with pytest.raises(ArtifactError, match="at least 2"):
        su.self_uncertainty(frame({"p0": "a"}))


def test_as_a_reader_sees_it() -> None:
    shown = su.format_student(su.student_table(frame(ANSWERS), ks=(4,), resamples=50))
    assert {"avg@4 %", "pass@4 %", "ECE %", "AUROC of H"} <= set(shown.columns) and shown["method"].tolist() == ["OPD"]


def test_of_several_splits_each_row_says_which() -> None:
    two = pd.concat([frame(ANSWERS), frame(ANSWERS, split="amo-bench")])
    shown = su.format_student(su.student_table(two, ks=(4,), resamples=50))
    assert shown["split"].tolist() == [frame(ANSWERS)["split"].iloc[0], "amo-bench"]
    assert not shown[["split", "teacher", "method"]].duplicated().any()
    assert "split" not in su.format_student(su.student_table(frame(ANSWERS), ks=(4,), resamples=50))

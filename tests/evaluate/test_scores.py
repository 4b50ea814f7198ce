"""Mean scores by metric, against means by hand."""

from __future__ import annotations

import pytest

from artifact.errors import EmptyDataset
from artifact.evaluate.evaluate import to_frame
from artifact.evaluate.scores import score_table
from artifact.records import Problem, Rollout, Status, Verdict


def frame(scores: dict[str, list[tuple[str, float | None, bool]]]):
    problems = [Problem(name, "q", "a", None, "t", "easy", {"family": "f"}) for name in scores]
    groups = [
        [
            Rollout(
                p.id,
                i,
                (1,),
                (2,),
                (0.0,),
                "x",
                "stop",
                0,
                Verdict(Status.CORRECT if ok else Status.WRONG, "x", "", by, s),
            )
            for i, (by, s, ok) in enumerate(scores[p.id])
        ]
        for p in problems
    ]
    return to_frame(problems, groups, "evaluation")


def test_each_metric_has_its_own_mean() -> None:
    made = frame(
        {
            "a": [("chrf", 0.5, False), ("chrf", 1.0, True)],
            "b": [("rougeL", 0.2, False), ("boxed", None, True)],
            "c": [("chrf", 0.0, False), ("chrf", 0.7, True)],
        }
    )
    table = score_table(made.assign(cell="opd"), ["cell"], resamples=200).set_index("metric")
    assert table.index.tolist() == ["chrf", "rougeL"] and set(table["cell"]) == {"opd"}
    assert table.loc["chrf", ["responses", "problems"]].tolist() == [4, 2]
    assert table["score"].tolist() == pytest.approx([0.55, 0.2]) and table["correct"].tolist() == [0.5, 0.0]
    assert (table["score_low"] <= table["score"]).all() and (table["score"] <= table["score_high"]).all()


def test_without_scores_there_is_nothing_to_average() -> None:
    with pytest.raises(EmptyDataset, match="none of the 1 responses has a score"):
        score_table(frame({"a": [("boxed", None, True)]}))

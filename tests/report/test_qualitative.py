"""U-T3: who is in which group, a draw that nobody chose, classes by hand, and text that cannot break the page."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate
from artifact.phase1.judge import SymbolicJudge
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.report.qualitative import (
    GROUPS,
    cluster_frame,
    examples,
    examples_html,
    format_examples,
    group_of,
    shorten,
)


def annotation(problem_id: str, *answers: str | None):
    rollouts = [
        Rollout(problem_id, i, (1,), (2,), (-0.5,), str(a), "stop", -1, Verdict(Status.WRONG, a))
        for i, a in enumerate(answers)
    ]
    return annotate(Problem(problem_id, "q", "5", None, "toy", "easy"), rollouts, SymbolicJudge())


SURE = [annotation(f"s{i}", "5", "x=5", "5", "5") for i in range(8)]
BLIND = [annotation("b0", "7", "7", "7", "7")]
LOST = [annotation(f"u{i}", "5", "6", "7", None) for i in range(4)]
ALL = [*SURE, *BLIND, *LOST]
FRAME = pd.DataFrame(
    {
        "problem_id": [a.problem_id for a in ALL],
        "difficulty": "easy",
        "family": ["eq" if i < 6 else "mod" for i in range(8)] + ["mod"] + ["sum"] * 4,
        "question": "Is <b>5</b> | five?",
        "answer": "5",
        "majority_answer": [a.majority_answer for a in ALL],
        "majority_correct": [a.problem_id.startswith("s") for a in ALL],
        "normalised": [a.normalised for a in ALL],
        "weight": [a.weight for a in ALL],
    }
)


def test_classes_by_hand() -> None:
    table = cluster_frame(annotation("p", "x=5", "5", "7", "5", None, "5"))
    assert table["form"].tolist() == ["5", "x=5", "7", ""]
    assert table["count"].tolist() == [3, 1, 1, 1] and table["cluster"].tolist() == [0, 0, 1, 2]
    assert table["probability"].tolist() == pytest.approx([4 / 6, 4 / 6, 1 / 6, 1 / 6])


def test_groups() -> None:
    frame = pd.DataFrame({"normalised": [0.0, 0.1, 0.5, 0.7, 1.0], "ok": [True, False, True, True, False]})
    groups = group_of(frame, correct="ok", low=0.1, high=0.7)
    assert groups.fillna("–").tolist() == [GROUPS[0], GROUPS[1], "–", GROUPS[2], GROUPS[2]]
    with pytest.raises(ArtifactError, match=r"low = 0.8 and high = 0.7"):
        group_of(frame, correct="ok", low=0.8, high=0.7)


def test_rows_of_each_group_with_families_in_turn() -> None:
    table = examples(FRAME, ALL, per_group=4)
    assert table["group"].tolist() == [GROUPS[0]] * 4 + [GROUPS[1]] + [GROUPS[2]] * 4
    assert table["in_group"].tolist() == [8] * 4 + [1] + [4] * 4
    assert table["family"].tolist()[:4] == ["eq", "mod", "eq", "mod"]
    assert table["clusters"][0] == "5 ×3, x=5 ×1 (p = 1.00)"
    assert table["clusters"][4] == "7 ×4 (p = 1.00)" and not table["right"][4] and table["weight"][4] == 1
    assert "no answer ×1 (p = 0.25)" in table["clusters"][5]


def test_the_draw_depends_on_the_seed_and_the_set_only() -> None:
    first = examples(FRAME, ALL)["problem_id"].tolist()
    assert examples(FRAME[::-1], ALL[::-1])["problem_id"].tolist() == first
    assert any(examples(FRAME, ALL, seed=s)["problem_id"].tolist() != first for s in range(1, 5))


def test_the_students_answers_stand_beside() -> None:
    before = {a.problem_id: ("so the answer is 6", False) for a in ALL}
    after = {a.problem_id: ("so the answer is 5", True) for a in ALL}
    table = examples(FRAME, ALL, before=before, after=after)
    shown = format_examples(table)
    assert shown["student before"][0] == "so the answer is 6 (wrong)"
    assert shown["student after"][0] == "so the answer is 5 (right)"
    assert shown["group"][0] == "sure and right (8)" and shown["w"][0] == "1.00"
    assert "student before" not in format_examples(examples(FRAME, ALL)).columns
    with pytest.raises(ArtifactError, match=r"\(after\) lack problem"):
        examples(FRAME, ALL, after={})


def test_html_is_escaped_and_whole() -> None:
    table = examples(FRAME, ALL, before={a.problem_id: ("<script>alert(1)</script>", False) for a in ALL})
    page = examples_html(table, ALL)
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;b&gt;5&lt;/b&gt;" in page
    assert page.count("<div") == page.count("</div>") and page.count("<span") == page.count("</span>")
    assert page.count("border:1px") == len(table) and page.count("<h4>") == 3


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ArtifactError, match="has no annotation"):
        examples(FRAME, ALL[:1])
    with pytest.raises(ArtifactError, match=r"no problem has H / log N ≤ 0\.1 or ≥ 0\.7"):
        examples(FRAME.assign(normalised=0.5), ALL)
    with pytest.raises(ArtifactError, match="has no annotation"):
        examples_html(examples(FRAME, ALL), ALL[:1])


def test_shorten_keeps_both_ends() -> None:
    assert shorten("a  b\nc") == "a b c"
    text = shorten("start " + "x" * 200 + " end", 60)
    assert len(text) <= 60 and text.startswith("start") and text.endswith(" end") and " … " in text

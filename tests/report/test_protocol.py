"""Evaluation tables in words, and the headline under several graders, from frames made by hand."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from artifact.report.protocol import (
    agreement_table,
    benchmark_notes,
    disagreements,
    format_benchmarks,
    format_graders,
    grader_sentences,
    grader_table,
    markdown,
    print_benchmarks,
)
from artifact.report.transcripts import print_transcripts


def table() -> pd.DataFrame:
    """A row per metric, as `benchmark_results.benchmark_table` gives it: greedy on two benchmarks, avg4 on one."""
    common = {
        "label": "m",
        "teacher": "A",
        "seed": 0,
        "split": "test",
        "level": 0.95,
        "method": "Wilson over problems",
        "timeout": 0.01,
        "error": 0.02,
        "unparsed": 0.25,
        "response_tokens": 99.6,
        "max_new_tokens": 120,
        "top_p": 0.95,
        "prompt": "chat",
    }
    amo = {"benchmark": "amo-bench", "problems": 39, "of": 39, "left_out": "11 description", "key": "a"}
    math = {"benchmark": "math-500", "problems": 100, "of": 500, "left_out": "", "key": "b"}
    greedy = {"protocol": "greedy", "temperature": 0.0, "samples": 1, "responses": 39, "truncated": 0.4}
    four = {"protocol": "avg4", "temperature": 1.2, "samples": 4, "responses": 400, "truncated": 0.0}
    return pd.DataFrame(
        [
            common | amo | greedy | {"metric": "pass@1", "k": 1, "estimate": 0.5, "low": 0.25, "high": 0.75},
            *(
                common | math | four | {"metric": m, "k": k, "estimate": k / 10, "low": 0.0, "high": 1.0}
                for m, k in (("avg@4", 4), ("pass@2", 2), ("pass@4", 4), ("maj@2", 2), ("maj@4", 4))
            ),
        ]
    )


def test_one_row_per_evaluation() -> None:
    shown = format_benchmarks(table())
    assert shown["protocol"].tolist() == ["greedy", "avg4, T = 1.2, p = 0.95"]
    assert shown["problems"].tolist() == ["39", "100 of 500"]
    assert [c for c in shown if "@" in c] == ["pass@1 %", "avg@4 %", "pass@4 %", "maj@4 %"]
    assert shown["pass@1 %"].tolist() == ["50.0 (25.0 to 75.0)", "–"]
    assert shown["left out"].tolist() == ["11 description", "–"]
    assert (shown["unparsed %"] == "25.0").all() and (shown["verifier failed %"] == "3.0").all()
    assert [c for c in format_benchmarks(table(), [2]) if "@" in c] == ["pass@1 %", "avg@4 %", "pass@2 %", "maj@2 %"]


def test_training_runs_keep_their_teacher_and_seed() -> None:
    runs = pd.concat([table().head(1), table().head(1).assign(seed=1, teacher="B", key="c")])
    assert format_benchmarks(runs)[["teacher", "seed"]].to_numpy().tolist() == [["A", "0"], ["B", "1"]]
    assert "seed" not in format_benchmarks(table())


def test_notes_say_how_what_is_left_out_is_judged() -> None:
    notes = benchmark_notes(table())
    [amo] = [n for n in notes if n.startswith("amo-bench: ")]
    assert amo.startswith("amo-bench: 11 answers are descriptions, which the benchmark's authors have a language model")
    assert "not counted" in amo and "over the other 39 problems of the split." in amo
    assert any("amo-bench, greedy: 40.0 % of the responses were cut off at 120 tokens" in n for n in notes)
    assert not any(n.startswith("math-500") for n in notes)
    assert sum(n.startswith("maj@k") for n in notes) == 1
    assert notes[0].startswith("Intervals: 95 %, ") and not any("plain text" in n for n in notes)
    other = benchmark_notes(table().assign(level=0.9, prompt="plain"))
    assert other[0].startswith("Intervals: 90 %, ") and any(n.startswith("Prompts are plain text") for n in other)


def test_notes_keep_the_splits_of_a_benchmark_apart() -> None:
    first = table().head(1)
    notes = benchmark_notes(
        pd.concat([first, first.assign(split="train", of=7, truncated=0.9, left_out="2 description")])
    )
    for start in (
        "amo-bench, test: 11 answers",
        "amo-bench, train: 2 answers",
        "amo-bench, test, greedy: 40.0 %",
        "amo-bench, train, greedy: 90.0 %",
    ):
        assert sum(n.startswith(start) for n in notes) == 1


def test_markdown_holds_table_notes_and_stamp() -> None:
    text = markdown(pd.DataFrame({"a|b": ["x|y", "two\nlines"]}), ["note"], "tier: tiny")
    assert text == "| a\\|b |\n| --- |\n| x\\|y |\n| two lines |\n\n- note\n\n<sub>tier: tiny</sub>\n"


def graded() -> pd.DataFrame:
    """Two labels, four problems: `strict_string` rejects one response of `B` that the headline accepts, and so on."""
    verdicts = {"A": [(1, 1, 1), (1, 1, 1), (0, 0, 1), (0, 0, 0)], "B": [(1, 0, 1), (1, 0, 1), (1, 1, 1), (0, 0, 0)]}
    word = {1: "correct", 0: "wrong"}
    return pd.DataFrame(
        {
            "label": label,
            "teacher": "T",
            "problem_id": f"p{i}",
            "sample": 0,
            "gold": "1",
            "question": "?",
            "response": "r",
            "math_verify": word[a],
            "math_verify_answer": "1",
            "strict_string": word[b],
            "strict_string_answer": "1",
            "numeric_last_number": word[c],
            "numeric_last_number_answer": "1",
        }
        for label, of in verdicts.items()
        for i, (a, b, c) in enumerate(of)
    )


def test_the_headline_under_every_grader_by_hand() -> None:
    found = grader_table(graded()).set_index(["label", "grader"])
    assert found["accuracy"].unstack().loc["A"].tolist() == [0.5, 0.75, 0.5]  # alphabetical: math, numeric, strict
    assert found["accuracy"].unstack().loc["B"].tolist() == [0.75, 0.75, 0.25]
    strict = found.loc[("B", "strict_string")]
    assert (strict.agreement, strict.only_headline, strict.only_this, strict.difference) == (0.5, 2, 0, -0.5)
    assert (found.xs("math_verify", level="grader")["agreement"] == 1).all()
    assert len(agreement_table(graded())) == 2 * 3
    assert disagreements(graded())[["label", "problem_id"]].to_numpy().tolist() == [
        ["A", "p2"],
        ["B", "p0"],
        ["B", "p1"],
    ]


def test_the_headline_may_stand_anywhere_among_the_graders() -> None:
    frame = graded()
    turned = frame[[c for c in frame if not c.startswith("math_verify")] + ["math_verify", "math_verify_answer"]]
    ours, theirs = (grader_table(f).set_index(["label", "grader"]).sort_index() for f in (frame, turned))
    pd.testing.assert_frame_equal(ours, theirs)
    strict = theirs.loc[("B", "strict_string")]
    assert (strict.agreement, strict.only_headline, strict.only_this) == (0.5, 2, 0)
    numeric = theirs.loc[("A", "numeric_last_number")]
    assert (numeric.agreement, numeric.only_headline, numeric.only_this) == (0.75, 0, 1)


def test_seeds_are_pooled_by_problem() -> None:
    twice = pd.concat([graded(), graded()], ignore_index=True)
    pooled = grader_table(twice)
    assert (pooled["problems"] == 4).all() and (pooled["responses"] == 8).all()
    assert pooled["accuracy"].tolist() == grader_table(graded())["accuracy"].tolist()


def test_graders_in_words() -> None:
    shown = format_graders(grader_table(graded()))
    assert shown[["label", "problems", "responses"]].to_numpy().tolist() == [["A", "4", "4"], ["B", "4", "4"]]
    assert shown["math_verify %"].iloc[1].startswith("75.0 (") and shown["strict_string agrees %"].iloc[1] == "50.0"
    strict, numeric = grader_sentences(grader_table(graded()))
    assert strict.startswith(
        "strict_string: agrees with math_verify on 75.0 % of 8 responses (0 accepted by strict_string"
    )
    assert "2 by math_verify alone" in strict and "-50.0 points (T, B); 1 of 1 pairs of rows change" in strict
    assert "0 of 1 pairs" in numeric  # A and B tie under it: no order, no swap
    alone = grader_sentences(grader_table(graded().assign(protocol="greedy"), ("protocol",)))
    assert "pairs" not in alone[0]  # without labels there is no order of methods
    with pytest.raises(ValueError, match="lacks verdicts of 'math_verify'"):
        grader_table(graded().drop(columns=["math_verify", "math_verify_answer"]))


def test_the_list_of_benchmarks_on_a_terminal() -> None:
    out = StringIO()
    print_benchmarks(pd.DataFrame({"name": ["amo-bench"], "main": ["test"]}), Console(file=out, width=200))
    assert "amo-bench" in out.getvalue() and "main" in out.getvalue() and "NAME@FOLDER" in out.getvalue()


def test_transcripts_print_texts_as_they_are() -> None:
    row = {
        "source": "test.greedy",
        "problem_id": "p0",
        "sample": 0,
        "question": "2+3?",
        "gold": "5",
        "response": "[bold]5[/bold] [/x]",
        "extracted": None,
        "status": "unparsed",
        "rule": "",
        "detail": "no answer",
        "response_tokens": 3,
        "finish_reason": "length",
    }
    out = StringIO()
    print_transcripts(pd.DataFrame([row]), Console(file=out, width=100))
    assert all(x in out.getvalue() for x in ("p0 #0", "[bold]5[/bold] [/x]", "unparsed (no answer)", "reason length"))

"""The shorter templates of the cpu-llm tier hold exemplars of the four-shot ones, which are checked one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest

from artifact.records import Problem
from artifact.tasks.prompt_templates import load_template

PROBLEM = Problem("q", "How many?", "12", "6 + 6 = 12\n#### 12", "svamp", "easy", {})


def exemplars(name: str) -> set[tuple[str, str]]:
    """(question, answer) of each exemplar, marks and all."""
    messages = load_template(name).messages(PROBLEM, calculator=True)
    return {(a["content"], b["content"]) for a, b in pairwise(messages) if b["role"] == "assistant"}


@pytest.mark.parametrize(
    ("short", "whole", "shots"), [("svamp_2shot", "svamp_4shot", 2), ("gsm8k_1shot", "gsm8k_4shot", 1)]
)
def test_exemplars_are_those_of_the_four_shot_template(short: str, whole: str, shots: int) -> None:
    assert len(exemplars(short)) == load_template(short).shots == shots
    assert exemplars(short) < exemplars(whole)
    assert load_template(short).answer_form == load_template(whole).answer_form == "hashes"


@pytest.mark.parametrize(("name", "contexts"), [("svamp_2shot", ("answer",)), ("gsm8k_1shot", ("answer", "solution"))])
def test_an_informed_teacher_reads_more_and_the_rest_is_the_same(name: str, contexts: tuple[str, ...]) -> None:
    plain = load_template(name).messages(PROBLEM)
    for context in contexts:
        informed = load_template(name).messages(PROBLEM, context)  # type: ignore[arg-type]
        assert informed[1:] == plain[1:] and "12" in informed[0]["content"] and "12" not in plain[0]["content"]

"""The shorter templates of the cpu-llm tier: exemplars that are right, and what an informed teacher reads besides."""

from __future__ import annotations

import pytest

from artifact.records import Problem
from artifact.tasks.calculator import MARK, calculate
from artifact.tasks.prompt_templates import load_template
from artifact.tasks.verifier import Verifier

PROBLEM = Problem("q", "How many?", "12", "6 + 6 = 12\n#### 12", "svamp", "easy", {})
ANSWERS = {"svamp_1shot": 31 - 12, "gsm8k_1shot": 6 * 8 - 15}
"""The exemplar of each template, worked out by hand."""


@pytest.mark.parametrize("name", ANSWERS)
def test_the_exemplar_is_right(name: str) -> None:
    """Its marks are what the calculator computes and stand before their results; its answer is read and right."""
    template = load_template(name)
    messages = template.messages(PROBLEM, calculator=True)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"] and template.shots == 1
    text = messages[2]["content"]
    for expression, value in MARK.findall(text):
        assert calculate(expression).value == value and f">>{value} " in text
    assert text.count("<<") == len(MARK.findall(text)) == (2 if name == "gsm8k_1shot" else 0)
    with Verifier() as verifier:
        verdict = verifier.verify(text, str(ANSWERS[name]))
    assert verdict.correct and verdict.rule == "hashes" and template.answer_form == "hashes"
    assert "<<" not in "".join(m["content"] for m in template.messages(PROBLEM)), "no marks without the tool"


@pytest.mark.parametrize(("name", "contexts"), [("svamp_1shot", ("answer",)), ("gsm8k_1shot", ("answer", "solution"))])
def test_an_informed_teacher_reads_more_and_the_rest_is_the_same(name: str, contexts: tuple[str, ...]) -> None:
    plain = load_template(name).messages(PROBLEM)
    for context in contexts:
        informed = load_template(name).messages(PROBLEM, context)  # type: ignore[arg-type]
        assert informed[1:] == plain[1:] and "12" in informed[0]["content"] and "12" not in plain[0]["content"]

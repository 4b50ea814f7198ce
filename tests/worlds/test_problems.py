"""The problems are right: every answer and every equation is checked by arithmetic that shares no code with them."""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.worlds.tiny.problems import (
    DIFFICULTIES,
    FAMILIES,
    ProblemError,
    decimal_text,
    draw,
    render_solution,
    surface_forms,
)

CELLS = [(f, d) for f in FAMILIES for d in DIFFICULTIES]


def evaluate(expression: str, x: int = 0) -> Fraction:
    """Exact value of `3x+4`, `10(x+2)`, `1/2+1/3`, …: implicit products made explicit, then Python's own parser."""
    explicit = re.sub(r"(\d)(?=[x(])", r"\1*", expression)

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Add):
                return left + right
            if isinstance(node.op, ast.Sub):
                return left - right
            return left * right if isinstance(node.op, ast.Mult) else left / right
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        if isinstance(node, ast.Name):
            return Fraction(x)
        assert isinstance(node, ast.Constant)
        return Fraction(node.value)

    return value(ast.parse(explicit, mode="eval").body)


def solve(question: str) -> Fraction:
    """The answer from the question's text alone: another route than the generator's, which starts from the answer."""
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    if story := re.match(r"\w+ has (\d+)", question):
        total = int(story[1])
        for verb, amount in re.findall(r" (gets|buys|finds|loses|gives|sells) (\d+)", question):
            total += int(amount) if verb in ("gets", "buys", "finds") else -int(amount)
        return Fraction(total)
    if "of" in question and ("packs" in question or "fills" in question):
        return Fraction(sum(a * b for a, b in zip(numbers[::2], numbers[1::2], strict=True)))
    if "remainder" in question:
        expression, divisor = re.search(r"([\d*+]+)(?: divided)? by (\d+)", question).groups()
        return evaluate(expression) % int(divisor)
    if "x" in question.replace("Find x", "").replace("is x", ""):
        left, right = re.search(r"([\dx+\-()]*x[\dx+\-()]*)=([\dx+\-]+)", question).groups()
        at_0, at_1 = (evaluate(left, x) - evaluate(right, x) for x in (0, 1))
        return at_0 / (at_0 - at_1)  # the difference is linear in x
    return evaluate(re.search(r"[\d/+]{3,}", question)[0])


@pytest.mark.parametrize(("family", "difficulty"), CELLS)
def test_answer_follows_from_the_question(family: str, difficulty: str) -> None:
    rng = Random(f"oracle {family} {difficulty}")
    for _ in range(300):
        draft = draw(family, difficulty, rng)
        assert solve(draft.question) == draft.value, draft.question


@pytest.mark.parametrize(("family", "difficulty"), CELLS)
def test_every_equation_is_true_and_the_box_holds_the_answer(family: str, difficulty: str) -> None:
    rng = Random(f"equations {family} {difficulty}")
    for _ in range(300):
        draft = draw(family, difficulty, rng)
        *equations, box = render_solution(draft, rng).split(";")
        unknown = int(draft.value) if family == "eq" else 0
        assert equations
        for equation in equations:
            left, right = equation.split("=")
            assert evaluate(left, unknown) == evaluate(right, unknown), equation
        inside = re.fullmatch(r"\\boxed\{(?:x=)?([\d./]+)(?: [a-z]+)?\}", box)[1]
        assert Fraction(inside) == draft.value
        assert Fraction(draft.answer) == draft.value


@given(st.sampled_from(CELLS), st.integers(0, 10**9), st.integers(-9, 9).filter(bool))
@settings(max_examples=300, deadline=None)
def test_a_shifted_document_is_wrong_in_its_last_result_only(cell: tuple[str, str], seed: int, offset: int) -> None:
    draft = draw(*cell, Random(seed))
    right, wrong = (render_solution(draft, Random(seed), o).split(";") for o in (0, offset))
    assert wrong[:-2] == right[:-2]
    shift = Fraction(offset, draft.value.denominator)
    assert evaluate(wrong[-2].split("=")[1]) == draft.value + shift
    inside = re.fullmatch(r"\\boxed\{(?:x=)?([\d./-]+)(?: [a-z]+)?\}", wrong[-1])[1]
    assert Fraction(inside) == draft.value + shift


def test_surface_forms_are_mixed() -> None:
    rng = Random(1)
    boxes = {f: {render_solution(draw(f, "easy", rng), rng).split(";")[-1] for _ in range(300)} for f in FAMILIES}
    for family in ("sum", "mul"):
        assert any(re.search(r"\d\}", b) for b in boxes[family])
        assert any(re.search(r"\d [a-z]+\}", b) for b in boxes[family])
    assert {"x=" in b for b in boxes["eq"]} == {True, False}
    assert any("/" in b for b in boxes["frac"])
    assert any("." in b for b in boxes["frac"])


def test_drawing_is_deterministic_by_seed() -> None:
    def sample(seed: int) -> list[str]:
        rng = Random(seed)
        drafts = [draw(f, t, rng) for f, t in CELLS]
        return [d.question + render_solution(d, rng) for d in drafts]

    assert sample(7) == sample(7)
    assert sample(7) != sample(8)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "0.5"),
        ((13, 8), "1.625"),
        ((3, 2), "1.5"),
        ((-1, 20), "-0.05"),
        ((1, 3), None),
        ((4, 2), None),
        ((1, 16), None),
    ],
)
def test_decimal_forms(value: tuple[int, int], text: str | None) -> None:
    assert decimal_text(*value) == text


def test_canonical_form_comes_first() -> None:
    for family, difficulty in CELLS:
        draft = draw(family, difficulty, Random(3))
        assert surface_forms(draft)[0] == draft.answer


def test_unknown_names_are_errors_that_list_the_known() -> None:
    with pytest.raises(ProblemError, match=r"'geometry'.*sum, mul, frac, eq, mod"):
        draw("geometry", "easy", Random(0))
    with pytest.raises(ProblemError, match=r"'trivial'.*easy, medium, hard, competition"):
        draw("sum", "trivial", Random(0))

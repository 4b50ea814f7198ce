"""The embedded world taken apart and evolved: its own problems are the oracle, arithmetic checks every child."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suremath_world import item

from artifact.suremath.forms import FormError, FracForm, SumForm, difficulty_of, draft_of, parse
from artifact.suremath.generator import NOT_APPLICABLE, PROPOSED, Proposal, ProposalRequest
from artifact.suremath.procedural import ProceduralGenerator, fold, numbers
from artifact.suremath.strategies import STRATEGIES
from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES, Draft, draw
from artifact.worlds.tiny.tokenizer import build_tokenizer

cells = st.tuples(st.sampled_from(FAMILIES), st.sampled_from(DIFFICULTIES), st.integers(0, 2**31))


def drawn(cell: tuple[str, str, int]) -> Draft:
    return draw(cell[0], cell[1], Random(cell[2]))


def evolve(strategy: str, seed: int, *parents: Draft) -> Proposal:
    items = tuple(item(f"p{i}", d.question, d.answer, difficulty=d.difficulty) for i, d in enumerate(parents))
    return ProceduralGenerator().evolve([ProposalRequest("c", items, strategy, 1, seed)])[0]


@settings(max_examples=300, deadline=None)
@given(cells)
def test_parse_and_build_release_actors_what_the_world_drew(cell: tuple[str, str, int]) -> None:
    draft = drawn(cell)
    assert draft_of(parse(draft.question), draft.difficulty) == draft


@settings(max_examples=100, deadline=None)
@given(cells)
def test_a_form_has_the_difficulty_it_was_drawn_for(cell: tuple[str, str, int]) -> None:
    draft = drawn(cell)
    if draft.family != "frac":  # medium and hard fractions overlap: two different small denominators
        assert difficulty_of(parse(draft.question)) == draft.difficulty


@pytest.mark.parametrize(
    "text", ["", "What is love?", "Solve 2x+3=8.", "Solve 2x+1=3x+9.", "Ana has 3 eggs, eats 2. How many eggs?"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormError, match="no question of the embedded world"):
        parse(text)


def test_numbers_that_make_no_problem_are_refused() -> None:
    with pytest.raises(FormError, match="make no problem"):
        draft_of(SumForm("Ana", " eggs", 3, ((" loses", 5),)))
    with pytest.raises(FormError, match="make no problem"):
        draft_of(FracForm("Add {}.", ((1, 1), (1, 2))))


def _value(expression: str) -> Fraction:
    """An independent evaluator of +, −, * and fractions, left to right with precedence."""
    total = Fraction(0)
    for sign, term in re.findall(r"([+-]?)([^+-]+)", expression):
        product = Fraction(1)
        for factor in term.split("*"):
            product *= Fraction(factor)
        total += -product if sign == "-" else product
    return total


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STRATEGIES), cells, cells, st.integers(0, 2**31))
def test_every_child_is_right_and_speaks_the_world_s_language(
    strategy: str, first: tuple[str, str, int], second: tuple[str, str, int], seed: int
) -> None:
    parent, other = drawn(first), drawn(second)
    made = evolve(strategy, seed, parent, other)
    if made.outcome == NOT_APPLICABLE:
        return
    assert made.outcome == PROPOSED and made.question != parent.question
    tokenizer = build_tokenizer()
    assert made.solution is not None
    for text in (made.question, made.solution):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids and tokenizer.decode(ids) == text
    *steps, box = made.solution.split(";")
    for step in steps:  # each equation holds, with x put in
        left, right = (
            re.sub(r"(\d+)x", rf"\1*({made.answer})", re.sub(r"\bx\b", made.answer, s)) for s in step.split("=")
        )
        if "(" not in left + right or "/" not in left + right:
            assert _value(left.replace("(", "").replace(")", "")) == _value(right.replace("(", "").replace(")", ""))
    assert _value(steps[-1].split("=")[1]) == Fraction(made.answer)
    assert box.startswith("\\boxed{")


@settings(max_examples=100, deadline=None)
@given(cells, st.integers(0, 2**31))
def test_rewriting_keeps_numbers_and_answer(cell: tuple[str, str, int], seed: int) -> None:
    parent = drawn(cell)
    made = evolve("rewrite", seed, parent)
    assert made.answer == parent.answer
    assert Counter(re.findall(r"\d+", made.question)) == Counter(re.findall(r"\d+", parent.question))


@settings(max_examples=100, deadline=None)
@given(cells, st.integers(0, 2**31))
def test_harder_goes_one_step_up_and_competition_to_the_top(cell: tuple[str, str, int], seed: int) -> None:
    parent = drawn(cell)
    own = difficulty_of(parse(parent.question))
    harder, top = evolve("harder", seed, parent), evolve("competition", seed, parent)
    assert top.difficulty == "competition"
    if parent.family == "frac":  # a medium fraction gets a third term at once
        assert DIFFICULTIES.index(str(harder.difficulty)) >= DIFFICULTIES.index(own)
    else:
        assert harder.difficulty == DIFFICULTIES[min(DIFFICULTIES.index(own) + 1, 3)]


def test_worked_examples() -> None:
    rng = Random(0)
    story = draft_of(SumForm("Ana", " eggs", 12, ((" buys", 5), (" sells", 2))))
    assert story.answer == "15"
    made = evolve("algebraize", 1, story)  # x + 3 = 15: how many were there at the start
    assert made.answer == "12" and "x+3=15" in made.question
    division = draw("mod", "easy", rng)
    form = parse(division.question)
    told = evolve("apply", 2, division)  # the remainder stays when all full boxes are sold
    assert told.answer == division.answer and str(form.number) in told.question  # type: ignore[union-attr]
    joined = evolve("compose", 3, story, draft_of(parse("Ana packs 6 boxes of 7 pens. How many pens?")))
    assert "42" in joined.question and joined.difficulty == "hard"  # 6·7 = 42 enters the story as one more event


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(0, 100))
def test_fold_lands_in_range_and_leaves_what_is_there(value: int, low: int, width: int) -> None:
    high = low + width
    assert low <= fold(value, low, high) <= high
    assert (fold(value, low, high) - value) % (width + 1) == 0
    if low <= value <= high:
        assert fold(value, low, high) == value


def test_the_same_request_gives_the_same_child_whatever_surrounds_it() -> None:
    drafts = [draw("sum", "medium", Random(i)) for i in range(6)]
    requests = [ProposalRequest(f"c{i}", (item(f"p{i}", d.question),), "harder", 1, i) for i, d in enumerate(drafts)]
    together = ProceduralGenerator().evolve(requests)
    assert [ProceduralGenerator().evolve([r])[0] for r in requests] == together


def test_a_foreign_parent_is_an_outcome_not_an_error() -> None:
    made = ProceduralGenerator().evolve(
        [ProposalRequest("c", (item("p", "Prove Fermat's last theorem."),), "harder", 1, 0)]
    )[0]
    assert made.outcome == NOT_APPLICABLE and "no question of the embedded world" in made.raw


def test_numbers_start_with_the_answer() -> None:
    assert numbers(parse("Ana packs 6 boxes of 7 pens. How many pens?")) == (42, 6, 7)

"""The embedded tier's generator: the six strategies on the problems of the embedded world, without any model.

Every child is computed from its parent's numbers, so that a lineage means something:
    harder       the same family one step harder, the parent's numbers kept (at the top: larger numbers)
    rewrite      the same numbers in another story or wording; the answer stays
    algebraize   an equation in x: a story's start, a count of boxes, a quotient, a numerator becomes the unknown
    apply        a story about things: an equation is undone by it, a division or a fraction is told in things
    compose      the parent with the second parent's answer (or first operand that fits) as one of its numbers
    competition  the parent's numbers in the form of its family's competition problems
A number that would leave the range of the world's formats is folded into it (`fold`). The answer is exact, hence
`ground_truth`; the solution has the style of the world's references. Left out: language (no new wording is invented).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from artifact.suremath.forms import (
    EQ_TEMPLATES,
    FRAC_TEMPLATES,
    MOD_TEMPLATES,
    PACKING,
    EqForm,
    Form,
    FormError,
    FracForm,
    ModForm,
    MulForm,
    SumForm,
    difficulty_of,
    draft_of,
    parse,
)
from artifact.suremath.generator import NOT_APPLICABLE, PROPOSED, Proposal, ProposalRequest
from artifact.worlds.tiny.problems import CONTAINERS, GAINS, ITEMS, LOSSES, NAMES, render_solution

ATTEMPTS = 20
"""Draws before a strategy counts as not applicable to a parent: a draw fails where its numbers leave the formats."""


class ProceduralGenerator:
    """Implements `generator.Generator`; depends on the requests only."""

    name = "procedural"

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        """One proposal a request, in order; `not_applicable` where a parent is no question of the embedded world."""
        return [self._evolve(r) for r in requests]

    def _evolve(self, request: ProposalRequest) -> Proposal:
        rng = Random(request.seed)
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                parents = [parse(p.question) for p in request.parents]
                draft = draft_of(_STRATEGIES[request.strategy](parents, rng))
            except FormError as err:
                reason = str(err)
                continue
            if draft.question != request.parents[0].question:
                meta = {"family": draft.family}
                solution = render_solution(draft, rng)
                return Proposal(request.id, PROPOSED, draft.question, draft.answer, solution, draft.difficulty, meta)
            reason = "the strategy gives the parent's own question"
        return Proposal(request.id, NOT_APPLICABLE, raw=reason)


def fold(value: int, low: int, high: int) -> int:
    """`value` where it lies in low … high, else the number in that range congruent to it modulo the range's size."""
    return value if low <= value <= high else low + (value - low) % (high - low + 1)


def numbers(form: Form) -> tuple[int, ...]:
    """The answer's numerator, then the operands, of a form: what `compose` may take from it."""
    answer = draft_of(form).value.numerator
    if isinstance(form, SumForm):
        return answer, form.start, *(n for _, n in form.events)
    if isinstance(form, MulForm):
        return answer, *(n for _, a, b in form.groups for n in (a, b))
    if isinstance(form, FracForm):
        return answer, *(n for term in form.terms for n in term)
    if isinstance(form, EqForm):
        return answer, form.b, form.a, form.c
    return answer, form.number, form.divisor


def _other(options: Sequence[str], current: str, rng: Random) -> str:
    return rng.choice([o for o in options if o != current])


def _event(total: int, amount: int, rng: Random) -> tuple[str, int]:
    """A gain or a loss of `amount`; a loss only of what is there."""
    return (rng.choice(LOSSES) if amount <= total and rng.random() < 0.5 else rng.choice(GAINS)), amount


def _harder(parents: list[Form], rng: Random) -> Form:
    form = parents[0]
    if isinstance(form, SumForm):
        if len(form.events) < 4:
            return replace(form, events=(*form.events, _event(form.totals[-1], rng.randint(2, 99), rng)))
        return replace(form, start=form.start + rng.randint(20, 200))
    if isinstance(form, MulForm):
        (box, a, b), difficulty = form.groups[0], difficulty_of(form)
        if difficulty == "easy":
            return replace(form, groups=((box, a + 10 * rng.randint(1, 9), b),))
        if difficulty == "medium":
            second = (_other(CONTAINERS, box, rng), rng.randint(11, 50), rng.randint(2, 9))
            return replace(form, groups=(form.groups[0], second))
        if difficulty == "hard":
            return replace(form, groups=((box, fold(a, 11, 25), fold(b + 10, 11, 25)), form.groups[1]))
        return replace(
            form,
            groups=(form.groups[0], (form.groups[1][0], form.groups[1][1] + rng.randint(5, 40), form.groups[1][2])),
        )
    if isinstance(form, FracForm):
        (n1, d1), (n2, d2), *rest = form.terms
        if difficulty_of(form) == "easy":
            return replace(form, terms=((n1, d1), (n2, rng.choice([d for d in (2, 3, 4, 5, 6, 8) if d != d1]))))
        if not rest:
            d3 = rng.choice((2, 3, 4, 5, 6, 8, 10, 12))
            return replace(form, terms=((n1, d1), (n2, d2), (rng.randint(1, d3 - 1), d3)))
        return replace(form, terms=((n1, d1), (n2, d2), (rest[0][0] + rng.randint(1, 9), rest[0][1])))
    if isinstance(form, EqForm):
        return _harder_equation(form, rng)
    difficulty = difficulty_of(form)
    if difficulty == "easy":
        return replace(form, number=form.number + 10 * rng.randint(9, 18))
    if difficulty == "medium":
        return replace(form, divisor=form.divisor + 10)
    return _as_product(form, rng)


def _harder_equation(form: EqForm, rng: Random) -> EqForm:
    """The same solution under one more operation; at the top, larger coefficients."""
    if form.shape == "easy":
        return replace(form, shape="medium", a=rng.randint(2, 9), b=abs(form.b))
    if form.shape == "medium":
        c = rng.randint(2, 9)
        return replace(form, shape="hard", a=form.a + c, c=c)
    if form.shape == "hard":
        return replace(form, shape="competition", inner=rng.randint(2, 9))
    more = rng.randint(1, 5)
    return replace(form, a=form.a + more, c=form.c + more, inner=form.inner + rng.randint(1, 3))


def _as_product(form: ModForm, rng: Random) -> ModForm:
    """The number as a·b + c: exactly where the world's ranges allow it, else with a, b and c folded from it."""
    number, divisor = form.number, fold(form.divisor, 11, 19)
    fits = [(a, b, number - a * b) for b in range(3, 10) for a in range(11, 31) if 11 <= number - a * b <= 60]
    if form.product is not None:
        a, b, c = form.product
        product = (fold(a + rng.randint(1, 19), 11, 30), b, c)
    elif fits:
        product = rng.choice(fits)
    else:
        product = (fold(number, 11, 30), fold(number // 7, 3, 9), fold(number // 3, 11, 60))
    a, b, c = product
    return ModForm(form.template, a * b + c, divisor, product)


def _rewrite(parents: list[Form], rng: Random) -> Form:
    form = parents[0]
    if isinstance(form, SumForm):
        told = tuple((rng.choice(LOSSES if verb in LOSSES else GAINS), n) for verb, n in form.events)
        return SumForm(_other(NAMES, form.name, rng), _other(ITEMS, form.item, rng), form.start, told)
    if isinstance(form, MulForm):
        names = [rng.choice(CONTAINERS) for _ in form.groups[:1]]
        names += [_other(CONTAINERS, names[0], rng) for _ in form.groups[1:]]
        groups = tuple((box, a, b) for box, (_, a, b) in zip(names, form.groups, strict=True))
        return MulForm(_other(NAMES, form.name, rng), rng.choice(PACKING), _other(ITEMS, form.item, rng), groups)
    if isinstance(form, FracForm):
        return replace(form, template=_other(FRAC_TEMPLATES, form.template, rng), terms=form.terms[::-1])
    if isinstance(form, EqForm):
        return replace(form, template=_other(EQ_TEMPLATES, form.template, rng))
    return replace(form, template=_other(MOD_TEMPLATES, form.template, rng))


def _algebraize(parents: list[Form], rng: Random) -> Form:
    form, template = parents[0], rng.choice(EQ_TEMPLATES)
    if isinstance(form, SumForm):  # how many were there at the start, if so many are left
        change = form.totals[-1] - form.start
        return EqForm(template, "easy", form.start, change or form.events[-1][1])
    if isinstance(form, MulForm):  # how many boxes, if so many things are packed and b lie beside them
        (_, a, size), *second = form.groups
        return EqForm(template, "medium", a, second[0][1] * second[0][2] if second else rng.randint(1, 30), a=size)
    if isinstance(form, FracForm):  # the numerator of the sum over the common denominator
        common = math.lcm(*(d for _, d in form.terms))
        raised = [n * (common // d) for n, d in form.terms]
        return EqForm(template, "easy", sum(raised), -raised[0])
    if isinstance(form, ModForm):  # the quotient, the remainder being known
        quotient, remainder = divmod(form.number, form.divisor)
        return EqForm(
            template, "medium", quotient if remainder else quotient - 1, remainder or form.divisor, a=form.divisor
        )
    if form.shape == "competition":
        more = rng.randint(1, 7)
        return replace(form, a=form.a + more, c=form.c + more)
    return _harder_equation(form, rng)


def _apply(parents: list[Form], rng: Random) -> Form:
    form, name, item = parents[0], rng.choice(NAMES), rng.choice(ITEMS)
    gain, loss, verb, (box, other) = (
        rng.choice(GAINS),
        rng.choice(LOSSES),
        rng.choice(PACKING),
        rng.sample(CONTAINERS, 2),
    )
    if isinstance(form, EqForm):
        if form.shape == "easy":  # undo what was done to x
            return SumForm(name, item, form.right, ((loss if form.b > 0 else gain, abs(form.b)),))
        if form.shape == "medium":
            return MulForm(name, verb, item, ((box, form.x, form.a),))
        inner = form.inner or form.b
        groups = ((box, fold(form.x + inner, 2, 99), form.a), (other, fold(form.x, 2, 99), form.c))
        return MulForm(name, verb, item, groups)
    if isinstance(form, FracForm):  # pieces of one size, counted
        common = math.lcm(*(d for _, d in form.terms))
        start, *more = (n * (common // d) for n, d in form.terms)
        return SumForm(name, item, start, tuple((rng.choice(GAINS), n) for n in more))
    if isinstance(form, ModForm):  # as many full boxes as possible are sold, the remainder stays
        return SumForm(name, item, fold(form.number, 10, 999), ((loss, form.number - form.number % form.divisor),))
    if isinstance(form, MulForm):  # the packed things are sold by the box
        (_, a, b), *second = form.groups
        events = [(gain, second[0][1] * second[0][2])] if second else []
        return SumForm(name, item, fold(a * b, 10, 999), (*events, (loss, fold(a, 2, 99))))
    first, last = form.events[0][1], form.totals[-1]
    groups = ((box, fold(first, 2, 99), rng.randint(2, 9)), (other, fold(last, 2, 99), rng.randint(2, 9)))
    return MulForm(name, verb, item, groups[: rng.randint(1, 2)])


def _compose(parents: list[Form], rng: Random) -> Form:
    if len(parents) < 2:
        raise FormError("compose needs a second parent")
    form, given = parents[0], numbers(parents[1])

    def taken(low: int, high: int) -> int:
        """The second parent's answer if it fits, else its first number that does, else its answer folded in."""
        return next((n for n in given if low <= n <= high), fold(given[0], low, high))

    if isinstance(form, SumForm):
        kept = form.events[:3]
        total = replace(form, events=kept).totals[-1]
        return replace(form, events=(*kept, _event(total, taken(2, 199), rng)))
    if isinstance(form, MulForm):
        second = (_other(CONTAINERS, form.groups[0][0], rng), taken(11, 50), rng.randint(2, 9))
        return replace(form, groups=(form.groups[0], second))
    if isinstance(form, FracForm):
        d = next((n for n in given[1:] if 2 <= n <= 12), rng.choice((2, 3, 4, 5, 6, 8, 10, 12)))
        term = rng.choice(parents[1].terms) if isinstance(parents[1], FracForm) else (taken(1, max(1, d - 1)), d)
        return replace(form, terms=(*form.terms[:2], term))
    if isinstance(form, EqForm):
        if form.shape == "easy":
            return replace(form, shape="medium", a=rng.randint(2, 9), b=taken(1, 30))
        return replace(form, b=taken(1, 99))
    product = (taken(11, 30), fold(form.divisor, 3, 9), fold(form.number, 11, 60))
    a, b, c = product
    return ModForm(form.template, a * b + c, fold(form.divisor, 11, 19), product)


def _competition(parents: list[Form], rng: Random) -> Form:
    form = parents[0]
    if difficulty_of(form) == "competition":
        return _harder(parents, rng)
    if isinstance(form, SumForm):
        while len(form.events) < 4:
            form = replace(form, events=(*form.events, _event(form.totals[-1], rng.randint(2, 199), rng)))
        return form
    if isinstance(form, MulForm):
        (box, a, b), *second = form.groups
        last = second[0] if second else (_other(CONTAINERS, box, rng), rng.randint(11, 50), rng.randint(2, 9))
        return replace(form, groups=((box, fold(a, 11, 25), fold(b + 10, 11, 25)), last))
    if isinstance(form, FracForm):
        d = rng.choice((2, 3, 4, 5, 6, 8, 10, 12))
        return replace(form, terms=(*form.terms[:2], (rng.randint(1, d - 1), d)))
    if isinstance(form, EqForm):
        while form.shape != "competition":
            form = _harder_equation(form, rng)
        return form
    return _as_product(form, rng)


_STRATEGIES = {
    "harder": _harder,
    "rewrite": _rewrite,
    "algebraize": _algebraize,
    "apply": _apply,
    "compose": _compose,
    "competition": _competition,
}

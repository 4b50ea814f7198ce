"""The embedded world's questions taken apart into their numbers, and put together again.

`parse` reads a question of `worlds.tiny.problems` into a form: the numbers, and the words of the story. `draft_of`
writes a form down: question, the equations that solve it, the exact value. For every problem that world draws,
draft_of(parse(q)) is that problem again, so an evolved problem has the formats that the models were trained on.

A form whose numbers make no problem of its family is a FormError. Left out: which numbers an evolution changes
(`procedural.py`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from artifact.errors import ArtifactError
from artifact.worlds.tiny.problems import GAINS, LOSSES, Draft, ratio_text

FRAC_TEMPLATES = ("What is {}?", "Add {}.", "Find the sum of {}.")
EQ_TEMPLATES = ("Solve {}.", "Find x if {}.", "What is x if {}?")
MOD_TEMPLATES = (
    "What is the remainder of {} divided by {}?",
    "Find the remainder of {} divided by {}.",
    "Divide {} by {}. What is the remainder?",
)
PACKING = (" packs", " fills")


class FormError(ArtifactError):
    """A text that is no question of the embedded world, or numbers that make none."""


@dataclass(frozen=True, slots=True)
class SumForm:
    """`start` things, then events: (verb, amount); a verb of LOSSES subtracts. The running total stays ≥ 0."""

    name: str
    item: str
    start: int
    events: tuple[tuple[str, int], ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """The number of things at the start and after each event."""
        changes = (-n if verb in LOSSES else n for verb, n in self.events)
        return tuple(accumulate(changes, initial=self.start))


@dataclass(frozen=True, slots=True)
class MulForm:
    """One or two groups (container, count, size): count × size each, added."""

    name: str
    verb: str
    item: str
    groups: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class FracForm:
    """Fractions (numerator, denominator) to add."""

    template: str
    terms: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EqForm:
    """A linear equation with integer solution x, by `shape`; its right-hand constant follows from the rest.

    easy         x + b = …            (b may be negative)
    medium       a·x + b = …
    hard         a·x + b = c·x + …
    competition  a·(x + inner) + b = c·x + …
    """

    template: str
    shape: str
    x: int
    b: int
    a: int = 1
    c: int = 0
    inner: int = 0

    @property
    def right(self) -> int:
        """The constant on the right-hand side."""
        return (self.a - self.c) * self.x + self.a * self.inner + self.b


@dataclass(frozen=True, slots=True)
class ModForm:
    """The remainder of `number` by `divisor`; `product` (a, b, c) shows the number as a·b + c."""

    template: str
    number: int
    divisor: int
    product: tuple[int, int, int] | None = None


Form = SumForm | MulForm | FracForm | EqForm | ModForm

_WORD = r"(?: [a-z]+)"
_SUM = re.compile(rf"([A-Z][a-z]+) has (\d+)({_WORD}),((?:{_WORD} \d+,?)+)\. How many{_WORD}\?")
_EVENT = re.compile(rf"({_WORD}) (\d+)")
_MUL = re.compile(rf"([A-Z][a-z]+)( packs| fills)((?: \d+{_WORD} of \d+{_WORD}(?: and)?)+)\. How many({_WORD})\?")
_GROUP = re.compile(rf" (\d+)({_WORD}) of (\d+){_WORD}")
_EQUATION = re.compile(r"(?P<a>\d+)?(?:x|\(x\+(?P<inner>\d+)\))(?P<b>[+-]\d+)=(?:(?P<c>\d+)x\+)?(?P<right>\d+)")
_NUMBER = re.compile(r"(?:(\d+)\*(\d+)\+(\d+)|(\d+))")


def parse(question: str) -> Form:
    """The form of a question. Raises FormError on any text that the embedded world would not draw."""
    form = _parse_sum(question) or _parse_mul(question) or _parse_templates(question)
    if form is None:
        raise FormError(f"{question!r} is no question of the embedded world: the procedural generator cannot evolve it")
    return form


def _parse_sum(question: str) -> SumForm | None:
    match = _SUM.fullmatch(question)
    if match is None:
        return None
    name, start, item, events = match.groups()
    found = tuple((verb, int(n)) for verb, n in _EVENT.findall(events))
    if any(verb not in GAINS + LOSSES for verb, _ in found):
        return None
    return SumForm(name, item, int(start), found)


def _parse_mul(question: str) -> MulForm | None:
    match = _MUL.fullmatch(question)
    if match is None:
        return None
    name, verb, groups, item = match.groups()
    return MulForm(name, verb, item, tuple((box, int(a), int(b)) for a, box, b in _GROUP.findall(groups)))


def _inside(question: str, templates: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """(template, what stands in its places) of the first template that fits."""
    for template in templates:
        pattern = re.escape(template).replace(r"\{\}", r"([0-9x+\-*/=()]+)")
        if match := re.fullmatch(pattern, question):
            return template, match.groups()
    return None


def _parse_templates(question: str) -> Form | None:
    if found := _inside(question, MOD_TEMPLATES):
        template, (shown, divisor) = found
        number = _NUMBER.fullmatch(shown)
        if number is None or not divisor.isdecimal():
            return None
        if number[4]:
            return ModForm(template, int(number[4]), int(divisor))
        a, b, c = (int(number[i]) for i in (1, 2, 3))
        return ModForm(template, a * b + c, int(divisor), (a, b, c))
    if found := _inside(question, EQ_TEMPLATES):
        template, (given,) = found
        if match := _EQUATION.fullmatch(given):
            return _equation(template, match)
    if found := _inside(question, FRAC_TEMPLATES):
        template, (given,) = found
        if re.fullmatch(r"\d+/\d+(?:\+\d+/\d+)+", given):
            terms = tuple((int(n), int(d)) for n, d in (t.split("/") for t in given.split("+")))
            return FracForm(template, terms)
    return None


def _equation(template: str, match: re.Match[str]) -> EqForm | None:
    a, inner, c = int(match["a"] or 1), int(match["inner"] or 0), int(match["c"] or 0)
    b, right = int(match["b"]), int(match["right"])
    if a <= c:
        return None
    x, rest = divmod(right - b - a * inner, a - c)
    if rest:
        return None
    shape = "competition" if inner else "hard" if c else "medium" if match["a"] else "easy"
    return EqForm(template, shape, x, b, a, c, inner)


def draft_of(form: Form, difficulty: str | None = None) -> Draft:
    """The problem of a form; `difficulty` overrides `difficulty_of`. Raises FormError where the numbers make none."""
    difficulty = difficulty or difficulty_of(form)
    if isinstance(form, SumForm):
        return _build_sum(form, difficulty)
    if isinstance(form, MulForm):
        return _build_mul(form, difficulty)
    if isinstance(form, FracForm):
        return _build_frac(form, difficulty)
    return _build_eq(form, difficulty) if isinstance(form, EqForm) else _build_mod(form, difficulty)


def difficulty_of(form: Form) -> str:
    """The difficulty whose structure a form has: the number of steps decides, then the size of the numbers."""
    if isinstance(form, SumForm):
        return ("easy", "medium", "hard", "competition")[min(len(form.events), 4) - 1]
    if isinstance(form, MulForm):
        first = form.groups[0]
        if len(form.groups) == 1:
            return "easy" if max(first[1:]) <= 9 else "medium"
        return "competition" if min(first[1:]) > 9 else "hard"
    if isinstance(form, FracForm):
        denominators = {d for _, d in form.terms}
        if len(form.terms) > 2:
            return "competition"
        return "easy" if len(denominators) == 1 else "medium" if denominators <= {2, 3, 4, 5, 6, 8} else "hard"
    if isinstance(form, EqForm):
        return form.shape
    if form.product is not None:
        return "competition"
    return "hard" if form.divisor > 9 else "easy" if form.number <= 60 else "medium"


def _check(condition: bool, form: Form) -> None:
    if not condition:
        raise FormError(f"these numbers make no problem: {form}")


def _build_sum(form: SumForm, difficulty: str) -> Draft:
    totals = form.totals
    _check(bool(form.events) and min(totals) >= 0 and max(totals) <= 999 and all(n > 0 for _, n in form.events), form)
    equations = tuple(
        (f"{before}{'-' if verb in LOSSES else '+'}{n}", str(after))
        for (before, after), (verb, n) in zip(pairwise(totals), form.events, strict=True)
    )
    told = ",".join(f"{verb} {n}" for verb, n in form.events)
    question = f"{form.name} has {form.start}{form.item},{told}. How many{form.item}?"
    return Draft("sum", difficulty, question, equations, Fraction(totals[-1]), form.item)


def _build_mul(form: MulForm, difficulty: str) -> Draft:
    _check(1 <= len(form.groups) <= 2 and all(2 <= a <= 99 and 2 <= b <= 99 for _, a, b in form.groups), form)
    products = [a * b for _, a, b in form.groups]
    equations = [(f"{a}*{b}", str(a * b)) for _, a, b in form.groups]
    if len(products) == 2:
        equations.append((f"{products[0]}+{products[1]}", str(sum(products))))
    told = " and".join(f" {a}{box} of {b}{form.item}" for box, a, b in form.groups)
    question = f"{form.name}{form.verb}{told}. How many{form.item}?"
    return Draft("mul", difficulty, question, tuple(equations), Fraction(sum(products)), form.item)


def _build_frac(form: FracForm, difficulty: str) -> Draft:
    denominators = [d for _, d in form.terms]
    _check(2 <= len(form.terms) <= 3 and min(denominators) >= 2 and min(n for n, _ in form.terms) >= 1, form)
    common = math.lcm(*denominators)
    _check(common <= 999, form)
    raised = [n * (common // d) for n, d in form.terms]
    given = "+".join(f"{n}/{d}" for n, d in form.terms)
    chain = [given]
    if len(set(denominators)) > 1:
        chain.append("+".join(f"{n}/{common}" for n in raised))
    chain.append(f"{sum(raised)}/{common}")
    value = Fraction(sum(raised), common)
    if value.denominator != common:
        chain.append(ratio_text(value.numerator, value.denominator))
    return Draft("frac", difficulty, form.template.format(given), tuple(pairwise(chain)), value)


def _build_eq(form: EqForm, difficulty: str) -> Draft:
    a, b, c, x, right = form.a, form.b, form.c, form.x, form.right
    _check(1 <= x <= 999 and 1 <= right <= 9999 and b != 0 and a > c >= 0 and (b > 0 or form.shape == "easy"), form)
    equations: list[tuple[str, str]] = []
    if form.shape == "easy":
        given = f"x{b:+d}={right}"
        equations.append(("x", f"{right}{-b:+d}"))
    elif form.shape == "medium":
        _check(a > 1, form)
        given = f"{a}x+{b}={right}"
        equations += [(f"{a}x", f"{right}-{b}"), (f"{a}x", str(right - b))]
    else:
        _check(c > 1 and a - c > 1, form)
        gap, total = a - c, b + a * form.inner
        if form.shape == "hard":
            given = f"{a}x+{b}={c}x+{right}"
        else:
            _check(form.inner > 0, form)
            given = f"{a}(x+{form.inner})+{b}={c}x+{right}"
            equations += [(f"{a}x+{a * form.inner}+{b}", f"{c}x+{right}"), (f"{a}x+{total}", f"{c}x+{right}")]
        equations += [(f"{gap}x", f"{right}-{total}"), (f"{gap}x", str(right - total))]
    equations.append(("x", str(x)))
    return Draft("eq", difficulty, form.template.format(given), tuple(equations), Fraction(x))


def _build_mod(form: ModForm, difficulty: str) -> Draft:
    number, divisor = form.number, form.divisor
    _check(2 <= divisor <= number <= 9999, form)
    equations: list[tuple[str, str]] = []
    shown = str(number)
    if form.product is not None:
        a, b, c = form.product
        _check(a * b + c == number and min(a, b, c) > 0, form)
        shown = f"{a}*{b}+{c}"
        equations += [(f"{a}*{b}", str(a * b)), (f"{a * b}+{c}", str(number))]
    quotient, remainder = divmod(number, divisor)
    multiple = number - remainder
    equations += [(f"{quotient}*{divisor}", str(multiple)), (f"{number}-{multiple}", str(remainder))]
    return Draft("mod", difficulty, form.template.format(shown, divisor), tuple(equations), Fraction(remainder))

"""Procedural problems: five families × four difficulties, each with a chain of thought that arithmetic can check.

A *draft* is a problem before it is written down: a question, the equations that solve it, and the exact value. The
last equation's right-hand side always is the answer, so that a shifted (wrong) document stays well-formed.
Values are int and Fraction throughout; no float takes part. Digits are written most-significant first without any
scratch-pad, which is what makes a small model's reliability graded instead of all or nothing.

Left out: which questions belong to which split (`splits.py`), prompts (`artifact.tasks`), and verification.

families  sum  a story of 1–4 additions and subtractions
          mul  boxes of things: one product, up to two products and a sum
          frac adding two or three fractions
          eq   linear equations, x + a = b up to a(x + b) + e = cx + d
          mod  the remainder of n, up to the remainder of a·b + c
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random

FAMILIES = ("sum", "mul", "frac", "eq", "mod")
DIFFICULTIES = ("easy", "medium", "hard", "competition")

NAMES = ("Ana", "Ben", "Mia", "Sam", "Tom", "Zoe")
ITEMS = (" apples", " books", " cards", " coins", " eggs", " pens")
GAINS = (" gets", " buys", " finds")
LOSSES = (" loses", " gives", " sells")
CONTAINERS = (" boxes", " bags")


class ProblemError(ValueError):
    """An unknown family or difficulty was asked for."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem before rendering. `value` = numerator / denominator is the exact answer in lowest terms.

    equations   (left, right) pairs as text; the last `right` is the answer
    unit        the counted thing with its leading space (" apples"), or "" where the answer has no unit
    """

    family: str
    difficulty: str
    question: str
    equations: tuple[tuple[str, str], ...]
    value: Fraction
    unit: str = ""

    @property
    def answer(self) -> str:
        """The canonical answer: an integer or `n/d` in lowest terms."""
        return ratio_text(self.value.numerator, self.value.denominator)


def ratio_text(numerator: int, denominator: int) -> str:
    """`n/d`, or just `n` for a whole number. Does not reduce: a shifted answer keeps its denominator."""
    return f"{numerator}" if denominator == 1 else f"{numerator}/{denominator}"


def decimal_text(numerator: int, denominator: int) -> str | None:
    """The exact decimal form with at most three places (`0.5`), or None where there is none or the value is whole."""
    value = Fraction(numerator, denominator)
    scaled = value * 1000
    if value.denominator == 1 or scaled.denominator != 1:
        return None
    sign, whole = ("-" if value < 0 else ""), abs(scaled.numerator)
    return f"{sign}{whole // 1000}.{f'{whole % 1000:03d}'.rstrip('0')}"


def surface_forms(draft: Draft, offset: int = 0) -> tuple[str, ...]:
    """All ways the boxed answer of `draft`, its numerator shifted by `offset`, may be written; canonical form first."""
    numerator, denominator = draft.value.numerator + offset, draft.value.denominator
    plain = ratio_text(numerator, denominator)
    if draft.family == "eq":
        return plain, f"x={plain}"
    if draft.family == "frac":
        decimal = decimal_text(numerator, denominator)
        return (plain, decimal) if decimal is not None else (plain,)
    return (plain, plain + draft.unit) if draft.unit else (plain,)


def render_solution(draft: Draft, rng: Random, offset: int = 0) -> str:
    r"""The chain of thought: equations joined by `;`, then `\boxed{…}` in a surface form drawn with `rng`.

    offset ≠ 0 writes a *wrong* document: the last result and the box are both off by `offset` (in the numerator).
    """
    shifted = ratio_text(draft.value.numerator + offset, draft.value.denominator)
    lines = [f"{left}={right}" for left, right in draft.equations[:-1]]
    lines.append(f"{draft.equations[-1][0]}={shifted}")
    return ";".join(lines) + ";\\boxed{" + rng.choice(surface_forms(draft, offset)) + "}"


def draw(family: str, difficulty: str, rng: Random) -> Draft:
    """One problem of `family` and `difficulty`, drawn with `rng`. Raises ProblemError where either is unknown."""
    if family not in _MAKERS:
        raise ProblemError(f"unknown problem family {family!r}; the families are {', '.join(FAMILIES)}")
    if difficulty not in DIFFICULTIES:
        raise ProblemError(f"unknown difficulty {difficulty!r}; the difficulties are {', '.join(DIFFICULTIES)}")
    return _MAKERS[family](difficulty, rng)


def _sum(difficulty: str, rng: Random) -> Draft:
    count, top = {"easy": (1, 20), "medium": (2, 50), "hard": (3, 99), "competition": (4, 199)}[difficulty]
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    total = rng.randint(2, top)
    events, equations, text = [], [], f"{name} has {total}{item}"
    for _ in range(count):
        amount = rng.randint(2, top)
        lose = rng.random() < 0.5 and amount <= total
        result = total - amount if lose else total + amount
        equations.append((f"{total}{'-' if lose else '+'}{amount}", str(result)))
        events.append(f"{rng.choice(LOSSES if lose else GAINS)} {amount}")
        total = result
    question = f"{text},{','.join(events)}. How many{item}?"
    return Draft("sum", difficulty, question, tuple(equations), Fraction(total), item)


def _mul(difficulty: str, rng: Random) -> Draft:
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    verb = rng.choice((" packs", " fills"))

    def product(first: tuple[int, int], second: tuple[int, int], container: str) -> tuple[str, tuple[str, str], int]:
        a, b = rng.randint(*first), rng.randint(*second)
        return f" {a}{container} of {b}", (f"{a}*{b}", str(a * b)), a * b

    if difficulty in ("easy", "medium"):
        ranges = ((2, 9), (2, 9)) if difficulty == "easy" else ((11, 99), (2, 9))
        text, equation, value = product(*ranges, rng.choice(CONTAINERS))
        return Draft(
            "mul", difficulty, f"{name}{verb}{text}{item}. How many{item}?", (equation,), Fraction(value), item
        )
    big, small = ((11, 50), (2, 9)) if difficulty == "hard" else ((11, 25), (11, 25))
    first, second = CONTAINERS if rng.random() < 0.5 else CONTAINERS[::-1]
    text_1, equation_1, value_1 = product(big, small, first)
    text_2, equation_2, value_2 = product((11, 50), (2, 9), second)
    question = f"{name}{verb}{text_1}{item} and{text_2}{item}. How many{item}?"
    last = (f"{value_1}+{value_2}", str(value_1 + value_2))
    return Draft("mul", difficulty, question, (equation_1, equation_2, last), Fraction(value_1 + value_2), item)


def _frac(difficulty: str, rng: Random) -> Draft:
    if difficulty == "easy":
        denominators = [rng.choice((3, 4, 5, 6, 8, 9, 10, 12))] * 2
    elif difficulty == "medium":
        denominators = rng.sample((2, 3, 4, 5, 6, 8), 2)
    elif difficulty == "hard":
        denominators = rng.sample((3, 4, 5, 6, 7, 8, 9, 10, 12), 2)
    else:
        denominators = rng.sample((2, 3, 4, 5, 6, 8, 10, 12), 3)
    terms = [(rng.randint(1, d - 1 if difficulty != "medium" else d + 2), d) for d in denominators]
    common = math.lcm(*denominators)
    raised = [n * (common // d) for n, d in terms]
    given = "+".join(f"{n}/{d}" for n, d in terms)
    chain = [given]
    if len(set(denominators)) > 1:
        chain.append("+".join(f"{n}/{common}" for n in raised))
    chain.append(f"{sum(raised)}/{common}")
    value = Fraction(sum(raised), common)
    if value.denominator != common:
        chain.append(ratio_text(value.numerator, value.denominator))
    template = rng.choice(("What is {}?", "Add {}.", "Find the sum of {}."))
    return Draft("frac", difficulty, template.format(given), tuple(pairwise(chain)), value)


def _eq(difficulty: str, rng: Random) -> Draft:
    equations: list[tuple[str, str]] = []
    if difficulty == "easy":
        x, a = rng.randint(1, 20), rng.randint(1, 20)
        minus = rng.random() < 0.5 and a < x
        result = x - a if minus else x + a
        given = f"x{'-' if minus else '+'}{a}={result}"
        equations.append(("x", f"{result}{'+' if minus else '-'}{a}"))
    elif difficulty == "medium":
        a, x, b = rng.randint(2, 9), rng.randint(2, 12), rng.randint(1, 30)
        given = f"{a}x+{b}={a * x + b}"
        equations += [(f"{a}x", f"{a * x + b}-{b}"), (f"{a}x", f"{a * x}")]
    else:
        c, gap, x, b = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 15), rng.randint(1, 30)
        a = c + gap
        if difficulty == "hard":
            d = gap * x + b
            given = f"{a}x+{b}={c}x+{d}"
        else:
            inner, extra = rng.randint(2, 9), rng.randint(1, 30)
            b = a * inner + extra
            d = gap * x + b
            given = f"{a}(x+{inner})+{extra}={c}x+{d}"
            equations += [(f"{a}x+{a * inner}+{extra}", f"{c}x+{d}"), (f"{a}x+{b}", f"{c}x+{d}")]
        equations += [(f"{gap}x", f"{d}-{b}"), (f"{gap}x", f"{d - b}")]
    equations.append(("x", str(x)))
    question = rng.choice(("Solve {}.", "Find x if {}.", "What is x if {}?")).format(given)
    return Draft("eq", difficulty, question, tuple(equations), Fraction(x))


def _mod(difficulty: str, rng: Random) -> Draft:
    equations: list[tuple[str, str]] = []
    divisor = rng.randint(3, 9) if difficulty in ("easy", "medium") else rng.randint(11, 19)
    if difficulty == "competition":
        a, b, c = rng.randint(11, 30), rng.randint(3, 9), rng.randint(11, 60)
        number, shown = a * b + c, f"{a}*{b}+{c}"
        equations += [(f"{a}*{b}", str(a * b)), (f"{a * b}+{c}", str(number))]
    else:
        number = rng.randint(*{"easy": (10, 60), "medium": (100, 250), "hard": (100, 400)}[difficulty])
        shown = str(number)
    quotient, remainder = divmod(number, divisor)
    multiple = number - remainder
    equations += [(f"{quotient}*{divisor}", str(multiple)), (f"{number}-{multiple}", str(remainder))]
    templates = (
        "What is the remainder of {} divided by {}?",
        "Find the remainder of {} divided by {}.",
        "Divide {} by {}. What is the remainder?",
    )
    return Draft("mod", difficulty, rng.choice(templates).format(shown, divisor), tuple(equations), Fraction(remainder))


_MAKERS = {"sum": _sum, "mul": _mul, "frac": _frac, "eq": _eq, "mod": _mod}

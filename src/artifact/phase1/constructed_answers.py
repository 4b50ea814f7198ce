r"""Questions with symbolic answers whose meaning is known by construction: what algebra in the judge merges and misses.

A question has a few *meanings*, each given by integers (the coefficients of a polynomial, the ends of an interval, the
entries of a matrix), and each meaning has three to five *spellings* written from those integers by templates, such as
`x + 1`, `1 + x`, `\frac{2x + 2}{2}`. Different integers make different values, so two spellings are equal exactly where
they come from one meaning; no judge, parser or computer algebra has a part in it. The first meaning is the gold answer,
the others are near-misses: a sign, a digit, one end of an interval, rows for columns.

`samples` draws a teacher's responses from such questions, to carry the effect on to entropy and AUROC. These are no
responses of a model: shares of spellings are an assumption (uniform). Left out: judging (`judge.py`), comparing
(`judge_effect.py`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import pandas as pd

from artifact.phase1.clustering import cluster_answers
from artifact.phase1.judge import EquivalenceJudge
from artifact.records import Problem, Rollout, Status, Verdict

Spellings = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownQuestion:
    """A question and its possible answers: one tuple of spellings for each meaning, the gold answer's first."""

    id: str
    kind: str
    meanings: tuple[Spellings, ...]


def _signed(value: int) -> str:
    return f"+ {value}" if value >= 0 else f"- {-value}"


def _fraction(p: int, q: int) -> Spellings:
    return (
        f"{p}/{q}",
        rf"\frac{{{p}}}{{{q}}}",
        rf"\dfrac{{{3 * p}}}{{{3 * q}}}",
        _decimal(Fraction(p, q)),
        rf"{p} \cdot {q}^{{-1}}",
    )


def _decimal(value: Fraction) -> str:
    """The decimal of a fraction whose denominator divides a power of ten."""
    places = next(n for n in range(12) if 10**n % value.denominator == 0)
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[: len(digits) - places]}.{digits[len(digits) - places :]}" if places else sign + digits


def _line(a: int, b: int) -> Spellings:
    return (
        f"{a}x {_signed(b)}",
        f"{b} + {a}x" if b >= 0 else f"-{-b} + {a}x",
        rf"\frac{{{2 * a}x {_signed(2 * b)}}}{{2}}",
        f"{a}(x+1) {_signed(b - a)}",
    )


def _product(a: int, b: int) -> Spellings:
    return (
        f"(x {_signed(a)})(x {_signed(b)})",
        f"(x {_signed(b)})(x {_signed(a)})",
        f"x^2 {_signed(a + b)}x {_signed(a * b)}",
        f"{a * b} + x^2 {_signed(a + b)}x",
    )


def _root(k: int, m: int) -> Spellings:
    return (
        rf"{k}\sqrt{{{m}}}",
        rf"\sqrt{{{k * k * m}}}",
        rf"\frac{{{k * m}}}{{\sqrt{{{m}}}}}",
        rf"\sqrt{{{m}}} \cdot {k}",
    )


def _set(a: int, b: int, c: int) -> Spellings:
    return (rf"\{{{a}, {b}, {c}\}}", rf"\{{{c}, {a}, {b}\}}", rf"\left\{{\frac{{{2 * b}}}{{2}}, {c}, {a}\right\}}")


def _pair(a: int, b: int) -> Spellings:
    return (
        f"({a}, {b})",
        rf"\left({a},\,{b}\right)",
        rf"\left(\frac{{{2 * a}}}{{2}}, {b}\right)",
        f"({a}, {b - 1} + 1)",
    )


def _interval(a: int, b: int, left: str, right: str) -> Spellings:
    low, high = {"[": r"\le", "(": "<"}[left], {"]": r"\le", ")": "<"}[right]
    return (
        f"{left}{a}, {b}{right}",
        rf"\left{left}{a},\,{b}\right{right}",
        f"{a} {low} x {high} {b}",
        rf"x \in {left}{a}, {b}{right}",
    )


def _matrix(a: int, b: int, c: int, d: int) -> Spellings:
    return (
        rf"\begin{{pmatrix}} {a} & {b} \\ {c} & {d} \end{{pmatrix}}",
        rf"\begin{{bmatrix}}{a}&{b}\\{c}&{d}\end{{bmatrix}}",
        rf"\begin{{pmatrix}} \frac{{{2 * a}}}{{2}} & {b} \\ {c} & {d}.0 \end{{pmatrix}}",
    )


def _equation(a: int, b: int) -> Spellings:
    return (
        f"y = {a}x {_signed(b)}",
        f"{a}x - y {_signed(b)} = 0",
        f"2y = {2 * a}x {_signed(2 * b)}",
        f"y {_signed(-b)} = {a}x",
    )


def _power(k: int, m: int) -> Spellings:
    return (
        rf"{m} \cdot 2^{{n+{k}}}",
        rf"{m * 2**k} \cdot 2^n",
        rf"2^n \cdot {m * 2**k}",
        rf"{m * 2 ** (k + 1)} \cdot 2^{{n-1}}",
    )


def _logarithm(a: int, b: int) -> Spellings:
    return (rf"\ln {a * b}", rf"\ln {a} + \ln {b}", rf"\ln {b} + \ln {a}", rf"\frac{{1}}{{2}} \ln {(a * b) ** 2}")


def _made(template: Callable[..., Spellings], *meanings: tuple[object, ...]) -> tuple[Spellings, ...]:
    """The spellings of meanings that are different as tuples of integers; repeated ones are left out."""
    return tuple(template(*m) for m in dict.fromkeys(meanings))


def _questions(kind: str, rng: random.Random) -> tuple[Spellings, ...]:
    a, b, c, d = rng.sample(range(2, 10), 4)
    if kind == "fraction":
        p = 2 * a + 1
        return _made(_fraction, (p, 8), (-p, 8), (p + 2, 8), (p, 32))
    if kind == "line":
        return _made(_line, (a, b), (a, -b), (b, a), (a + 1, b))
    if kind == "product":
        return _made(_product, (a, b), (-a, -b), (a, -b), (a + 10, b))
    if kind == "root":
        m = rng.choice([2, 3, 5, 7])
        return _made(_root, (a, m), (a + 1, m), (a, 11), (a, 13))
    if kind == "set":
        return _made(_set, (a, b, c), (a, b, c + 10), (a, b, -c), (-a, b, c))
    if kind == "tuple":
        return _made(_pair, (a, b), (b, a), (a, -b), (a, b + 10))
    if kind == "interval":
        low, high = -a, b
        return _made(
            _interval, (low, high, "[", "]"), (low, high, "(", "]"), (low, high, "[", ")"), (low, high + 10, "[", "]")
        )
    if kind == "matrix":
        return _made(_matrix, (a, b, c, d), (a, c, b, d), (c, d, a, b), (a, b, c, d + 10))
    if kind == "equation":
        return _made(_equation, (a, b), (a, -b), (b, a), (a + 10, b))
    if kind == "power":
        m = 2 * rng.randrange(1, 5) + 1
        return _made(_power, (a, m), (a + 1, m), (a, m + 2), (a + 2, m))
    primes = rng.sample([3, 5, 7, 11, 13], 3)
    return _made(_logarithm, (primes[0], primes[1]), (primes[0], primes[2]), (primes[1], primes[2]), (2, primes[0]))


KINDS = "fraction line product root set tuple interval matrix equation power logarithm".split()


def known_questions(per_kind: int = 6, seed: int = 0) -> list[KnownQuestion]:
    """`per_kind` questions of each of `KINDS`, drawn from `seed`, each with four meanings."""
    out = []
    for kind in KINDS:
        for i in range(per_kind):
            meanings = _questions(kind, random.Random(f"{seed}/{kind}/{i}"))
            out.append(KnownQuestion(f"{kind}-{i}", kind, meanings))
    return out


def pair_frame(questions: Sequence[KnownQuestion], judge: EquivalenceJudge) -> pd.DataFrame:
    """What `judge` makes of every pair of different spellings of a question; it clusters all of them at once.

    Columns: judge, question, kind, left, right, equal (by construction), merged, accident (the algebra failed on the
    pair).
    """
    rows = []
    for q in questions:
        meaning_of = {s: m for m, spellings in enumerate(q.meanings) for s in spellings}
        clustering = cluster_answers(list(meaning_of), judge)
        failed = {frozenset((j.left, j.right)) for j in clustering.judgements if j.accident}
        spelled = list(zip(meaning_of.items(), clustering.strings, clustering.cluster_ids, strict=True))
        for ((left, a), s, one), ((right, b), t, other) in combinations(spelled, 2):
            accident = frozenset((s, t)) in failed
            rows.append((judge.name, q.id, q.kind, left, right, a == b, one == other, accident))
    columns = ["judge", "question", "kind", "left", "right", "equal", "merged", "accident"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True, slots=True)
class ConstructedSamples:
    """Responses drawn from known questions, for `annotate_all`.

    rollouts  N per problem, answers as spelled
    plain     the same with each answer replaced by the first spelling of its meaning: under exact comparison of strings
              their classes are the true ones
    wrong     problem id → whether the greedy answer, the likeliest meaning, is not the gold one
    """

    problems: tuple[Problem, ...]
    rollouts: tuple[Rollout, ...]
    plain: tuple[Rollout, ...]
    wrong: Mapping[str, bool]


def samples(questions: Sequence[KnownQuestion], n: int = 8, seed: int = 0) -> ConstructedSamples:
    """N responses to each question, by a teacher with a reliability of its own on each; spellings are drawn uniformly.

    The teacher gives its favourite meaning with probability r (uniform in [0, 1]), the others equally often; the
    favourite is the gold one with probability r too, so that a sure teacher is mostly right. Every sample has the same
    log-probability: the entropies are those of the counts.
    """
    problems: list[Problem] = []
    spelled: list[Rollout] = []
    plain: list[Rollout] = []
    wrong: dict[str, bool] = {}
    for q in questions:
        rng = random.Random(f"{seed}/{q.id}")
        reliability, size = rng.random(), len(q.meanings)
        favourite = 0 if rng.random() < reliability else rng.randrange(1, size)
        problems.append(Problem(q.id, q.id, q.meanings[0][0], None, "constructed", q.kind))
        wrong[q.id] = favourite != 0
        others = [m for m in range(size) if m != favourite]
        for i in range(n):
            meaning = favourite if rng.random() < reliability else rng.choice(others)
            status = Status.CORRECT if meaning == 0 else Status.WRONG
            for out, answer in ((spelled, rng.choice(q.meanings[meaning])), (plain, q.meanings[meaning][0])):
                verdict = Verdict(status, answer)
                out.append(Rollout(q.id, i, (1,), (2,), (-math.log(2),), answer, "stop", -1, verdict))
    return ConstructedSamples(tuple(problems), tuple(spelled), tuple(plain), wrong)

"""Pairs of texts whose relation is known, made of reference texts: what a judge of meaning is tested on first.

    mean the same   a reference, and itself in other letters: a contraction written out (or made), a small number in
                    words or digits, another case and no full stop
    differ          a reference, and itself with one change of what it says: another number, a negation put in or taken
                    out, a name that belongs to another text; or the reference of another problem

A rewriting that changes nothing is not used. Small and blunt on purpose: a judge that fails here may not cluster, one
that passes is not thereby good. Left out: pairs of numbers and formulas (`phase1/judge_calibration.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from artifact.records import Problem

MOST = 30
"""Pairs of each sort."""

CONTRACTIONS = {
    "do not": "don't",
    "does not": "doesn't",
    "did not": "didn't",
    "is not": "isn't",
    "are not": "aren't",
    "was not": "wasn't",
    "cannot": "can't",
    "will not": "won't",
    "would not": "wouldn't",
    "it is": "it's",
    "I am": "I'm",
    "they are": "they're",
}

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_FLIPPED = (
    (" is not ", " is "),
    (" will not ", " will "),
    (" has not ", " has "),
    (" is ", " is not "),
    (" was ", " was not "),
    (" are ", " are not "),
    (" will ", " will not "),
    (" has ", " has no "),
    (" can ", " cannot "),
)


class KnownRelation(NamedTuple):
    """Two different texts that answer one question, and whether they mean the same."""

    family: str
    equal: bool
    question: str
    left: str
    right: str


def contracted(text: str) -> str:
    """The first contraction written out, or the first pair of words contracted."""
    for long, short in CONTRACTIONS.items():
        for there, instead in ((short, long), (long, short)):
            if re.search(rf"\b{re.escape(there)}\b", text):
                return re.sub(rf"\b{re.escape(there)}\b", instead, text, count=1)
    return text


def respelled_number(text: str) -> str:
    """The first number up to ten in the other of digits and words; an ordinal or a part of a longer number is none."""
    pattern = r"(?<![\w.,:/-])(" + "|".join([*map(str, range(11)), *NUMBERS[2:]]) + r")(?![\w:/-]|[.,]\d)"
    return re.sub(pattern, lambda m: NUMBERS[int(m[1])] if m[1].isdigit() else str(NUMBERS.index(m[1])), text, count=1)


def without_case(text: str) -> str:
    """Lower case, and no full stop."""
    return text.lower().removesuffix(".")


def other_number(text: str) -> str:
    """The first number that stands in digits, three greater."""
    return re.sub(r"\d+", lambda m: str(int(m[0]) + 3), text, count=1)


def negated(text: str) -> str:
    """The first negation taken out, or put in."""
    for there, instead in _FLIPPED:
        if there in text:
            return text.replace(there, instead, 1)
    return text


def names_in(text: str) -> list[str]:
    """Capitalised words that do not open the text or a sentence."""
    return re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", text)


def pairs_from_references(family: str, problems: Sequence[Problem]) -> list[KnownRelation]:
    """At most `MOST` pairs of each sort, the same on every call; none without references."""
    known = [p for p in problems if p.solution]
    rng = Random(f"known pairs/{family}")
    order = rng.sample(known, len(known))

    def other_name(text: str) -> str:
        own, foreign = names_in(text), [n for p in order for n in names_in(str(p.solution)) if n not in text]
        return text.replace(own[0], rng.choice(foreign), 1) if own and foreign else text

    def of_another(text: str) -> str:
        return str(rng.choice([p.solution for p in order if p.solution != text] or [text]))

    def rewritten(equal: bool, changes: Sequence[Callable[[str], str]]) -> list[KnownRelation]:
        pairs: list[KnownRelation] = []
        for number, problem in enumerate(order):
            text = str(problem.solution)
            turned = (*changes[number % len(changes) :], *changes[: number % len(changes)])
            changed = next((new for change in turned if (new := change(text)) != text), None)
            if changed is not None and len(pairs) < MOST:
                pairs.append(KnownRelation(family, equal, problem.question, text, changed))
        return pairs

    return [
        *rewritten(True, (contracted, respelled_number, without_case)),
        *rewritten(False, (other_number, negated, other_name, of_another)),
    ]

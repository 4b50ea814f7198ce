"""Instruction following: pick from a list of words, under constraints that a program can check (as IFEval's are).

    Words: owl cat dog hen. Write three, with cat, from Z to A, in capitals, with dashes.
        →   OWL-DOG-CAT      or   OWL-HEN-CAT   …

Constraints, as many as the difficulty asks for; the count always is one:

    count     as many words, all of the list, none twice
    include   a word that must be there
    exclude   a word that must not
    order     from A to Z, or from Z to A
    case      in capitals (without it: in small letters)
    format    with commas or with dashes (without it: with spaces)

Many responses are right. Two responses mean the same as far as the request goes where they obey the same constraints,
so the meaning of a response is the set of those it obeys; it can be read off question and response, without an answer.
Left out: constraints on running text.
"""

from __future__ import annotations

import re
from itertools import combinations
from random import Random
from typing import NamedTuple

WORDS = ("ant", "bee", "cat", "cow", "dog", "elk", "fox", "hen", "owl", "pig", "rat", "yak")
NUMBERS = ("one", "two", "three", "four")
SEPARATORS = {"spaces": " ", "commas": ", ", "dashes": "-"}
ORDERS = {"A": "from A to Z", "Z": "from Z to A"}


class Instruction(NamedTuple):
    """The words to choose from, and the constraints; "" or False = not constrained."""

    words: tuple[str, ...]
    number: int
    include: str = ""
    exclude: str = ""
    order: str = ""
    capitals: bool = False
    format: str = "spaces"

    @property
    def question(self) -> str:
        """As it is put to a model."""
        said = [
            f"Write {NUMBERS[self.number - 1]}",
            self.include and f"with {self.include}",
            self.exclude and f"without {self.exclude}",
            ORDERS.get(self.order, ""),
            "in capitals" if self.capitals else "",
            f"with {self.format}" if self.format != "spaces" else "",
        ]
        return f"Words: {' '.join(self.words)}. {', '.join(filter(None, said))}."

    def write(self, chosen: tuple[str, ...]) -> str:
        """`chosen` as the constraints on order, case and format want them."""
        ordered = sorted(chosen, reverse=self.order == "Z") if self.order else chosen
        text = SEPARATORS[self.format].join(ordered)
        return text.upper() if self.capitals else text

    def answers(self) -> list[tuple[str, ...]]:
        """Every choice of words that the constraints allow, in the order of the list."""
        return [
            some
            for some in combinations([w for w in self.words if w != self.exclude], self.number)
            if not self.include or self.include in some
        ]


def obeyed(instruction: Instruction, text: str) -> dict[str, bool]:
    """Which constraints `text` obeys, by name; those that the instruction does not make are left out."""
    found = re.findall(r"[A-Za-z]+", text)
    lower = [w.lower() for w in found]
    joined = SEPARATORS[instruction.format].join(found) == text.strip()
    known = bool(found) and set(lower) <= set(instruction.words) and len(set(lower)) == len(lower)
    checks = {
        "count": known and len(lower) == instruction.number,
        "case": bool(found) and all(w.isupper() if instruction.capitals else w.islower() for w in found),
        "format": bool(found) and joined,
    }
    if instruction.order:
        checks["order"] = bool(found) and lower == sorted(lower, reverse=instruction.order == "Z")
    if instruction.include:
        checks["include"] = instruction.include in lower
    if instruction.exclude:
        checks["exclude"] = bool(found) and instruction.exclude not in lower
    return checks


_FORM = re.compile(
    rf"Words: (?P<words>[a-z ]+)\. Write (?P<count>{'|'.join(NUMBERS)})"
    rf"(?:, with (?P<include>{'|'.join(WORDS)}))?(?:, without (?P<exclude>{'|'.join(WORDS)}))?"
    r"(?:, from (?P<order>[AZ]) to [AZ])?(?P<capitals>, in capitals)?(?:, with (?P<format>commas|dashes))?\."
)


def parse_instruction(question: str) -> Instruction:
    """The instruction that `question` gives; ValueError where it is none of this task."""
    found = _FORM.fullmatch(question)
    if found is None:
        raise ValueError(f"{question!r} is no instruction of this world")
    said = found.groupdict(default="")
    return Instruction(
        tuple(said["words"].split()),
        NUMBERS.index(said["count"]) + 1,
        said["include"],
        said["exclude"],
        said["order"],
        bool(said["capitals"]),
        said["format"] or "spaces",
    )


def draw_instruction(difficulty: str, rng: Random) -> Instruction:
    """One, two, three or four constraints beside the count, on three to six words."""
    size, asked = {"easy": (3, 1), "medium": (4, 2), "hard": (5, 3), "competition": (6, 4)}[difficulty]
    words = tuple(rng.sample(WORDS, size))
    chosen = set(rng.sample(("include", "exclude", "order", "capitals", "format"), asked))
    one, other = rng.sample(words, 2)
    return Instruction(
        words,
        rng.randint(2, min(size - 1, len(NUMBERS))),
        one if "include" in chosen else "",
        other if "exclude" in chosen else "",
        rng.choice(list(ORDERS)) if "order" in chosen else "",
        "capitals" in chosen,
        rng.choice(("commas", "dashes")) if "format" in chosen else "spaces",
    )

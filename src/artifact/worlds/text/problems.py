"""Problems of the three tasks, drawn at random: a question, a right response, and all that makes a response right.

families  translation  a sentence of the English fragment into Mir (`translation.py`)
          summary      a list of facts into the sentence that keeps those asked for (`summary.py`)
          instruction  words chosen from a list under constraints (`instruction.py`)

Left out: which questions belong to which split (`splits.py`), and what a response means (`meaning.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from artifact.worlds.text import instruction, summary, translation

FAMILIES = ("translation", "summary", "instruction")
DIFFICULTIES = ("easy", "medium", "hard", "competition")


class ProblemError(ValueError):
    """An unknown family or difficulty was asked for."""


Source = tuple[translation.Clause, ...] | summary.Request | instruction.Instruction
"""What a problem was made from: clauses, a request for facts, or an instruction."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem before it becomes a record."""

    family: str
    difficulty: str
    question: str
    source: Source

    def response(self, rng: Random) -> str:
        """A right response, its form drawn with `rng`."""
        if isinstance(self.source, summary.Request):
            return summary.render(self.source.kept, rng)
        if isinstance(self.source, instruction.Instruction):
            chosen = list(rng.choice(self.source.answers()))
            rng.shuffle(chosen)
            return self.source.write(tuple(chosen))
        return rng.choice(translation.renderings(self.source))

    @property
    def references(self) -> list[str]:
        """Right responses to compare with: all translations, one summary and one list, in their plainest forms."""
        if isinstance(self.source, summary.Request):
            return [summary.render(self.source.kept)]
        if isinstance(self.source, instruction.Instruction):
            return [self.source.write(self.source.answers()[0])]
        return translation.renderings(self.source)


def _translation(difficulty: str, rng: Random) -> tuple[str, Source]:
    clauses = translation.draw_clauses(difficulty, rng)
    return translation.ask(clauses), clauses


def _summary(difficulty: str, rng: Random) -> tuple[str, Source]:
    request = summary.draw_request(difficulty, rng)
    return request.question, request


def _instruction(difficulty: str, rng: Random) -> tuple[str, Source]:
    given = instruction.draw_instruction(difficulty, rng)
    return given.question, given


_MAKERS: dict[str, Callable[[str, Random], tuple[str, Source]]] = {
    "translation": _translation,
    "summary": _summary,
    "instruction": _instruction,
}


def draw(family: str, difficulty: str, rng: Random) -> Draft:
    """One problem of `family` and `difficulty`, drawn with `rng`. Raises ProblemError where either is unknown."""
    if family not in _MAKERS:
        raise ProblemError(f"unknown problem family {family!r}; the families are {', '.join(FAMILIES)}")
    if difficulty not in DIFFICULTIES:
        raise ProblemError(f"unknown difficulty {difficulty!r}; the difficulties are {', '.join(DIFFICULTIES)}")
    return Draft(family, difficulty, *_MAKERS[family](difficulty, rng))

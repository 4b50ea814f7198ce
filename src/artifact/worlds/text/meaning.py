"""What a response means, and whether it is right: the truth of this world, read off question and text.

A meaning is a set: the clauses a translation states, the facts a summary states, the constraints an instruction's
response obeys. One response entails another where its meaning holds the other's, and two mean the same where each
entails the other. A text that means nothing (another language, no summary) entails nothing and is entailed by nothing.

A response is right where it means what its reference means; one to an instruction, where it obeys every constraint.
"""

from __future__ import annotations

from collections.abc import Hashable

from artifact.records import Problem
from artifact.worlds.text.instruction import obeyed, parse_instruction
from artifact.worlds.text.summary import parse_summary
from artifact.worlds.text.translation import parse_mir

Meaning = frozenset[Hashable]


def family_of(question: str) -> str:
    """The family of a question, by how it begins; ValueError where it is none of this world."""
    for opening, family in (("Translate: ", "translation"), ("Summarize ", "summary"), ("Words: ", "instruction")):
        if question.startswith(opening):
            return family
    raise ValueError(f"{question!r} is no question of the text world")


def meaning_of(question: str, text: str) -> Meaning | None:
    """The meaning of a response to `question`; None where it has none. Raises ValueError on a foreign question."""
    family = family_of(question)
    if family == "translation":
        return parse_mir(text)
    if family == "summary":
        return parse_summary(text)
    if not text.strip():
        return None
    return frozenset(name for name, ok in obeyed(parse_instruction(question), text).items() if ok)


def is_right(text: str, problem: Problem) -> bool:
    """Whether `text` is a right response to `problem`."""
    if problem.meta["family"] == "instruction":
        return all(obeyed(parse_instruction(problem.question), text).values())
    meaning = meaning_of(problem.question, text)
    return meaning is not None and meaning == meaning_of(problem.question, problem.answer)


def share_obeyed(text: str, problem: Problem) -> float:
    """The share of an instruction's constraints that `text` obeys."""
    checks = obeyed(parse_instruction(problem.question), text)
    return sum(checks.values()) / len(checks)

"""Several graders side by side, because headline numbers move by points with the grader: report more than one.

What each reads of a response, and when it says correct:

math_verify           the answer found by the verifier's own rules; equal by exact arithmetic, else by algebra on what
                      math-verify's parser reads (`symbolic.py`; the library's own comparison is not used)
strict_string         the answer found by the same rules (the string in the box, where only boxes count); the same
                      characters as the gold answer, white space apart
numeric_last_number   the last number of the whole text, whatever the rules; exactly the gold answer's number

Left out: LLM judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from artifact.records import Status, Verdict
from artifact.tasks.answer_forms import read_answer
from artifact.tasks.equivalence import defect
from artifact.tasks.extract import extract_answer
from artifact.tasks.verifier import Verifier, shared_verifier

Grader = Callable[[str, str, Verifier], Verdict]
"""(response text, gold answer, the verifier behind the headline, whose rules say where an answer stands) → verdict."""


def math_verify(text: str, gold: str, verifier: Verifier) -> Verdict:
    """The verdict of the verifier itself: the headline."""
    return verifier.verify(text, gold)


def strict_string(text: str, gold: str, verifier: Verifier) -> Verdict:
    """Correct only where extracted and gold answer are the same characters, runs of white space aside."""
    extraction = extract_answer(text, verifier.rules)
    if extraction is None:
        return Verdict(Status.UNPARSED, detail=f"no answer by the rules {', '.join(verifier.rules)}")
    same = extraction.answer.split() == gold.split() != []
    return Verdict(Status.CORRECT if same else Status.WRONG, extraction.answer, "string comparison", extraction.rule)


def numeric_last_number(text: str, gold: str, verifier: Verifier) -> Verdict:
    """Last number of the text against the number in `gold`; every answer is wrong where the gold is no number."""
    extraction = extract_answer(text, ("last_number",))
    if extraction is None:
        return Verdict(Status.UNPARSED, detail="no number found")
    if reason := defect(extraction.answer) or defect(gold):
        return Verdict(Status.WRONG, extraction.answer, reason, extraction.rule)
    want, have = read_answer(gold).value, read_answer(extraction.answer).value
    detail = "exact number" if want is not None else "the gold answer is not a number"
    same = want is not None and want == have
    return Verdict(Status.CORRECT if same else Status.WRONG, extraction.answer, detail, extraction.rule)


GRADERS: dict[str, Grader] = {
    "math_verify": math_verify,
    "strict_string": strict_string,
    "numeric_last_number": numeric_last_number,
}
"""Graders by name, open to additions."""


def grade(
    texts: Sequence[str], golds: Sequence[str], graders: Sequence[str] | None = None, verifier: Verifier | None = None
) -> dict[str, list[Verdict]]:
    """Verdicts by grader in the order of `texts`; default: all registered graders, and the shared verifier.

    Raises ValueError for an unknown grader, or where texts and gold answers are not one each.
    """
    names = list(GRADERS) if graders is None else list(graders)
    if unknown := [name for name in names if name not in GRADERS]:
        raise ValueError(f"unknown grader(s) {unknown}; registered are {sorted(GRADERS)}")
    if len(texts) != len(golds):
        raise ValueError(f"{len(texts)} responses cannot be graded by {len(golds)} gold answers; give one each")
    by = verifier or shared_verifier()
    return {name: [GRADERS[name](text, gold, by) for text, gold in zip(texts, golds, strict=True)] for name in names}


def as_columns(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, list[str | None]]:
    """`grade` as columns of a frame: `<grader>` (status) and `<grader>_answer` (what it extracted) for each grader."""
    columns: dict[str, list[str | None]] = {}
    for name, of in verdicts.items():
        columns[name] = [str(v.status) for v in of]
        columns[f"{name}_answer"] = [v.extracted for v in of]
    return columns

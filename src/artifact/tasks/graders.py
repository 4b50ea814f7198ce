"""Several graders side by side, because headline numbers move by points with the grader: report more than one.

math_verify           the project's `Verifier`: boxed, then `####`, then last number; exact arithmetic, then math-verify
strict_string         the same extraction; correct only where the answer equals the gold answer apart from white space
numeric_last_number   the last number of the response against the gold answer's number, exactly; the format is ignored

Add one with `GRADERS["name"] = function`. Left out: LLM judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from artifact.records import Status, Verdict
from artifact.tasks.answer_forms import read_answer
from artifact.tasks.equivalence import defect
from artifact.tasks.extract import extract_answer
from artifact.tasks.verifier import shared_verifier

if TYPE_CHECKING:
    import pandas as pd

Grader = Callable[[str, str], Verdict]
"""(response text, gold answer) → verdict."""


def math_verify(text: str, gold: str) -> Verdict:
    """The verdict of the shared `Verifier` with its default settings."""
    return shared_verifier().verify(text, gold)


def strict_string(text: str, gold: str) -> Verdict:
    """Correct only where extracted and gold answer are the same characters, runs of white space aside."""
    extraction = extract_answer(text)
    if extraction is None:
        return Verdict(Status.UNPARSED, detail="no answer found")
    same = extraction.answer.split() == gold.split() != []
    return Verdict(Status.CORRECT if same else Status.WRONG, extraction.answer, "string comparison", extraction.rule)


def numeric_last_number(text: str, gold: str) -> Verdict:
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


def compare_graders(texts: Sequence[str], golds: Sequence[str], graders: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a response: `gold`, then `<grader>` (status) and `<grader>_answer` for each grader, then `disagree`.

    `disagree` is True where the graders do not all say correct or all say not correct; `frame[frame.disagree]` are the
    cases to read, `frame[name].eq("correct").mean()` is the accuracy by one grader. Default: all registered graders.
    """
    import pandas as pd

    names = list(GRADERS) if graders is None else list(graders)
    if unknown := [name for name in names if name not in GRADERS]:
        raise ValueError(f"unknown grader(s) {unknown}; registered are {sorted(GRADERS)}")
    if len(texts) != len(golds):
        raise ValueError(f"compare_graders got {len(texts)} responses but {len(golds)} gold answers; give one each")
    columns: dict[str, list[str | None]] = {"gold": list(golds)}
    for name in names:
        verdicts = [GRADERS[name](text, gold) for text, gold in zip(texts, golds, strict=True)]
        columns[name] = [str(v.status) for v in verdicts]
        columns[f"{name}_answer"] = [v.extracted for v in verdicts]
    frame = pd.DataFrame(columns)
    frame["disagree"] = frame[names].eq("correct").nunique(axis=1) > 1
    return frame

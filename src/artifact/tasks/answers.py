r"""Gold answers: how each source states its own, and what kind of thing an answer is.

Readers turn one row of a source into the gold answer, or None where the row states none:
    field   the answer field as it is, without `$…$`        hashes  behind GSM8K's `####`
    boxed   the last `\boxed{…}` of a solution              number  a float that is a whole number (`145.0` → `145`)
    first   the first entry of a list of answers

Left out: finding the answer in a *response* (`extract.py`) and comparing two answers (`equivalence.py`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any

from artifact.tasks.answer_forms import read_answer
from artifact.tasks.answer_text import normal_text
from artifact.tasks.extract import extract_answer


class AnswerType(enum.StrEnum):
    """The form of a gold answer."""

    NUMBER = "number"
    EXPRESSION = "expression"
    SET = "set"  # `\{…\}`, or a list whose order does not matter
    TUPLE = "tuple"
    INTERVAL = "interval"  # with a union of intervals and inequalities
    TEXT = "text"


_BARE_BOX = re.compile(r"\\boxed\s+([^\s{$][^\s$]*)")  # MATH writes `\boxed 3` a few times
_HALF_OPEN = re.compile(r"[\[(].*,.*[\])]")
_COLON_OR_INEQUALITY = re.compile(r"[<>]|\\(?:leq?|geq?|lt|gt|leqslant|geqslant|infty|cup)(?![A-Za-z])")
_TEXT = re.compile(r"\\text\s*\{[^{}]*[A-Za-z]{2}[^{}]*\}|(?<![\\A-Za-z])[A-Za-z]{4,}")


def gold_field(value: Any) -> str | None:
    """The text of `value` without mathematics delimiters; None for nothing."""
    text = "" if value is None else str(value).strip()
    return _without_dollars(text) or None


def gold_hashes(value: Any) -> str | None:
    """What stands behind the last `####` of a GSM8K solution."""
    _, mark, tail = str(value or "").rpartition("####")
    return tail.strip() or None if mark else None


def gold_boxed(value: Any) -> str | None:
    r"""The content of the last `\boxed{…}` of a solution."""
    text = str(value or "")
    if found := extract_answer(text, ("boxed",)):
        return found.answer
    bare = _BARE_BOX.findall(text)
    return bare[-1].rstrip(".,") if bare else None


def gold_number(value: Any) -> str | None:
    """A number as text; a whole one without its decimal point."""
    if value is None or str(value).strip() == "":
        return None
    number = float(value)
    return str(int(number)) if number.is_integer() else str(value).strip()


def gold_first(value: Any) -> str | None:
    """The first entry of a list of answers (OlympiadBench keeps one string that holds all of them)."""
    return gold_field(value[0]) if isinstance(value, list | tuple) and value else None


def gold_boxed_or_text(value: Any) -> str | None:
    """The boxed part of an answer where it has one, else all of it (AMO-Bench's descriptive answers)."""
    return gold_boxed(value) or gold_field(value)


GOLD: dict[str, Callable[[Any], str | None]] = {
    "field": gold_field,
    "hashes": gold_hashes,
    "boxed": gold_boxed,
    "number": gold_number,
    "first": gold_first,
    "boxed_or_text": gold_boxed_or_text,
}
"""Readers of gold answers by name, open to additions."""


def answer_type(gold: str) -> AnswerType:
    """The form of `gold`, from its notation alone; a source that states the type is to be believed instead."""
    text = normal_text(gold)
    body = text.partition("=")[2].strip() if re.fullmatch(r"[A-Za-z](?:\([a-z]\))? ?=[^=]+", text) else text
    if read_answer(gold).value is not None or read_answer(gold).base is not None:
        return AnswerType.NUMBER
    if r"\in" in body and re.search(r"\\in(?![A-Za-z])", body):
        body = re.split(r"\\in(?![A-Za-z])", body)[-1].strip()
    if body.startswith(r"\{") and body.endswith(r"\}"):
        return AnswerType.SET
    if _HALF_OPEN.fullmatch(body) and (body[0] == "[" or body[-1] == "]" or _COLON_OR_INEQUALITY.search(body)):
        return AnswerType.INTERVAL
    if _COLON_OR_INEQUALITY.search(body) and not _TEXT.search(body):
        return AnswerType.INTERVAL
    if read_answer(gold).words or _TEXT.search(re.sub(r"\\(?!text)[A-Za-z]+", "", body)):
        return AnswerType.TEXT
    parts = _top_level_parts(body)
    if len(parts) > 1:
        return AnswerType.SET
    if body.startswith("(") and body.endswith(")") and len(_top_level_parts(body[1:-1])) > 1:
        return AnswerType.TUPLE
    return AnswerType.EXPRESSION


def solution_for(solution: str | None, answer: str, form: str) -> str | None:
    r"""A reference solution whose last line states the answer as `form` asks: `boxed`, `hashes` or `any`."""
    if solution is None or form == "any":
        return solution
    if form not in ("boxed", "hashes"):
        raise ValueError(f"unknown answer form {form!r}; use boxed, hashes or any")
    if gold_hashes(solution) and form == "boxed":
        return f"{solution.rpartition('####')[0].rstrip()}\nThe final answer is \\boxed{{{answer}}}."
    if form == "boxed":
        return solution if gold_boxed(solution) else f"{solution.rstrip()}\nThe final answer is \\boxed{{{answer}}}."
    return solution if gold_hashes(solution) else f"{solution.rstrip()}\n#### {answer}"


def _without_dollars(text: str) -> str:
    r"""`$69$,$84$` → `69,84`; a lone or escaped dollar sign is money and stays."""
    pairs = len(re.findall(r"(?<!\\)\$", text))
    return re.sub(r"(?<!\\)\$", "", text).strip() if pairs and pairs % 2 == 0 else text


def _top_level_parts(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char in ",;" and depth == 0 and not re.match(r"[0-9],[0-9]{3}(?![0-9])", text[i - 1 : i + 5]):
            parts.append(text[start:i])
            start = i + 1
    return [p for p in [*parts, text[start:]] if p.strip()]

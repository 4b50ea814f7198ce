r"""Two answers compared part by part; runs inside `verifier_worker.py` only.

`answer_shape` takes lists, tuples, intervals, relations and matrices apart; `answer_value` compares what is left. The
parser is math-verify's, its comparison is not used: that takes every difference below 1e-15 for zero, equations for
their right side, lists for sets, and decimals for the irrational numbers they round.

A prediction that is a chain `a = b` counts as a value where both sides do. Two equations are equal where one is a
constant multiple of the other; sides without a variable make no equation. Values that a gold list gives to different
names (`x=1, y=2`) keep them, or their order, also as a point `(1, 2)`. Exceptions are raised, never turned into
"wrong".

`symbolic_equal` has a gold answer, which sets the form; `symbolic_same` has two answers of equal standing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifact.tasks.answer_forms import read_answer
from artifact.tasks.answer_latex import Unreadable, Wording
from artifact.tasks.answer_shape import Shape, read_shape
from artifact.tasks.answer_value import DIGITS, POINTS, Value, same_value

_COMPARED = "symbolic"
"""The reason of a verdict for which both answers were read."""


def symbolic_equal(gold: str, prediction: str) -> tuple[bool, str]:
    """(equal, reason). May never return, may use much memory, may raise; Unreadable where the gold has no value."""
    wanted = _gold_shape(gold)
    found = read_shape(prediction, separate=wanted.kind in ("list", "set", "union"))
    if found is None:
        return False, "the prediction cannot be read: brackets or separators"
    try:
        return _same(wanted, found), _COMPARED
    except Wording as err:
        return read_answer(gold).text == read_answer(prediction).text, f"words: {err}"
    except Unreadable as err:
        for part in _values(wanted):
            Value.of(part.text)  # raises where it is the gold that cannot be read
        return False, f"the prediction cannot be read: {err}"


def symbolic_same(left: str, right: str) -> tuple[bool | None, str]:
    """(equal, reason) of two answers, neither of which is the gold one; symmetric.

    True where each is right with the other as gold, False where both can be read and neither is, else None. May raise
    and hang as `symbolic_equal` may; an answer that cannot be read raises nothing here.
    """
    for text in (left, right):
        if why := unreadable(text):
            return None, f"{text[:100]!r} cannot be read: {why}"
    there, back = (symbolic_equal(*pair) for pair in ((left, right), (right, left)))
    for _, reason in (there, back):
        if reason != _COMPARED:
            return None, reason
    if there[0] != back[0]:
        return None, "equal only with one of the two as the gold answer"
    return there


def unreadable(gold: str) -> str:
    """Why the gold answer cannot be graded, or "". Every value in it is parsed and evaluated once."""
    reading = read_answer(gold)
    if reading.value is not None or reading.base is not None or reading.words:
        return ""
    try:
        shape = _gold_shape(gold)
        for part in _values(shape):
            value = Value.of(part.text)
            if not value.is_special and value.number() is None:
                value.at(0, DIGITS)
    except MemoryError:  # the worker's own limit: not a property of the text
        raise
    except Exception as err:  # the parser raises exceptions of every kind
        return f"{type(err).__name__}: {err}".splitlines()[0][:200]
    return ""


def _gold_shape(gold: str) -> Shape:
    shape = read_shape(gold)
    if shape is None:
        raise Unreadable(f"brackets or separators of the gold answer {gold!r}")
    return shape


def _values(shape: Shape) -> list[Shape]:
    return [shape] if shape.kind == "value" else [value for part in shape.parts for value in _values(part)]


def _same(gold: Shape, found: Shape) -> bool:
    if gold.name and found.name and gold.name != found.name:
        return False
    if gold.kind == "relation" or found.kind == "relation":
        return _same_relation(gold, found)
    for one, other in ((gold, found), (found, gold)):
        if one.kind == "list" and other.text == "()" and _named_apart(one):
            return len(gold.parts) == len(found.parts) and all(map(_same, gold.parts, found.parts))
    if gold.kind in ("list", "set"):
        if found.kind in ("list", "set"):
            return _same_members(gold.parts, found.parts)
        return gold.kind == "set" and len(gold.parts) == 1 and _same(gold.parts[0], found)
    if found.kind == "set" and len(found.parts) == 1:
        return _same(gold, found.parts[0])
    if gold.kind != found.kind or (gold.text != found.text and gold.kind != "value"):
        return False
    if gold.kind == "union":
        return _same_members(gold.parts, found.parts)
    if gold.kind == "value":
        return same_value(gold.text, found.text)
    return len(gold.parts) == len(found.parts) and all(map(_same, gold.parts, found.parts))


def _named_apart(shape: Shape) -> bool:
    """Whether every part has a name of its own: `x=1, y=2`, which may be written as the point (1, 2)."""
    names = {part.name for part in shape.parts}
    return "" not in names and len(names) == len(shape.parts)


def _same_members(gold: Sequence[Shape], found: Sequence[Shape]) -> bool:
    """Equal as collections with multiplicity. Values that the gold gives to different names keep them, or the order."""
    if len(gold) != len(found):
        return False
    if len({part.name for part in gold} - {""}) > 1 and not all(part.name for part in found):
        return all(map(_same, gold, found))
    left = list(found)
    for part in gold:
        match = next((i for i, other in enumerate(left) if _same(part, other)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def _same_relation(gold: Shape, found: Shape) -> bool:
    if gold.kind != "relation":  # a value against a chain of equations: every side must have it
        if gold.kind != "value" or found.text not in ("=", "=="):
            return False
        if gold.name and found.text == "=" and _proportional(gold, found):
            return True
        return all(_same(gold, part) for part in found.parts)
    if gold.text == "==" and gold.name:
        return _same(Shape("value", text=gold.parts[-1].text, name=gold.name), found)
    if found.kind != "relation" and not (found.kind == "value" and found.name and gold.text == "="):
        return found.kind == "interval" and _as_difference(found) is not None and _proportional(gold, found)
    if gold.text in ("=", r"\ne", "<", ">", r"\le", r"\ge"):
        return _proportional(gold, found)
    return (
        gold.text == found.text
        and len(gold.parts) == len(found.parts)
        and all(_same(g, f) for g, f in zip(gold.parts, found.parts, strict=True))
    )


def _as_difference(shape: Shape) -> tuple[str, str, str] | None:
    """(left, operator, right) of a relation with one operator, of `name = value`, or of an unbounded interval."""
    if shape.kind == "value" and shape.name:
        return shape.name, "=", shape.text
    if shape.kind == "relation" and len(shape.parts) == 2 and shape.text != "==":
        return shape.parts[0].text, shape.text, shape.parts[1].text
    if shape.kind == "interval" and shape.name:
        low, high = (part.text for part in shape.parts)
        if high == r"\infty":
            return shape.name, ">" if shape.text[0] == "(" else r"\ge", low
        if low == r"-\infty":
            return shape.name, "<" if shape.text[1] == ")" else r"\le", high
    return None


def _proportional(gold: Shape, found: Shape) -> bool:
    r"""Whether `left − right` of the two differ by a constant factor only: not 0, and positive for `<` and `\le`."""
    one, two = _as_difference(gold), _as_difference(found)
    if one is None or two is None:
        return False
    flipped = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
    sign = 1 if one[1] == two[1] else -1 if flipped.get(one[1]) == two[1] else 0
    if sign == 0:
        return False
    left = [(Value.of(a), Value.of(b)) for a, _, b in (one, two)]
    if any(not (a.symbols | b.symbols) for a, b in left):
        return False

    def ratios(digits: int) -> tuple[list[Any], bool]:
        import mpmath

        with mpmath.workdps(digits):
            pairs = [[a.at(i, digits) - b.at(i, digits) for a, b in left] for i in range(POINTS)]
            tiny = mpmath.mpf(10) ** (-digits // 2)
            if any(abs(x) < tiny for pair in pairs for x in pair):
                return [], False
            found = [x / y for x, y in pairs]
            varies = all(max(abs(pair[k] - pairs[0][k]) for pair in pairs) > tiny for k in (0, 1))
            steady = max(abs(r / found[0] - 1) for r in found) < tiny
            return found, varies and steady

    factors, constant = ratios(DIGITS)
    if not constant or (one[1] in ("=", r"\ne")):
        return constant
    return bool(abs(factors[0].imag) < 1e-30 and factors[0].real * sign > 0)

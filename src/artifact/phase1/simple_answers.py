r"""Exact comparison of simple answers as a judge sees them: True, False, or None where only the question can tell.

Numbers, units, percent signs, variables and words are read by `tasks.answer_forms`, as for the verifier. So here

- `50%` is `1/2`, against `50` it is undecided; so are two stated units or variables that differ (`1 m`, `100 cm`);
- a unit or a variable on one side only is ignored (`42 apples` is `42`, `x = 3` is `3`);
- `0.33` against `1/3` is undecided (a rounding, or another number?); `0.3` against `0.5` is different;
- `1, 2` and `2, 1` are undecided, `\{1, 2\}` and `\{2, 1\}` the same, `(1, 2)` and `(2, 1)` different;
- `½` is a fraction, `(b)` the choice `b`; a comma that may group digits or part them (`(1,234)`) leaves a pair open.

It never guesses and cannot hang. Left out: algebra (π, roots, expressions), which is for a judge behind these rules;
`needs_algebra` says of a pair left open whether algebra may settle it, or only the question can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from artifact.tasks.answer_forms import NOT_UNITS, read_answer
from artifact.tasks.equivalence import decide, defect, fast_equivalent

MAX_COLLECTION_CHARS = 120
"""Longer sets, tuples and lists are left undecided: their members are compared each with each."""

_GLYPHS = str.maketrans(
    {
        "½": " 1/2",
        "⅓": " 1/3",
        "⅔": " 2/3",
        "¼": " 1/4",
        "¾": " 3/4",
        "⅕": " 1/5",
        "⅖": " 2/5",
        "⅗": " 3/5",
        "⅘": " 4/5",
        "⅙": " 1/6",
        "⅚": " 5/6",
        "⅛": " 1/8",
        "⅜": " 3/8",
        "⅝": " 5/8",
        "⅞": " 7/8",
    }
)
_COUNTS = NOT_UNITS | set("one two three four five six seven eight nine ten pair positive factorial".split())
_THOUSANDS = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")
_PROSE = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]{3,}|(?<![\\A-Za-z])[A-Za-z]{2} [A-Za-z]{2}(?![A-Za-z])|\^ ?\{ ?(?:st|nd|rd|th) ?\}"
)
_LETTER_UNIT = re.compile(r"-?[0-9.,/]+ [mgshlL]")
_NO_PROSE = frozenset("and sin cos tan cot sec csc log exp sqrt arcsin arccos arctan infty infinity gcd lcm".split())
_ENVIRONMENT = re.compile(r"\\(?:begin|end) ?\{[a-z]*\}")
_BRACKETS = (("\\{", "\\}", "set"), ("{", "}", "set"), ("(", ")", "tuple"), ("[", "]", "list"))


class Key(NamedTuple):
    """The canonical key of a number: what it says, however it is spelled.

    value     exact, with a percent sign divided out
    unit      canonical unit, "percent" among them, or ""
    variable  the left-hand side of `x = 3`, or ""
    rounding  half a unit of the last decimal place where two or more are written, else None: nothing was rounded
    """

    value: Fraction
    unit: str = ""
    variable: str = ""
    rounding: Fraction | None = None


Collection = tuple[str, list[Key]]


@lru_cache(maxsize=65536)
def canonical_key(answer: str) -> Key | None:
    """The key of `answer` where it is plainly one number, with or without unit and variable; else None."""
    text = answer.translate(_GLYPHS)
    if defect(text) or ("," in text and text.lstrip().startswith("(")):
        return None
    read = read_answer(text)
    if read.value is None or (read.unit.startswith("?") and not _COUNTS.isdisjoint(read.unit[1:].split())):
        return None  # `3 dozens`, `2 to one`
    scale = 100 if read.unit == "percent" else 1
    rounding = Fraction(1, 2 * scale * 10**read.places) if read.places >= 2 else None
    return Key(read.value / scale, read.unit, read.variable, rounding)


def compare_keys(a: Key, b: Key) -> bool | None:
    """True: one number, neither unit nor variable against it. False: two numbers, whatever the question. Else None.

    Symmetric. True implies equal values and False different ones, so merging by True never joins what is False.
    """
    if (a.unit and b.unit and a.unit != b.unit) or (a.variable and b.variable and a.variable != b.variable):
        return None
    if a.value == b.value:
        return True
    if (a.unit == "percent") != (b.unit == "percent"):
        percent, plain = (a, b) if a.unit == "percent" else (b, a)
        if 100 * percent.value == plain.value:
            return None  # `50%` against `50`: the question may have asked for the percentage
    return None if _rounds_to(a, b) or _rounds_to(b, a) else False


def _rounds_to(rounded: Key, other: Key) -> bool:
    """True when `rounded` may be `other`, known more finely, cut to fewer places."""
    if rounded.rounding is None or (other.rounding is not None and other.rounding >= rounded.rounding):
        return False
    return abs(rounded.value - other.value) <= rounded.rounding


def _collection(text: str) -> Collection | None:
    r"""`\{1, 2\}` → ("set", …), `(1, 2)` → ("tuple", …), `[1, 2]` → ("list", …), `1, 2` → ("bare", …); else None."""
    if len(text) > MAX_COLLECTION_CHARS or _THOUSANDS.search(text):
        return None
    kind = "bare"
    for start, end, name in _BRACKETS:
        if text.startswith(start) and text.endswith(end) and len(text) >= len(start) + len(end):
            text, kind = text[len(start) : len(text) - len(end)], name
            break
    parts = re.split(r"\s*(?:[,;]|\band\b|\bor\b)\s*", text.strip())
    if len(parts) < 2 and kind != "set":
        return None
    items = [canonical_key(part) for part in parts]
    return None if None in items else (kind, [key for key in items if key is not None])


def _compare_collections(a: Collection, b: Collection) -> bool | None:
    (kind_a, items_a), (kind_b, items_b) = a, b
    kinds = {kind_a, kind_b}
    if "set" in kinds and kinds <= {"set", "bare"}:
        return _all([_member(q, items_b) for q in items_a] + [_member(q, items_a) for q in items_b])
    if len(items_a) != len(items_b):
        return None if kind_a != kind_b else False
    in_order = _all(compare_keys(p, q) for p, q in zip(items_a, items_b, strict=True))
    if kind_a == kind_b and (in_order is not False or kind_a != "bare"):
        return in_order
    same_members = sorted(q.value for q in items_a) == sorted(q.value for q in items_b)
    return None if in_order is not False or same_members else False


def _member(item: Key, others: list[Key]) -> bool | None:
    """Whether `item` equals one of `others`: True wins, then None (three-valued "or")."""
    seen = {compare_keys(item, other) for other in others}
    return True if True in seen else None if None in seen else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Three-valued "and": False wins, then None."""
    seen = set(verdicts)
    return False if False in seen else None if None in seen else True


def compare_simple(left: str, right: str) -> bool | None:
    """Whether two untypeset answers are equal: True, False, or None when these rules cannot tell. Symmetric."""
    if left == right:
        return True
    a, b = canonical_key(left), canonical_key(right)
    if a is not None and b is not None:
        return compare_keys(a, b)
    if a is not None or b is not None:
        return None
    first, second = _collection(left), _collection(right)
    if first is not None and second is not None:
        return _compare_collections(first, second)
    if bool(_THOUSANDS.search(left)) != bool(_THOUSANDS.search(right)):
        return None  # `(1,234)` against `(1, 234)`
    choice, other = _CHOICE.fullmatch(left), _CHOICE.fullmatch(right)
    if choice is not None and other is not None and choice[1] == other[1]:
        return True
    if not fast_equivalent(left, right):
        return None
    is_number = any(read_answer(text).value is not None for text in (left, right))  # one that was refused a key
    return None if is_number else True


def needs_algebra(left: str, right: str) -> bool:
    """Whether a pair that `compare_simple` leaves open is a matter of computing. Symmetric.

    Not where both sides were read as numbers or as collections of unnamed numbers: a unit, a percent sign, a rounding
    or an order stands between them, and the question decides. Nor where one is in words, in another base, malformed, or
    holds a letter that may name a choice or a unit (`B` against `12`, `8 m` against `8`).
    """
    if all(canonical_key(text) is not None or read_answer(text).value is not None for text in (left, right)):
        return False
    first, second = _collection(left), _collection(right)
    if first is not None and second is not None and not all(key.variable for key in (*first[1], *second[1])):
        return False
    for text, other in ((left, right), (right, left)):
        choice = _CHOICE.fullmatch(text)
        if _has_words(text) or (choice is not None and choice[1] not in other):
            return False
        if _LETTER_UNIT.fullmatch(text) and canonical_key(other) is not None:
            return False
    return decide(left, right)[0] is None and decide(right, left)[0] is None


def _has_words(text: str) -> bool:
    """Whether letters stand together as in a word, which a parser would take for a product; units do not count."""
    for match in _PROSE.finditer(_ENVIRONMENT.sub(" ", text)):
        run = match.group()
        unit = read_answer(f"1 {run}").unit
        product = set(run) <= set("xyz") or set(run) <= set("abc")
        if not (run in _NO_PROSE or product or (unit and not unit.startswith("?"))):
            return True
    return False


def may_be_rounded(left: str, right: str) -> bool:
    """Whether one of the two is a decimal with two or more places, which may be the other one rounded."""
    return any(key is not None and key.rounding is not None for key in map(canonical_key, (left, right)))

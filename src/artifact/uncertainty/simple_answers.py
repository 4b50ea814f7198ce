"""Exact comparison of simple answers: numbers, fractions, percentages, units, `x = 3`, sets and lists.

Most answers of school mathematics are of this kind, so most pairs need no computer algebra. Everything is regular
expressions and rational arithmetic on short strings: it cannot hang, and it never guesses. Whatever is not clearly one
of these forms (π, roots, variables, prose) is left undecided, as is a pair whose meaning depends on the question:

- `50%` is `1/2`, but against `50` it is undecided; `1 m` against `100 cm` is undecided;
- a unit on one side only is ignored (`42 apples` is `42`), as is a single variable (`x = 3` is `3`);
- `0.333` against `1/3` is undecided (a rounding, or a different number?), `0.3` against `0.5` is different;
- `1, 2` and `2, 1` are undecided, `{1, 2}` and `{2, 1}` the same, `(1, 2)` and `(2, 1)` different.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARS = 120
"""Longer strings are left undecided; it also bounds the size of every number read here."""

_GLYPHS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
_DIGITS = r"(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)"
_DECIMAL = re.compile(rf"({_DIGITS})?(?:\.(\d*))?")
_SCIENTIFIC = re.compile(r"(.+?)\s*(?:[eE]|(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*)\{?\s*([+-]?\d{1,3})\s*\}?")
_RATIO = re.compile(r"(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)")
_FRAC = re.compile(r"\\frac\s*(?:\{\s*([^{}]+?)\s*\}|(\d))\s*(?:\{\s*([^{}]+?)\s*\}|(\d))")
_NAME = re.compile(r"([A-Za-z]|\\[A-Za-z]+)(?:_\{?\w+\}?)?(?:\s*\(\s*\w+\s*\))?\s*=\s*(.+)")
_UNIT = re.compile(
    r"(?P<value>.*[\d}%.½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])(?:(?P<degree>\s*(?:°|\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree))"
    r"|\s+(?P<words>[A-Za-z]{2,}(?:[ /-][A-Za-z]{2,}){0,3}(?:\s*\^?\s*\{?[23²³]\}?)?\.?)|(?P<close>[a-z]{2,3}))"
)
_CLOSE_UNITS = frozenset([
    "mm", "cm", "dm", "km", "mg", "kg", "ml", "cl", "hr", "min", "sec", "mph", "kmh", "mi", "ft", "lb", "oz"
])  # fmt: skip
_NOT_UNITS = frozenset([
    "pi", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "mod", "base", "and", "or", "plus",
    "minus", "times", "divided", "over", "to", "of", "half", "halves", "quarter", "quarters", "third", "thirds",
    "percent", "hundred", "thousand", "million", "billion", "trillion", "dozen", "dozens", "pair", "pairs",
    "squared", "cubed", "factorial", "factorials", "infinity", "inf", "not", "no", "alpha", "beta", "gamma",
    "delta", "theta", "lambda", "sigma", "omega", "phi", "rho", "tau", "mu", "choose", "if", "when", "for", "where",
    "unless", "except", "remainder", "positive", "negative"
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A rational number as written: its exact value, decimal places (None = not a decimal), unit and variable name."""

    value: Fraction
    places: int | None = None
    percent: bool = False
    unit: str = ""
    name: str = ""


def _decimal(text: str) -> Quantity | None:
    """`1,234.50` as a Quantity with its decimal places; None when it is not a plain decimal."""
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return None
    whole, places = re.sub("[, ]", "", match[1] or "0"), match[2] or ""
    return Quantity(Fraction(int(whole + places), 10 ** len(places)), len(places) if places else None)


def _number(text: str) -> Quantity | None:
    r"""An unsigned number: decimal, scientific, a/b, mixed `1 1/2`, or `\frac` with numeric parts."""
    text = text.strip()
    plain = _decimal(text)
    if plain is not None:
        return plain
    ratio = _RATIO.fullmatch(text)
    if ratio is not None:
        top, bottom = int(ratio[2]), int(ratio[3])
        return Quantity(int(ratio[1] or 0) + Fraction(top, bottom)) if bottom else None
    start = text.find("\\frac")
    if start >= 0:
        frac = _FRAC.fullmatch(text[start:])
        whole = Quantity(Fraction(0)) if start == 0 else _decimal(text[:start].strip())
        if frac is None or whole is None or whole.places is not None:
            return None
        above, below = _signed(frac[1] or frac[2]), _signed(frac[3] or frac[4])
        if above is None or below is None or below.value == 0 or (start and above.value < 0):
            return None
        return Quantity(whole.value + above.value / below.value)
    scientific = _SCIENTIFIC.fullmatch(text)
    if scientific is not None:
        mantissa = _decimal(scientific[1])
        return None if mantissa is None else Quantity(mantissa.value * Fraction(10) ** int(scientific[2]))
    return None


def _signed(text: str) -> Quantity | None:
    """A number with at most one sign in front."""
    text = text.strip()
    sign = -1 if text.startswith("-") else 1
    number = _number(text[1:] if text[:1] in ("-", "+") else text)
    return None if number is None else Quantity(sign * number.value, number.places)


def parse_quantity(text: str) -> Quantity | None:
    """Read one simple answer; None when it is not clearly one. `text` is a normalised answer string."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        return None
    text = text.replace("{,}", ",")
    name = _NAME.fullmatch(text)
    if name is not None:
        inner = parse_quantity(name[2])
        if inner is None or inner.name:
            return None
        return Quantity(inner.value, inner.places, inner.percent, inner.unit, name[1])
    unit = ""
    money = re.fullmatch(r"([+-]?)\s*\\?([$€£])\s*([+-]?.*)", text)
    if money is not None:
        text, unit = money[1] + money[3], money[2]
    match = _UNIT.fullmatch(text)
    if match is not None and not unit:
        words = match["words"]
        if match["close"] and match["close"] not in _CLOSE_UNITS:
            return None
        if words and words.lower().rstrip(".") == "percent":
            text = match["value"] + "%"
        elif words and _NOT_UNITS & set(re.findall("[a-z]+", words.lower())):
            return None
        else:
            text, unit = match["value"], "degrees" if match["degree"] else _unit_name(words or match["close"])
    percent = re.fullmatch(r"(.*?)\s*\\?%", text)
    if percent is not None:
        text = percent[1]
    for glyph, ratio in _GLYPHS.items():
        text = text.replace(glyph, " " + ratio)
    text = re.sub(r"([+-])\s+", r"\1", text).strip()
    number = _signed(text)
    if number is None:
        return None
    return Quantity(number.value, number.places, percent is not None, unit)


def _unit_name(words: str) -> str:
    """One spelling a unit: lower case, power marks unified, plural `s` dropped, common currency words to signs."""
    text = re.sub(r"[\s^{}.]+", " ", words.lower()).strip().replace("²", "2").replace("³", "3")
    text = " ".join(w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in text.split())
    return {"dollar": "$", "usd": "$", "euro": "€", "pound": "£", "degree": "degrees"}.get(text, text)


def _compare_quantities(a: Quantity, b: Quantity) -> bool | None:
    """Exact comparison; None where units, variables, percent signs or rounding leave it to the question."""
    if (a.unit and b.unit and a.unit != b.unit) or (a.name and b.name and a.name != b.name):
        return None
    value_a, value_b = (q.value / 100 if q.percent else q.value for q in (a, b))
    if value_a == value_b:
        return True
    if a.percent != b.percent and a.value == b.value:
        return None  # `50%` against `50`: the question may have asked for the percentage
    if _rounds_to(a, b) or _rounds_to(b, a):
        return None  # `0.33` against `1/3`
    return False


def _rounds_to(rounded: Quantity, other: Quantity) -> bool:
    """True when `rounded` is a decimal of two places or more that `other`, known more finely, rounds to."""
    if rounded.places is None or rounded.places < 2 or rounded.percent != other.percent:
        return False
    finer = other.places is None or other.places > rounded.places
    return finer and abs(rounded.value - other.value) <= Fraction(1, 2 * 10**rounded.places)


_BRACKETS = (("\\{", "\\}", "set"), ("{", "}", "set"), ("(", ")", "tuple"), ("[", "]", "list"))


def _collection(text: str) -> tuple[str, list[Quantity]] | None:
    """`{1, 2}` → ("set", …), `(1, 2)` → ("tuple", …), `[1, 2]` → ("list", …), `1, 2` → ("bare", …); None otherwise."""
    if len(text) > MAX_CHARS:
        return None
    kind = "bare"
    for start, end, name in _BRACKETS:
        if text.startswith(start) and text.endswith(end) and len(text) >= len(start) + len(end):
            text, kind = text[len(start) : len(text) - len(end)], name
            break
    if re.fullmatch(rf"\s*-?{_DIGITS}\s*", text) and "," in text:
        return None  # `{1,234}`: one number with a thousands separator, or two numbers
    parts = re.split(r"\s*(?:[,;]|\band\b|\bor\b)\s*", text.strip())
    if len(parts) < 2 and kind != "set":
        return None
    items = [parse_quantity(part) for part in parts]
    return None if any(q is None for q in items) else (kind, [q for q in items if q is not None])


def _compare_collections(a: tuple[str, list[Quantity]], b: tuple[str, list[Quantity]]) -> bool | None:
    (kind_a, items_a), (kind_b, items_b) = a, b
    kinds = {kind_a, kind_b}
    if "set" in kinds and kinds <= {"set", "bare"}:
        return _all([_member(q, items_b) for q in items_a] + [_member(q, items_a) for q in items_b])
    if len(items_a) == len(items_b):
        in_order = _all(_compare_quantities(p, q) for p, q in zip(items_a, items_b, strict=True))
        if kind_a == kind_b and (in_order is not False or kind_a != "bare"):
            return in_order
        same_members = sorted(q.value for q in items_a) == sorted(q.value for q in items_b)
        return None if in_order is not False or same_members else False
    return None if kind_a != kind_b else False


def _member(item: Quantity, others: list[Quantity]) -> bool | None:
    """Whether `item` equals one of `others`: True wins, then None (three-valued "or")."""
    seen = {_compare_quantities(item, other) for other in others}
    return True if True in seen else None if None in seen else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Three-valued "and": False wins, then None."""
    seen = set(verdicts)
    return False if False in seen else None if None in seen else True


def compare_simple(left: str, right: str) -> bool | None:
    """Whether two normalised answers are equal: True, False, or None when these rules cannot tell. Symmetric."""
    if left == right:
        return True
    a, b = parse_quantity(left), parse_quantity(right)
    if a is not None and b is not None:
        return _compare_quantities(a, b)
    set_a, set_b = _collection(left), _collection(right)
    if set_a is not None and set_b is not None:
        return _compare_collections(set_a, set_b)
    choice_a, choice_b = (re.fullmatch(r"\(?([A-Za-z])\)?", t) for t in (left, right))
    if choice_a is not None and choice_b is not None and choice_a[1] == choice_b[1]:
        return True  # `(B)` and `B`
    if len(left) > 1 and left.replace(" ", "").isalpha() and left.casefold() == right.casefold():
        return True  # `London` and `london`; single letters may be variables, where case matters
    return None

r"""Reads a final answer as text, as an exact number with a unit, or as a plain word: what `equivalence.py` compares.

Numbers are read exactly, as `Fraction`: integers, decimals, `a/b`, `\frac{a}{b}`, mixed numbers, repeating decimals
and scientific notation. Lengths and exponents are bounded *before* anything is computed and no power is ever
evaluated, so `9**9**9**9` or `1e999999999` cost nothing here: they are not read as numbers at all.

Left out: notation (`answer_text.py`) and everything that needs algebra (`symbolic.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from artifact.tasks.answer_text import normal_text

MAX_DIGITS = 400
"""Longest run of digits, and largest decimal exponent, that is read as a number."""

_REDUNDANT_SPACE = re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])")
_UNITS = {
    name: canonical
    for canonical, names in {
        "degree": "degree degrees",
        "dollar": "dollar dollars usd bucks",
        "euro": "euro euros",
        "yen": "yen",
        "cent": "cent cents",
        "percent": "%",
        "meter": "meter meters metre metres",
        "cm": "cm cms centimeter centimeters centimetre centimetres",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "km": "km kms kilometer kilometers kilometre kilometres",
        "inch": "in inch inches",
        "foot": "ft foot feet",
        "yard": "yd yds yard yards",
        "mile": "mi mile miles",
        "gram": "gram grams",
        "kg": "kg kgs kilogram kilograms",
        "mg": "mg milligram milligrams",
        "pound": "lb lbs pound pounds",
        "ounce": "oz ounce ounces",
        "ton": "ton tons",
        "liter": "liter liters litre litres",
        "ml": "ml milliliter milliliters",
        "gallon": "gal gallon gallons",
        "second": "sec secs second seconds",
        "minute": "min mins minute minutes",
        "hour": "hr hrs hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "yr yrs year years",
        "m/s": "m/s",
        "km/h": "km/h kph kmh",
        "mph": "mph",
        "ft/s": "ft/s fps",
        "mb": "mb megabyte megabytes",
        "radian": "rad radian radians",
        "am": "am a.m.",
        "pm": "pm p.m.",
    }.items()
    for name in names.split()
}

LETTER_UNITS = {"m": "meter", "g": "gram", "s": "second", "h": "hour", "l": "liter", "L": "liter"}
"""Units of one letter, as a space and the letter state them; a letter without a space is a variable."""

_CURRENCIES = {"$": "dollar", "\u20ac": "euro", "\u00a3": "sterling", "\u00a5": "yen"}

_NOT_UNITS_TEXT = """
    hundred thousand million billion trillion dozen half halves third quarter fifth tenth twice ten
    hundredth thousandth millionth billionth
    double percent percentage and or nor not no none plus minus times over divided by than more less least most about
    approximately around mod modulo sqrt root roots sin cos tan cot sec csc log exp squared cubed power factorial choose
    alpha beta gamma delta theta lambda sigma omega infinity infinite undefined zero negative below wrong incorrect
    if when where unless except remainder base but maybe instead is are was be equals equal between else either
"""
NOT_UNITS = frozenset(_NOT_UNITS_TEXT.split())
"""Words that change the value or say that the number is not the answer: never a unit, nor are their plurals."""

_SMALL_WORDS = frozenset(["of", "per", "a", "an", "the", "in", "on", "to", "for", "each", "at"])

_INT = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_INT}(?:\.[0-9]+)?|\.[0-9]+)"
_FRACTION = (
    r"\\frac ?(?:\{ ?(?P<{p}num>-?[0-9.,]+) ?\}|(?P<{p}num1>[0-9]))"
    r"(?: ?\{ ?(?P<{p}den>-?[0-9.,]+) ?\}| ?(?P<{p}den1>[0-9]))"
)
_CORE = re.compile(
    rf"(?P<mixed>[0-9]+) ?{_FRACTION.replace('{p}', 'm')}"
    rf"|(?P<mixed2>[0-9]+) (?P<n2>[0-9]+)/(?P<d2>[0-9]+)"
    rf"|{_FRACTION.replace('{p}', '')}"
    rf"|(?P<rep>[0-9]*)\.(?P<lead>[0-9]*)\\overline ?\{{ ?(?P<cycle>[0-9]+) ?\}}"
    rf"|(?P<top>{_DECIMAL}) ?/ ?(?P<bottom>{_DECIMAL})"
    rf"|(?P<dec>{_DECIMAL})(?:[eE](?P<exp>[-+]?[0-9]+)|"
    r" ?(?:\\times|\\cdot|\*|x) ?10 ?(?:\^|\*\*) ?(?:\{ ?(?P<exp2>[-+]?[0-9]+) ?\}|(?P<exp3>-?[0-9]+)))?"
)
_ASSIGNMENT = re.compile(
    r"(?P<name>(?:[A-Za-z]|\\[A-Za-z]+)(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\}))?(?:\([A-Za-z0-9]\))?) ?= ?(?P<rest>[^=]+)"
)
_BASE = re.compile(r"(?P<digits>[0-9]+) ?_ ?(?:\{ ?(?P<base>[0-9]{1,2}) ?\}|(?P<base1>[0-9]{1,2}))")
_UNIT = re.compile(
    r"(?P<square>square |cubic |sq\.? )?(?P<words>[A-Za-z][A-Za-z.]*(?:[ /-][A-Za-z]+){0,4})"
    r" ?(?:\^ ?\{? ?(?P<power>[23]) ?\}?)?\.?"
)
_TRAILING_UNIT = re.compile(
    r"(?P<rest>.*(?:[0-9})]|\\pi)) ?(?:(?P<circ>\^\\circ)|(?:\\text ?\{(?P<latex>[^{}]+)\}|(?<= )(?P<plain>[a-z]+))"
    r" ?(?:\^ ?\{? ?[23] ?\}?)?)"
)
_TRIGONOMETRY = re.compile(r"sin|cos|tan|cot|sec|csc")
_WORDS = re.compile(r"[A-Za-z]{2,}(?:[ '-][A-Za-z]+)*|\(?[A-Z]\)?")


@dataclass(frozen=True, slots=True)
class Answer:
    """One reading of an answer.

    text      normal form, white space and LaTeX spacing commands reduced; equal texts mean the same
    value     the exact number, None where the answer is not a plain number
    unit      canonical unit ("cm^2", "percent"), other words after the number with a leading "?", or ""
    variable  the left-hand side of `x = 5`, or ""
    words     lower-case words where the whole answer is words ("Evelyn", "(C)"), or ""
    base      (digits, base) of a numeral such as `52_8`, else None; its `value` is then None
    places    decimal places as written ("0.50" has 2); 0 where the number is not a plain decimal
    """

    text: str
    value: Fraction | None = None
    unit: str = ""
    variable: str = ""
    words: str = ""
    base: tuple[str, int] | None = None
    places: int = 0


@lru_cache(maxsize=16384)
def read_answer(answer: str) -> Answer:
    """The reading of `answer`; never raises, whatever the text. Cost: linear in its length."""
    text = normal_text(answer)
    key = _REDUNDANT_SPACE.sub("", text)
    plain = re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", text).replace(r"^\circ", " degrees ")
    plain = re.sub(r"\s+", " ", plain).replace(" ^", "^").strip()
    variable = ""
    if assignment := _ASSIGNMENT.fullmatch(plain):
        variable, plain = assignment["name"], assignment["rest"].strip()
    if base := _BASE.fullmatch(plain):
        return Answer(key, variable=variable, base=(base["digits"].lstrip("0"), int(base["base"] or base["base1"])))
    if quantity := _read_quantity(plain):
        value, unit, places = quantity
        return Answer(key, value=value, unit=unit, variable=variable, places=places)
    words = re.sub(r"[()]", "", plain) if _WORDS.fullmatch(plain) else ""
    return Answer(key, variable=variable, words=words if len(words) == 1 else words.lower())


def _read_quantity(text: str) -> tuple[Fraction, str, int] | None:
    """(value, unit, decimal places) of `text`; None where it is not one number with at most a unit."""
    if text.startswith("(") and text.endswith(")"):
        if "," in text:  # a comma in brackets separates: (1,234) is a pair
            return None
        text = text[1:-1].strip()
    sign, rest, currency = 1, text, ""
    for _ in range(2):  # "-$5" and "$-5"
        if rest[:1] in ("-", "+"):
            sign, rest = (-sign if rest[0] == "-" else sign), rest[1:].lstrip()
            if rest[:1] in ("-", "+"):
                return None
        if rest[:1] in _CURRENCIES and not currency:
            currency, rest = _CURRENCIES[rest[0]], rest[1:].lstrip()
    match = _CORE.match(rest)
    if match is None:
        return None
    value = _value(match)
    unit = _read_unit(rest[match.end() :].strip())
    if value is None or unit is None or (currency and unit not in ("", currency)):
        return None
    exponent = match["exp"] or match["exp2"] or match["exp3"]
    return sign * value, currency or unit, 0 if exponent else len((match["dec"] or "").partition(".")[2])


def _number(digits: str) -> Fraction | None:
    digits = digits.replace(",", "").replace(" ", "")
    if len(digits) > MAX_DIGITS or re.fullmatch(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", digits) is None:
        return None
    return Fraction(digits)


def _ratio(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _number(top), _number(bottom)
    return None if numerator is None or not denominator else numerator / denominator


def _value(match: re.Match[str]) -> Fraction | None:
    group = match.groupdict()
    whole = group["mixed"] or group["mixed2"]
    if whole is not None:  # 1 4/5 = 9/5; `3\frac{5}{2}` is no mixed number
        top, bottom = group["mnum"] or group["mnum1"] or group["n2"], group["mden"] or group["mden1"] or group["d2"]
        base, part = _number(whole), _ratio(top, bottom)
        return None if base is None or part is None or not 0 < part < 1 else base + part
    if (top := group["num"] or group["num1"]) is not None:
        return _ratio(top, group["den"] or group["den1"])
    if group["cycle"] is not None:  # 0.a(b) = (ab − a) / (10^|a| (10^|b| − 1)), the denominator written out as 9…90…0
        lead, cycle = group["rep"] + group["lead"], group["cycle"]
        if len(lead + cycle) > MAX_DIGITS:
            return None
        return Fraction(int(lead + cycle) - int(lead or "0"), int("9" * len(cycle) + "0" * len(group["lead"])))
    if group["top"] is not None:
        return _ratio(group["top"], group["bottom"])
    value, exponent = _number(group["dec"]), group["exp"] or group["exp2"] or group["exp3"]
    if value is None or exponent is None:
        return value
    if len(exponent) > 5 or abs(int(exponent)) > MAX_DIGITS:
        return None
    zeros = int("1" + "0" * abs(int(exponent)))
    return value * zeros if int(exponent) >= 0 else value / zeros


def _read_unit(text: str) -> str | None:
    """Canonical unit of what follows a number: "" for nothing, None where it is not a unit at all."""
    if text in ("", "."):
        return ""
    if text in ("%", "percent", "pct"):
        return "percent"
    match = _UNIT.fullmatch(text)
    if match is None:
        return None
    words = match["words"].lower()
    power = match["power"] or {"s": "2", "c": "3"}.get((match["square"] or "")[:1], "")
    known = _UNITS.get(words) or _UNITS.get(words.rstrip("."))
    if known:
        return known + (f"^{power}" if power else "")
    parts = re.split(r"[ /.-]+", words.strip("."))
    ordinary = [w for w in parts if w not in _SMALL_WORDS]
    if not ordinary or any({w, w.removesuffix("s")} & NOT_UNITS or not _is_word(w) for w in ordinary):
        return None
    return "?" + " ".join(w.removesuffix("s") for w in ordinary)


def without_unit(text: str) -> str:
    r"""`text` (in normal form) without the unit at its end, if any: `288 \pi cm^3`, `10\sqrt{2}\text{ feet}`."""
    match = _TRAILING_UNIT.fullmatch(text)
    if match is None or not match["rest"].strip():
        return text
    if match["circ"]:
        return text if _TRIGONOMETRY.search(text) else match["rest"].rstrip()
    if match["latex"] is not None and _read_unit(match["latex"].strip()) is not None:
        return match["rest"].rstrip()
    return match["rest"].rstrip() if len(match["plain"] or "") > 1 and match["plain"] in _UNITS else text


def _is_word(word: str) -> bool:
    return word in _UNITS or (len(word) >= 3 and any(v in word for v in "aeiou"))

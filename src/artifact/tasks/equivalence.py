r"""Are two final answers the same, by exact means? Two questions, each with its own function.

`fast_equivalent`  exact and symmetric: numbers as fractions, texts by normal form. None = undecided. No sympy. It
                   needs no convention about which answer is the gold one, so an equivalence judge builds on it.
`decide`           the same plus the grading conventions below, in which the gold sets the form. None = needs algebra.

Grading conventions of `decide`, in which the *gold* answer sets the form:
- a unit or currency sign that only one side states is ignored; two known units that differ are wrong (`3 ft`, `3 in`);
- `p%` equals p/100 exactly; it also equals gold `p` (GSM8K's gold answers to "what percentage" carry no sign). Plain
  `0.5` never equals gold `50`;
- a numeral in base b: the prediction may leave the base out (`52` for `52_8`), not state another one;
- words are compared as words, never as products of letters; braces must balance; digits apart need an operator.

Left out: algebra, which `Verifier.check` has done in a killable process where `decide` leaves a pair open.

Known leniency: an unevaluated expression of the same value, such as `\binom{5}{1}` for 5, counts as correct.
"""

from __future__ import annotations

import re
import unicodedata

from artifact.tasks.answer_forms import LETTER_UNITS, Answer, read_answer

MAX_ANSWER_CHARS = 1000
"""A longer answer is wrong unless it is character for character the gold one: no algebra is tried on it."""

MAX_NESTING = 64
"""Deepest nesting of brackets that is graded; parsers need time or stack beyond any bound for more."""

_HIDDEN = re.compile(r"\\[hv]?phantom|\\def(?![A-Za-z])|\\(?:new|renew)command|\\input|\\include")
_LETTERED = re.compile(r"-?[0-9.,]+ ?[A-Za-z]+")
_SPLIT_DIGITS = re.compile(r"(?<![_^0-9])[0-9]+[\s']+[0-9]|(?:^|[^\\A-Za-z0-9{}_^])[0-9]+\s*\{")
_SHORT = re.compile(r"(-?[0-9.,]+) ([mgshlL])")


def fast_equivalent(gold: str, prediction: str) -> bool | None:
    """Exact, symmetric and cheap comparison: True, False, or None where it takes algebra or judgement to tell."""
    if gold.strip() == prediction.strip():
        return bool(gold.strip())
    if defect(prediction) or defect(gold):
        return None
    a, b = read_answer(gold), read_answer(prediction)
    if a.text == b.text:
        return bool(a.text)
    if a.words and a.words == b.words:
        return True
    if a.value is None or b.value is None or (a.variable and b.variable and a.variable != b.variable):
        return None
    if (a.unit == "percent") != (b.unit == "percent"):
        return True if _as_fraction(a) == _as_fraction(b) and not _plain_unit(a, b) else None
    if a.unit and b.unit and a.unit != b.unit:
        return None
    return a.value == b.value


def decide(gold: str, prediction: str) -> tuple[bool | None, str]:
    """Grade `prediction` by exact means and the conventions above: (verdict, reason); verdict None = needs algebra."""
    if gold.strip() == prediction.strip():
        return bool(gold.strip()), "identical text"
    if reason := defect(prediction):
        return False, reason
    if len(gold) > MAX_ANSWER_CHARS:
        return False, f"the gold answer has {len(gold)} characters and the prediction is not identical to it"
    fast = fast_equivalent(gold, prediction)
    a, b = read_answer(gold), read_answer(prediction)
    if fast is not None:
        return fast, "exact"
    if any(_short_unit(x, y) for x, y in ((a, b), (b, a))):
        return True, "a unit and its letter"
    if any(x.unit and y.value is None and _LETTERED.fullmatch(y.text) for x, y in ((a, b), (b, a))):
        return False, "a unit against a letter"
    if a.base or b.base:
        return _same_numeral(a, b), "numeral in a base"
    if a.value is not None and b.value is not None:
        return _same_quantity(a, b)
    if (a.words and (b.words or b.value is not None)) or (b.words and a.value is not None):
        return False, "different words"
    if _SPLIT_DIGITS.search(b.text) and not _SPLIT_DIGITS.search(a.text):
        return False, "digits apart without an operator"
    return None, "needs algebra"


def defect(answer: str) -> str:
    """Why `answer` is malformed beyond grading, or "": its length, characters, braces, hiding or defining macros."""
    if len(answer) > MAX_ANSWER_CHARS:
        return f"the answer has {len(answer)} characters, more than {MAX_ANSWER_CHARS}"
    if not answer.strip():
        return "the answer is empty"
    for char in "" if answer.isascii() and answer.isprintable() else answer:
        kind = unicodedata.category(char)
        if (kind == "Nd" and not char.isascii()) or (kind in ("Cc", "Cf", "Cs", "Co") and char not in "\t\n\r"):
            return f"the answer contains the character U+{ord(char):04X}"
    braces = nesting = deepest = 0
    for token in re.findall(r"\\.|[{}()\[\]]", answer, re.DOTALL):
        braces += (token == "{") - (token == "}")
        nesting += (token[-1] in "{([") - (token[-1] in "})]")
        deepest = max(deepest, nesting)
        if braces < 0:
            break
    if braces:
        return "the braces do not balance"
    if deepest > MAX_NESTING:
        return f"brackets are nested {deepest} deep, more than {MAX_NESTING}"
    if hidden := _HIDDEN.search(answer):
        return f"the answer uses {hidden.group()}"
    return ""


def _as_fraction(answer: Answer) -> object:
    return answer.value / 100 if answer.unit == "percent" and answer.value is not None else answer.value


def _plain_unit(a: Answer, b: Answer) -> bool:
    """Whether the side without a percent sign states a unit of its own."""
    return bool((b if a.unit == "percent" else a).unit)


def _same_quantity(gold: Answer, prediction: Answer) -> tuple[bool, str]:
    if gold.value != prediction.value:
        return False, "different numbers"
    if gold.variable and prediction.variable and gold.variable != prediction.variable:
        return False, f"{prediction.variable} is not {gold.variable}"
    units = {gold.unit, prediction.unit}
    if "percent" in units:
        other = (units - {"percent"} or {""}).pop()
        return other == "", "percent sign as a unit"
    if all(u and u[0] != "?" for u in units) and len(units) == 2:
        return False, f"unit {prediction.unit} is not {gold.unit}"
    return True, "same number, unit in other words"


def _short_unit(full: Answer, short: Answer) -> bool:
    """Whether `short` is the quantity `full` with its unit as one letter after a space: `8 m` for 8 meters."""
    match = _SHORT.fullmatch(short.text)
    return bool(match and full.value == read_answer(match[1]).value and full.unit == LETTER_UNITS[match[2]])


def _same_numeral(gold: Answer, prediction: Answer) -> bool:
    if gold.base is None:
        return False
    if prediction.base is not None:
        return gold.base == prediction.base
    value = prediction.value
    return value is not None and value.denominator == 1 and str(value.numerator) == (gold.base[0] or "0")

r"""The calculator of GSM8K: arithmetic on exact fractions, without `eval`, within fixed limits.

An expression holds numbers, `+ - * / // ( )`, unary minus and `%`. A `%` between two operands is the remainder, any
other `%` behind a number is a percentage (`20%*50` = 10). `$`, white space, thousands commas and `× ÷ −` are read,
too. The text is parsed by `ast` and walked; names, calls, powers and everything else are `MALFORMED`. Every refusal has
a name.

Values are written as in GSM8K's own marks: no thousands separators, no trailing zeros, a leading zero (`0.5`). A value
without a finite decimal form has ten decimals; a value within 1e-8 (relative) of a whole number of hundredths is
written as such, so that the rounding of an earlier mark does not show (`0.3333333333*3` = 1).

Left out: where in a response an expression stands (`tool_loop.py`). CORE section 4.1 ("calculator tool access").
"""

from __future__ import annotations

import ast
import enum
import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARS = 100
"""Longest expression; the longest mark of GSM8K has 36 characters."""

MAX_DIGITS = 15
"""Most digits of one number."""

MAX_DEPTH = 30
"""Deepest nesting of operations."""

MAX_VALUE = 10**15
"""Largest magnitude of any intermediate value."""

DECIMALS = 10
"""Decimals of a value that has no finite decimal form."""

MARK = re.compile(r"<<([^<>=\n]*)=([^<>\n]*)>>")
"""A closed calculator mark: expression and value."""

_SYMBOLS = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u00b7": "*", "$": "", "\u20ac": "", "\u00a3": ""}
)
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_PERCENT = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)) ?%(?! ?[0-9.(])")
_ALLOWED = re.compile(r"[0-9+\-*/().% ]+")
_DIGIT_RUN = re.compile(r"[0-9.]+")


class CalculatorOutcome(enum.StrEnum):
    """How a calculation ended. Only `COMPUTED` has a value."""

    COMPUTED = "computed"
    MALFORMED = "malformed"  # not an arithmetic expression
    DIVISION_BY_ZERO = "division_by_zero"
    TOO_LARGE = "too_large"  # over a limit on length, digits, depth or magnitude


@dataclass(frozen=True, slots=True)
class Calculation:
    """An expression, how its evaluation ended, and the value as it is written; `value` is "" where there is none."""

    expression: str
    outcome: CalculatorOutcome
    value: str = ""


class _Refused(Exception):
    def __init__(self, outcome: CalculatorOutcome) -> None:
        self.outcome = outcome


def calculate(expression: str) -> Calculation:
    """The value of `expression`, or the name of what is wrong with it. Never raises, never runs long."""
    try:
        return Calculation(expression, CalculatorOutcome.COMPUTED, format_value(evaluate_expression(expression)))
    except _Refused as refused:
        return Calculation(expression, refused.outcome)


def evaluate_expression(expression: str) -> Fraction:
    """The exact value of `expression`. Raises the internal refusal that `calculate` turns into an outcome."""
    if len(expression) > MAX_CHARS:
        raise _Refused(CalculatorOutcome.TOO_LARGE)
    text = _THOUSANDS.sub(lambda m: m.group().replace(",", ""), expression.translate(_SYMBOLS))
    text = " ".join(text.split())
    if not _ALLOWED.fullmatch(text):
        raise _Refused(CalculatorOutcome.MALFORMED)
    if any(len(run.replace(".", "")) > MAX_DIGITS for run in _DIGIT_RUN.findall(text)):
        raise _Refused(CalculatorOutcome.TOO_LARGE)
    try:
        tree = ast.parse(_PERCENT.sub(r"(\1/100)", text), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _Refused(CalculatorOutcome.MALFORMED) from None
    return _walk(tree.body, 0)


def strip_marks(text: str) -> str:
    """`text` without its `<<…>>` marks, for prompts and reference solutions of runs without the tool."""
    return MARK.sub("", text)


def format_value(value: Fraction) -> str:
    """`value` as GSM8K writes it: `72`, `0.5`, `-3.25`; see the module docstring for what does not terminate."""
    cents = Fraction(round(value * 100), 100)
    if abs(value - cents) <= Fraction(1, 10**8) * max(Fraction(1), abs(value)) and (cents or not value):
        value = cents
    scaled = round(abs(value) * 10**DECIMALS)
    whole, part = divmod(scaled, 10**DECIMALS)
    text = str(whole) + (f".{part:0{DECIMALS}d}".rstrip("0") if part else "")
    return "-" + text if value < 0 and scaled else text


def _walk(node: ast.expr, depth: int) -> Fraction:
    if depth > MAX_DEPTH:
        raise _Refused(CalculatorOutcome.TOO_LARGE)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(repr(node.value))  # the shortest text of a float is the text it was read from, up to 15 digits
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _walk(node.operand, depth + 1)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        value = _apply(node.op, _walk(node.left, depth + 1), _walk(node.right, depth + 1))
        if abs(value) > MAX_VALUE:
            raise _Refused(CalculatorOutcome.TOO_LARGE)
        return value
    raise _Refused(CalculatorOutcome.MALFORMED)


def _apply(op: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    if isinstance(op, ast.Mult):
        return left * right
    if isinstance(op, ast.Div | ast.FloorDiv | ast.Mod):
        if not right:
            raise _Refused(CalculatorOutcome.DIVISION_BY_ZERO)
        if isinstance(op, ast.Div):
            return left / right
        return left % right if isinstance(op, ast.Mod) else Fraction(left // right)
    raise _Refused(CalculatorOutcome.MALFORMED)  # a power, above all

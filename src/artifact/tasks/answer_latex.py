r"""One value of an answer as a sympy expression, by math-verify's parser (latex2sympy) with letter case kept.

What that parser misreads or refuses is rewritten first: `pi` (read as p·i), `**`, `x^10`, `x^(a+b)`, arguments without
braces (`\frac{k}m`, `\binom52`), primes (dropped), `\Gamma` (read as `\gamma`), degrees in trigonometric functions, and
decimals (made fractions: as floats they would be rounded). Words, dots and digits apart without an operator are
refused: the parser makes sums and products of them.

Left out: the outer form of an answer (`answer_shape.py`), and what a value is (`answer_value.py`).
"""

from __future__ import annotations

import re
from typing import Any

from artifact.tasks.answer_forms import without_unit
from artifact.tasks.answer_text import normal_text

_PLAIN = [
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<=[0-9A-Za-z)}\]]) ?\*\* ?(?=[-0-9A-Za-z({\\])"), "^"),
    (re.compile(r"\^ ?(\([^()]*\))"), r"^{\1}"),
    (re.compile(r"\^ ?(-[0-9]+|[0-9]{2,})"), r"^{\1}"),
    (re.compile(r"(?<![A-Za-z\\])(sqrt|sin|cos|tan|cot|ln|log|exp)(?= ?[({^])"), r"\\\1"),
    (re.compile(r"(?<![A-Za-z\\])(?:infty|infinity)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"\\sqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
]
_LATEX: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(r"\\Gamma(?![A-Za-z]| ?\()"), r"G_{Gamma}"),  # the parser takes both cases for Euler's constant
    (re.compile(r"(?<=[A-Za-z])'+"), lambda m: f"_{{prime{len(m.group())}}}"),  # it drops primes
    (re.compile(r"(?<![0-9A-Za-z])([0-9]+|[A-Za-z])!(?= ?\^)"), r"(\1!)"),
    (re.compile(r"\\lg(?![A-Za-z])"), r"\\log_{10} "),
    (re.compile(r"(?<![0-9.A-Za-z_])([0-9]*)\.([0-9]+)(?![0-9.])"), lambda m: _decimal(m[1], m[2])),
    (re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))"), ""),
]
_ARGUMENTS = {r"\frac": 2, r"\binom": 2, r"\sqrt": 1}
_ANGLE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\\frac ?\{[^{}]*\} ?\{[^{}]*\}|\([^()]*\)) ?\^\\circ")
_APART = re.compile(r"(?<![_^0-9.])[0-9]+\s+[0-9]")
_WORDS = re.compile(r"\\text ?\{[^{}]*\}|(?<![\\A-Za-z{])[A-Za-z]{4,}(?![A-Za-z(])|\\l?dots|\\cdots|\?|!\s*!|%")


class Unreadable(ValueError):
    """A value that the parser cannot read, or that has no value: a sentence, `1/0`, unbalanced brackets."""


class Wording(Unreadable):
    """A value in words: it is compared as text only."""


def plain_to_latex(answer: str) -> str:
    """`answer` in the notation the parser reads as it is meant, without its unit."""
    text = without_unit(normal_text(answer))
    for pattern, to in _PLAIN:
        text = pattern.sub(to, text)
    return text


def _decimal(whole: str, places: str) -> str:
    return rf"\frac{{{int(whole + places)}}}{{1{'0' * len(places)}}}"


def _braced(text: str) -> str:
    r"""`\frac`, `\binom` and `\sqrt` with all their arguments in braces, as TeX takes them: one token or one group."""
    out, at = [], 0
    for match in re.finditer(r"\\(?:frac|binom|sqrt)(?![A-Za-z])", text):
        if match.start() < at:
            continue
        out.append(text[at : match.start()])
        piece, at = _arguments(text, match)
        out.append(piece)
    return "".join(out) + text[at:]


def _arguments(text: str, match: re.Match[str]) -> tuple[str, int]:
    command, at = match.group(), match.end()
    piece = command
    if command == r"\sqrt" and (root := re.compile(r"\s*\[([^\[\]]*)\]").match(text, at)):
        piece, at = f"{piece}[{root[1]}]", root.end()
    for _ in range(_ARGUMENTS[command]):
        while at < len(text) and text[at] == " ":
            at += 1
        if at >= len(text):
            raise Unreadable(f"{command} lacks an argument")
        if text[at] == "{":
            depth, end = 0, at
            for end in range(at, len(text)):
                depth += (text[end] == "{") - (text[end] == "}")
                if depth == 0:
                    break
            piece += "{" + _braced(text[at + 1 : end]) + "}"
            at = end + 1
        elif inner := re.compile(r"\\(?:frac|binom|sqrt)(?![A-Za-z])").match(text, at):
            nested, at = _arguments(text, inner)
            piece += "{" + nested + "}"
        else:
            token = re.compile(r"\\[A-Za-z]+|.").match(text, at)
            assert token is not None
            piece += "{" + token.group() + "}"
            at = token.end()
    return piece, at


def parse_value(text: str, radians: bool = False) -> Any:
    """The sympy expression of `text`; an angle in degrees loses its sign, or with `radians` is converted.

    Raises Unreadable, or its kind Wording for words.
    """
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy

    text = normal_text(text)
    percent = text.endswith("%")
    text = text.removesuffix("%").rstrip()
    if radians or re.search(r"sin|cos|tan|cot|sec|csc", text):
        text = _ANGLE.sub(lambda m: rf"({m[1]} \cdot \frac{{\pi}}{{180}})", text)
    text = plain_to_latex(text)
    if _WORDS.search(text) or r"\text" in text:
        raise Wording(text[:100])
    if _APART.search(text):
        raise Unreadable(f"digits apart without an operator in {text[:100]!r}")
    for pattern, to in _LATEX:
        text = pattern.sub(to, text)
    text = _braced(text).strip()
    if text.startswith("+"):
        text = text[1:].lstrip()
    if percent:
        text = rf"\frac{{{text}}}{{100}}"
    if not text:
        raise Unreadable("nothing is left of it")
    normalization = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
    )
    try:
        expression = latex2sympy(
            text,
            is_real=False,
            normalization_config=normalization,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except MemoryError:
        raise
    except Exception as err:  # the parser's own exceptions have no common class
        raise Unreadable(
            f"{text[:100]!r}: {str(err).splitlines()[0][:100] if str(err) else type(err).__name__}"
        ) from err
    return expression

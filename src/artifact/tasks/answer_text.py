r"""An answer as text: two forms, each with one meaning, for two readers.

`untypeset`    what a person reads: the answer without its typesetting. Phase 1 groups samples by it and shows it to a
               judge, so it changes no meaning and no symbol: `36^{\circ}` stays, whether `0.50` is `1/2` is for a judge
`normal_text`  what a parser reads: one notation for each symbol, fraction and unit, and braces of `\text` kept, so that
               `answer_forms` and math-verify meet one spelling: `36^{\circ}` is `36^\circ`, `15\mbox{ cm}` has a unit

Left out: numbers and units as values (`answer_forms.py`), and texts of questions (`suremath/filters.py`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " "})
_HYPHENS = _SIGNS | {0x2010: "-"}

_VULGAR = [(0xBC, 1, 4), (0xBD, 1, 2), (0xBE, 3, 4), (0x2153, 1, 3), (0x2154, 2, 3), (0x215B, 1, 8)]

_SYMBOLS = _SIGNS | str.maketrans(
    {
        "\u00b0": r"^\circ ",
        "\u03c0": r"\pi ",
        "\u00d7": r"\times ",
        "\u22c5": r"\cdot ",
        "\u00b7": r"\cdot ",
        "\u00f7": "/",
        "\u221e": r"\infty ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u2260": r"\ne ",
        "\u222a": r"\cup ",
        "\u2208": r"\in ",
        "\u2205": r"\emptyset ",
        "\u00b1": r"\pm ",
    }
    | {chr(code): rf" \frac{{{top}}}{{{bottom}}}" for code, top, bottom in _VULGAR}
)

_REWRITES = [
    (re.compile(pattern), to)
    for pattern, to in [
        (r"\\(?:left|right)\s*\.", ""),
        (r"\\(?:left|right|middle|(?:big|Big|bigg|Bigg)[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])", ""),
        (r"(?<=[0-9])(?:\{,\}|,\\!|\\[,;: ])\s*(?=[0-9]{3}(?![0-9]))", ""),
        (r"\{,\}", ","),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])", " "),  # the second backslash of a row break is no spacing command
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:mathrm|textrm|textbf|textit|textnormal|mbox|hbox)\s*\{", r"\\text{"),
        (r"\\math(?:bf|it|sf)\s*\{([^{}]*)\}", r" \1 "),
        (r"(?<=[0-9])\s*\^\s*\{?\s*\\text\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|(?<=[0-9])(?:st|nd|rd|th)\s*$", ""),
        (r"\\text\{\s*~?([A-Za-z]+)\s*\}\s*/\s*\\text\{\s*~?([A-Za-z]+)\s*\}", r"\\text{ \1/\2}"),
        (r"\\text\{([A-Za-z])\}", r" \1 "),
        (r"^\s*\$([^$]+)\$(?=\s*[A-Za-z%\\^])", r"\1 "),
        (r"\\([%$])", r"\1"),
        (r"\\(?:degree|deg)(?![A-Za-z])|\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])", r"^\\circ"),
        (r"\\(l|g)eq(?:slant|q)?(?![A-Za-z])", r"\\\1e"),
        (r"\\neq(?![A-Za-z])|\\not\s*=", r"\\ne"),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"\\[lr]?vert(?![A-Za-z])", "|"),
        (r"\u221a\s*\(([^()]*)\)|\u221a\s*([0-9]+|[A-Za-z])", r"\\sqrt{\1\2}"),
        (r"\s+", " "),
    ]
]
_DELIMITERS = [("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), (r"\boxed{", "}")]
_LATEX_UNIT_LETTER = re.compile(
    r"(?<=[0-9})])(?:\s|~|\\[,;:! ])*\\(?:text|mathrm|mbox|textrm)\s*\{\s*([mgshlL])\s*\}(?=\s*(?:\^|[.$]|$))"
)
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2})")
_LETTER_UNITS = {"m": "meters", "g": "grams", "s": "seconds", "h": "hours", "l": "liters", "L": "liters"}

_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|bigl|bigr|big)(?![A-Za-z])")
_TEXT = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|~|\\q?quad(?![A-Za-z])")
_WRAPPERS = (("\\boxed{", "}"), ("\\fbox{", "}"), ("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"))


def normal_text(answer: str) -> str:
    """`answer` as the readers want it: no delimiters, sizing or spacing commands, one name for each symbol and unit."""
    text = _LATEX_UNIT_LETTER.sub(lambda m: f" {_LETTER_UNITS[m.group(1)]}", answer.translate(_SYMBOLS))
    if r"\begin" not in text:
        text = _DOUBLED.sub(lambda m: "\\", text)  # `\\frac`, as inside a JSON string; no row can break here
    for pattern, to in _REWRITES:
        text = pattern.sub(to, text)
    for _ in range(4):
        text = text.strip().removesuffix(r"\\").strip()
        if text.endswith(".") and not text.endswith(".m."):
            text = text[:-1].rstrip()
        for left, right in _DELIMITERS:
            inner = text[len(left) : len(text) - len(right)]
            wrapped = len(text) > len(left + right) and text.startswith(left) and text.endswith(right)
            if wrapped and right not in inner and left not in inner:
                text = inner
                break
        else:
            break
    return text.strip()


def _wraps(text: str, start: str, end: str) -> bool:
    """True when `start … end` encloses all of `text`, as one balanced unit."""
    if not (text.startswith(start) and text.endswith(end) and len(text) >= len(start) + len(end)):
        return False
    inner = text[len(start) : len(text) - len(end)]
    if end != "}":
        return end not in inner
    depth = 0
    for char in inner:
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
    return depth == 0


@lru_cache(maxsize=65536)
def untypeset(answer: str | None) -> str | None:
    r"""The answer with its typesetting removed; None where there is no answer.

    Only changes that do not alter the meaning: Unicode NFC, minus signs, `$…$`, `\boxed{…}`, `\text{…}`, `\left`,
    `\dfrac` → `\frac`, spacing commands, runs of white space, a full stop at the end. Case, order, brackets and number
    formats stay: whether `0.50` is `1/2` is for a judge to say.
    """
    if answer is None:
        return None
    text = answer
    while True:  # to a fixed point: removing one wrapper can lay bare another
        before = text
        text = _LAYOUT.sub("", unicodedata.normalize("NFC", text).translate(_HYPHENS))
        text = _SPACES.sub(" ", _TEXT.sub(r" \1 ", text))
        text = re.sub(r"(?<!\\)\\!", "", text)
        text = " ".join(text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").split())
        if text.endswith((".", ",")):
            text = text[:-1]
        for start, end in _WRAPPERS:
            if _wraps(text, start, end):
                text = text[len(start) : len(text) - len(end)]
        if text == before:
            return text or None

r"""Finds the final answer in a response, and names the rule that found it.

Rules, tried in the order the caller gives (default: `boxed`, `hashes`, `last_number`):

boxed         the last `\boxed{…}` (or `\fbox{…}`) whose braces balance and that is not empty; the inner of nested ones
hashes        the last line that starts with `####` (GSM8K's format); a Markdown heading in words is no answer
last_number   the last number in the text, with its sign, thousands separators, fraction, exponent and percent sign

Every rule reads the text once, so the time is linear in its length (at most about a second for a hostile megabyte).
Left out: judging the answer (`equivalence.py`), and any repair of unbalanced braces: a response cut off inside its only
box has no answer at all, since a later rule would find a fragment of it (`\boxed{4` of `\boxed{42}`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DEFAULT_RULES = ("boxed", "hashes", "last_number")
"""Rule order for free-form responses. A task whose prompt demands a box should use `("boxed",)` alone."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """A final answer, stripped of surrounding white space, and the name of the rule that found it."""

    answer: str
    rule: str


# An escaped character is consumed as a pair, so that `\{` and `\}` never count as grouping braces.
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)

# `####` opens a line. Two letters at the start mark a heading ("#### Step 1"); one may be a variable ("#### x = 5").
_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*(?![ \t]|[A-Za-z]{2}|\*\*[A-Za-z]{2})(\S[^\n]*)", re.MULTILINE)

# A number glued to a letter, `^` or `_` is part of something else; a sign after an operand is a subtraction, and one
# followed by a space is a list bullet.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_^])(?<![\^_]\{)(?<!\^-)(?<!\^\{-)(?<![0-9]\.)"
    r"(?:(?<![)\]}])[-+\u2212])?\$?"
    r"(?:\\[dt]?frac\{[0-9]+\}\{[0-9]+\}"
    r"|(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"(?:[eE][-+]?[0-9]+(?![0-9A-Za-z])|\^(?:\{[^{}]{1,20}\}|-?[0-9]+))?(?:/[0-9]+(?![0-9.]))?"
    r"|\.[0-9]+)"
    r"(?:[ ]?\\?%)?"
)


def _boxed(text: str) -> str | None:
    best: tuple[int, int] | None = None  # start and end of the content of the last-opened box that closed
    stack: list[int] = []  # content start of each open brace; negative (~start) where a box opened it
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "{":
            stack.append(match.end())
        elif token == "}":
            if stack and (start := stack.pop()) < 0 and (best is None or ~start > best[0]):
                best = (~start, match.start()) if text[~start : match.start()].strip() else best
        elif token[-1] == "{" and token[:2] in ("\\b", "\\f"):
            stack.append(~match.end())
    if best:
        return text[best[0] : best[1]]
    return "" if any(start < 0 for start in stack) else None


def _last_match(pattern: re.Pattern[str], group: int) -> Callable[[str], str | None]:
    def find(text: str) -> str | None:
        last = deque(pattern.finditer(text), maxlen=1)
        return last[0].group(group) if last else None

    return find


RULES: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "hashes": _last_match(_HASHES, 1),
    "last_number": _last_match(_NUMBER, 0),
}
"""Extraction rules by name: text → answer; None = the rule does not apply, "" = it does but the answer is cut off."""


def check_rules(rules: Sequence[str]) -> tuple[str, ...]:
    """`rules` as a tuple; raises ValueError, naming the culprit, for an unknown rule or an empty list."""
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules or isinstance(rules, str):
        raise ValueError(f"extraction rules {rules!r}: choose from {sorted(RULES)}; unknown: {unknown}")
    return tuple(rules)


def extract_answer(text: str, rules: Sequence[str] = DEFAULT_RULES) -> Extraction | None:
    """The final answer of `text` by the first of `rules` that applies; None where none does or the box is cut off."""
    for rule in check_rules(rules):
        answer = RULES[rule](text)
        if answer is not None:
            return Extraction(answer.strip(), rule) if answer.strip() else None
    return None

r"""Finds the final answer in a response, and names the rule that found it.

Only the final segment counts: what follows the last `</think>`. A response that is cut off while thinking (`<think>`
without its end) has no answer, whatever it has boxed by then.

Rules, tried in the order the caller gives (default: `boxed`, `hashes`, `last_number`). A run asks for the one rule that
its prompt template asks for (`rules_for`):

boxed         the last `\boxed{…}` (or `\fbox{…}`) whose braces balance and that is not empty; the inner of nested ones.
              Boxes joined by "and", commas or nothing at all are one answer, a list; different boxes joined by "or"
              are none
hashes        the last line that starts with `####` (GSM8K's format); a Markdown heading in words is no answer
last_number   the formula that holds the last number of the text: all of `$…$`, or in plain text the number with the
              letters and operators it is tied to (`2a + 9`, not 9); behind an equals sign the right side of it

Every rule reads the text once, so the time is linear in its length (at most about a second for a hostile megabyte).
Left out: judging the answer (`equivalence.py`), and any repair of unbalanced braces: a response cut off inside its only
box has no answer at all, since a later rule would find a fragment of it (`\boxed{4` of `\boxed{42}`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from artifact.tasks.equivalence import fast_equivalent

DEFAULT_RULES = ("boxed", "hashes", "last_number")
"""Rule order for free-form responses. A task whose prompt demands a box should use `("boxed",)` alone."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """A final answer, stripped of surrounding white space, and the name of the rule that found it."""

    answer: str
    rule: str


# An escaped character is consumed as a pair, so that `\{` and `\}` never count as grouping braces.
_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)

# `####` opens a line. Two letters at the start mark a heading ("#### Step 1"); one may be a variable ("#### x = 5").
_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*(?![ \t]|[A-Za-z]{2}|\*\*[A-Za-z]{2})(\S[^\n]*)", re.MULTILINE)

# A number glued to a letter, `^` or `_` is part of something else; a sign after an operand is a subtraction, and one
# followed by a space is a list bullet.
_GROUPED = r"[0-9]{1,3}(?:(?:,|\{,\}|,?\\[,;:!]|[ \u00a0\u202f\u2009])[0-9]{3}(?![0-9]))+"
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_^])(?<![\^_]\{)(?<!\^-)(?<!\^\{-)(?<![0-9]\.)"
    r"(?:(?<![)\]}])[-+\u2212])?\$?"
    r"(?:\\[dt]?frac\{[0-9]+\}\{[0-9]+\}"
    rf"|(?:{_GROUPED}|[0-9]+)(?:\.[0-9]+)?"
    r"(?:[eE][-+]?[0-9]+(?![0-9A-Za-z])|\^(?:\{[^{}]{1,20}\}|-?[0-9]+))?(?:/[0-9]+(?![0-9]|\.[0-9]))?"
    r"|\.[0-9]+)"
    r"(?:[ ]?\\?%)?"
)
_WINDOW = 400
"""Characters before and after the last number in which its formula is looked for."""

# As in Pandoc: the opening dollar touches what follows, the closing one what precedes, and no digit follows it.
_SPAN = re.compile(
    r"\$\$(?P<a>[^$]{1,400})\$\$|(?<![\\$])\$(?P<b>[^\s$](?:[^$]{0,398}[^\s$\\])?)\$(?![0-9$])"
    r"|\\\((?P<c>(?:(?!\\\)).){1,400})\\\)|\\\[(?P<d>(?:(?!\\\]).){1,400})\\\]",
    re.DOTALL,
)
_OPERAND = (
    r"(?:[0-9][0-9.,]*(?:[A-Za-z](?![A-Za-z]))?|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))"
    r"(?:\^(?:\{[^{}]{1,20}\}|-?[0-9A-Za-z]))?"
)
_BEFORE = re.compile(rf"(?:(?:^|(?<=[\s(=])){_OPERAND} ?(?:[-+*/^\u00d7\u2212] ?)+|\\sqrt\{{?|(?<=[\s(=])[0-9]*\()+$")
_BEHIND = re.compile(
    rf"(?:\^(?:\{{[^{{}}]{{1,20}}\}}|-?[0-9A-Za-z]+)|[A-Za-z](?![A-Za-z])(?:\^[0-9])?|st\b|nd\b|rd\b|th\b|!"
    rf"| ?[-+*/\u00d7\u2212] ?(?:{_OPERAND}))+"
)
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;&.]|\\[,;:!() ]|\\text\s*\{[\s,]*and[\s,]*\}|\\q?quad|and)*")
_ALTERNATIVE = re.compile(r"[\s$,;]*(?:\\text\s*\{\s*or\s*\}|or)[\s$,;]*")


def _boxed(text: str) -> str | None:
    boxes: list[tuple[int, int, int]] = []  # start of the command, start and end of the content, of boxes that closed
    stack: list[tuple[int, int]] = []  # of each open brace, the start of its content and of its box command, or -1
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "{":
            stack.append((match.end(), -1))
        elif token == "}":
            if stack:
                start, command = stack.pop()
                if command >= 0 and text[start : match.start()].strip():
                    boxes.append((command, start, match.start()))
        elif token[-1] == "{" and token.lstrip("\\")[:1] in ("b", "f"):
            stack.append((match.end(), match.start()))
    if not boxes:
        return "" if any(command >= 0 for _, command in stack) else None
    last = max(boxes, key=lambda box: box[1])
    answers, at = [text[last[1] : last[2]]], last[0]
    before = {end + 1: (command, start, end) for command, start, end in boxes if end < at}
    while before:
        nearest = max(before)
        gap = text[nearest:at]
        if nearest > at or len(gap) > _WINDOW:
            break
        command, start, end = before.pop(nearest)
        same = fast_equivalent(text[start:end], answers[-1]) is True  # said again, perhaps in another notation
        if _ALTERNATIVE.fullmatch(gap) and not same:
            return ""
        if not _BETWEEN_BOXES.fullmatch(gap):
            break
        if not same:
            answers.append(text[start:end])
        at = command
        before = {stop: box for stop, box in before.items() if stop <= at}
    return ", ".join(a.strip() for a in reversed(answers)) if len(answers) > 1 else answers[0]


def _last_number(text: str) -> str | None:
    last = deque(_NUMBER.finditer(text), maxlen=1)
    if not last:
        return None
    start, end = last[0].span()
    low = max(0, start - 2 * _WINDOW, text.rfind("\n\n", 0, start))  # a paragraph, so that dollars pair up
    for span in _SPAN.finditer(text, low):
        if span.start() > start:
            break
        if span.start() <= start and end <= span.end():
            return span[span.lastgroup or 0]
    number = last[0].group()
    if number[:1] == "$" or number[1:2] == "$":
        return number
    if behind := _BEHIND.match(text, end, end + _WINDOW):
        end = behind.end()
    head = text[max(0, start - _WINDOW) : start]
    if number[:1] in "+-\u2212" and re.search(r"[0-9A-Za-z)] ?$", head):
        return text[start:end]
    if before := _BEFORE.search(head):
        start -= len(before.group())
    for left, right in ("{}", "()"):
        while text.count(left, start, end) > text.count(right, start, end) and text[end : end + 1] == right:
            end += 1
    return text[start:end].lstrip().rstrip(" ,.;")


def _last_match(pattern: re.Pattern[str], group: int) -> Callable[[str], str | None]:
    def find(text: str) -> str | None:
        last = deque(pattern.finditer(text), maxlen=1)
        return last[0].group(group) if last else None

    return find


RULES: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "hashes": _last_match(_HASHES, 1),
    "last_number": _last_number,
}
"""Extraction rules by name: text → answer; None = the rule does not apply, "" = it does but the answer is cut off."""


def check_rules(rules: Sequence[str]) -> tuple[str, ...]:
    """`rules` as a tuple; raises ValueError, naming the culprit, for an unknown rule or an empty list."""
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules or isinstance(rules, str):
        raise ValueError(f"extraction rules {rules!r}: choose from {sorted(RULES)}; unknown: {unknown}")
    return tuple(rules)


def rules_for(answer_form: str) -> tuple[str, ...]:
    """The rules for responses to a template that asks for `boxed`, `hashes` or `any` form of answer."""
    return DEFAULT_RULES if answer_form == "any" else check_rules((answer_form,))


def final_segment(text: str) -> str | None:
    """What follows the thinking of a response: all of it where there is none, None where it never ends."""
    segment = text.rpartition("</think>")[2]
    return None if "<think>" in segment else segment


def extract_answer(text: str, rules: Sequence[str] = DEFAULT_RULES) -> Extraction | None:
    """The final answer by the first of `rules` that applies; None where none does or box or thinking is cut off."""
    names, segment = check_rules(rules), final_segment(text)
    for rule in names if segment is not None else ():
        answer = RULES[rule](segment or "")
        if answer is not None:
            return Extraction(answer.strip(), rule) if answer.strip() else None
    return None

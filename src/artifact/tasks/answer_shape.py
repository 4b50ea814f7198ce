r"""What an answer is made of: lists, sets, tuples, intervals, unions, relations, matrices, and single values.

`read_shape` takes the outer form of an answer apart and leaves only single values to a parser of expressions, so that
the form is compared as it stands and never by what a parser makes of it:

    list      `1, -2`, with `\text{or}`, `\text{and}` and `\pm` (two answers); order free, length kept
    set       `\{1, 2\}`; equal to the list of the same members
    tuple     `(1, 2, 3)`, ordered; the brackets belong to it, so `(1,2)`, `[1,2]` and `\{1,2\}` all differ
    interval  a pair in brackets, which may as well be a point, or an inequality or set-builder for one variable
    union     intervals and sets joined by `\cup` (or inequalities by "or")
    relation  any other equation or inequality; `name = value` keeps its name
    matrix    rows and columns of the matrix environments
    value     everything else

Left out: the values (`symbolic.py`). Commas inside brackets always separate; outside, `1,234` is one number unless the
other side is a list (`separate=True`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from artifact.tasks.answer_text import normal_text


@dataclass(frozen=True, slots=True)
class Shape:
    """One part of an answer.

    kind   list, set, tuple, interval, union, relation, matrix, or value
    parts  its parts in order; of a matrix, its rows as tuples
    text   LaTeX of a value; the two brackets of a tuple or interval; the relation's operator
    name   the variable that a value is given to, or that an interval is about; ""
    """

    kind: str
    parts: tuple[Shape, ...] = ()
    text: str = ""
    name: str = ""


_OPEN, _CLOSE = ("(", "[", "{", r"\{", r"\langle", r"\begin"), (")", "]", "}", r"\}", r"\rangle", r"\end")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_RELATIONS = frozenset(["=", "<", ">", r"\le", r"\ge", r"\ne", r"\in"])
_FLIP = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}
_JOIN = re.compile(r"\\text ?\{\s*,?\s*(or|and)\s*,?\s*\}|(?<![A-Za-z\\])(or|and)(?![A-Za-z])|\\(lor|land)(?![A-Za-z])")
_NAME = re.compile(
    r"(?:\\(?:angle|triangle|measuredangle)\s*)?(?:[A-Za-z]|[A-Z]{2,4}|\\(?!frac|sqrt|sin|cos|tan|ln|log)[A-Za-z]+"
    r"|\\(?:overline|text|vec|operatorname) ?\{[^{}]*\}|\|[A-Z]{2}\||[A-Za-z][a-z]{3,})"
    r"(?:_(?:[A-Za-z0-9]|\{[^{}]*\}))?'*(?:\([^()=]*\))?"
)
_CONSTANT = re.compile(r"\\(?:pi|infty|emptyset)")
_MATRIX = re.compile(r"\\begin ?\{([pbBvV]?(?:small)?matrix|array)\}(?: ?\{[clr| ]*\})?(.*)\\end ?\{\1\}", re.DOTALL)
_REALS = re.compile(r"\\mathbb ?\{? ?R ?\}?")
_BUILDER = re.compile(r"\\\{ ?(?P<name>[A-Za-z])(?: ?\\in ?[^|:{}]*(?:\{[A-Z]\})?)? ?(?:\\mid|\||:) ?(?P<rest>.*)\\\}")
_DIGITS_AND_COMMAS = re.compile(r"[0-9]+(?:,[0-9]+)+")
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")


def split(text: str, separators: frozenset[str], separate: bool = True) -> list[tuple[str, str]] | None:
    """[(separator before, part)] of `text` at the top level of its brackets; None where they do not balance."""
    parts, depth, start, before = [], 0, 0, ""
    runs = [] if separate else [m for m in _DIGITS_AND_COMMAS.finditer(text) if _THOUSANDS.fullmatch(m.group())]
    for match in _TOKEN.finditer(text):
        token, at = match.group(), match.start()
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth < 0:
            return None
        if depth == 0 and token in separators:
            if token == "," and any(run.start() < at < run.end() for run in runs):
                continue
            parts.append((before, text[start:at].strip()))
            start, before = match.end(), token
    return [*parts, (before, text[start:].strip())] if depth == 0 else None


@lru_cache(maxsize=4096)
def read_shape(answer: str, separate: bool = False) -> Shape | None:
    """The shape of `answer`; None where its brackets or separators make no sense."""
    text = normal_text(answer)
    union = False

    def join(match: re.Match[str]) -> str:
        nonlocal union
        union = union or "or" in match.group()
        return " , "

    text = re.sub(r",(?:\s*,)+", ",", _JOIN.sub(join, text)).strip()
    return _listed(text, separate, union)


def _listed(text: str, separate: bool, union: bool = False) -> Shape | None:
    pieces = split(text, frozenset(",;"), separate)
    if pieces is None or any(not part for _, part in pieces):
        return None
    items = [read for _, piece in pieces for read in (_item(each) for each in _both_signs(piece))]
    if any(item is None for item in items):
        return None
    kept = tuple(item for item in items if item is not None)
    if len(kept) == 1:
        return kept[0]
    if union and all(item.kind == "interval" for item in kept):
        return Shape("union", kept)
    return Shape("list", kept)


def _both_signs(text: str) -> list[str]:
    r"""`1 \pm 2` as both its values; all signs change together where there is a `\mp`, else each on its own."""
    marks = re.findall(r"\\(?:pm|mp)(?![A-Za-z])", text)
    if not marks or len(marks) > 4:
        return [text]
    together = r"\mp" in marks
    choices = [(1,) * len(marks), (-1,) * len(marks)] if together else list(product((1, -1), repeat=len(marks)))
    out = []
    for signs in choices:
        following = iter(signs)

        def sign(match: re.Match[str], following: object = following) -> str:
            positive = (next(following) > 0) == (match.group() == r"\pm")  # type: ignore[call-overload]
            return "-" if not positive else " " if re.search(r"(?:^|[(\[{,=<>])\s*$", text[: match.start()]) else "+"

        out.append(re.sub(r"\\(?:pm|mp)(?![A-Za-z])", sign, text).strip())
    return out


def _item(text: str) -> Shape | None:
    text = text.strip()
    while text.startswith("{") and text.endswith("}") and _encloses(text, "{"):
        text = text[1:-1].strip()
    if not text:
        return None
    if _REALS.fullmatch(text):
        return Shape("interval", (_value(r"-\infty"), _value(r"\infty")), "()")
    if builder := _BUILDER.fullmatch(text):
        read = _listed(builder["rest"].strip(), True)
        return read if read and read.kind == "interval" and read.name == builder["name"] else Shape("value", text=text)
    united = split(text, frozenset([r"\cup"]))
    if united is None:
        return None
    each_related = all(len(split(part, _RELATIONS) or []) > 1 for _, part in united)
    if not (len(united) > 1 and each_related) and (relation := _relation(text)) is not None:
        return relation
    if len(united) > 1:
        parts = [_item(part) for _, part in united]
        return None if any(p is None for p in parts) else Shape("union", tuple(p for p in parts if p is not None))
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix[2]) if not matrix[1].lower().startswith("v") else Shape("value", text=text)
    for left, right in ((r"\{", r"\}"), (r"\langle", r"\rangle"), ("(", ")"), ("(", "]"), ("[", ")"), ("[", "]")):
        if text.startswith(left) and text.endswith(right) and _encloses(text, left):
            return _bracketed(text, left, right)
    return Shape("value", text=text)


def _encloses(text: str, left: str) -> bool:
    """Whether the bracket that opens `text` closes at its very end."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match.group() in _OPEN) - (match.group() in _CLOSE)
        if depth == 0:
            return match.end() == len(text) and match.start() >= len(left)
    return False


def _bracketed(text: str, left: str, right: str) -> Shape | None:
    inner = text[len(left) : len(text) - len(right)].strip()
    read = _listed(inner, separate=True)
    if read is None:
        return None
    several = len(split(inner, frozenset(",;")) or []) > 1
    if left == r"\{":
        return Shape("set", read.parts if several or read.kind == "list" else (read,))
    if not several:
        return read if left == "(" and right == ")" else Shape("value", text=text)
    kind = "interval" if len(read.parts) == 2 and left != r"\langle" else "tuple"
    return Shape(kind, read.parts, "()" if left == r"\langle" else left + right)


def _matrix(body: str) -> Shape | None:
    rows = split(body.strip().removesuffix(r"\\").strip(), frozenset([r"\\"]))
    cells = [split(row, frozenset("&")) for _, row in rows or []]
    read = [[_item(cell) for _, cell in row] if row else [None] for row in cells]
    if not read or len({len(row) for row in read}) != 1 or any(cell is None for row in read for cell in row):
        return None
    return Shape("matrix", tuple(Shape("tuple", tuple(c for c in row if c is not None), "()") for row in read))


def is_name(text: str) -> bool:
    """Whether `text` can be what a value is given to: `x`, `a_n`, `f(x)`, `\\angle ABC`, `Area`."""
    return _NAME.fullmatch(text) is not None and _CONSTANT.fullmatch(text) is None


def _relation(text: str) -> Shape | None:
    pieces = split(text, _RELATIONS)
    if pieces is None or len(pieces) == 1 or any(not part for _, part in pieces):
        return None
    sides, operators = [part for _, part in pieces], [op for op, _ in pieces[1:]]
    if r"\in" in operators:
        read = _item(sides[1]) if operators == [r"\in"] and is_name(sides[0]) else None
        return Shape(read.kind, read.parts, read.text, _compact(sides[0])) if read else Shape("value", text=text)
    if len(sides) == 2:
        (left, right), operator = sides, operators[0]
        if is_name(right) and not is_name(left):
            left, right, operator = right, left, _FLIP[operator]
        if is_name(left) and operator in ("<", ">", r"\le", r"\ge"):
            lower = operator in (">", r"\ge")
            bound, infinite = _value(right), _value(r"\infty" if lower else r"-\infty")
            brackets = {">": "()", r"\ge": "[)", "<": "()", r"\le": "(]"}[operator]
            return Shape("interval", (bound, infinite) if lower else (infinite, bound), brackets, _compact(left))
        if is_name(left) and operator == "=":
            read = _item(right)
            return read and Shape(read.kind, read.parts, read.text, read.name or _compact(left))
        return Shape("relation", (_value(left), _value(right)), operator)
    if len(sides) == 3 and is_name(sides[1]) and "=" not in operators and r"\ne" not in operators:
        (low, name, high), (first, second) = sides, operators
        if first in (">", r"\ge"):
            low, high, first, second = high, low, _FLIP[second], _FLIP[first]
        if first in ("<", r"\le") and second in ("<", r"\le"):
            brackets = ("[" if first == r"\le" else "(") + ("]" if second == r"\le" else ")")
            return Shape("interval", (_value(low), _value(high)), brackets, _compact(name))
    if set(operators) == {"="}:
        name = _compact(sides[0]) if is_name(sides[0]) else ""
        return Shape("relation", tuple(_value(s) for s in (sides[1:] if name else sides)), "==", name)
    return Shape("relation", tuple(map(_value, sides)), " ".join(operators))


def _value(text: str) -> Shape:
    return Shape("value", text=text)


def _compact(text: str) -> str:
    return re.sub(r"\s+|(?<=_)\{([A-Za-z0-9])\}", r"\1", text)

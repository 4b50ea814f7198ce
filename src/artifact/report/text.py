"""Numbers, intervals and claims as text: the one place where a number becomes what a reader sees.

Fractions of 1 come in and percentages go out, without the sign %: a column or sentence carries it. A value that is
missing is a dash. Claims follow one rule: a difference whose interval holds 0 is "no significant difference". Left
out: which numbers are said (`tables*.py`, `narrative*.py`), and files (`outputs.py`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pandas as pd

from artifact.escape import markdown_sentence, markdown_text

SAME = "no significant difference"
DASH = "–"


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """`0.902`, with `sign` `+0.902`; a dash where there is no value.

    A value that rounds to 0 has no minus sign, but with `sign` its own: an interval's end at -0.000 lies below 0.
    """
    if value is None or value != value:
        return DASH
    if abs(value) < 1e-8 or not sign:  # −0.0 + 0.0 = 0.0
        value = round(float(value), digits) + 0.0
    return f"{value:{'+' if sign else ''}.{digits}f}"


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """0.4567 as `45.7`; with `sign` a difference in percentage points, `+45.7`."""
    return number(None if value is None else 100 * value, digits, sign=sign)


def count(value: float) -> str:
    """12345 as `12,345`."""
    return DASH if value != value else f"{value:,.0f}"


def p_value(value: float) -> str:
    """`0.123`, or `< 0.001`."""
    return "< 0.001" if value < 0.001 else number(value)


def p_equals(value: float) -> str:
    """`p = 0.123`, or `p < 0.001`."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def bounds(low: float, high: float, form: Callable[..., str] = number, **how: Any) -> str:
    """`0.883 to 0.921`, each end by `form` (`number` or `percent`)."""
    return f"{form(low, **how)} to {form(high, **how)}"


def interval(value: float, low: float, high: float, form: Callable[..., str] = number, **how: Any) -> str:
    """`0.902 (0.883 to 0.921)`; a dash where there is no value, the value alone where there is no interval."""
    if value != value or low != low:
        return form(value, **how)
    return f"{form(value, **how)} ({bounds(low, high, form, **how)})"


def spread(mean: float | None, sd: float | None) -> str:
    """`45.7 ± 0.9` in percent; without an SD (one seed) the mean alone."""
    return percent(mean) if sd is None or sd != sd else f"{percent(mean)} ± {percent(sd)}"


def yes_no(flags: pd.Series) -> pd.Series:
    """True as `yes`, False as `no`."""
    return flags.map({True: "yes", False: "no"})


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def intervals(
    table: pd.DataFrame,
    value: str,
    low: str = "lower",
    high: str = "upper",
    form: Callable[..., str] = number,
    **how: Any,
) -> list[str]:
    """`interval` of every row, from the columns named."""
    return [interval(*row, form, **how) for row in zip(table[value], table[low], table[high], strict=True)]


# --- claims ----------------------------------------------------------------------------------------------------------


def direction(low: float, high: float, above: str = "above", below: str = "below", same: str = SAME) -> str:
    """What the interval of a difference allows to say: `same` where it holds 0, else its side."""
    return above if low > 0 else below if high < 0 else same


def comparison(a: str, b: str, claim: str, evidence: str) -> str:
    """`a claim b (evidence)`; where nothing may be claimed, `no significant difference between a and b (…)`."""
    return f"{SAME} between {a} and {b} ({evidence})" if claim == SAME else f"{a} {claim} {b} ({evidence})"


def extreme(table: pd.DataFrame, column: str, *, largest: bool = True) -> pd.Series:
    """The row with the largest (smallest) value of `column`, the first of several: what a ranking sentence names."""
    return table.loc[table[column].idxmax() if largest else table[column].idxmin()]


def per_teacher(table: pd.DataFrame, say: Callable[[pd.DataFrame], str], by: str = "teacher") -> list[str]:
    """One sentence per value of `by`, in order of appearance: `Teacher A: …`, where `say` words the rows of one."""
    name = "Teacher {}" if by == "teacher" else "{}"
    return [f"{name.format(value)}: {say(rows)}." for value, rows in table.groupby(by, sort=False)]


_SPEC = re.compile(r"(~|to)?(\+)?(\d+)?([%,p])?")


class _Template(string.Formatter):
    """Fields are names of a row's columns; `say` lists the formats."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return (field_name, kwargs), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        (name, row), match = value, _SPEC.fullmatch(format_spec)
        if match is None:
            raise ValueError(f"format {format_spec!r} of field {name!r}: see `text.say`")
        shape, sign, digits, kind = match.groups()
        if not format_spec or kind in (",", "p"):
            return {",": count, "p": p_equals}.get(kind, str)(row[name])
        form = partial(percent if kind else number, digits=int(digits or (1 if kind else 3)), sign=bool(sign))
        if shape is None:
            return form(row[name])
        ends = next((row[f"{name}{a}"], row[f"{name}{b}"]) for a, b in ENDS if f"{name}{a}" in row)
        return interval(row[name], *ends, form) if shape == "~" else bounds(*ends, form)


ENDS = (("_lower", "_upper"), ("_low", "_high"))
"""How the ends of the interval of a column are named after it."""


def say(template: str, row: Any, **more: Any) -> str:
    """The template with its fields from `row` (a Series or mapping) and `more`.

    Formats: none = as it is; `3` = three digits; `%` = percent; `,` = a count; `p` = `p = 0.123`; with `+` signed; with
    `~` in front the value and its interval (from the columns `<name>_lower` and `_upper`, or `_low` and `_high`), with
    `to` the interval alone: `{gain:~2}` is `0.83 (0.81 to 0.85)`, `{difference:to+%}` is `+1.2 to +3.4`.
    """
    return _Template().vformat(template, (), {**row, **more})


def with_ends(table: pd.DataFrame, name: str, low: str = "lower", high: str = "upper") -> pd.DataFrame:
    """The frame, its columns `low` and `high` named as the ends of `name`."""
    return table.rename(columns={low: f"{name}_lower", high: f"{name}_upper"})


# --- Markdown --------------------------------------------------------------------------------------------------------


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a Markdown list; what a value in one may have brought along makes no link, tag or further line."""
    return "\n".join(f"- {markdown_sentence(sentence)}" for sentence in sentences)


def markdown_table(cells: pd.DataFrame) -> str:
    """A frame of text as a Markdown table: a cell is text on one line, whatever signs are in it."""
    head, *rows = [[markdown_text(str(c)) for c in row] for row in [cells.columns, *cells.to_numpy().tolist()]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def split_column(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The first column of a table as a reader sees it: of which split each row is, where there are several."""
    return {"split": table["split"]} if table["split"].nunique() > 1 else {}

r"""A table as LaTeX that can be read in print: set in the largest type, upright or sideways, in which it fits.

A column that says the same in every row moves into the caption, headings break at spaces, and a table longer than a
page goes on on the next. Widths are estimated: half an em a character. Needs booktabs, longtable, array and pdflscape,
which `paper/report.tex` loads. Left out: what the cells say.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from artifact.escape import latex_text

SEPARATION_PT = 6.0
"""Between two columns: twice `\\tabcolsep`."""

_LONG = 34
"""Characters from which a text may be broken over lines."""


@dataclass(frozen=True)
class Setting:
    """A way to set a table: the size of its type and the width of the text, both in points."""

    size: str
    size_pt: float
    width_pt: float
    sideways: bool

    def characters(self, columns: int) -> float:
        """How many characters fit beside each other, with `columns` columns."""
        return (self.width_pt - SEPARATION_PT * columns) / (self.size_pt / 2)


SETTINGS = (
    Setting("footnotesize", 8.0, 483.0, False),
    Setting("scriptsize", 7.0, 483.0, False),
    Setting("footnotesize", 8.0, 731.0, True),
    Setting("scriptsize", 7.0, 731.0, True),
)
"""Largest and upright first; A4 with margins of 20 mm."""


def latex_table(cells: pd.DataFrame, caption: str, line: str, name: str) -> str:
    """`cells` (text) as a `longtable` in booktabs style, labelled `tab:<name>`, with `caption` and the stamp `line`."""
    setting = _fitting(cells)
    said = ""
    if setting is not SETTINGS[0]:
        cells, said = _without_constants(cells)
        setting = _fitting(cells)
    widths = _widths(cells)
    kinds = "".join(_kinds(cells, widths, setting))
    header = _row((_heading(str(c), w) for c, w in zip(cells.columns, widths, strict=True)))
    rows = [_row(map(_breakable, row)) for row in cells.to_numpy().tolist()]
    lines = [
        rf"\begin{{longtable}}{{{kinds}}}",
        rf"\caption{{{latex_text(caption + said)} ({latex_text(line)})}}\label{{tab:{name}}}\\",
        r"\toprule",
        header,
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        header,
        r"\midrule",
        r"\endhead",
        *rows,
        r"\bottomrule",
        r"\end{longtable}",
    ]
    if setting.sideways:
        lines = [r"\begin{landscape}", *lines, r"\end{landscape}"]
    opening = rf"\begingroup\{setting.size}\setlength{{\tabcolsep}}{{{SEPARATION_PT / 2:g}pt}}"
    return "\n".join([opening, *lines, r"\endgroup", ""])


def _fitting(cells: pd.DataFrame) -> Setting:
    """The first setting in which every line of `cells` stays whole, else the roomiest."""
    needed = sum(_widths(cells))
    return next((s for s in SETTINGS if needed <= s.characters(len(cells.columns))), SETTINGS[-1])


def _widths(cells: pd.DataFrame) -> list[int]:
    """Characters each column needs: its longest cell, or the longest word of its heading."""
    return [
        max([len(str(v)) for v in cells.iloc[:, i]] + [len(word) for word in str(c).split() or [""]])
        for i, c in enumerate(cells.columns)
    ]


def _without_constants(cells: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """`cells` without columns that say the same in all rows, and the sentence that says it instead.

    A table of one row, and one of two that fits, stay whole.
    """
    if len(cells) < 2 or (len(cells) == 2 and sum(_widths(cells)) <= SETTINGS[-1].characters(len(cells.columns))):
        return cells, ""
    same = [c for c in cells.columns if cells[c].nunique() == 1]
    if not same or len(same) == len(cells.columns):
        return cells, ""
    return cells.drop(columns=same), f" In every row: {', '.join(f'{c} {cells[c].iloc[0]}' for c in same)}."


def _kinds(cells: pd.DataFrame, widths: Sequence[int], setting: Setting) -> Iterable[str]:
    """Column types: `l`, and for long texts of a table that does not fit a paragraph with a share of what is left."""
    room = setting.characters(len(widths))
    long = [w > _LONG for w in widths]
    if sum(widths) <= room or not any(long):
        return ["l"] * len(widths)
    left = max(room - sum(w for w, is_long in zip(widths, long, strict=True) if not is_long), 12 * sum(long))
    whole = sum(w for w, is_long in zip(widths, long, strict=True) if is_long)
    points = [left * w / whole * setting.size_pt / 2 for w in widths]
    return [
        rf">{{\raggedright\arraybackslash}}p{{{p:.0f}pt}}" if is_long else "l"
        for p, is_long in zip(points, long, strict=True)
    ]


def _heading(text: str, width: int) -> str:
    """A heading broken at spaces so that it is no wider than its column."""
    lines = textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
    broken = r"\\".join(map(latex_text, lines))
    return rf"\shortstack[l]{{{broken}}}" if len(lines) > 1 else broken


def _breakable(text: str) -> str:
    """A cell as LaTeX; a word of more than `_LONG` characters (a response without spaces) may break after a sign."""
    if all(len(word) <= _LONG for word in text.split()):
        return latex_text(text)
    return r"\allowbreak{}".join(map(latex_text, re.split(r"(?<=[;,=+*/)])", text)))


def _row(cells: Iterable[str]) -> str:
    """A row of a table, its `cells` LaTeX. A first [ or * would be read as the argument of the command before it."""
    row = " & ".join(cells)
    return (f"{{}}{row}" if row.startswith(("[", "*")) else row) + r" \\"

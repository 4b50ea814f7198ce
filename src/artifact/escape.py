r"""Text of models and data made harmless where it is shown: one function for each kind of output.

    HTML         `html_text`; whole pieces of HTML that a notebook displayed: `book/page.py`
    Markdown     `markdown_text` between other text, `markdown_code` in a line, `markdown_block` as a block
    LaTeX        `latex_text`
    figures      `figure_text` (matplotlib's mathtext)
    CSV          `csv_cell` (spreadsheets)
    terminals    `visible`, and `terminal`, a console that applies it to all it prints

All of them write what no reader can see, but terminals and browsers obey, as `<U+001B>`: control characters, marks that
turn the direction of text, line separators, byte order marks, halves of surrogate pairs. Left out: files that programs
read (JSON, Parquet), which hold every text as it is.
"""

from __future__ import annotations

import html
import re
from itertools import zip_longest
from typing import Any

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""C0 and C1 controls but tab and line feed, zero-width spaces, marks of direction, separators, surrogates, tags."""


def visible(text: str, form: str = "<U+{:04X}>") -> str:
    """`text` with every unseen character that something may obey as `<U+001B>`; line ends become line feeds."""
    return _UNSEEN.sub(lambda m: form.format(ord(m[0])), text.replace("\r\n", "\n"))


def visible_html(source: str) -> str:
    """HTML that is markup already, its unseen characters as `visible` writes them."""
    return visible(source, "&lt;U+{:04X}&gt;")


def one_line(text: str) -> str:
    """`visible` text on one line: a line break is a space."""
    return " ".join(visible(text).split("\n"))


# --- HTML ------------------------------------------------------------------------------------------------------------


def html_text(text: str) -> str:
    """`text` for an element or a quoted attribute: nothing of it is markup."""
    return html.escape(visible(text))


# --- Markdown --------------------------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"[\\`*<>|$~\[\]]|(?<=\\)[()]|&(?=[#\w])|:(?=//)|(?<![^\W_])_|_(?![^\W_])")


def markdown_text(text: str) -> str:
    """`text` on one line, with a backslash before each sign that Markdown would read as markup (`2*3*4`, `a|b`)."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def markdown_code(text: str) -> str:
    """`text` on one line as inline code. Not for a table's cell: there a bar ends the cell, in code too."""
    line = one_line(text)
    fence = _fence(line, 1)
    space = " " if not line.strip() or line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line or ' '}{space}{fence}"


def markdown_block(text: str, language: str = "text") -> str:
    """`text` as a fenced block, which no line of it can end."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def markdown_sentence(text: str) -> str:
    """A sentence of ours, Markdown already, on one line, with what a value may have brought along made harmless.

    Its code, emphasis and formulas stay; tags, links and pictures are text.
    """
    return re.sub(r"(?<!\\)(<(?=[A-Za-z/!?])|[\[\]]|:(?=//))", r"\\\1", one_line(text))


def _fence(text: str, least: int) -> str:
    """Backticks, one more than the longest run in `text`, at least `least`."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


# --- LaTeX -----------------------------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "τ": r"$\tau$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "Δ": r"$\Delta$",
}

LATEX_DECLARED = "‖≻…→∝≈∈"
"""Signs that `paper/preamble.tex` declares; they stand in tables as they are."""

_LATEX_ENCODED = "ĂăĄąĆćČčĎďĐđĘęĚěĞğĹĺĽľŁłŃńŇňŐőŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽžŒœ‘’‚“”„‹›†‡•€"
"""Characters beyond Latin-1 that pdfLaTeX prints with T1 fonts."""


_LIGATURE = re.compile(r"--|<<|>>|,,|''|``|[?!]`")
"""Pairs of signs that LaTeX would join into another one."""


def latex_text(text: str) -> str:
    """`text` on one line, with each character that LaTeX reads as a command, or cannot print, written otherwise."""

    def one(sign: str) -> str:
        if sign in _LATEX:
            return _LATEX[sign]
        printable = " " <= sign <= "~" or "\u00a0" <= sign <= "\u00ff" or sign in LATEX_DECLARED + _LATEX_ENCODED
        return sign if printable else f"<U+{ord(sign):04X}>"

    signs = one_line(text).replace("\t", " ")
    return "".join(
        f"{one(a)}{{}}" if _LIGATURE.fullmatch(a + b) else one(a)
        for a, b in zip_longest(signs, signs[1:], fillvalue="")
    )


# --- figures and spreadsheets ----------------------------------------------------------------------------------------


def figure_text(text: str) -> str:
    """`text` for matplotlib: `visible`, and a dollar sign is a dollar sign, not the start of a formula."""
    return re.sub(r"(?<!\\)\$", r"\\$", visible(text))


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would compute gets an apostrophe before it.

    That is text which begins with = + - @, a tab or a carriage return, and is no number. Half surrogate pairs, which no
    file can hold, are written as `visible` does; everything else stays as it is, line breaks too.
    """
    if not isinstance(value, str):
        return value
    value = re.sub("[\ud800-\udfff\0]", lambda m: visible(m[0]), value)
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(value) else value


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


# --- terminals -------------------------------------------------------------------------------------------------------


def terminal(**how: Any) -> Any:
    """rich's Console with `how`, which prints `visible` text only: the one way of a verb to a terminal."""
    from rich.console import Console

    class Terminal(Console):
        def render_str(self, text: str, **style: Any) -> Any:
            return super().render_str(visible(text), **style)

        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text))

    return Terminal(**how)

"""What a notebook opens first: its tier, its changes to the configuration, and figures and tables saved and shown.

    book = Notebook(tier, overrides)
    book.keys = [info.key for info in runs]
    book.figure(drawn, "uopd_curves", "Accuracy against steps.", output="U-F2")

A caption stands below its figure or table, led by the id in the papers' list. Left out: the page itself, where that id
is a link target (`book/page.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from artifact.config import Config, load, parse_overrides
from artifact.escape import html_text
from artifact.report.drawing import FigureAndData
from artifact.report.outputs import as_text, printed, save_figure, save_table, stamp_line

PIXELS_PER_INCH = 149
"""Of a figure on a page: one as wide as the text, 5.5 inches, has 820 pixels; all have letters of one size."""

SHOWN = "artifact"
"""The key in an output's metadata under which `book/page.py` finds what is shown: anchor, id of the output, caption."""


class Notebook:
    """One reading of a notebook on `tier`.

    `changes` are the overrides as dotted key → value, `config` the tier's configuration with them, and `keys` the runs
    and annotations that figures and tables show from here on, unless a call names others.
    """

    def __init__(self, tier: str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> None:
        """`overrides`: dotted key → value, or a list of `"key=value"`. Raises ConfigError for an unknown key."""
        self.tier = tier
        self.changes = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(list(overrides))
        self.config: Config = load(tier, self.changes)
        self.keys: list[str] = []

    def configured(self, more: Mapping[str, Any]) -> Config:
        """The configuration with `more` dotted keys changed, on top of the notebook's own changes."""
        return load(self.tier, {**self.changes, **more})

    def figure(
        self, drawn: FigureAndData, name: str, caption: str, *, output: str = "", keys: Sequence[str] | None = None
    ) -> None:
        """Save a figure with its data (`save_figure`) and show the PNG, as wide as it is drawn, its caption below."""
        from IPython.display import display

        figure, data = drawn
        path = save_figure(figure, name, data, tier=self.tier, keys=self._keys(keys), caption=caption, output=output)
        width = round(PIXELS_PER_INCH * figure.get_figwidth())
        image = {"image/png": base64.b64encode(path.read_bytes()).decode("ascii"), "text/plain": f"Figure {name}"}
        anchor = f"figure-{name}"
        facts = {SHOWN: {"anchor": anchor, "output": output, "caption": caption}}
        display(image, raw=True, metadata={"image/png": {"width": width, "alt": caption}, **facts})
        below = {"text/html": f"<p>{caption_html(anchor, output, caption)}</p>", "text/plain": caption}
        display(below, raw=True, metadata={SHOWN: {"caption_of": anchor}})

    def table(
        self,
        data: pd.DataFrame,
        name: str,
        caption: str,
        *,
        output: str = "",
        keys: Sequence[str] | None = None,
        shown: pd.DataFrame | None = None,
    ) -> None:
        """Save a table (`save_table`) and show it, as `shown` where that is given, its caption and stamp below."""
        from IPython.display import display

        told = self._keys(keys)
        save_table(data, name, tier=self.tier, keys=told, caption=caption, output=output, shown=shown)
        cells = as_text(printed(data) if shown is None else shown)
        anchor, stamp = f"table-{name}", html_text(stamp_line(self.tier, told, data))
        below = f"{caption_html(anchor, output, caption)}<br><small>{stamp}</small>"
        whole = figure_html(anchor, table_html(cells), below)
        facts = {SHOWN: {"anchor": anchor, "output": output, "caption": caption}}
        display({"text/html": whole, "text/plain": f"Table {name}: {caption}"}, raw=True, metadata=facts)

    def _keys(self, keys: Sequence[str] | None) -> list[str]:
        return list(self.keys if keys is None else keys)


def caption_html(anchor: str, output: str, caption: str) -> str:
    """`caption` as HTML, led by the `output` id where there is one: a link to the figure or table itself."""
    label = f'<a class="output-id" href="#{anchor}"><b>{html_text(output)}</b></a> ' if output else ""
    return label + html_text(caption)


def figure_html(anchor: str, content: str, below: str) -> str:
    """A <figure> whose id is `anchor`: `content` above its caption, both HTML."""
    return f'<figure id="{anchor}">\n{content}\n<figcaption>{below}</figcaption>\n</figure>'


def table_html(cells: pd.DataFrame) -> str:
    """A frame of text as an HTML table: nothing in a cell is read as markup, as a formula, or cut short."""
    head = "".join(f'<th scope="col">{html_text(str(c))}</th>' for c in cells.columns)
    rows = ("".join(f"<td>{html_text(str(v))}</td>" for v in row) for row in cells.to_numpy().tolist())
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="tex2jax_ignore">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'

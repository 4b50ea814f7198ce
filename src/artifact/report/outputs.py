"""Figures and tables that say themselves which tier and which runs they show.

`save_figure` and `save_table` are the only way to a file in `figures/` or `results/tables/`: each output carries its
tier and the keys of the runs it shows, lies beside the data it was drawn from, and appears under its name only when
whole. The ids of cells (`IDS`) find rows and looks: the CSV has them, what a reader sees has only the labels. The same
data give the same bytes. Left out: reading them back (`report/stored.py`), showing them (`report/notebook.py`), and
which code and machine made a run (`provenance.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogFormatter, ScalarFormatter

from artifact.config import load_tier, tier_names
from artifact.errors import ArtifactError
from artifact.escape import csv_cell, figure_text, markdown_text, visible
from artifact.files import atomically, write_json, write_text
from artifact.paths import figures_dir, results_dir
from artifact.provenance import file_sha256, seal, text_hash
from artifact.report.latex import latex_table
from artifact.report.output_manifest import record_made
from artifact.report.styles import DPI, FIXED, FIXED_DATE
from artifact.report.text import markdown_table

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")

IDS = ("cell", "reference_cell")
"""Columns of ids: what finds a row of a stored table, beside a label that is only printed."""


def stamp_line(tier: str, keys: Sequence[str], data: pd.DataFrame) -> str:
    """`tier: tiny — embedded CPU tier, not a paper number · runs 1a2b3c4d` (without runs: a hash of the data shown)."""
    what = f"runs {text_hash(' '.join(sorted(set(keys))))[:8]}" if keys else f"data {text_hash(_csv(data))[:8]}"
    return f"tier: {tier} — {load_tier(tier).note} · {what}"


def save_figure(
    fig: Figure, name: str, data: pd.DataFrame, *, tier: str, keys: Sequence[str], caption: str, output: str = ""
) -> Path:
    """Write `figures/<tier>/<name>` as .pdf, .png, .csv (the numbers drawn) and .json, the stamp.

    The stamp says tier, keys, caption and the SHA-256 of each file, and holds a checksum of itself. A small line with
    the tier and a hash of the keys is put into the figure itself. `keys` are those of the runs and annotations shown,
    empty where there are none; `output` is the id in the papers' list (`U-F2`). Returns the .png.
    """
    _check(name, tier, caption, data)
    _plain_labels(fig)
    _stamp_figure(fig, stamp_line(tier, keys, data))
    folder = figures_dir() / tier
    dates = {"CreationDate": FIXED_DATE, "ModDate": FIXED_DATE}
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    with matplotlib.rc_context(FIXED):  # type: ignore[arg-type]
        with atomically(pdf) as partial:
            fig.savefig(partial, format="pdf", metadata={"Title": name, **dates})
        with atomically(png) as partial:
            fig.savefig(partial, format="png", dpi=DPI, metadata={"Title": name, "Software": None})
    csv = write_text(folder / f"{name}.csv", _csv(data))
    facts = write_json(folder / f"{name}.json", seal(_facts(name, tier, keys, caption, output, [pdf, png, csv])))
    _record([png, pdf, csv, facts], caption, output, keys)
    return png


def save_table(
    data: pd.DataFrame,
    name: str,
    *,
    tier: str,
    keys: Sequence[str],
    caption: str,
    output: str = "",
    shown: pd.DataFrame | None = None,
) -> Path:
    """Write `results/tables/<tier>/<name>` as .csv (full precision), .md, .tex and .json, the stamp with the rows.

    `shown` is the table as a reader should see it (formatted text); without it the numbers are rounded to four digits.
    Both forms carry the caption and the stamp line. Returns the .md.
    """
    _check(name, tier, caption, data)
    line = stamp_line(tier, keys, data)
    cells = as_text(printed(data) if shown is None else shown)
    folder = results_dir() / "tables" / tier
    contents = {
        ".csv": _csv(data),
        ".md": _markdown(cells, caption, line),
        ".tex": latex_table(cells, caption, line, name),
    }
    files = {suffix: write_text(folder / f"{name}{suffix}", content) for suffix, content in contents.items()}
    facts = _facts(name, tier, keys, caption, output, files.values())
    rows = json.loads(data.to_json(orient="records"))
    files[".json"] = write_json(folder / f"{name}.json", seal(facts | {"rows": rows}))
    _record([files[s] for s in (".md", ".csv", ".tex", ".json")], caption, output, keys)
    return files[".md"]


def printed(data: pd.DataFrame) -> pd.DataFrame:
    """`data` without the ids of cells, whose labels are printed."""
    return data.drop(columns=list(IDS), errors="ignore")


def _check(name: str, tier: str, caption: str, data: pd.DataFrame) -> None:
    if not _NAME.fullmatch(name):
        raise ArtifactError(
            f"output name {name!r}: use lower-case letters, digits and _ only, as file names and LaTeX labels need"
        )
    if tier not in tier_names():
        raise ArtifactError(f"{name}: unknown tier {tier!r}; the tiers are {', '.join(tier_names())}")
    if not caption.strip():
        raise ArtifactError(f"{name}: a caption is missing; say what is shown, over what, and what the bars are")
    if data.empty:
        raise ArtifactError(f"{name}: there are no numbers to show (empty frame); check that the runs and splits exist")
    from artifact.report.times import SUFFIX, volatile_columns  # brings pandas, which whoever saves has already

    volatile = volatile_columns(data.columns)
    if volatile and not name.endswith(SUFFIX):
        raise ArtifactError(
            f"{name} holds results and {volatile}, which the machine decides: save these as {name}{SUFFIX}"
        )
    if name.endswith(SUFFIX) and not volatile:
        raise ArtifactError(f"{name} holds nothing that the machine decides: drop {SUFFIX} from its name")


def _plain_labels(fig: Figure) -> None:
    """Make every text of `fig` text: labels come from data, and matplotlib would read `$x$` as a formula.

    Ticks get their words while they are drawn; those of numbers are matplotlib's own, formulas on logarithmic axes.
    """
    for text in fig.findobj(Text):
        text.set_text(figure_text(text.get_text()))
    for axis in (axis for axes in fig.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if not isinstance(formatter, ScalarFormatter | LogFormatter):
            axis.set_major_formatter(_PlainTicks(formatter))


class _PlainTicks(Formatter):
    """The tick labels of another formatter, as text."""

    def __init__(self, other: Formatter) -> None:
        self.other = other

    def __call__(self, x: float, pos: int | None = None) -> str:
        return figure_text(self.other(x, pos))

    def format_ticks(self, values: list[float]) -> list[str]:
        return [figure_text(text) for text in self.other.format_ticks(values)]

    def set_axis(self, axis: Any) -> None:
        super().set_axis(axis)
        self.other.set_axis(axis)


def _stamp_figure(fig: Figure, line: str) -> None:
    """Put `line` at the lower left edge, in a strip kept free of panels; a second call replaces the first line."""
    for text in [t for t in fig.texts if t.get_gid() == "stamp"]:
        text.remove()
    strip = 0.13 / fig.get_figheight()
    engine = fig.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0.0, strip, 1.0, 1.0 - strip))  # type: ignore[call-arg]
    stamp_text = fig.text(
        0.01, 0.02 / fig.get_figheight(), line, fontsize=4.5, color="#555555", ha="left", va="bottom", gid="stamp"
    )
    stamp_text.set_in_layout(False)


def _csv(data: pd.DataFrame) -> str:
    return csv_text(data, float_format="%.10g")


def csv_text(data: pd.DataFrame, **how: Any) -> str:
    """`data` as CSV without its index; what a spreadsheet would compute has an apostrophe in front (`csv_cell`)."""
    harmless = data.rename(columns=csv_cell).map(csv_cell)
    return str(harmless.to_csv(index=False, lineterminator="\n", **how))


def _facts(
    name: str, tier: str, keys: Sequence[str], caption: str, output: str, files: Iterable[Path]
) -> dict[str, Any]:
    sums = {p.name: file_sha256(p) for p in files}
    return {
        "name": name,
        "output": output,
        "tier": tier,
        "note": load_tier(tier).note,
        "keys": sorted(set(keys)),
        "caption": caption,
        "sha256": sums,
    }


def _record(paths: Sequence[Path], caption: str, output: str, keys: Sequence[str]) -> None:
    for path in paths:
        record_made(path, title=caption, output=output, runs=tuple(sorted(set(keys))))


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Every cell as `visible` text: numbers with four significant digits, missing values as a dash."""

    def cell(value: Any) -> str:
        if value is None or value != value:  # NaN is the one value that differs from itself
            return "–"
        if hasattr(value, "dtype") and value.dtype.kind in "fiub":
            value = value.item()
        return f"{value:.4g}" if isinstance(value, float) else visible(str(value))

    return table.map(cell)


def _markdown(table: pd.DataFrame, caption: str, line: str) -> str:
    return f"{markdown_table(table)}\n\n{markdown_text(caption)}\n\n<sub>{markdown_text(line)}</sub>\n"

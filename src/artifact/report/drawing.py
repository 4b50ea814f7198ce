"""What all figures are drawn with: panels, whiskers, bands, stacked bars, legends, ticks.

A figure is made without pyplot: nothing is global, nothing is shown twice. Every function of `figures_*.py` returns the
figure and the tidy numbers it draws, for `outputs.save_figure`. Left out: looks (`styles.py`), saving (`outputs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifact.report.styles import Look, rc

FigureAndData = tuple["Figure", pd.DataFrame]
"""A figure and the tidy numbers it draws, for `outputs.save_figure`."""

HATCHES = ("", "///", "...", "xx", "\\\\", "++")
"""Told apart without colour: the i-th part of a stacked or grouped bar."""

BAND: dict[str, Any] = {"alpha": 0.15, "linewidth": 0}


@contextmanager
def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    ratio: float = 0.75,
    width: float = 1.0,
    sharex: bool = False,
    sharey: bool | Literal["row"] = False,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A new figure and its [rows, columns] axes, under the house's settings (`styles.rc`) and `settings` on top.

    ratio  height / width of one panel; width  share of the text width
    """
    with matplotlib.rc_context(rc(rows, columns, ratio=ratio, width=width) | dict(settings or {})):
        figure = Figure()
        yield figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def by_teacher(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The frames of several teachers (name → frame) as one, with `teacher` as first column."""
    return teacher_first(pd.concat([f.assign(teacher=name) for name, f in frames.items()], ignore_index=True))


def teacher_first(table: pd.DataFrame, *others: str) -> pd.DataFrame:
    """The columns `teacher` and `others` before all others."""
    first = ["teacher", *others]
    return table[[*first, *(c for c in table.columns if c not in first)]]


def whiskers(table: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> list[pd.Series]:
    """Distances from `value` down to `low` and up to `high`, as `errorbar` wants them; rounding below 0 is 0."""
    return [(table[value] - table[low]).clip(lower=0), (table[high] - table[value]).clip(lower=0)]


def band(axis: Axes, x: pd.Series, table: pd.DataFrame, color: str, value: str = "accuracy") -> None:
    """A band of ± 1 SD around a line; nothing where the SD is missing."""
    axis.fill_between(x, table[value] - table["sd"], table[value] + table["sd"], color=color, **BAND)


def stacked(
    axis: Axes,
    at: Any,
    parts: Iterable[tuple[str, Any, str, str]],
    *,
    width: float = 0.8,
    horizontal: bool = True,
    **how: Any,
) -> np.ndarray:
    """Bars on top of one another at `at`: `parts` are (label, lengths, colour, hatch). Returns the totals."""
    total: np.ndarray = np.zeros(len(at))
    for label, lengths, color, hatch in parts:
        look = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4, "label": label, **how}
        if horizontal:
            axis.barh(at, lengths, width, left=total, **look)
        else:
            axis.bar(at, lengths, width, bottom=total, **look)
        total = total + np.asarray(lengths, dtype=float)
    return total


def points(axis: Axes, x: Any, y: Any, bars: list[pd.Series] | None, look: Look, **how: Any) -> None:
    """A line with markers and whiskers in the colour, marker and line of `look`; `how` goes to `errorbar`."""
    axis.errorbar(x, y, bars, **({**look._asdict(), "elinewidth": 0.8, "capsize": 2} | how))


def legend_above(
    figure: Figure, axes: Any, columns: int = 6, extra: Mapping[str, Artist] | None = None, **how: Any
) -> None:
    """One legend for all panels, above them: it hides no point, and the stamp has the lower edge to itself.

    `extra` are entries that no panel has (label → handle), put last.
    """
    handles: dict[str, Artist] = {}
    for axis in np.asarray(axes, dtype=object).flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    handles |= extra or {}
    how = {"ncols": min(columns, len(handles)), "fontsize": 6} | how
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", **how)


def unit_ticks(axis: Axes) -> None:
    """Ticks of a share on the x axis, whose last label does not run into the next panel's first."""
    axis.set_xticks(np.linspace(0, 1, 6), ["0", "0.2", "0.4", "0.6", "0.8", "1"])


def log2_ticks(axis: Axes, sizes: Iterable[int]) -> None:
    """A logarithmic x axis with a tick at each of `sizes` and nowhere else."""
    sizes = sorted(sizes)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()


def spaced(i: int, of: int, step: float) -> float:
    """How far the i-th of `of` marks at one place stands from its middle."""
    return step * (i - (of - 1) / 2)

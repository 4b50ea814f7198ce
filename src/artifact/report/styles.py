"""How every figure looks: sizes, fonts, and one fixed colour, marker and line for each cell id.

Sizes and font sizes come from tueplots as a dictionary for `matplotlib.rc_context`, so nothing global changes. Colours
are Okabe & Ito's and Tol's colour-blind-safe ones, and no two rows of a figure differ by colour alone. The fonts are
those that matplotlib ships, embedded as TrueType (type 42), so that a figure is the same on every machine. Left out:
any drawing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from tueplots import figsizes, fontsizes

from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES

DPI = 200
FIXED_DATE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""The date in every PDF: with the true one, the same figure would be another file each time."""

GREY = "#8a8a8a"


class Look(NamedTuple):
    """What a row is drawn with; the names are matplotlib's."""

    color: str
    marker: str
    linestyle: str


METHODS: dict[str, Look] = {
    "base": Look(GREY, "x", ":"),
    "teacher": Look("#000000", "*", ":"),
    "opd": Look("#0072B2", "o", "-"),
    "uopd-soft": Look("#D55E00", "s", "-"),
    "uopd-binary-0.3": Look("#B8860B", "v", ":"),
    "uopd-binary-0.5": Look("#E69F00", "^", "--"),
    "uopd-shuffled": Look("#CC79A7", "D", "-."),
    "uopd-gold": Look("#661100", "P", "--"),
    "core": Look("#009E73", "h", "-"),
    "core-distil": Look("#56B4E9", "<", "--"),
    "core-contrast": Look("#117733", ">", "--"),
    "sft": Look("#882255", "p", "-."),
    "seqkd": Look("#994F00", "X", "-."),
    "grpo": Look("#332288", "+", "-"),
    "opsd": Look("#F4A582", "d", "-."),
}
"""The one source of looks, by cell id. An id that is not here gets one of SPARE, in order, for the figure at hand."""

SAME_METHOD = {
    "opsd-answer": "opsd",
    "opsd-solution": "opsd",
    "core-own-generate-answer": "core",
    "core-reference-skip": "core",
}
"""Cells that stand for a method where its usual form cannot run, and have its look there; never beside it."""

PALETTE = (
    Look("#0072B2", "o", "-"),
    Look("#D55E00", "s", "-"),
    Look("#009E73", "^", "-"),
    Look("#CC79A7", "D", "-"),
    Look("#E69F00", "v", "-"),
    Look("#56B4E9", "P", "-"),
    Look("#332288", "X", "-"),
)
"""Looks of what is no method: scores, scorers, models, origins of problems."""

SPARE = tuple(
    Look(color, marker, line)
    for line in ("-", "--", ":")
    for color, marker in (
        ("#AA3377", "H"),
        ("#4477AA", "*"),
        ("#999933", "8"),
        ("#EE6677", "1"),
        ("#44BB99", "2"),
        ("#775533", "3"),
        ("#BBCC33", "4"),
        ("#AA4499", "|"),
    )
    if (marker, line) not in {(look.marker, look.linestyle) for look in METHODS.values()}
)
"""Looks that no method has, neither in colour nor in marker and line, and of which no two differ by colour alone."""

TEACHERS = (
    Look("#0072B2", "o", "-"),
    Look("#D55E00", "s", "--"),
    Look("#009E73", "^", "-."),
    Look("#CC79A7", "D", ":"),
)
"""Looks of teachers, in the order of their names."""

DIFFICULTY = {"easy": "#56B4E9", "medium": "#009E73", "hard": "#E69F00", "competition": "#882255"}

PHASES = {
    "rollout": "#0072B2",
    "verify": "#56B4E9",
    "method": GREY,
    "teacher": "#D55E00",
    "student": "#009E73",
    "sync": "#E69F00",
}
"""Phases of a training step, in the order in which they happen."""


def styles(cells: Iterable[str]) -> dict[str, Look]:
    """The look of each cell id, in order: its own of METHODS, else that of the method it stands for, else a spare one.

    A look is given once: where two ids would share one, the later gets a spare one. Raises ValueError when there are
    more such ids than spare looks: split the figure.
    """
    ids = list(dict.fromkeys(cells))
    out = {i: METHODS[i] for i in ids if i in METHODS}
    for i in ids:
        stood_for = METHODS.get(SAME_METHOD.get(i, ""))
        if stood_for and stood_for not in out.values():
            out[i] = stood_for
    unknown = [i for i in ids if i not in out]
    if len(unknown) > len(SPARE):
        raise ValueError(
            f"{len(unknown)} cells without a fixed look, but only {len(SPARE)} spare ones: split the figure"
        )
    return {i: (out | dict(zip(unknown, SPARE, strict=False)))[i] for i in ids}


def label_styles(frame: pd.DataFrame) -> dict[str, Look]:
    """`styles` by the printed label: of a frame with columns `cell` (the id, which decides) and `label`.

    Raises ValueError for a label that two cells of the frame share: their rows could not be told from each other.
    """
    pairs = frame[["cell", "label"]].drop_duplicates()
    if (shared := pairs["label"].duplicated()).any():
        raise ValueError(f"two cells are called {pairs.loc[shared, 'label'].iloc[0]!r} in one figure: rename one")
    looks = styles(pairs["cell"])
    return {str(label): looks[cell] for cell, label in pairs.itertuples(index=False)}


def ordered(values: Iterable[str]) -> list[str]:
    """Distinct values: difficulties and problem families in their own order, anything else as first seen."""
    seen = list(dict.fromkeys(values))
    rank = {name: i for i, name in enumerate((*DIFFICULTIES, *FAMILIES))}
    return sorted(seen, key=lambda v: rank.get(v, len(rank)))


def rc(rows: int = 1, columns: int = 1, *, ratio: float = 0.75, width: float = 1.0) -> Any:
    """Settings for `matplotlib.rc_context` of a figure of rows × columns panels.

    ratio  height / width of one panel; width  share of a 5.5 inch text width.
    """
    return {
        **figsizes.neurips2024(nrows=rows, ncols=columns, height_to_width_ratio=ratio, rel_width=width),
        **fontsizes.neurips2024(default_smaller=2),
        "axes.labelsize": 7,
        "axes.titlesize": 7,
        **FIXED,
    }


FIXED: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "text.usetex": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "artifact",
    "savefig.dpi": DPI,
    "savefig.bbox": None,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
}
"""Settings that hold for every figure, also while it is written."""

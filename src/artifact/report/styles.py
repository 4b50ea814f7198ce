"""How every figure looks: sizes, fonts, and one fixed colour, marker and line for each method label.

Sizes and font sizes come from tueplots as a dictionary for `matplotlib.rc_context`, so nothing global changes. Colours
are Okabe & Ito's and Tol's colour-blind-safe ones, and no two labels differ by colour alone. The fonts are those that
matplotlib ships, embedded as TrueType (type 42), so that a figure is the same on every machine. Left out: any drawing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, NamedTuple

from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES

DPI = 200
FIXED_DATE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""The date in every PDF: with the true one, the same figure would be another file each time."""

GREY = "#8a8a8a"


class Look(NamedTuple):
    """What a label is drawn with; the names are matplotlib's."""

    color: str
    marker: str
    linestyle: str


METHODS: dict[str, Look] = {
    "Base": Look(GREY, "x", ":"),
    "Teacher": Look("#000000", "*", ":"),
    "OPD (uniform)": Look("#0072B2", "o", "-"),
    "UOPD (soft)": Look("#D55E00", "s", "-"),
    "UOPD (binary 0.3)": Look("#B8860B", "v", ":"),
    "UOPD (binary 0.5)": Look("#E69F00", "^", "--"),
    "UOPD (shuffled)": Look("#CC79A7", "D", "-."),
    "UOPD (gold)": Look("#661100", "P", "--"),
    "CORE": Look("#009E73", "h", "-"),
    "Distil only": Look("#56B4E9", "<", "--"),
    "Contrast only": Look("#117733", ">", "--"),
    "SFT": Look("#882255", "p", "-."),
    "SeqKD": Look("#994F00", "X", "-."),
    "GRPO": Look("#332288", "+", "-"),
    "Self-distilled": Look("#F4A582", "d", "-."),
}
"""The one source of looks. A label that is not listed gets one of SPARE, in order, for the figure at hand."""

SPARE = tuple(
    Look(color, marker, line)
    for line in ("-", "--", ":")
    for color, marker in (
        ("#0072B2", "o"),
        ("#D55E00", "s"),
        ("#009E73", "^"),
        ("#CC79A7", "D"),
        ("#E69F00", "v"),
        ("#56B4E9", "P"),
        ("#332288", "X"),
    )
)

ALIASES = {
    "opd": "OPD (uniform)",
    "uopd": "UOPD (soft)",
    "distillonly": "Distil only",
    "selfdistilledreasoner": "Self-distilled",
    "selfdistilledopsd": "Self-distilled",
}

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


def _plain(label: str) -> str:
    return "".join(c for c in label.lower() if c.isalnum() or c == ".")


_KNOWN = {_plain(name): look for name, look in METHODS.items()}
_KNOWN |= {alias: METHODS[name] for alias, name in ALIASES.items()}


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """The look of each label, in order: a method's fixed one (case and punctuation do not matter), else a spare one.

    Raises ValueError when there are more unknown labels than spare looks: split the figure.
    """
    labels = list(dict.fromkeys(labels))
    unknown = [label for label in labels if _plain(label) not in _KNOWN]
    if len(unknown) > len(SPARE):
        raise ValueError(
            f"{len(unknown)} labels without a fixed look, but only {len(SPARE)} spare ones: split the figure"
        )
    spare = dict(zip(unknown, SPARE, strict=False))
    return {label: _KNOWN.get(_plain(label)) or spare[label] for label in labels}


def ordered(values: Iterable[str]) -> list[str]:
    """Distinct values: difficulties and problem families in their own order, anything else as first seen."""
    seen = list(dict.fromkeys(values))
    rank = {name: i for i, name in enumerate((*DIFFICULTIES, *FAMILIES))}
    return sorted(seen, key=lambda v: rank.get(v, len(rank)))


def rc(rows: int = 1, columns: int = 1, *, ratio: float = 0.75, width: float = 1.0) -> Any:
    """Settings for `matplotlib.rc_context` of a figure of rows × columns panels.

    ratio  height / width of one panel; width  share of a 5.5 inch text width.
    """
    from tueplots import figsizes, fontsizes

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

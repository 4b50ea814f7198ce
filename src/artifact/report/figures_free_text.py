"""Figures on free text: how well each entropy finds the teacher's errors, family by family.

Frames in, drawing and numbers out. Left out: the tables of the same numbers (`free_text.py`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from artifact.report.drawing import FigureAndData, canvas, legend_above, points, spaced, unit_ticks, whiskers
from artifact.report.free_text import ENTROPIES
from artifact.report.styles import GREY, PALETTE


def auroc_by_family(table: pd.DataFrame) -> FigureAndData:
    """AUROC of each entropy by family, a panel per teacher, 95 % intervals over problems; dotted: chance.

    table  `free_text.entropy_by_family`; a family that the teacher gets only right, or only wrong, has no mark
    """
    teachers, families = list(dict.fromkeys(table["teacher"])), list(dict.fromkeys(table["family"]))
    with canvas(1, len(teachers), ratio=0.8, sharey=True) as (figure, axes):
        for axis, teacher in zip(axes[0], teachers, strict=True):
            axis.axvline(0.5, color=GREY, linewidth=0.6, linestyle=":")
            for i, ((entropy, name), look) in enumerate(zip(ENTROPIES.items(), PALETTE, strict=False)):
                part = table[(table["teacher"] == teacher) & (table["entropy"] == entropy)].set_index("family")
                part = part.reindex(families)
                height = np.arange(len(families)) + spaced(i, len(ENTROPIES), 0.2)
                bars = {"xerr": whiskers(part, "auroc", "lower", "upper"), "linestyle": "none", "markersize": 3}
                points(axis, part["auroc"], height, None, look, label=f"over {name}", linewidth=0.8, **bars)
            axis.set(xlim=(-0.03, 1.03), xlabel="AUROC for errors", title=f"teacher {teacher}")
            unit_ticks(axis)
        first = axes[0, 0]
        first.set_yticks(range(len(families)), families)
        first.set_ylim(len(families) - 0.5, -0.5)
        legend_above(figure, axes[0, 0], len(ENTROPIES))
    return figure, table.reset_index(drop=True)

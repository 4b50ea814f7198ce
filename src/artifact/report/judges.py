"""How well equivalence judges judge: error rates on the calibration set, as a table and as a figure.

Both take the reports of `phase1/judge_calibration.py`; intervals are 95 % Wilson intervals over pairs. Left out: asking
a judge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from artifact.phase1.judge_calibration import LEAST_TRUE_MERGES, MOST_FALSE_MERGES, CalibrationReport
from artifact.report.drawing import FigureAndData, canvas, legend_above, points, spaced, whiskers
from artifact.report.styles import GREY, TEACHERS
from artifact.report.text import count, interval, percent

MEASURES = {
    "true_merge": "equal pairs merged",
    "false_merge": "different pairs merged",
    "undecided": "pairs left undecided",
}
"""What a reader sees instead of the name of a measure."""

LIMITS = {"true_merge": LEAST_TRUE_MERGES, "false_merge": MOST_FALSE_MERGES}


def judges_table(reports: Sequence[CalibrationReport]) -> pd.DataFrame:
    """The frames of all reports under one another. ValueError without reports or when two share a name."""
    names = [r.judge for r in reports]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"one report per judge is needed, each judge under a name of its own; got {names}")
    return pd.concat([r.frame() for r in reports], ignore_index=True)


def format_judges(reports: Sequence[CalibrationReport]) -> pd.DataFrame:
    """One row per judge: its rates over all pairs in percent with intervals, and whether it is fit for use."""
    rates = {measure: [getattr(r, measure) for r in reports] for measure in MEASURES}
    return pd.DataFrame(
        {
            "judge": [r.judge for r in reports],
            "pairs": [count(r.total.equal + r.total.different) for r in reports],
            **{
                f"{MEASURES[m]} %": [interval(i.estimate, i.low, i.high, percent) for i in of]
                for m, of in rates.items()
            },
            "usable": ["yes" if r.usable else "no" for r in reports],
        }
    )


def judge_rates(reports: Sequence[CalibrationReport]) -> FigureAndData:
    """Rates by kind of pair, one panel per measure, one mark per judge; dotted: the limit of a usable judge."""
    data = judges_table(reports)
    if len(reports) > len(TEACHERS):
        raise ValueError(f"{len(reports)} judges, but a panel holds at most {len(TEACHERS)}: split the figure")
    kinds = list(dict.fromkeys(data["kind"]))
    with canvas(1, len(MEASURES), ratio=1.1, sharey=True) as (figure, axes):
        for axis, (measure, name) in zip(axes[0], MEASURES.items(), strict=True):
            if measure in LIMITS:
                axis.axvline(LIMITS[measure], color=GREY, linewidth=0.6, linestyle=":")
            for i, (judge, look) in enumerate(zip(dict.fromkeys(data["judge"]), TEACHERS, strict=False)):
                part = data[(data["judge"] == judge) & (data["measure"] == measure)].set_index("kind").loc[kinds]
                height = np.arange(len(kinds)) + spaced(i, len(reports), 0.2)
                bars = {"xerr": whiskers(part, "rate"), "linestyle": "none", "capsize": 1.5, "markersize": 3}
                points(axis, part["rate"], height, None, look, label=judge, linewidth=0.8, **bars)
            axis.set(xlim=(-0.03, 1.03), xlabel="share of pairs (95 % interval)", title=name)
            axis.set_xticks(np.linspace(0, 1, 5), ["0", "0.25", "0.5", "0.75", "1"])
        first = axes[0, 0]
        first.set_yticks(range(len(kinds)), kinds)
        first.invert_yaxis()
        legend_above(figure, first, len(reports))
    return figure, data

"""How well equivalence judges judge: error rates on the calibration set, as a table and as a figure.

Both take the reports of `phase1/judge_calibration.py`; intervals are 95 % Wilson intervals over pairs. The figure
returns the numbers it draws, for `provenance.save_figure`. Left out: asking a judge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from artifact.phase1.judge_calibration import LEAST_TRUE_MERGES, MOST_FALSE_MERGES, CalibrationReport
from artifact.report.figures_se import FigureAndData, panels
from artifact.report.styles import GREY, TEACHERS, rc
from artifact.report.tables import percent

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
        raise ValueError(f"one report a judge is needed, each judge under a name of its own; got {names}")
    return pd.concat([r.frame() for r in reports], ignore_index=True)


def show_judges(reports: Sequence[CalibrationReport]) -> pd.DataFrame:
    """One row a judge: its rates over all pairs in percent with intervals, and whether it is fit for use."""
    rows = []
    for r in reports:
        rates = {"true_merge": r.true_merge, "false_merge": r.false_merge, "undecided": r.undecided}
        shown = {
            MEASURES[m] + " %": f"{percent(i.estimate)} ({percent(i.low)} to {percent(i.high)})"
            for m, i in rates.items()
        }
        rows.append(
            {
                "judge": r.judge,
                "pairs": str(r.total.equal + r.total.different),
                **shown,
                "usable": "yes" if r.usable else "no",
            }
        )
    return pd.DataFrame(rows)


def judge_rates(reports: Sequence[CalibrationReport]) -> FigureAndData:
    """Rates by kind of pair, one panel a measure, one mark a judge; the dotted line is the limit of a usable judge."""
    import matplotlib

    data = judges_table(reports)
    if len(reports) > len(TEACHERS):
        raise ValueError(f"{len(reports)} judges, but a panel holds at most {len(TEACHERS)}: split the figure")
    kinds = list(dict.fromkeys(data["kind"]))
    with matplotlib.rc_context(rc(1, len(MEASURES), ratio=1.1)):
        figure, axes = panels(1, len(MEASURES), sharey=True)
        for axis, (measure, name) in zip(axes[0], MEASURES.items(), strict=True):
            if measure in LIMITS:
                axis.axvline(LIMITS[measure], color=GREY, linewidth=0.6, linestyle=":")
            for i, (judge, look) in enumerate(zip(dict.fromkeys(data["judge"]), TEACHERS, strict=False)):
                part = data[(data["judge"] == judge) & (data["measure"] == measure)].set_index("kind").loc[kinds]
                height = np.arange(len(kinds)) + 0.2 * (i - (len(reports) - 1) / 2)
                bars = [(part["rate"] - part["low"]).clip(lower=0), (part["high"] - part["rate"]).clip(lower=0)]
                axis.errorbar(
                    part["rate"],
                    height,
                    xerr=bars,
                    color=look.color,
                    marker=look.marker,
                    linestyle="none",
                    capsize=1.5,
                    linewidth=0.8,
                    markersize=3,
                    label=judge,
                )
            axis.set(xlim=(-0.03, 1.03), xlabel="share of pairs (95 % interval)", title=name)
            axis.set_xticks(np.linspace(0, 1, 5), ["0", "0.25", "0.5", "0.75", "1"])
        first = axes[0, 0]
        first.set_yticks(range(len(kinds)), kinds)
        first.invert_yaxis()
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure, data

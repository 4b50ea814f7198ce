"""Figures of a language-model run: loss by step, held-out distance before and after, rollouts by verdict.

Whiskers are 95 % bootstrap intervals over problems. Left out: statistics (`stats/held_out.py`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.patches import Patch

from artifact.report.drawing import HATCHES, FigureAndData, canvas, legend_above, stacked, whiskers
from artifact.report.language_model import SETS, verdict_counts
from artifact.report.styles import GREY, label_styles

LOSSES = {
    "loss": "loss, weighted sum",
    "distil/divergence": "KL teacher ‖ student, top-k (nats)",
    "grad_norm": "gradient norm before clipping",
}

STATUS = {
    "correct": ("#009E73", ""),
    "wrong": ("#D55E00", "///"),
    "unparsed": (GREY, "..."),
    "timeout": ("#56B4E9", "xx"),
    "error": ("#CC79A7", "\\\\"),
}
"""Colour and hatch of each verdict."""


def loss_curves(metrics: pd.DataFrame) -> FigureAndData:
    """Loss, divergence of the distilled tokens and gradient norm at every step.

    One row per teacher, one line per method.
    """
    names = [n for n in LOSSES if n in metrics.columns]
    data = metrics.groupby(["teacher", "cell", "label", "step"], sort=False)[names].mean().reset_index()
    styles, teachers = label_styles(data), list(dict.fromkeys(data["teacher"]))
    with canvas(len(teachers), len(names), ratio=0.9, sharex=True) as (figure, axes):
        for row, (teacher, part) in zip(axes, data.groupby("teacher", sort=False), strict=True):
            for axis, name in zip(row, names, strict=True):
                for label, line in part.groupby("label", sort=False):
                    look, drawn = styles[str(label)], line.dropna(subset=[name])
                    axis.plot(
                        drawn["step"],
                        drawn[name],
                        label=label,
                        color=look.color,
                        linestyle=look.linestyle,
                        marker=look.marker,
                        markersize=2,
                        linewidth=0.9,
                    )
                axis.set_title(_titled(LOSSES[name], teacher, teachers), fontsize=6)
        for axis in axes[-1]:
            axis.set_xlabel("optimiser step")
        legend_above(figure, axes[0, 0])
    return figure, data


def distance_bars(summary: pd.DataFrame) -> FigureAndData:
    """Held-out KL in both directions, a panel each, before (`Base`) and after training, on both sets of sequences.

    One row of panels per teacher.
    """
    data = summary[
        [
            "teacher",
            "cell",
            "label",
            "sequences",
            "problems",
            "tokens",
            *(f"{n}{s}" for n in ("forward", "reverse") for s in ("", "_low", "_high")),
        ]
    ]
    sets, teachers = [s for s in SETS if s in set(data["sequences"])], list(dict.fromkeys(data["teacher"]))
    titles = {"forward": "KL teacher ‖ student", "reverse": "KL student ‖ teacher"}
    with canvas(len(teachers), 2, ratio=0.8) as (figure, axes):
        for row, (teacher, of_teacher) in zip(axes, data.groupby("teacher", sort=False), strict=True):
            for axis, (name, title) in zip(row, titles.items(), strict=True):
                _bars(axis, of_teacher, name, sets)
                axis.set_title(_titled(title, teacher, teachers), fontsize=6)
            row[0].set_ylabel("nats per token")
        shades = [
            Patch(facecolor=GREY, hatch=HATCHES[i % 2], edgecolor="white", label=SETS[k]) for i, k in enumerate(sets)
        ]
        figure.legend(handles=shades, loc="outside upper center", ncols=2, fontsize=6)
    return figure, data.reset_index(drop=True)


def _titled(title: str, teacher: object, teachers: list[str]) -> str:
    """The title of a panel; with several teachers it names its own."""
    return f"{title}, teacher {teacher}" if len(teachers) > 1 else title


def _bars(axis: Any, data: pd.DataFrame, name: str, sets: list[str]) -> None:
    """One panel of `distance_bars`: measure `name` of one teacher, a group of bars per label."""
    labels = list(dict.fromkeys(data["label"]))
    styles = label_styles(data)
    alone = data["label"].value_counts() == 1  # Base has one set of sequences: its bar stands in the middle
    for i, kind in enumerate(sets):
        part = data[data["sequences"] == kind].set_index("label").reindex(labels).dropna(subset=[name])
        shift = 0.38 * (i - (len(sets) - 1) / 2)
        at = [labels.index(str(label)) + (0.0 if alone[label] else shift) for label in part.index]
        axis.bar(
            at,
            part[name],
            0.36,
            yerr=whiskers(part, name, f"{name}_low", f"{name}_high"),
            color=[styles[str(label)].color for label in part.index],
            hatch=HATCHES[i % 2],
            edgecolor="white",
            linewidth=0.4,
            capsize=2,
            error_kw={"linewidth": 0.7},
        )
    axis.set_xticks(range(len(labels)), [label.replace(" (", "\n(") for label in labels], fontsize=5)


def verdict_bars(metrics: pd.DataFrame) -> FigureAndData:
    """How the training rollouts of each method ended: one stacked bar per method, in rollouts."""
    data = verdict_counts(metrics)
    with canvas(1, 1, ratio=0.12 + 0.06 * len(data)) as (figure, axes):
        axis = axes[0, 0]
        stacked(axis, data["label"], [(name, data[name], *look) for name, look in STATUS.items()])
        axis.invert_yaxis()
        axis.set_xlabel("training rollouts")
        legend_above(figure, axis)
    return figure, data

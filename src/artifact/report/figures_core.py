"""Figures on CORE: the choice of learning rates, small multiples of learning curves, the curriculum, the leak check.

C-F1 and what stands beside it. Left out: statistics (`stats/`), and what is compared (the study).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from artifact.errors import ArtifactError
from artifact.report.drawing import BAND, FigureAndData, band, canvas, legend_above, whiskers
from artifact.report.figures_training import X_AXES, band_note, curve_points
from artifact.report.styles import GREY, TEACHERS, label_styles
from artifact.report.tables import BASE, REFERENCE

CURRICULUM = {
    "rollouts": ("share of correct rollouts", {"share_correct": "correct"}),
    "pairs": ("pairs per step", {"pairs": "pairs"}),
    "losses": ("loss components", {"loss/distil": "distil", "loss/contrast": "contrast"}),
    "norms": ("gradient norms", {"grad_norm/distil": "distil, weighted", "grad_norm/contrast": "contrast"}),
}
"""Panels of the curriculum figure: title, and metric → line label."""

PART_COLORS = ("#0072B2", "#D55E00")


def learning_rate_panels(table: pd.DataFrame) -> FigureAndData:
    """Validation accuracy against the learning rate, one panel per method.

    Whiskers: 95 % Wilson intervals over problems. `table` is a `learning_rates.selection_table`. The chosen rate is
    filled, the others are open. Raises ArtifactError when nothing was chosen.
    """
    if table.empty:
        raise ArtifactError("no learning rates were chosen for this tier; run `artifact select-learning-rates` first")
    labels, styles = list(dict.fromkeys(table["label"])), label_styles(table)
    columns = 5
    rows = math.ceil(len(labels) / columns)
    tried = sorted(table["lr"].unique())
    with canvas(rows, columns, ratio=1.35, sharex=True, sharey=True) as (figure, axes):
        for axis, label in zip(axes.flat, labels, strict=False):
            part, look = table[table["label"] == label].sort_values("lr"), styles[label]
            bars = whiskers(part, "accuracy")
            axis.errorbar(part["lr"], part["accuracy"], bars, color=look.color, linewidth=0.8, capsize=1.5, zorder=1)
            for chosen, some in part.groupby("chosen"):
                axis.scatter(
                    some["lr"],
                    some["accuracy"],
                    s=18,
                    zorder=2,
                    edgecolors=look.color,
                    linewidths=0.8,
                    color=look.color if chosen else "white",
                )
            best = part[part["chosen"]].iloc[0]
            axis.set_title(f"{label}\nchosen {_rate(best['lr'])}", fontsize=5.5)
            axis.set_xscale("log")
            axis.set_xticks(tried, [_rate(rate) for rate in tried], fontsize=4)  # of all: the panels share the axis
            axis.margins(x=0.2)
            axis.minorticks_off()
        _finish_grid(axes, len(labels), "learning rate", "accuracy")
    return figure, table


def _rate(rate: float) -> str:
    """3e-4 for 0.0003: short enough to stand beside its neighbours."""
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def curve_multiples(curves: pd.DataFrame, x: str = "step") -> FigureAndData:
    """U-F2 for many methods: greedy accuracy on the curve split against `x` (`figures_training.X_AXES`), a panel each.

    A line is a teacher, its band ± 1 SD over seeds; the thin grey lines repeat standard OPD under the same teachers. A
    method without a value to be drawn against (SFT and SeqKD sample nothing) is left out, and the title says so.
    """
    return draw_multiples(curve_points(curves, times=x == "seconds"), x, 3)


def draw_multiples(everything: pd.DataFrame, x: str, columns: int = 3) -> FigureAndData:
    """`curve_points` against `x`, as `curve_multiples` describes."""
    standard = [str(label) for label in everything.loc[everything["cell"] == REFERENCE, "label"].unique()]
    spent = everything.groupby("label", sort=False)[x].max()
    nothing = [str(label) for label in spent.index[spent <= 0]]
    points = everything[~everything["label"].isin(nothing)].reset_index(drop=True)
    labels, teachers = list(dict.fromkeys(points["label"])), list(dict.fromkeys(points["teacher"]))
    rows, scale = math.ceil(len(labels) / columns), 1000 if x == "response_tokens" else 1
    with canvas(rows, columns, ratio=0.7, sharex=True, sharey=True) as (figure, axes):
        for axis, label in zip(axes.flat, labels, strict=False):
            for teacher, look in zip(teachers, TEACHERS, strict=False):
                of_teacher = points[points["teacher"] == teacher]
                other, line = of_teacher[of_teacher["cell"] == REFERENCE], of_teacher[of_teacher["label"] == label]
                if label not in standard:
                    axis.plot(other[x] / scale, other["accuracy"], color=GREY, linestyle=look.linestyle, linewidth=0.7)
                at = line[x] / scale
                axis.plot(at, line["accuracy"], label=f"teacher {teacher}", **look._asdict())
                band(axis, at, line, look.color)
            axis.set_title(label, fontsize=6.5)
        _finish_grid(axes, len(labels), X_AXES[x], "accuracy")
        grey = {label: Line2D([], [], color=GREY, linewidth=0.7) for label in standard}
        title = f"{band_note(points)}{'; samples nothing: ' + ', '.join(nothing) if nothing else ''}"
        legend_above(figure, axes[0, 0], extra=grey, title=title, title_fontsize=6)
    return figure, points


def curriculum_points(metrics: pd.DataFrame, cell: str = "core") -> pd.DataFrame:
    """What CORE logs step by step: teacher, step, panel, part, metric, seeds, mean, sd (over seeds; missing with one).

    Raises ArtifactError when `cell` was not run, or logged none of it.
    """
    rows = []
    for (teacher, step), group in metrics[metrics["cell"] == cell].groupby(["teacher", "step"], sort=False):
        for panel, (_, names) in CURRICULUM.items():
            for metric, part in names.items():
                values = group[metric].dropna() if metric in group else pd.Series(dtype=float)
                if len(values):
                    rows.append(
                        {
                            "teacher": teacher,
                            "step": step,
                            "panel": panel,
                            "part": part,
                            "metric": metric,
                            "seeds": len(values),
                            "mean": float(values.mean()),
                            "sd": float(values.std()),
                        }
                    )
    if not rows:
        raise ArtifactError(f"no run of the cell {cell!r} logged {', '.join(CURRICULUM)}; was the study core run?")
    return pd.DataFrame(rows)


def curriculum(metrics: pd.DataFrame, cell: str = "core") -> FigureAndData:
    """C-F1: share of correct rollouts, number of pairs, both losses and both gradient norms over the steps.

    One row per teacher; bands ± 1 SD over seeds. Losses are each component's own mean, without its coefficient;
    gradient norms are those of the weighted components, before clipping. A dotted line marks the start of an episode.
    """
    data = curriculum_points(metrics, cell)
    teachers, seen = list(dict.fromkeys(data["teacher"])), [p for p in CURRICULUM if (data["panel"] == p).any()]
    with canvas(len(teachers), len(seen), ratio=1.05, sharex=True) as (figure, axes):
        for row, teacher in zip(axes, teachers, strict=True):
            of_teacher = data[data["teacher"] == teacher]
            for axis, panel in zip(row, seen, strict=True):
                part_of_panel = of_teacher[of_teacher["panel"] == panel]
                for (part, line), color, style in zip(
                    part_of_panel.groupby("part", sort=False), PART_COLORS, ("-", "--"), strict=False
                ):
                    line = line.sort_values("step")
                    axis.plot(
                        line["step"],
                        line["mean"],
                        color=color,
                        linestyle=style,
                        linewidth=1.0,
                        label=part,
                        marker="." if panel == "norms" else None,
                    )
                    band(axis, line["step"], line, color, "mean")
                for step in _episode_starts(metrics[(metrics["cell"] == cell) & (metrics["teacher"] == teacher)]):
                    axis.axvline(step, color=GREY, linestyle=":", linewidth=0.8)
                axis.set_ylim(bottom=0)
                if teacher == teachers[0]:
                    axis.set_title(CURRICULUM[panel][0], fontsize=6.5)
                if len(CURRICULUM[panel][1]) > 1 and teacher == teachers[0]:
                    axis.legend(fontsize=5.5, loc="best")
            row[0].set_ylabel(f"teacher {teacher}")
        for axis in axes[-1]:
            axis.set_xlabel("optimiser step")
    return figure, data


def _episode_starts(metrics: pd.DataFrame) -> list[int]:
    """First step of every episode but the first."""
    if "episode" not in metrics:
        return []
    return sorted(int(s) for s in metrics.groupby("episode")["step"].min())[1:]


def leak_curves(table: pd.DataFrame) -> FigureAndData:
    """Probability of the gold answer against how much of the response was read.

    One panel per model, one line per context. `table` is `stats.leak.summarise(frame, by=["model"])`; bands:
    95 % bootstrap intervals over problems.
    """
    models, styles = list(dict.fromkeys(table["model"])), (("-", "o"), ("--", "s"), ("-.", "^"))
    with canvas(1, len(models), ratio=1.0, width=min(1.0, 0.4 * len(models)), sharey=True) as (figure, axes):
        for axis, model in zip(axes[0], models, strict=True):
            of_model = table[table["model"] == model]
            for (context, line), color, (style, marker) in zip(
                of_model.groupby("context", sort=False), (GREY, *PART_COLORS), styles, strict=False
            ):
                name = "question alone" if context == "none" else f"reads the {context}"
                axis.plot(
                    line["fraction"], line["probability"], color=color, linestyle=style, marker=marker, label=name
                )
                axis.fill_between(line["fraction"], line["low"], line["high"], color=color, **BAND)
            axis.set_title(str(model), fontsize=6.5)
            axis.set_xlabel("share of the reasoning read", fontsize=6)
            axis.set_xticks(np.linspace(0, 1, 5), ["0", "¼", "½", "¾", "1"])
        axes[0, 0].set_ylabel("P(gold answer)")
        axes[0, 0].set_ylim(0, 1.02)
        legend_above(figure, axes[0, 0], 3)
    return figure, table


def _finish_grid(axes: np.ndarray, used: int, x: str, y: str) -> None:
    """Hide the panels that are not used; axis labels at the outer edge only, tick labels on the lowest panel in use."""
    rows, columns = axes.shape
    for i, axis in enumerate(axes.flat):
        if i >= used:
            axis.set_visible(False)
        elif i + columns >= used:
            axis.set_xlabel(x)
            axis.tick_params(labelbottom=True)
    for row in range(rows):
        axes[row, 0].set_ylabel(y)


def family_cells(evaluation: pd.DataFrame) -> list[str]:
    """Those of four cells that were run, in the order of the bars: four per family can still be read."""
    return [cell for cell in (BASE, "sft", REFERENCE, "core") if (evaluation["cell"] == cell).any()]

"""Figures on training: learning curves, what weighting changes in the signal, families, cost (U-F2, U-T2, U-C1).

Bands and whiskers are named in the title or axis label: the band of a curve is ± 1 SD over training seeds (none with
one seed), the whisker of a bar the 95 % bootstrap interval over problems. Left out: statistics, and the choice of what
is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from artifact.report.drawing import HATCHES, FigureAndData, band, canvas, legend_above, spaced, stacked, whiskers
from artifact.report.styles import PALETTE, PHASES, label_styles, ordered
from artifact.report.tables import BASE, REFERENCE, outcomes, with_base
from artifact.report.times import in_loop_order, phase_seconds
from artifact.stats.accuracy import accuracy_interval
from artifact.stats.bootstrap import RESAMPLES

X_AXES = {"step": "optimiser steps", "response_tokens": "sampled tokens (thousands)", "seconds": "training time (s)"}
"""What a learning curve can be drawn against; equal steps are not equal tokens, nor equal time."""

SPENT = {
    "response_tokens_so_far": "response_tokens",
    "teacher_tokens_so_far": "teacher_tokens",
    "seconds_so_far": "seconds",
}
"""What had been spent when a point was measured: column of `results.curve_frame` → column of `curve_points`."""

SIGNALS = {
    "rollout_accuracy": "accuracy of rollouts",
    "distil/divergence": "KL teacher ‖ student (nats)",
    "distil/student_mass": "student mass on the top-k",
    "distil/top1_agreement": "top-1 agreement",
}


def curve_points(curves: pd.DataFrame, *, times: bool = False) -> pd.DataFrame:
    """Learning curves averaged over problems, then seeds.

    times  False: against steps and tokens, which another machine repeats; True: against seconds, which it does not
    Columns: teacher, cell, label, step, seeds, problems, accuracy, sd (over seeds; missing with one), then
    response_tokens and teacher_tokens, or seconds (means over seeds of what was spent so far).
    """
    spent = {old: new for old, new in SPENT.items() if (new == "seconds") == times}
    per_seed = (
        curves.assign(correct=curves["correct"].astype(float))
        .groupby(["teacher", "cell", "label", "step", "seed"], sort=False)
        .agg(
            accuracy=("correct", "mean"),
            problems=("problem_id", "nunique"),
            **{new: (old, "first") for old, new in spent.items()},
        )
        .reset_index()
    )
    return (
        per_seed.groupby(["teacher", "cell", "label", "step"], sort=False)
        .agg(
            seeds=("seed", "nunique"),
            problems=("problems", "max"),
            mean=("accuracy", "mean"),
            sd=("accuracy", "std"),
            **{n: (n, "mean") for n in spent.values()},
        )
        .rename(columns={"mean": "accuracy"})
        .reset_index()
    )


def learning_curves(curves: pd.DataFrame) -> FigureAndData:
    """U-F2: greedy accuracy on the curve split against steps and sampled tokens; one row of panels per teacher."""
    return draw_curves(curve_points(curves), ("step", "response_tokens"))


def learning_curve_times(curves: pd.DataFrame) -> FigureAndData:
    """The same accuracy against the seconds of training, evaluation excluded: those of the machine that ran it."""
    return draw_curves(curve_points(curves, times=True), ("seconds",))


def draw_curves(points: pd.DataFrame, against: Sequence[str]) -> FigureAndData:
    """`curve_points` against each of `against` (`X_AXES`): a column of panels each, one row per teacher."""
    teachers, styles = list(dict.fromkeys(points["teacher"])), label_styles(points)
    width = 1.0 if len(against) > 1 else 0.6
    with canvas(len(teachers), len(against), ratio=0.75, width=width, sharey=True) as (figure, axes):
        for row, teacher in zip(axes, teachers, strict=True):
            for axis, x in zip(row, against, strict=True):
                for label, line in points[points["teacher"] == teacher].groupby("label", sort=False):
                    look, at = styles[str(label)], line[x] / (1000 if x == "response_tokens" else 1)
                    axis.plot(at, line["accuracy"], label=label, **look._asdict())
                    band(axis, at, line, look.color)
                axis.set_xlabel(X_AXES[x])
            row[0].set_ylabel(f"teacher {teacher}\naccuracy")
        axes[0, 0].set_title(
            f"greedy accuracy on {int(points['problems'].max())} problems; {band_note(points)}", fontsize=6
        )
        legend_above(figure, axes[0, 0], 6 if len(against) > 1 else 3)
    return figure, points


def band_note(points: pd.DataFrame) -> str:
    """What the band of a curve is, in words."""
    seeds = int(points["seeds"].max())
    return f"band: ± 1 SD over {seeds} seeds" if seeds > 1 else "one seed: no band"


def training_signals(metrics: pd.DataFrame) -> FigureAndData:
    """What each method's batches look like while it trains: accuracy of the rollouts and distance from the teacher.

    Means over the response tokens that were distilled (a prompt of weight 0 is not scored), then over seeds; not
    smoothed.
    """
    names = [n for n in SIGNALS if n in metrics.columns and metrics[n].notna().any()]
    data = metrics.groupby(["teacher", "cell", "label", "step"], sort=False)[names].mean().reset_index()
    teachers, styles = list(dict.fromkeys(data["teacher"])), label_styles(data)
    with canvas(len(teachers), len(names), ratio=1.1, sharex=True) as (figure, axes):
        for row, teacher in zip(axes, teachers, strict=True):
            for axis, name in zip(row, names, strict=True):
                for label, line in data[data["teacher"] == teacher].groupby("label", sort=False):
                    look = styles[str(label)]
                    axis.plot(
                        line["step"], line[name], label=label, color=look.color, linestyle=look.linestyle, linewidth=0.9
                    )
                axis.set_title(SIGNALS[name], fontsize=6)
            row[0].set_ylabel(f"teacher {teacher}")
        for axis in axes[-1]:
            axis.set_xlabel("optimiser step")
        legend_above(figure, axes[0, 0])
    return figure, data


def family_points(
    evaluation: pd.DataFrame, cells: Sequence[str] | None = None, *, by: str = "family", resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Accuracy of each cell for each value of `by` that problems of the split have."""
    frame = with_base(evaluation)
    if cells is not None:
        frame = frame[frame["cell"].isin(cells)]
    rows = []
    for (split, teacher, cell, label), group in frame.groupby(["split", "teacher", "cell", "label"], sort=False):
        for value in ordered(group[by]):
            table = outcomes(group[group[by] == value])
            interval = accuracy_interval(table.to_numpy(), 0.95, resamples)
            rows.append(
                {
                    "split": split,
                    "teacher": teacher,
                    "cell": cell,
                    "label": label,
                    "group": value,
                    "n": table.shape[1],
                    "seeds": len(table),
                    "accuracy": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return pd.DataFrame(rows)


def family_bars(
    evaluation: pd.DataFrame, cells: Sequence[str] = (BASE, REFERENCE, "uopd-soft"), *, resamples: int = RESAMPLES
) -> FigureAndData:
    """Accuracy by problem family, the cells side by side, a panel for each teacher (and split)."""
    data = family_points(evaluation, cells, resamples=resamples)
    styles = label_styles(data)
    blocks = list(data.groupby(["split", "teacher"], sort=False))
    with canvas(1, len(blocks), ratio=0.8 * max(1.0, len(blocks) / 2), sharey=True) as (figure, axes):
        for axis, ((split, teacher), part) in zip(axes[0], blocks, strict=True):
            groups, several = ordered(part["group"]), part["label"].nunique()
            for i, (label, line) in enumerate(part.groupby("label", sort=False)):
                line = line.set_index("group").loc[groups]
                axis.bar(
                    [x + spaced(i, several, 0.8 / several) for x in range(len(groups))],
                    line["accuracy"],
                    0.8 / several,
                    yerr=whiskers(line, "accuracy"),
                    color=styles[str(label)].color,
                    label=label,
                    capsize=1.5,
                    hatch=HATCHES[i % 4],
                    edgecolor="white",
                    linewidth=0.4,
                    error_kw={"linewidth": 0.7},
                )
            axis.set_xticks(range(len(groups)), groups)
            wide = len(blocks) < 3
            told = (
                f"teacher {teacher} ({split}), whisker: 95 % over problems" if wide else f"teacher {teacher}\n{split}"
            )
            axis.set_title(told, fontsize=6)
        axes[0, 0].set_ylabel("accuracy, mean over seeds")
        legend_above(figure, axes[0, 0])
    return figure, data


def cost_points(metrics: pd.DataFrame) -> pd.DataFrame:
    """Seconds of a whole run by phase, mean over seeds: teacher, label, phase, seconds, share."""
    seconds, runs = phase_seconds(metrics), metrics[["teacher", "label", "seed"]]
    steps = pd.concat([runs.assign(phase=phase, seconds=seconds[phase]) for phase in seconds])
    per_run = steps.groupby(["teacher", "label", "phase", "seed"], sort=False)["seconds"].sum()
    data = per_run.groupby(["teacher", "label", "phase"], sort=False).mean().reset_index()
    data["share"] = data["seconds"] / data.groupby(["teacher", "label"])["seconds"].transform("sum")
    return data


def cost_shares(metrics: pd.DataFrame) -> FigureAndData:
    """U-C1: seconds per training run by phase (start-up and evaluation not included), mean over seeds."""
    return draw_costs(cost_points(metrics))


def draw_costs(data: pd.DataFrame) -> FigureAndData:
    """`cost_points` as one stacked bar per method and teacher."""
    phases = in_loop_order(data["phase"])
    extra = dict(zip([p for p in phases if p not in PHASES], (s.color for s in PALETTE), strict=False))
    rows = list(dict.fromkeys(zip(data["teacher"], data["label"], strict=True)))
    table = data.pivot_table(index=["teacher", "label"], columns="phase", values="seconds").loc[rows, phases]
    with canvas(1, 1, ratio=0.1 + 0.045 * len(rows)) as (figure, axes):
        axis = axes[0, 0]
        looks_of = [(PHASES.get(phase) or extra[phase], HATCHES[i % 6]) for i, phase in enumerate(phases)]
        parts = [(phase, table[phase], *look) for phase, look in zip(phases, looks_of, strict=True)]
        stacked(axis, [f"{label}, teacher {teacher}" for teacher, label in rows], parts)
        axis.invert_yaxis()
        axis.set_xlabel("seconds of one run, mean over seeds")
        legend_above(figure, axis)
    return figure, data

"""Figures on training: learning curves, what weighting changes in the signal, families, cost (U-F2, U-T2, U-C1).

Each function returns the figure and the tidy numbers it draws, for `provenance.save_figure`. Bands and whiskers are
named in the title or axis label: the band of a curve is ± 1 SD over training seeds (none with one seed), the whisker of
a bar the 95 % bootstrap interval over problems. Left out: statistics, and the choice of what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from artifact.report.figures_se import FigureAndData, panels
from artifact.report.styles import PALETTE, PHASES, label_styles, ordered, rc
from artifact.report.tables import BASE, REFERENCE, outcomes, with_base
from artifact.stats.accuracy import accuracy_interval
from artifact.stats.bootstrap import RESAMPLES

X_AXES = {"step": "optimiser steps", "response_tokens": "sampled tokens (thousands)", "seconds": "training time (s)"}
"""What a learning curve can be drawn against; equal steps are not equal tokens, nor equal time."""

SIGNALS = {
    "rollout_accuracy": "accuracy of rollouts",
    "distil/divergence": "KL teacher ‖ student (nats)",
    "distil/student_mass": "student mass on the top-k",
    "distil/top1_agreement": "top-1 agreement",
}


def curve_points(curves: pd.DataFrame) -> pd.DataFrame:
    """Learning curves averaged over problems, then seeds.

    Columns: teacher, cell, label, step, seeds, problems, accuracy, sd (over seeds; missing with one), response_tokens,
    teacher_tokens, seconds (means over seeds of what was spent so far).
    """
    spent = {
        "response_tokens_so_far": "response_tokens",
        "teacher_tokens_so_far": "teacher_tokens",
        "seconds_so_far": "seconds",
    }
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
    """U-F2: greedy accuracy on the curve split against steps, sampled tokens and seconds; a row of panels a teacher."""
    import matplotlib

    points = curve_points(curves)
    teachers, styles = list(dict.fromkeys(points["teacher"])), label_styles(points)
    with matplotlib.rc_context(rc(len(teachers), len(X_AXES), ratio=0.95)):
        figure, axes = panels(len(teachers), len(X_AXES), sharey=True)
        for row, teacher in zip(axes, teachers, strict=True):
            for axis, (x, name) in zip(row, X_AXES.items(), strict=True):
                for label, line in points[points["teacher"] == teacher].groupby("label", sort=False):
                    look, at = styles[str(label)], line[x] / (1000 if x == "response_tokens" else 1)
                    axis.plot(at, line["accuracy"], label=label, **look._asdict())
                    low, high = line["accuracy"] - line["sd"], line["accuracy"] + line["sd"]
                    axis.fill_between(at, low, high, color=look.color, alpha=0.15, linewidth=0)
                axis.set_xlabel(name)
            row[0].set_ylabel(f"teacher {teacher}\naccuracy")
        seeds, problems = int(points["seeds"].max()), int(points["problems"].max())
        band = f"band: ± 1 SD over {seeds} seeds" if seeds > 1 else "one seed: no band"
        axes[0, 1].set_title(f"greedy accuracy on {problems} problems; {band}", fontsize=6)
        shared_legend(figure, axes[0, 0])
    return figure, points


def training_signals(metrics: pd.DataFrame) -> FigureAndData:
    """What each method's batches look like while it trains: accuracy of the rollouts and distance from the teacher.

    Means over the response tokens that were distilled (a prompt of weight 0 is not scored), then over seeds; not
    smoothed. The KL is on the teacher's renormalised top-k.
    """
    import matplotlib

    names = [n for n in SIGNALS if n in metrics.columns and metrics[n].notna().any()]
    data = metrics.groupby(["teacher", "cell", "label", "step"], sort=False)[names].mean().reset_index()
    teachers, styles = list(dict.fromkeys(data["teacher"])), label_styles(data)
    with matplotlib.rc_context(rc(len(teachers), len(names), ratio=1.1)):
        figure, axes = panels(len(teachers), len(names), sharex=True)
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
        shared_legend(figure, axes[0, 0])
    return figure, data


def family_points(
    evaluation: pd.DataFrame, cells: Sequence[str] | None = None, *, by: str = "family", resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Accuracy of each cell for each value of `by`.

    Columns: split, teacher, cell, label, group, n, seeds, accuracy, low, high.
    """
    frame = with_base(evaluation)
    if cells is not None:
        frame = frame[frame["cell"].isin(cells)]
    rows = []
    for (split, teacher, cell, label), group in frame.groupby(["split", "teacher", "cell", "label"], sort=False):
        for value in ordered(frame[by]):
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
    evaluation: pd.DataFrame,
    cells: Sequence[str] = (BASE, REFERENCE, "uopd-soft"),
    *,
    by: str = "family",
    resamples: int = RESAMPLES,
) -> FigureAndData:
    """Accuracy by problem family (or difficulty), the cells side by side, a panel for each teacher (and split)."""
    import matplotlib

    data = family_points(evaluation, cells, by=by, resamples=resamples)
    styles = label_styles(data)
    groups = ordered(data["group"])
    blocks = list(data.groupby(["split", "teacher"], sort=False))
    with matplotlib.rc_context(rc(1, len(blocks), ratio=0.8)):
        figure, axes = panels(1, len(blocks), sharey=True)
        for axis, ((split, teacher), part) in zip(axes[0], blocks, strict=True):
            width = 0.8 / part["label"].nunique()
            for i, (label, line) in enumerate(part.groupby("label", sort=False)):
                line = line.set_index("group").loc[groups]
                at = [x + width * (i - (part["label"].nunique() - 1) / 2) for x in range(len(groups))]
                bars = [(line["accuracy"] - line["low"]).clip(lower=0), (line["high"] - line["accuracy"]).clip(lower=0)]
                axis.bar(
                    at,
                    line["accuracy"],
                    width,
                    yerr=bars,
                    color=styles[str(label)].color,
                    label=label,
                    capsize=1.5,
                    hatch=("", "///", "...", "xx")[i % 4],
                    edgecolor="white",
                    linewidth=0.4,
                    error_kw={"linewidth": 0.7},
                )
            axis.set_xticks(range(len(groups)), groups)
            axis.set_title(f"teacher {teacher} ({split}), whisker: 95 % over problems", fontsize=6)
        axes[0, 0].set_ylabel("accuracy, mean over seeds")
        shared_legend(figure, axes[0, 0])
    return figure, data


def cost_points(metrics: pd.DataFrame) -> pd.DataFrame:
    """Seconds of a whole run by phase, mean over seeds: teacher, label, phase, seconds, share."""
    phases = [c for c in metrics.columns if c.startswith("seconds/")]
    runs = metrics.groupby(["teacher", "label", "seed"], sort=False)[phases].sum()
    means = runs.groupby(["teacher", "label"], sort=False).mean()
    data = means.reset_index().melt(["teacher", "label"], var_name="phase", value_name="seconds")
    data["phase"] = data["phase"].str.removeprefix("seconds/")
    data["share"] = data["seconds"] / data.groupby(["teacher", "label"])["seconds"].transform("sum")
    return data


def cost_shares(metrics: pd.DataFrame) -> FigureAndData:
    """U-C1: seconds of a training run by phase (start-up and evaluation not included), mean over seeds."""
    import matplotlib

    data = cost_points(metrics)
    seen = list(dict.fromkeys(data["phase"]))
    phases = [p for p in PHASES if p in seen] + [p for p in seen if p not in PHASES]
    extra = dict(zip([p for p in phases if p not in PHASES], (s.color for s in PALETTE), strict=False))
    rows = list(dict.fromkeys(zip(data["teacher"], data["label"], strict=True)))
    table = data.pivot_table(index=["teacher", "label"], columns="phase", values="seconds").loc[rows, phases]
    with matplotlib.rc_context(rc(1, 1, ratio=0.1 + 0.045 * len(rows))):
        figure, axes = panels(1, 1)
        axis, left = axes[0, 0], pd.Series(0.0, index=table.index)
        names = [f"{label}, teacher {teacher}" for teacher, label in rows]
        for i, phase in enumerate(phases):
            color, hatch = PHASES.get(phase) or extra[phase], ("", "///", "...", "xx", "\\\\", "++")[i % 6]
            axis.barh(
                names, table[phase], left=left, color=color, hatch=hatch, edgecolor="white", linewidth=0.3, label=phase
            )
            left = left + table[phase]
        axis.invert_yaxis()
        axis.set_xlabel("seconds of one run, mean over seeds")
        shared_legend(figure, axis)
    return figure, data


def shared_legend(figure: object, axis: object) -> None:
    """One legend above all panels, from the entries of one of them."""
    handles, labels = axis.get_legend_handles_labels()  # type: ignore[attr-defined]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)), fontsize=6)  # type: ignore[attr-defined]

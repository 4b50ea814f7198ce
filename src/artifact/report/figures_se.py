"""Figures on semantic entropy: does it predict the teacher's errors, and what do its weights do? (UOPD Section 4.6)

A panel is a teacher. Intervals: Wilson over problems for accuracies, stratified bootstrap over problems for AUROCs.
Labels: whatever the score tables carry, positive = the teacher is wrong. Left out: sampling, clustering, statistics.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from artifact.report.drawing import (
    HATCHES,
    FigureAndData,
    by_teacher,
    canvas,
    points,
    stacked,
    teacher_first,
    unit_ticks,
    whiskers,
)
from artifact.report.styles import DIFFICULTY, GREY, PALETTE, TEACHERS, ordered
from artifact.report.text import interval
from artifact.stats.auroc import roc_points
from artifact.stats.calibration import accuracy_by_bin


def accuracy_by_entropy(scores: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """U-F4a: teacher accuracy in bins of H / log N of equal width, with 95 % Wilson intervals and the n of each bin."""
    data = by_teacher({name: accuracy_by_bin(t["normalised"], t["wrong"], bins=bins) for name, t in scores.items()})
    with canvas(1, len(scores), ratio=0.8, sharey=True) as (figure, axes):
        for axis, (name, part), look in zip(axes[0], data.groupby("teacher", sort=False), TEACHERS, strict=False):
            part = part[part["n"] > 0]
            middle = (part["low"] + part["high"]) / 2
            points(axis, middle, part["accuracy"], whiskers(part, "accuracy", "lower", "upper"), look, linewidth=1)
            for x, n in zip(middle, part["n"], strict=True):
                axis.text(x, 1.05, str(n), ha="center", va="bottom", fontsize=5, color="#555555", rotation=45)
            axis.set(xlim=(0, 1), ylim=(-0.03, 1.03), xlabel="H / log N (bin)")
            axis.set_title(f"teacher {name}", pad=14)
        axes[0, 0].set_ylabel("accuracy of the teacher")
    return figure, data


def roc(scores: Mapping[str, pd.DataFrame], aurocs: pd.DataFrame) -> FigureAndData:
    """U-F4b: ROC of every uncertainty score for the teacher's errors; the legend gives AUROC and 95 % interval."""
    frames = []
    with canvas(1, len(scores), ratio=1.0, sharey=True) as (figure, axes):
        for axis, (name, table) in zip(axes[0], scores.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6, linestyle=":")
            rows = aurocs[aurocs["teacher"] == name]
            for i, r in enumerate(rows.itertuples()):
                curve = roc_points(table[r.score], table["wrong"]).assign(teacher=name, score=r.score)
                frames.append(curve)
                text = f"{r.score.replace('_', ' ')}\n{interval(r.auroc, r.lower, r.upper)}"
                line, color = ("-", "--", ":", "-.", (0, (1, 1)))[i % 5], PALETTE[(1, 0, 2, 3, 4)[i % 5]].color
                axis.plot(
                    curve["false_positive_rate"],
                    curve["true_positive_rate"],
                    label=text,
                    linestyle=line,
                    color=color,
                    linewidth=1.8 if i == 0 else 0.9,
                    zorder=3 if i == 0 else 2,
                )
            wrong = int(table["wrong"].sum())
            axis.set(
                xlabel="false positive rate",
                title=f"teacher {name}: {wrong} of {len(table)} wrong",
                xlim=(0, 1),
                ylim=(0, 1),
            )
            axis.legend(
                loc="lower right",
                fontsize=4.6,
                handlelength=2.4,
                labelspacing=0.35,
                title="AUROC (95 % interval)",
                title_fontsize=5,
            )
        axes[0, 0].set_ylabel("true positive rate (teacher wrong)")
    return figure, teacher_first(pd.concat(frames, ignore_index=True), "score", "threshold")


def entropy_by_difficulty(annotations: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """U-F3: the distribution of H / log N over the training problems, by difficulty.

    Above: the histogram over all problems, each bar split by difficulty; the title says how many have H = 0 exactly.
    Below: one curve per difficulty, in shares of its problems; with one difficulty alone it would repeat the histogram
    and is left out.
    """
    edges = np.linspace(0, 1, bins + 1)
    rows = []
    for teacher, frame in annotations.items():
        for difficulty in ordered(frame["difficulty"]):
            values = frame.loc[frame["difficulty"] == difficulty, "normalised"].to_numpy()
            counts, _ = np.histogram(values, bins=edges)
            rows += [
                {
                    "teacher": teacher,
                    "difficulty": difficulty,
                    "low": edges[b],
                    "high": edges[b + 1],
                    "n": int(c),
                    "zero": int((values == 0).sum()) if b == 0 else 0,
                    "share": c / counts.sum(),
                    "share_of_all": c / len(frame),
                }
                for b, c in enumerate(counts)
            ]
    data = pd.DataFrame(rows)
    split = data["difficulty"].nunique() > 1
    with canvas(
        1 + split, len(annotations), ratio=0.62, sharex=True, sharey="row", settings={"hatch.linewidth": 0.25}
    ) as (figure, axes):
        for column, (teacher, part) in enumerate(data.groupby("teacher", sort=False)):
            bars = axes[0, column]
            lines = list(part.groupby("difficulty", sort=False))
            colors = [
                DIFFICULTY.get(str(difficulty), PALETTE[i % len(PALETTE)].color)
                for i, (difficulty, _) in enumerate(lines)
            ]
            _histogram(
                bars,
                edges,
                [
                    (f"{difficulty} (n = {line['n'].sum()})", line["share_of_all"], color, hatch)
                    for (difficulty, line), color, hatch in zip(lines, colors, HATCHES, strict=False)
                ],
            )
            if split:
                middle = (edges[:-1] + edges[1:]) / 2
                for (difficulty, line), color, marker, style in zip(
                    lines, colors, "os^D", ("-", "--", "-.", ":"), strict=False
                ):
                    axes[1, column].plot(
                        middle, line["share"], color=color, marker=marker, linestyle=style, label=difficulty
                    )
            zero = part["zero"].sum() / part["n"].sum()
            middle_of_mass = np.average((part["low"] + part["high"]) / 2, weights=part["n"])
            bars.set(xlim=(0, 1), title=f"teacher {teacher}; H = 0 on {100 * zero:.1f} %")
            axes[-1, column].set_xlabel("H / log N (bin)")
            unit_ticks(axes[-1, column])
            for ax in axes[:, column]:
                ax.legend(loc="upper left" if middle_of_mass > 0.5 else "upper right")
        if split:
            axes[1, 0].set(ylabel="share within the difficulty", ylim=(0, 1.08 * float(data["share"].max())))
        highest = float(data.groupby(["teacher", "low"])["share_of_all"].sum().max())
        axes[0, 0].set(ylabel="share of all problems", ylim=(0, 1.08 * highest))
    return figure, data


def weight_by_verdict(annotations: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """Where the soft weight lies: problems in bins of w, split by whether the teacher's greedy answer is right."""
    edges = np.linspace(0, 1, 11)
    rows = []
    for teacher, frame in annotations.items():
        for verdict, part in (
            ("right", frame[frame["greedy_correct"].astype(bool)]),
            ("wrong", frame[~frame["greedy_correct"].astype(bool)]),
        ):
            counts, _ = np.histogram(part["weight"], bins=edges)
            rows += [
                {
                    "teacher": teacher,
                    "verdict": verdict,
                    "low": edges[b],
                    "high": edges[b + 1],
                    "n": int(c),
                    "share": c / len(frame),
                }
                for b, c in enumerate(counts)
            ]
    data = pd.DataFrame(rows)
    with canvas(1, len(annotations), ratio=0.75, sharey=True) as (figure, axes):
        for axis, (teacher, part) in zip(axes[0], data.groupby("teacher", sort=False), strict=True):
            lines = dict(list(part.groupby("verdict", sort=False)))
            _histogram(
                axis,
                edges,
                [
                    (f"teacher {verdict} (n = {lines[verdict]['n'].sum()})", lines[verdict]["share"], color, hatch)
                    for verdict, color, hatch in (("right", "#56B4E9", ""), ("wrong", "#D55E00", "///"))
                ],
            )
            axis.set(xlim=(0, 1), xlabel="weight w = 1 − H / log N (bin)", title=f"teacher {teacher}")
            axis.legend(loc="upper center")
        axes[0, 0].set_ylim(0, 1.15 * float(data.groupby(["teacher", "low"])["share"].sum().max()))
        axes[0, 0].set_ylabel("share of problems")
    return figure, data


def _histogram(axis: Axes, edges: np.ndarray, parts: list[tuple[str, pd.Series, str, str]]) -> None:
    """Bars between `edges`, their parts (label, heights, colour, hatch) on top of one another."""
    stacked(axis, edges[:-1], parts, width=edges[1] - edges[0], horizontal=False, align="edge")

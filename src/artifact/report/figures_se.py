"""Figures on semantic entropy: does it predict the teacher's errors, and what do its weights do? (UOPD Section 4.6)

Each function returns the figure and the tidy numbers it draws, for `provenance.save_figure`. A panel is a teacher.
Intervals: Wilson over problems for accuracies, stratified bootstrap over problems for AUROCs. Labels: whatever the
score tables carry, positive = the teacher is wrong. Left out: sampling, clustering, statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from artifact.report.styles import DIFFICULTY, GREY, PALETTE, TEACHERS, ordered, rc
from artifact.stats.auroc import roc_points
from artifact.stats.calibration import accuracy_by_bin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureAndData = tuple["Figure", pd.DataFrame]


def panels(
    rows: int, columns: int, *, ratio: float = 0.75, sharex: bool = False, sharey: bool | Literal["row"] = False
) -> tuple[Figure, np.ndarray]:
    """A figure without pyplot (nothing global, nothing shown twice) and its [rows, columns] axes."""
    from matplotlib.figure import Figure

    figure = Figure()
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def accuracy_by_entropy(scores: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """U-F4a: teacher accuracy in bins of H / log N of equal width, with 95 % Wilson intervals and the n of each bin.

    `scores` holds a `score_table` for each teacher. Empty bins stay empty.
    """
    import matplotlib

    frames = [
        accuracy_by_bin(t["normalised"], t["wrong"], bins=bins).assign(teacher=name) for name, t in scores.items()
    ]
    data = pd.concat(frames, ignore_index=True)
    with matplotlib.rc_context(rc(1, len(scores), ratio=0.8)):
        figure, axes = panels(1, len(scores), sharey=True)
        for axis, (name, part), look in zip(axes[0], data.groupby("teacher", sort=False), TEACHERS, strict=False):
            part = part[part["n"] > 0]
            middle, value = (part["low"] + part["high"]) / 2, part["accuracy"]
            bars = [(value - part["lower"]).clip(lower=0), (part["upper"] - value).clip(lower=0)]
            axis.errorbar(
                middle,
                value,
                bars,
                color=look.color,
                marker=look.marker,
                linestyle=look.linestyle,
                capsize=2,
                linewidth=1,
            )
            for x, n in zip(middle, part["n"], strict=True):
                axis.text(x, 1.05, str(n), ha="center", va="bottom", fontsize=5, color="#555555", rotation=45)
            axis.set(xlim=(0, 1), ylim=(-0.03, 1.03), xlabel="H / log N (bin)")
            axis.set_title(f"teacher {name}", pad=14)
        axes[0, 0].set_ylabel("accuracy of the teacher")
    return figure, data[["teacher", *(c for c in data.columns if c != "teacher")]]


def roc(scores: Mapping[str, pd.DataFrame], aurocs: pd.DataFrame) -> FigureAndData:
    """U-F4b: ROC of every uncertainty score for the teacher's errors; the legend gives AUROC and 95 % interval.

    `aurocs` is `tables.auroc_table(scores)`.
    """
    import matplotlib

    frames = []
    with matplotlib.rc_context(rc(1, len(scores), ratio=1.0)):
        figure, axes = panels(1, len(scores), sharey=True)
        for axis, (name, table) in zip(axes[0], scores.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6, linestyle=":")
            rows = aurocs[aurocs["teacher"] == name]
            for i, r in enumerate(rows.itertuples()):
                points = roc_points(table[r.score], table["wrong"]).assign(teacher=name, score=r.score)
                frames.append(points)
                text = f"{r.score.replace('_', ' ')}\n{r.auroc:.3f} ({r.lower:.3f} to {r.upper:.3f})"
                line, color = ("-", "--", ":", "-.", (0, (1, 1)))[i % 5], PALETTE[(1, 0, 2, 3, 4)[i % 5]].color
                axis.plot(
                    points["false_positive_rate"],
                    points["true_positive_rate"],
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
    data = pd.concat(frames, ignore_index=True)
    return figure, data[["teacher", "score", "threshold", "false_positive_rate", "true_positive_rate"]]


def entropy_by_difficulty(annotations: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """U-F3: the distribution of H / log N over the training problems, by difficulty.

    Above: the histogram over all problems, each bar split by difficulty; the title says how many have H = 0 exactly.
    Below: one curve per difficulty, in shares of its problems; with one difficulty alone it would repeat the histogram
    and is left out. Numbers: teacher, difficulty, low, high, n, zero (of them with H = 0), share (of the difficulty),
    share_of_all.
    """
    import matplotlib

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
    hatches = ("", "////", "....", "xxxx")
    split = data["difficulty"].nunique() > 1
    with matplotlib.rc_context(rc(1 + split, len(annotations), ratio=0.62) | {"hatch.linewidth": 0.25}):
        figure, axes = panels(1 + split, len(annotations), sharex=True, sharey="row")
        for column, (teacher, part) in enumerate(data.groupby("teacher", sort=False)):
            bars = axes[0, column]
            below = np.zeros(bins)
            for i, (difficulty, line) in enumerate(part.groupby("difficulty", sort=False)):
                color = DIFFICULTY.get(str(difficulty), PALETTE[i % len(PALETTE)].color)
                label = f"{difficulty} (n = {line['n'].sum()})"
                bars.bar(
                    line["low"],
                    line["share_of_all"],
                    width=1 / bins,
                    bottom=below,
                    align="edge",
                    color=color,
                    hatch=hatches[i % 4],
                    edgecolor="white",
                    linewidth=0.4,
                    label=label,
                )
                below = below + line["share_of_all"].to_numpy()
                if split:
                    marker, style = ("o", "s", "^", "D")[i % 4], ("-", "--", "-.", ":")[i % 4]
                    middle = (line["low"] + line["high"]) / 2
                    axes[1, column].plot(
                        middle, line["share"], color=color, marker=marker, linestyle=style, label=difficulty
                    )
            zero = part["zero"].sum() / part["n"].sum()
            middle_of_mass = np.average((part["low"] + part["high"]) / 2, weights=part["n"])
            bars.set(xlim=(0, 1), title=f"teacher {teacher}; H = 0 on {100 * zero:.1f} %")
            axes[-1, column].set_xlabel("H / log N (bin)")
            axes[-1, column].set_xticks(np.linspace(0, 1, 6), ["0", "0.2", "0.4", "0.6", "0.8", "1"])
            for ax in axes[:, column]:
                ax.legend(loc="upper left" if middle_of_mass > 0.5 else "upper right")
        if split:
            axes[1, 0].set(ylabel="share within the difficulty", ylim=(0, 1.08 * float(data["share"].max())))
        highest = float(data.groupby(["teacher", "low"])["share_of_all"].sum().max())
        axes[0, 0].set(ylabel="share of all problems", ylim=(0, 1.08 * highest))
    return figure, data


def weight_by_verdict(annotations: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """Where the soft weight lies: problems in bins of w, split by whether the teacher's greedy answer is right.

    Prompts are drawn uniformly, so the height of a bar is also the share of rollouts trained with that weight.
    """
    import matplotlib

    edges = np.linspace(0, 1, bins + 1)
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
    with matplotlib.rc_context(rc(1, len(annotations), ratio=0.75)):
        figure, axes = panels(1, len(annotations), sharey=True)
        for axis, (teacher, part) in zip(axes[0], data.groupby("teacher", sort=False), strict=True):
            below = np.zeros(bins)
            for verdict, color, hatch in (("right", "#56B4E9", ""), ("wrong", "#D55E00", "////")):
                line = part[part["verdict"] == verdict]
                axis.bar(
                    line["low"],
                    line["share"],
                    width=1 / bins,
                    bottom=below,
                    align="edge",
                    color=color,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.5,
                    label=f"teacher {verdict} (n = {line['n'].sum()})",
                )
                below = below + line["share"].to_numpy()
            axis.set(xlim=(0, 1), xlabel="weight w = 1 − H / log N (bin)", title=f"teacher {teacher}")
            axis.legend(loc="upper center")
        axes[0, 0].set_ylim(0, 1.15 * float(data.groupby(["teacher", "low"])["share"].sum().max()))
        axes[0, 0].set_ylabel("share of problems")
    return figure, data

"""Figures on the quality of the uncertainty: what N buys, what rejecting buys, calibration, retest, intra and inter.

Each function takes one frame for each teacher (a panel), returns the figure and the tidy numbers it draws, like
`figures_se`. The caption must say which label the frames carry. Left out: computing the frames (`phase1/`), and the
distribution by difficulty (`figures_se`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from artifact.report.drawing import (
    FigureAndData,
    canvas,
    legend_above,
    log2_ticks,
    points,
    spaced,
    teacher_first,
    unit_ticks,
    whiskers,
)
from artifact.report.drawing import by_teacher as by_teacher  # how notebooks join the frames of several teachers
from artifact.report.styles import GREY, PALETTE, TEACHERS, Look, ordered
from artifact.stats.calibration import calibration, reliability_bins
from artifact.stats.risk import COVERAGES, rejection_table, risk_coverage

LOOKS: dict[str, Look] = {
    "semantic_entropy": Look(PALETTE[1].color, "s", "-"),
    "discrete_entropy": Look(PALETTE[0].color, "o", "--"),
    "one_minus_majority_share": Look(PALETTE[2].color, "^", "-."),
    "answer_string_entropy": Look(PALETTE[3].color, "D", ":"),
    "negative_mean_logprob": Look(PALETTE[4].color, "v", (0, (5, 1))),  # type: ignore[arg-type]
    "intra_cluster_entropy": Look(PALETTE[5].color, "P", (0, (1, 1))),  # type: ignore[arg-type]
    "semantic_entropy / n_valid": Look(PALETTE[6].color, "X", (0, (3, 1, 1, 1))),  # type: ignore[arg-type]
}
"""One look for each estimator in every figure of this file; no two differ by colour alone."""

NAMES = {
    "semantic_entropy": "semantic entropy",
    "discrete_entropy": "discrete SE (counts)",
    "one_minus_majority_share": "1 − majority share",
    "answer_string_entropy": "answer-string entropy",
    "negative_mean_logprob": "token entropy, length-normalised",
    "intra_cluster_entropy": "intra-cluster entropy",
    "semantic_entropy / n_valid": "semantic entropy, log n_valid",
}
"""What a reader sees instead of a column name."""


def auroc_by_n(tables: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """U-A1, first half: AUROC of every estimator against N, DeLong intervals; semantic entropy also by log n_valid.

    `tables` holds `subsample.auroc_by_n` for each teacher.
    """
    data = by_teacher(tables)
    plain = data["normaliser"] == "n"
    data = data[plain | (data["estimator"] == "semantic_entropy")].reset_index(drop=True)
    own = data["normaliser"] == "n"
    data.insert(1, "line", data["estimator"].where(own, data["estimator"] + " / " + data["normaliser"]))
    with canvas(1, len(tables), ratio=1.0, sharey=True) as (figure, axes):
        for axis, (teacher, part) in zip(axes[0], data.groupby("teacher", sort=False), strict=True):
            lines = list(part.groupby("line", sort=False))
            lines.sort(key=lambda item: list(LOOKS).index(str(item[0])))
            for i, (name, rows) in enumerate(lines):
                points(
                    axis,
                    rows["n"] * 2 ** spaced(i, len(lines), 0.07),
                    rows["auroc"],
                    whiskers(rows, "auroc", "lower", "upper"),
                    LOOKS[str(name)],
                    markersize=3,
                    elinewidth=0.6,
                    capsize=0,
                    label=NAMES[str(name)],
                    **_emphasis(i),
                )
            log2_ticks(axis, part["n"].unique())
            counts = part[part["normaliser"] == "n"].iloc[0]
            axis.set(
                xlabel="samples per prompt, N",
                title=f"teacher {teacher}: {counts['n_wrong']} of {counts['problems']} wrong",
            )
        axes[0, 0].set_ylabel("AUROC (positive: teacher wrong)")
        legend_above(figure, axes, 3)
    return figure, data


def rejection_curves(
    scores: Mapping[str, pd.DataFrame],
    estimators: Sequence[str],
    *,
    coverages: Sequence[float] = COVERAGES,
    resamples: int = 500,
) -> FigureAndData:
    """Accuracy of the problems that are kept, against the share that is rejected, least sure first; ties averaged.

    `scores` holds a `score_table` for each teacher. Bars: 95 % bootstrap over problems, on the first estimator. Grey:
    the oracle, which rejects every error first, and the accuracy without rejecting.
    """
    parts = []
    with canvas(1, len(scores), ratio=1.0, sharey=True) as (figure, axes):
        for axis, (teacher, table) in zip(axes[0], scores.items(), strict=True):
            for i, name in enumerate(estimators):
                look, curve = LOOKS[name], risk_coverage(table[name], table["wrong"])
                if i == 0:
                    axis.plot(curve["rejected"], curve["oracle"], color=GREY, linestyle="-", label="oracle")
                    rate = 1 - float(table["wrong"].mean())
                    axis.axhline(rate, color=GREY, linestyle=":", label="without information")
                stem = curve[curve["kept"] >= max(10, len(table) // 50)]  # below, a handful of problems decides
                axis.plot(
                    stem["rejected"],
                    stem["accuracy"],
                    color=look.color,
                    linestyle=look.linestyle,
                    label=NAMES[name],
                    **_emphasis(i),
                )
                kept = rejection_table(table[name], table["wrong"], coverages=coverages, resamples=resamples)
                parts.append(kept.assign(teacher=teacher, score=name))
                if i == 0:
                    bars, only = whiskers(kept, "accuracy", "lower", "upper"), {"linestyle": "none", "capsize": 0}
                    points(axis, 1 - kept["coverage"], kept["accuracy"], bars, look, markersize=3, zorder=4, **only)
            axis.set(xlim=(-0.02, 1), xlabel="share rejected, least sure first", title=f"teacher {teacher}")
            unit_ticks(axis)
        axes[0, 0].set_ylim(top=1.02)
        axes[0, 0].set_ylabel("accuracy of what is kept")
        legend_above(figure, axes, 3)
    return figure, teacher_first(pd.concat(parts, ignore_index=True), "score")


def _emphasis(i: int) -> dict[str, float]:
    """The first line of a panel stands out."""
    return {"linewidth": 1.6, "zorder": 3} if i == 0 else {"linewidth": 0.8, "zorder": 2}


def weight_calibration(annotations: Mapping[str, pd.DataFrame], *, bins: int = 10) -> FigureAndData:
    """Accuracy of the teacher in bins of its weight w, with 95 % Wilson intervals, over the share of problems per bin.

    `annotations` holds an `annotation_frame` for each teacher. On the dashed diagonal
    w would be the probability that the teacher is right, which the method does not claim.
    """
    frames = {
        n: reliability_bins(f["weight"], f["greedy_correct"].astype(bool), bins=bins) for n, f in annotations.items()
    }
    data = by_teacher(frames)
    with canvas(1, len(frames), ratio=1.0, sharey=True) as (figure, axes):
        for axis, (teacher, table), look in zip(axes[0], frames.items(), TEACHERS, strict=False):
            own = calibration(
                annotations[teacher]["weight"], annotations[teacher]["greedy_correct"].astype(bool), bins=bins
            )
            share = table["n"] / table["n"].sum()
            axis.bar(
                table["low"],
                share,
                width=1 / bins,
                align="edge",
                color="#d9d9d9",
                edgecolor="white",
                linewidth=0.5,
                label="share of the problems",
            )
            axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=0.8, label="w = P(right)")
            full = table[table["n"] > 0]
            bars = whiskers(full, "accuracy", "lower", "upper")
            points(axis, full["mean_weight"], full["accuracy"], bars, look, label=f"accuracy, teacher {teacher}")
            axis.set(
                xlim=(-0.02, 1.02),
                ylim=(0, 1.02),
                xlabel="weight w = 1 − H / log N (bin mean)",
                title=f"teacher {teacher}: ECE {own.ece:.3f}, Brier {own.brier:.3f}",
            )
            unit_ticks(axis)
        axes[0, 0].set_ylabel("accuracy of the teacher")
        legend_above(figure, axes, 2)
    return figure, data


def retest_map(pairs: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """H / log N of two annotations that differ in their sampling seed: hexagons, coloured by the number of problems.

    `pairs` holds `retest.paired_entropies` for each teacher; the colour scale is logarithmic and shared.
    """
    data = by_teacher(pairs)
    with canvas(1, len(pairs), ratio=0.95, sharey=True, settings={"axes.grid": False}) as (figure, axes):
        norm = LogNorm(1, max(len(p) for p in pairs.values()))
        for axis, (teacher, part) in zip(axes[0], pairs.items(), strict=True):
            cells = axis.hexbin(
                part["first"],
                part["second"],
                gridsize=16,
                extent=(0, 1, 0, 1),
                mincnt=1,
                norm=norm,
                cmap="viridis_r",
                linewidths=0.2,
            )
            axis.plot([0, 1], [0, 1], color="#555555", linestyle=":", linewidth=0.7)
            r, rank = part["first"].corr(part["second"]), part["first"].corr(part["second"], method="spearman")
            axis.set(
                xlim=(-0.06, 1.06),
                ylim=(-0.06, 1.06),
                xlabel="H / log N, first draw",
                title=f"teacher {teacher}: r = {r:.3f}, rank {rank:.3f}",
            )
            unit_ticks(axis)
        axes[0, 0].set_ylabel("H / log N, second draw")
        figure.colorbar(cells, ax=axes[0, :].tolist(), label="problems", shrink=0.9)
    return figure, data


def retest_by_n(tables: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """What N buys in repeatability: test–retest rank correlation, and the share of weights that move, against N.

    Bars: 95 %, bootstrap (correlation) and Wilson (share).
    """
    data = by_teacher(tables)
    shown = {"spearman": "rank correlation of H", "moved": "share of weights that move"}
    with canvas(1, len(shown), ratio=0.75) as (figure, axes):
        for axis, (statistic, label) in zip(axes[0], shown.items(), strict=True):
            part = data[data["statistic"] == statistic]
            teachers = list(part.groupby("teacher", sort=False))
            for i, (look, (teacher, rows)) in enumerate(zip(TEACHERS, teachers, strict=False)):
                at, bars = rows["n"] * 2 ** spaced(i, len(teachers), 0.06), whiskers(rows, "value", "lower", "upper")
                points(axis, at, rows["value"], bars, look, label=f"teacher {teacher}")
            log2_ticks(axis, part["n"].unique())
            axis.set(xlabel="samples per prompt, N", ylabel=label)
        axes[0, 0].set_ylim(top=1)
        axes[0, 1].set_ylim(bottom=0)
        legend_above(figure, axes, 3)
    return figure, data


def intra_inter(annotations: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """Where the answers' variety lies: entropy between classes (meaning) against entropy within them (wording).

    H(strings) = inter + intra, each divided by log N. A disc is a cell of the grid: area ∝ problems, colour = accuracy
    of the teacher in it. `annotations` holds an `annotation_frame` for each teacher.
    """
    bins = 10
    edges = np.linspace(0, 1, bins + 1)
    parts = {}
    for teacher, frame in annotations.items():
        log_n = np.log(frame["n"].to_numpy(dtype=float))
        inter = frame["entropy"].to_numpy() / log_n
        intra = np.maximum(0.0, frame["answer_string_entropy"].to_numpy() / log_n - inter)  # rounding: −1e-17
        cell = [np.minimum((np.clip(v, 0, 1) * bins + 1e-9).astype(int), bins - 1) for v in (inter, intra)]
        grid = pd.DataFrame(
            {"inter": edges[cell[0]], "intra": edges[cell[1]], "right": frame["greedy_correct"].astype(bool)}
        )
        counts = grid.groupby(["inter", "intra"])["right"].agg(n="size", correct="sum").reset_index()
        parts[teacher] = counts.assign(accuracy=counts["correct"] / counts["n"])
    data = by_teacher(parts)
    with canvas(1, len(parts), ratio=0.85, sharey=True) as (figure, axes):
        for axis, (teacher, part) in zip(axes[0], parts.items(), strict=True):
            half = 0.5 / bins
            discs = axis.scatter(
                part["inter"] + half,
                part["intra"] + half,
                s=260 * part["n"] / data["n"].max() + 3,
                c=part["accuracy"],
                cmap="cividis",
                vmin=0,
                vmax=1,
                edgecolor="#555555",
                linewidth=0.3,
                zorder=3,
            )
            axis.plot([0, 1], [1, 0], color=GREY, linestyle=":", linewidth=0.8)
            axis.set(
                xlim=(0, 1),
                ylim=(0, min(1.0, data["intra"].max() + 2 / bins)),
                title=f"teacher {teacher}",
                xlabel="between classes: H / log N",
            )
            unit_ticks(axis)
        axes[0, 0].set_ylabel("within classes: Σ p(c) H(c) / log N")
        figure.colorbar(discs, ax=axes[0, :].tolist(), label="accuracy of the teacher", shrink=0.9)
    return figure, data


def auroc_within_difficulties(tables: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """AUROC over all problems, within pairs of one difficulty, and inside each difficulty, with 95 % intervals.

    `tables` holds `validation.auroc_by_group` for each teacher.
    """
    data = by_teacher(tables)
    groups = ["all", "within", *ordered(g for g in data["group"] if g not in ("all", "within"))]
    names = {"all": "all problems", "within": "pairs of one difficulty"}
    with canvas(1, 1, ratio=0.45, width=0.8) as (figure, axes):
        axis = axes[0, 0]
        for i, (look, (teacher, rows)) in enumerate(zip(TEACHERS, data.groupby("teacher", sort=False), strict=False)):
            rows = rows.set_index("group").reindex(groups)
            at, bars = np.arange(len(groups)) + spaced(i, len(tables), 0.16), whiskers(rows, "auroc", "lower", "upper")
            points(axis, at, rows["auroc"], bars, look, linestyle="none", label=f"teacher {teacher}")
        axis.axhline(0.5, color=GREY, linestyle=":", linewidth=0.8)
        axis.axvline(1.5, color=GREY, linewidth=0.4)
        axis.set_xticks(range(len(groups)), [names.get(g, g) for g in groups])
        axis.set(ylim=(min(0.45, float(data["lower"].min()) - 0.02), 1.0), ylabel="AUROC of semantic entropy")
        legend_above(figure, axes, 3)
    return figure, data

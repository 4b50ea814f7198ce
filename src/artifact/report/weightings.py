"""What a weight or a threshold does to the training set, from the annotation alone: no run is needed.

    kept(τ)   share of the problems with H / log N ≤ τ, and how many of them the teacher's greedy answer gets right
    weights   for every scheme of `phase1/weights.py`: its mean, how well 1 − w ranks the teacher's errors, and how much
              of the whole weight lies on problems that the teacher gets wrong
    length    AUROC of semantic entropy over all problems, and over pairs of problems whose responses are of like length

Left out: what the weights do to a student (`ablations.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from artifact.phase1.records import Annotation
from artifact.phase1.validation import auroc_by_group, score_table
from artifact.phase1.weights import weights_for
from artifact.report.drawing import FigureAndData, by_teacher, canvas, legend_above, unit_ticks
from artifact.report.styles import GREY, PALETTE
from artifact.report.text import count, intervals, percent, yes_no
from artifact.stats.auroc import auroc_bootstrap
from artifact.stats.interval import wilson_interval
from artifact.train.methods.base import READS_GOLD, Scheme, Weighting

THRESHOLDS = (0.3, 0.5)
"""The τ of UOPD's Table 2."""

SCHEMES: tuple[Scheme, ...] = ("soft", "majority", "miller_madow", "chao_shen", "verified", "gold")

LENGTH_GROUPS = 5


def kept_by_threshold(frame: pd.DataFrame) -> pd.DataFrame:
    """What each threshold τ keeps of a `results.annotation_frame`; a row for every value of H / log N, and for τ = 0.

    Columns: tau, kept, share, correct (greedy answers of the kept), accuracy, lower, upper (95 % Wilson; missing where
    nothing is kept).
    """
    values, right = frame["normalised"].to_numpy(), frame["greedy_correct"].to_numpy(dtype=bool)
    rows = []
    for tau in sorted({0.0, 1.0, *THRESHOLDS, *values.tolist()}):
        kept = values <= tau
        n, correct = int(kept.sum()), int(right[kept].sum())
        ends = wilson_interval(correct, n, 0.95) if n else None
        of_kept = (correct / n, ends.low, ends.high) if ends else (np.nan,) * 3
        rows.append((tau, n, n / len(values), correct, *of_kept))
    return pd.DataFrame(rows, columns=["tau", "kept", "share", "correct", "accuracy", "lower", "upper"])


def threshold_curves(frames: Mapping[str, pd.DataFrame]) -> FigureAndData:
    """U-T2 without a run: accuracy of the problems that a threshold keeps, and their share, against τ, by teacher."""
    tables = {teacher: kept_by_threshold(frame) for teacher, frame in frames.items()}
    with canvas(1, len(tables), ratio=0.85, sharey=True) as (figure, axes):
        for axis, (teacher, table) in zip(axes[0], tables.items(), strict=True):
            for look, column, name in (
                (PALETTE[0], "accuracy", "accuracy of the teacher on what is kept"),
                (PALETTE[1], "share", "share of problems kept"),
            ):
                axis.step(
                    table["tau"],
                    table[column],
                    where="post",
                    color=look.color,
                    linestyle="-" if column == "accuracy" else "--",
                    label=name,
                )
            axis.fill_between(
                table["tau"], table["lower"], table["upper"], step="post", color=PALETTE[0].color, alpha=0.15
            )
            for tau in THRESHOLDS:
                axis.axvline(tau, color=GREY, linestyle=":", linewidth=0.8)
            unit_ticks(axis)
            axis.set(xlabel="threshold τ on H / log N", title=f"teacher {teacher}", ylim=(0, 1.02))
        legend_above(figure, axes)
    return figure, by_teacher(tables)


def weighting_table(
    annotations: Mapping[str, Sequence[Annotation]], wrong: Mapping[str, Mapping[str, bool]], *, resamples: int = 2000
) -> pd.DataFrame:
    """Every scheme that needs no seed, for each teacher; `wrong` says by teacher and problem whether its answer is.

    Columns: teacher, scheme, reads_gold, problems, mean_weight, zero (share of weights that are 0), auroc, lower, upper
    (of 1 − w for the errors, stratified bootstrap), on_wrong (share of all weight that lies on wrong problems).
    """
    rows = []
    for teacher, records in annotations.items():
        ids = [a.problem_id for a in records]
        labels = np.array([bool(wrong[teacher][i]) for i in ids])
        for scheme in SCHEMES:
            of = weights_for(Weighting(scheme), records)
            weights = np.array([of[i] for i in ids])
            own = auroc_bootstrap(1 - weights, labels, resamples=resamples)
            rows.append(
                {
                    "teacher": teacher,
                    "scheme": scheme,
                    "reads_gold": scheme in READS_GOLD,
                    "problems": len(ids),
                    "mean_weight": float(weights.mean()),
                    "zero": float((weights == 0).mean()),
                    "auroc": own.estimate,
                    "lower": own.low,
                    "upper": own.high,
                    "on_wrong": float(weights[labels].sum() / weights.sum()),
                }
            )
    return pd.DataFrame(rows)


def format_weightings(table: pd.DataFrame) -> pd.DataFrame:
    """`weighting_table` in percent, AUROCs with intervals."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "weight": table["scheme"]
            .str.replace("_", "–")
            .str.replace("miller–madow", "Miller–Madow")
            .str.replace("chao–shen", "Chao–Shen"),
            "reads labels": yes_no(table["reads_gold"]),
            "problems": table["problems"].map(count),
            "mean weight %": table["mean_weight"].map(percent),
            "weight 0, %": table["zero"].map(percent),
            "AUROC of 1 − w": intervals(table, "auroc"),
            "weight on wrong problems %": table["on_wrong"].map(percent),
        }
    )


def length_audit(
    annotations: Mapping[str, Sequence[Annotation]],
    wrong: Mapping[str, Mapping[str, bool]],
    *,
    groups: int = LENGTH_GROUPS,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Is the AUROC of semantic entropy that of response length? Length: mean tokens of a problem's samples.

    Rows by teacher: `length` (AUROC of length itself), `all` (semantic entropy over all pairs), `within` (semantic
    entropy over pairs of one of `groups` equally large groups of length), and each group. Columns: teacher, row, n,
    n_wrong, tokens (mean), auroc, lower, upper (95 %, stratified bootstrap; missing in a group with one class).
    """
    rows = []
    for teacher, records in annotations.items():
        table = score_table(records, wrong[teacher])
        tokens = pd.Series([float(np.mean(a.token_counts)) for a in records])
        ranks = tokens.rank(method="first")
        group_of = np.minimum((groups * (ranks - 1) / len(ranks)).astype(int), groups - 1)
        names = group_of.map(lambda g: f"fifth {g + 1}" if groups == LENGTH_GROUPS else f"group {g + 1}")
        own = auroc_bootstrap(tokens, table["wrong"], resamples=resamples)
        counts = {"teacher": teacher, "n": len(table), "n_wrong": int(table["wrong"].sum()), "tokens": tokens.mean()}
        rows.append(counts | {"row": "length", "auroc": own.estimate, "lower": own.low, "upper": own.high})
        by_group = auroc_by_group(table, dict(zip(table["problem_id"], names, strict=True)), resamples=resamples)
        order = ["all", "within", *sorted(set(names))]
        for r in by_group.set_index("group").loc[order].reset_index().itertuples():
            inside = tokens[names == r.group] if r.group in set(names) else tokens
            rows.append(
                {"teacher": teacher, "row": r.group, "n": r.n, "n_wrong": r.n_wrong, "tokens": inside.mean()}
                | {"auroc": r.auroc, "lower": r.lower, "upper": r.upper}
            )
    columns = ["teacher", "row", "n", "n_wrong", "tokens", "auroc", "lower", "upper"]
    return pd.DataFrame(rows)[columns]


def format_length_audit(table: pd.DataFrame) -> pd.DataFrame:
    """`length_audit` as a reader sees it."""
    named = {
        "length": "length itself, all problems",
        "all": "semantic entropy, all problems",
        "within": "semantic entropy, pairs of like length",
    }
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "score and problems": table["row"].map(lambda row: named.get(row, f"semantic entropy, {row} by length")),
            "problems": table["n"].map(count),
            "wrong": table["n_wrong"].map(count),
            "mean tokens": [f"{tokens:.1f}" for tokens in table["tokens"]],
            "AUROC (95 % interval)": intervals(table, "auroc"),
        }
    )

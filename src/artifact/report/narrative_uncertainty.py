"""Sentences about the uncertainty, made from numbers: N, rejection, calibration, label sources, retest, blind spots.

Each function takes a frame with a `teacher` column (`figures_uncertainty.by_teacher`, or what a figure returned) and
gives one sentence a teacher, with interval and n. "Cannot be told apart" where an interval of a difference contains 0.
Left out: any judgement that the numbers do not make themselves.
"""

from __future__ import annotations

import pandas as pd

from artifact.report.figures_uncertainty import NAMES
from artifact.report.tables import SAME, percent
from artifact.report.tables_uncertainty import interval


def by_n(table: pd.DataFrame, estimator: str = "semantic_entropy") -> list[str]:
    """What N buys one estimator (normaliser log N), and from which N on it cannot be told from the largest."""
    out = []
    part = table[(table["estimator"] == estimator) & (table["normaliser"] == "n")]
    for teacher, rows in part.groupby("teacher", sort=False):
        rows = rows.sort_values("n")
        steps = ", ".join(f"{r.auroc:.3f} (N = {r.n})" for r in rows.itertuples())
        largest, smaller = rows.iloc[-1], rows.iloc[:-1]
        below = smaller[(smaller["diff_lower"] > 0) | (smaller["diff_upper"] < 0)]
        same = smaller[(smaller["diff_lower"] <= 0) & (smaller["diff_upper"] >= 0)]
        told = [
            f"N = {r.n} differs from N = {largest['n']} by "
            f"{interval(r.minus_largest, r.diff_lower, r.diff_upper, sign=True)}"
            for r in below.itertuples()
        ] + [f"N = {r.n} and N = {largest['n']} {SAME}" for r in same.itertuples()]
        out.append(
            f"Teacher {teacher}: AUROC of {NAMES[estimator]} is {steps} on {largest['problems']} problems "
            f"({largest['n_wrong']} wrong); {'; '.join(told)}."
        )
    return out


def normalisers(table: pd.DataFrame) -> list[str]:
    """Whether dividing by log n_valid instead of log N moves the AUROC, at the largest N."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        r = rows.sort_values("n").iloc[-1]
        verdict = SAME if r["lower"] <= 0 <= r["upper"] else "differ"
        out.append(
            f"Teacher {teacher}: at N = {r['n']} the normalisers log n_valid and log N {verdict} "
            f"({interval(r['difference'], r['lower'], r['upper'], sign=True)} AUROC on {r['problems']} problems; "
            f"log n_valid leaves out {r['left_out']} problems, of which the teacher gets {r['left_out_wrong']} wrong)."
        )
    return out


def rejection(table: pd.DataFrame, coverage: float = 0.8, score: str = "semantic_entropy") -> list[str]:
    """What keeping the surest share of the problems buys; `table` are the numbers of `rejection_curves`."""
    out = []
    part = table[(table["score"] == score) & ((table["coverage"] - coverage).abs() < 1e-9)]
    for r in part.itertuples():
        out.append(
            f"Teacher {r.teacher}: keeping the surest {percent(coverage, 0)} % of the problems by {NAMES[score]} "
            f"({r.kept:,}) moves accuracy from {percent(r.accuracy - r.above_all)} % to {percent(r.accuracy)} % "
            f"({100 * r.above_all:+.1f} points, 95 % interval {100 * r.above_lower:+.1f} to "
            f"{100 * r.above_upper:+.1f}); the oracle reaches {percent(r.oracle)} %."
        )
    return out


def risk(table: pd.DataFrame) -> list[str]:
    """AURC of the first score between its two references; the other scores' gains follow."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        first, rest = rows.iloc[0], rows.iloc[1:]
        others = "; ".join(
            f"{NAMES[r.score]} {interval(r.gain, r.gain_lower, r.gain_upper, 2)}" for r in rest.itertuples()
        )
        out.append(
            f"Teacher {teacher}: AURC of {NAMES[first['score']]} is {first['aurc']:.3f}, between {first['oracle']:.3f} "
            f"(oracle) and {first['random']:.3f} (no information): it realises "
            f"{interval(first['gain'], first['gain_lower'], first['gain_upper'], 2)} of the possible reduction"
            + (f". The others: {others}." if others else ".")
        )
    return out


def calibration(table: pd.DataFrame) -> list[str]:
    """Whether the weight is too high or too low over all, and in which group it is furthest off."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        whole, groups = rows[rows["group"] == "all"].iloc[0], rows[rows["group"] != "all"]
        told = whole["over_lower"] <= 0 <= whole["over_upper"]
        side = f"and {SAME} on average" if told else "too high" if whole["over"] > 0 else "too low"
        sentence = (
            f"Teacher {teacher}: read as a probability of being right, the weight is {side}: mean weight "
            f"{percent(whole['mean_weight'])} % against accuracy {percent(whole['accuracy'])} % (difference "
            f"{100 * whole['over']:+.1f} points, 95 % interval {100 * whole['over_lower']:+.1f} to "
            f"{100 * whole['over_upper']:+.1f}, n = {whole['n']:,}); ECE {whole['ece']:.3f}, "
            f"Brier {whole['brier']:.3f} (constant forecast: {whole['brier_constant']:.3f})"
        )
        if not groups.empty:
            worst = groups.loc[groups["over"].abs().idxmax()]
            sentence += (
                f"; furthest off on `{worst['group']}`: {percent(worst['mean_weight'])} % weight, "
                f"{percent(worst['accuracy'])} % right (n = {worst['n']:,})"
            )
        out.append(sentence + ".")
    return out


def label_sources(table: pd.DataFrame) -> list[str]:
    """For each case of `labels.source_table`: how many labels differ and how far the AUROC moves."""
    out = []
    for r in table.itertuples():
        verdict = f"the two {SAME}" if r.lower <= 0 <= r.upper else "it moves"
        out.append(
            f"{r.case}: labels by the model differ from gold on {percent(r.differ)} % of {r.problems:,} problems "
            f"({r.gold_only} wrong by gold alone, {r.model_only} wrong by the model alone); AUROC of {NAMES[r.score]} "
            f"{r.auroc_gold:.3f} with gold, {r.auroc_model:.3f} with model labels: {verdict} "
            f"({interval(r.difference, r.lower, r.upper, sign=True)})."
        )
    return out


def retest(table: pd.DataFrame) -> list[str]:
    """Repeatability of H and of the weights between two draws."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        of = rows.set_index("statistic")
        r, rank, change, moved = (of.loc[s] for s in ("pearson", "spearman", "mean_abs_change", "moved"))
        bias = of.loc["mean_change"]
        drift = SAME if bias["lower"] <= 0 <= bias["upper"] else "differ"
        out.append(
            f"Teacher {teacher}: two draws with other seeds give H / log N that correlate at "
            f"{interval(r['value'], r['lower'], r['upper'])} "
            f"(ranks {interval(rank['value'], rank['lower'], rank['upper'])}, "
            f"n = {r['problems']:,}); a problem's value changes by {change['value']:.3f} on average, and "
            f"{percent(moved['value'])} % of the weights ({percent(moved['lower'])} to {percent(moved['upper'])}) move "
            f"by more than 0.25. The means of the two draws {drift} ({bias['value']:+.4f})."
        )
    return out


def split_half(table: pd.DataFrame) -> list[str]:
    """What N buys in repeatability."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        parts = []
        for n, cell in rows.groupby("n", sort=True):
            of = cell.set_index("statistic")["value"]
            parts.append(f"{of['spearman']:.3f} and {percent(of['moved'])} % at N = {n}")
        out.append(
            f"Teacher {teacher}: rank correlation of H between disjoint samples, and weights that move by more than "
            f"0.25: {'; '.join(parts)}."
        )
    return out


def within(table: pd.DataFrame, kind: str = "difficulty") -> list[str]:
    """How much of the AUROC is left when only problems of one group are compared, and where it is lowest."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        of = rows.set_index("group")
        whole, inside = of.loc["all"], of.loc["within"]
        groups = of.drop(index=["all", "within"]).dropna(subset="auroc")
        low = groups.loc[groups["auroc"].idxmin()]
        out.append(
            f"Teacher {teacher}: AUROC {interval(whole['auroc'], whole['lower'], whole['upper'])} over all problems, "
            f"{interval(inside['auroc'], inside['lower'], inside['upper'])} when a wrong and a right problem are "
            f"compared within one {kind} only; lowest in `{low.name}` "
            f"({interval(low['auroc'], low['lower'], low['upper'])}, {low['n_wrong']} of {low['n']} wrong)."
        )
    return out


def confidently_wrong(summary: pd.DataFrame, at_most: float) -> list[str]:
    """How many problems the teacher gets wrong with full confidence, and where they lie.

    `summary` is the second frame of `validation.confidently_wrong`, with a `teacher` column.
    """
    out = []
    for teacher, rows in summary.groupby("teacher", sort=False):
        sure, wrong = int(rows["sure"].sum()), int(rows["sure_and_wrong"].sum())
        sentence = (
            f"Teacher {teacher}: {wrong} of the {sure} problems with H / log N ≤ {at_most:g} are wrong "
            f"({percent(wrong / sure) if sure else '–'} %)"
        )
        if wrong:
            worst = rows.loc[rows["sure_and_wrong"].idxmax()]
            sentence += (
                f"; {int(worst['sure_and_wrong'])} of them are `{worst['family']}` problems, of which "
                f"{percent(worst['share_of_sure'])} % of the sure ones are wrong"
            )
        out.append(sentence + ".")
    return out


def weighted_against_counted(scores: pd.DataFrame) -> list[str]:
    """How far the probability weights of Eq. 4 move the entropy from plain counts; `scores` are score tables."""
    out = []
    for teacher, t in scores.groupby("teacher", sort=False):
        gap = (t["semantic_entropy"] - t["discrete_entropy"]).abs()
        rank = t["semantic_entropy"].corr(t["discrete_entropy"], method="spearman")
        out.append(
            f"Teacher {teacher}: weighted and counted entropy (H / log N) differ by {gap.mean():.4f} on average and "
            f"{gap.max():.3f} at most; rank correlation {rank:.4f} (n = {len(t):,})."
        )
    return out

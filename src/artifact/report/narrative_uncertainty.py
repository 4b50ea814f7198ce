"""Sentences about the uncertainty, made from numbers: N, rejection, calibration, label sources, retest, blind spots.

Each function takes a frame with a `teacher` column (`drawing.by_teacher`, or what a figure returned) and gives one
sentence per teacher, with interval and n: "no significant difference" where the interval of a difference holds 0. Left
out: any judgement that the numbers do not make themselves.
"""

from __future__ import annotations

import pandas as pd

from artifact.report.figures_uncertainty import NAMES
from artifact.report.text import (
    DASH,
    SAME,
    comparison,
    count,
    direction,
    extreme,
    number,
    per_teacher,
    percent,
    say,
    with_ends,
)


def by_n(table: pd.DataFrame) -> list[str]:
    """What N buys one estimator (normaliser log N), and from which N on it does not differ from the largest."""

    def words(rows: pd.DataFrame) -> str:
        rows = rows.sort_values("n")
        *smaller, largest = rows.to_dict("records")
        steps = ", ".join(say("{auroc:3} (N = {n})", r) for r in [*smaller, largest])
        told = "; ".join(
            comparison(
                f"N = {r['n']}",
                f"N = {largest['n']}",
                direction(r["diff_lower"], r["diff_upper"], "is above", "is below"),
                say("difference {diff:~+}", r, diff=r["minus_largest"]),
            )
            for r in smaller
        )
        return (
            f"AUROC of {NAMES['semantic_entropy']} is {steps} "
            + say("on {problems} problems ({n_wrong} wrong); ", largest)
            + told
        )

    return per_teacher(table[(table["estimator"] == "semantic_entropy") & (table["normaliser"] == "n")], words)


def normalisers(table: pd.DataFrame) -> list[str]:
    """Whether dividing by log n_valid instead of log N moves the AUROC, at the largest N."""
    evidence = "{difference:~+} AUROC on {problems} problems"
    rest = "; log n_valid leaves out {left_out} problems, of which the teacher gets {left_out_wrong} wrong"

    def words(rows: pd.DataFrame) -> str:
        r = extreme(with_ends(rows, "difference"), "n")
        claim = direction(r["difference_lower"], r["difference_upper"], "is above", "is below")
        return f"at N = {r['n']}, {comparison('log n_valid', 'log N', claim, say(evidence, r))}{say(rest, r)}"

    return per_teacher(table, words)


def rejection(table: pd.DataFrame) -> list[str]:
    """What keeping the surest share of the problems buys; `table` are the numbers of `rejection_curves`."""
    template = (
        "keeping the surest {coverage:0%} % of the problems by {name} ({kept:,}) moves accuracy from {before:%} % to "
        "{accuracy:%} % ({above:+%} points, 95 % interval {above:to+%}); the oracle reaches {oracle:%} %"
    )
    part = table[(table["score"] == "semantic_entropy") & ((table["coverage"] - 0.8).abs() < 1e-9)]
    part = part.assign(
        name=NAMES["semantic_entropy"], before=part["accuracy"] - part["above_all"], above=part["above_all"]
    )
    return per_teacher(part, lambda rows: say(template, rows.iloc[0]))


def risk(table: pd.DataFrame) -> list[str]:
    """AURC of the first score between its two references; the other scores' gains follow."""
    template = (
        "AURC of {name} is {aurc:3}, between {oracle:3} (oracle) and {random:3} (no information): it realises "
        "{gain:~2} of the possible reduction"
    )

    def words(rows: pd.DataFrame) -> str:
        first, *others = rows.to_dict("records")
        gains = "; ".join(say("{name} {gain:~2}", r) for r in others)
        return say(template, first) + (f"; the others: {gains}" if others else "")

    return per_teacher(table.assign(name=table["score"].map(NAMES)), words)


def calibration(table: pd.DataFrame) -> list[str]:
    """Whether the weight is too high or too low over all, and in which group it is furthest off."""
    template = (
        "read as a probability of being right, the weight {side}: mean weight {mean_weight:%} % against accuracy "
        "{accuracy:%} % (difference {over:+%} points, 95 % interval {over:to+%}, n = {n:,}); ECE {ece:3}, Brier "
        "{brier:3} (constant forecast: {brier_constant:3})"
    )
    furthest = "; furthest off on `{group}`: {mean_weight:%} % weight, {accuracy:%} % right (n = {n:,})"

    def words(rows: pd.DataFrame) -> str:
        whole, groups = rows[rows["group"] == "all"].iloc[0], rows[rows["group"] != "all"]
        ends = whole["over_lower"], whole["over_upper"]
        side = direction(*ends, "is too high", "is too low", f"shows {SAME} on average")
        worst = "" if groups.empty else say(furthest, extreme(groups.assign(off=groups["over"].abs()), "off"))
        return say(template, whole, side=side) + worst

    return per_teacher(table, words)


def label_sources(table: pd.DataFrame) -> list[str]:
    """For each case of `labels.source_table`: how many labels differ and how far the AUROC moves."""
    template = (
        "labels by the model differ from gold on {differ:%} % of {problems:,} problems ({gold_only} wrong by gold "
        "alone, {model_only} wrong by the model alone); AUROC of {name} {auroc_gold:3} with gold, {auroc_model:3} "
        "with model labels: {side} ({difference:~+})"
    )

    def words(rows: pd.DataFrame) -> str:
        r = rows.iloc[0]
        side = direction(r["difference_lower"], r["difference_upper"], "it rises", "it falls")
        return say(template, r, name=NAMES[r["score"]], side=side)

    return per_teacher(with_ends(table, "difference"), words, by="case")


def retest(table: pd.DataFrame) -> list[str]:
    """Repeatability of H and of the weights between two draws."""

    def words(rows: pd.DataFrame) -> str:
        of = dict(with_ends(rows, "value").set_index("statistic").iterrows())
        said = {name: say("{value:~}", of[name]) for name in ("pearson", "spearman")}
        bias = of["mean_change"]
        drift = direction(bias["value_lower"], bias["value_upper"], "differ", "differ", f"show {SAME}")
        return (
            f"two draws with other seeds give H / log N that correlate at {said['pearson']} (ranks {said['spearman']}, "
            + say("n = {problems:,}); a problem's value changes by {value:3} on average, and ", of["mean_abs_change"])
            + say("{value:%} % of the weights ({value:to%}) move by more than 0.25. The means of ", of["moved"])
            + say(f"the two draws {drift} ({{value:+4}})", bias)
        )

    return per_teacher(table, words)


def split_half(table: pd.DataFrame) -> list[str]:
    """What N buys in repeatability."""
    start = "rank correlation of H between disjoint samples, and weights that move by more than 0.25: "

    def words(rows: pd.DataFrame) -> str:
        wide = rows.pivot(index="n", columns="statistic", values="value").reset_index()
        return start + "; ".join(say("{spearman:3} and {moved:%} % at N = {n}", r) for r in wide.to_dict("records"))

    return per_teacher(table, words)


def within(table: pd.DataFrame) -> list[str]:
    """How much of the AUROC is left when only problems of one group are compared, and where it is lowest."""

    def words(rows: pd.DataFrame) -> str:
        of = rows.set_index("group", drop=False)
        low = extreme(of.drop(index=["all", "within"]).dropna(subset="auroc"), "auroc", largest=False)
        return (
            say("AUROC {auroc:~} over all problems, ", of.loc["all"])
            + say(
                "{auroc:~} when a wrong and a right problem are compared within one difficulty only; ", of.loc["within"]
            )
            + say("lowest in `{group}` ({auroc:~}, {n_wrong} of {n} wrong)", low)
        )

    return per_teacher(with_ends(table, "auroc"), words)


def confidently_wrong(summary: pd.DataFrame, at_most: float) -> list[str]:
    """How many problems the teacher gets wrong with full confidence, and where they lie."""
    where = (
        "; {sure_and_wrong} of them are `{family}` problems, of which {share_of_sure:%} % of the sure ones are wrong"
    )

    def words(rows: pd.DataFrame) -> str:
        sure, wrong = int(rows["sure"].sum()), int(rows["sure_and_wrong"].sum())
        share = percent(wrong / sure) if sure else DASH
        said = f"{wrong} of the {sure} problems with H / log N ≤ {at_most:g} are wrong ({share} %)"
        return said + (say(where, extreme(rows, "sure_and_wrong")) if wrong else "")

    return per_teacher(summary, words)


def weighted_against_counted(scores: pd.DataFrame) -> list[str]:
    """How far the probability weights of Eq. 4 move the entropy from plain counts; `scores` are score tables."""

    def words(t: pd.DataFrame) -> str:
        gap = (t["semantic_entropy"] - t["discrete_entropy"]).abs()
        rank = t["semantic_entropy"].corr(t["discrete_entropy"], method="spearman")
        return (
            f"weighted and counted entropy (H / log N) differ by {number(gap.mean(), 4)} on average and "
            f"{number(gap.max())} at most; rank correlation {number(rank, 4)} (n = {count(len(t))})"
        )

    return per_teacher(scores, words)

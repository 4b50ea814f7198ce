"""Sentences made from numbers: what a notebook says about its results is computed, never written beforehand.

Every sentence carries the number, its interval and its n, and says "no significant difference" where problems or seeds
do not support a claim (`tables.CLAIMS`). Left out: any judgement that the numbers do not make themselves.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from artifact.report.text import SAME, comparison, direction, extreme, number, per_teacher, say, with_ends
from artifact.report.text import bullets as bullets  # what notebooks wrap these sentences in


def differences(table: pd.DataFrame) -> list[str]:
    """One sentence per row of a `difference_table`.

    Where no verdict differs the differences have no spread, so that neither interval nor detectable difference means
    anything. What n unchanged verdicts do say: the share c of problems that change theirs satisfies (1 − c)^n ≥ 0.05,
    that is c ≤ 1 − 0.05^(1/n), with 95 % confidence.
    """
    rows = with_ends(table, "difference", "low", "high").to_dict("records")
    several = table["split"].nunique() > 1
    return [
        f"Teacher {row['teacher']}{', ' + str(row['split']) if several else ''}: {_difference(row)}." for row in rows
    ]


def _difference(row: dict[Any, Any]) -> str:
    """The sentence of one row; `row` gets a field more."""
    row["where"] = "" if row["scope"] == "all" else f" on {row['scope']} problems"
    evidence = "95 % interval {difference:to+%}, {p_holm:p} by Holm, n = {problems:,}"
    if row["p_seeds"] is not None and row["p_seeds"] == row["p_seeds"]:
        evidence += "; {p_seeds:p} over seeds"
    claim = SAME
    if row["verdict"] != SAME:
        side = direction(row["difference"], row["difference"])
        claim = say(f"is {{size:%}} points {side}", row, size=abs(row["difference"]))
        evidence += "; same sign in {seeds_agreeing} seeds" if isinstance(row["seeds_agreeing"], str) else ""
    elif row["difference_lower"] == row["difference_upper"] == 0:
        return say(
            "no verdict differs between {label} and {reference}{where} on {problems:,} problems, so at most {most:%} % "
            "of such problems change theirs (95 % confidence)",
            row,
            most=1 - 0.05 ** (1 / row["problems"]),
        )
    else:
        evidence = f"{{difference:+%}} points, {evidence}"
        if row["smallest_detectable"] == row["smallest_detectable"]:
            evidence += "; a true difference of {smallest_detectable:%} points would be found with 80 % power"
    return comparison(row["label"], say("{reference}{where}", row), claim, say(evidence, row))


def monotone(bins: pd.DataFrame) -> list[str]:
    """Per teacher: accuracy in the lowest and highest filled entropy bin, and whether it falls all the way."""

    def words(rows: pd.DataFrame) -> str:
        rises = int((rows["accuracy"].diff() > 0).sum())
        how = "falls in every step" if rises == 0 else f"rises in {rises} of {len(rows) - 1} steps"
        first, last = (say("{accuracy:%} % (n = {n:,})", rows.iloc[i]) for i in (0, -1))
        return (
            f"from the bin of least entropy to the bin of most, accuracy goes from {first} to {last}; from bin to bin "
            f"it {how}"
        )

    return per_teacher(bins[bins["n"] > 0], words)


def aurocs(table: pd.DataFrame) -> list[str]:
    """Per teacher: AUROC of semantic entropy, and which other scores lie above, below, or do not differ from it."""

    def words(rows: pd.DataFrame) -> str:
        others: dict[str, list[str]] = {"above it": [], "below it": [], f"{SAME} from it": []}
        for _, r in rows[rows["minus_reference"].notna()].iterrows():
            kind = direction(r["diff_lower"], r["diff_upper"], *others)
            others[kind].append(say("{score} ({auroc:3})", r).replace("_", " "))
        told = "; ".join(f"{kind}: {', '.join(scores)}" for kind, scores in others.items() if scores)
        own = rows[rows["minus_reference"].isna()].iloc[0]
        return say(
            "AUROC of semantic entropy {auroc:3} ({auroc:to}, {n_wrong} of {n} problems wrong); {told}", own, told=told
        )

    return per_teacher(with_ends(table, "auroc"), words)


def blind_spots(summary: pd.DataFrame) -> list[str]:
    """Per teacher: the group (family or difficulty) with the largest share of sure and wrong problems."""
    template = (
        "the largest blind spot is `{group}`: {sure_and_wrong:%} % of its {n:,} problems have low entropy and a wrong "
        "answer (mean weight {weight:2}, accuracy {greedy_accuracy:%} %). Entropy measures agreement among "
        "samples, not truth"
    )
    groups = summary[summary["group"] != "all"]
    return per_teacher(groups, lambda rows: say(template, extreme(rows, "sure_and_wrong")))


def costs(budget: pd.DataFrame, times: pd.DataFrame) -> list[str]:
    """Per teacher: the range of tokens (`compute_budget`) and seconds (`training_times`) over the methods."""

    def words(rows: pd.DataFrame) -> str:
        seconds = times.loc[times["teacher"] == rows["teacher"].iloc[0], "seconds"]
        took = f"from {seconds.min():.0f} to {seconds.max():.0f} s"
        ends = [extreme(rows, "response_tokens", largest=largest) for largest in (False, True)]
        if rows["response_tokens"].nunique() == 1:
            return say(
                "every method sampled {response_tokens:,} tokens per run, and trained {took}", ends[0], took=took
            )
        least, most = (say("{response_tokens:,} ({label})", row) for row in ends)
        return f"at equal steps, sampled tokens per run go from {least} to {most}, and training time {took}"

    return per_teacher(budget, words)


def learning_rates(table: pd.DataFrame) -> list[str]:
    """One sentence per method of a `selection_table`: the rate chosen, what it was tried against, and an edge."""

    def words(rows: pd.DataFrame) -> str:
        best, rates, others = rows[rows["chosen"]].iloc[0], sorted(rows["lr"]), rows[~rows["chosen"]]
        near = int((others["high"] >= best["low"]).sum())
        also = f"; the intervals of {near} of {len(others)} other rates overlap with it" if len(others) else ""
        if len(rates) > 1 and best["lr"] in (rates[0], rates[-1]):
            side = "smallest" if best["lr"] == rates[0] else "largest"
            also += f"; it is the {side} rate tried, so the best one may lie outside the grid"
        return f"{best['lr']:g}, " + say("with {accuracy:%} % of {problems:,} validation problems", best) + also

    return per_teacher(table, words, by="label")


def curriculum(metrics: pd.DataFrame, cell: str = "core") -> list[str]:
    """Per teacher: how the share of correct rollouts and the number of pairs moved from first to last quarter."""
    distil, contrast = "grad_norm/distil", "grad_norm/contrast"

    def words(rows: pd.DataFrame) -> str:
        steps = int(rows["step"].max()) + 1
        norms = {distil, contrast} <= set(rows) and rows[[distil, contrast]].notna().any().all()
        rows = rows.assign(ratio=rows[contrast] / rows[distil] if norms else float("nan"))
        means = rows[["share_correct", "pairs", "ratio"]]
        first, last = (means[of].mean() for of in (rows["step"] < steps / 4, rows["step"] >= steps - steps / 4))
        share, pairs = ([say(form, end) for end in (first, last)] for form in ("{share_correct:%}", "{pairs:1}"))
        said = (
            f"from the first to the last quarter of {steps} steps the share of correct rollouts went from {share[0]} "
            f"to {share[1]} % and the pairs per step from {pairs[0]} to {pairs[1]}"
        )
        if norms:
            said += (
                f"; the gradient norm of the contrast term was {number(first['ratio'], 2)} times that of the weighted "
                f"distillation term, and {number(last['ratio'], 2)} times at the end"
            )
        return said

    return per_teacher(metrics[metrics["cell"] == cell], words)


def leaks(table: pd.DataFrame) -> list[str]:
    """Per model and context of a leak `summarise` table: the answer's probability at the first and last cut."""
    out = []
    for (model, context), rows in table.groupby(["model", "context"], sort=False):
        rows = with_ends(rows, "probability", "low", "high").sort_values("fraction")
        reads = "the question alone" if context == "none" else f"the {context}"
        beside = "" if context == "none" else ", {excess:+%} points against the bare question"
        out.append(
            f"{model}, reading {reads}: the gold answer has probability "
            + say(
                f"{{probability:%}} % ({{probability:to%}}) at {{fraction:0%}} % of the response{beside}", rows.iloc[0]
            )
            + say(
                ", and {probability:%} % at {fraction:0%} % ({rollouts} rollouts of {problems} problems).",
                rows.iloc[-1],
            )
        )
    return out


def effects(table: pd.DataFrame) -> list[str]:
    """From `loss_pull.effects`: which methods raise all right responses and lower all others, and which do not."""
    kinds: dict[str, list[str]] = {}
    for method, rows in table.groupby("method", sort=False):
        right, other = (rows.loc[rows["correct"] == flag, "change"] for flag in (True, False))
        if (rows["change"] == 0).all():
            kind = "No gradient on this group"
        elif (right > 0).all():
            rest = "every other one down" if (other < 0).all() else "but at least one other as well"
            kind = f"Every right response up, {rest}"
        else:
            kind = "At least one right response down"
        means = (number(part.mean(), 2, sign=True) for part in (right, other))
        kinds.setdefault(kind, []).append("{} (right {}, other {} nats)".format(method, *means))
    return [f"{kind}: {'; '.join(methods)}." for kind, methods in kinds.items()]

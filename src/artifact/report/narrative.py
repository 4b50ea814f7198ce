"""Sentences made from numbers: what a notebook says about its results is computed, never written beforehand.

Every sentence carries the number, its interval and its n, and says "cannot be told apart" where the interval contains
0 or the exact test does not reject. Left out: any judgement that the numbers do not make themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from artifact.report.tables import SAME, percent


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def differences(table: pd.DataFrame) -> list[str]:
    """One sentence for each row of a `difference_table`.

    Where no verdict differs the differences have no spread, so that neither interval nor detectable difference means
    anything. What n unchanged verdicts do say: the share c of problems that change theirs satisfies (1 − c)^n ≥ 0.05,
    that is c ≤ 1 − 0.05^(1/n), with 95 % confidence.
    """
    out = []
    for r in table.itertuples():
        where = "" if r.scope == "all" else f" on {r.scope} problems"
        interval = f"95 % interval {100 * r.low:+.1f} to {100 * r.high:+.1f}, p = {r.p_value:.2g}, n = {r.problems:,}"
        if r.verdict == SAME:
            if r.low == r.high == 0:
                most = 1 - 0.05 ** (1 / r.problems)
                out.append(
                    f"Teacher {r.teacher}: no verdict differs between {r.label} and {r.reference}{where} on "
                    f"{r.problems:,} problems, so at most {percent(most)} % of such problems change theirs (95 % "
                    f"confidence)."
                )
                continue
            out.append(
                f"Teacher {r.teacher}: {r.label} and {r.reference} {SAME}{where} ({100 * r.difference:+.1f} points, "
                f"{interval}; "
                f"a true difference of {percent(r.smallest_detectable)} points would be found with 80 % power)."
            )
            continue
        seeds = f"; same sign in {r.seeds_agreeing} seeds" if isinstance(r.seeds_agreeing, str) else ""
        side = "above" if r.difference > 0 else "below"
        out.append(
            f"Teacher {r.teacher}: {r.label} is {100 * abs(r.difference):.1f} points {side} {r.reference}{where} "
            f"({interval}{seeds})."
        )
    return out


def monotone(bins: pd.DataFrame) -> list[str]:
    """For each teacher: accuracy in the lowest and highest filled entropy bin, and whether it falls all the way."""
    out = []
    for teacher, rows in bins[bins["n"] > 0].groupby("teacher", sort=False):
        first, last, values = rows.iloc[0], rows.iloc[-1], rows["accuracy"].to_numpy()
        rises = int((values[1:] > values[:-1]).sum())
        how = "falls in every step" if rises == 0 else f"rises in {rises} of {len(values) - 1} steps"
        out.append(
            f"Teacher {teacher}: accuracy goes from {percent(first['accuracy'])} % (n = {int(first['n'])}) in the bin "
            f"of least "
            f"entropy to {percent(last['accuracy'])} % (n = {int(last['n'])}) in the bin of most; from bin to bin it "
            f"{how}."
        )
    return out


def aurocs(table: pd.DataFrame) -> list[str]:
    """For each teacher: AUROC of semantic entropy, and which other scores differ from it or cannot be told apart."""
    out = []
    for teacher, rows in table.groupby("teacher", sort=False):
        own = rows[rows["minus_reference"].isna()].iloc[0]
        others: dict[str, list[str]] = {"above": [], "below": [], SAME: []}
        for r in rows[rows["minus_reference"].notna()].itertuples():
            kind = SAME if r.diff_lower <= 0 <= r.diff_upper else "above" if r.minus_reference > 0 else "below"
            others[kind].append(f"{r.score.replace('_', ' ')} ({r.auroc:.3f})")
        parts = [f"{k}{' from' if k == SAME else ''} it: {', '.join(v)}" for k, v in others.items() if v]
        out.append(
            f"Teacher {teacher}: AUROC of semantic entropy {own['auroc']:.3f} ({own['lower']:.3f} to "
            f"{own['upper']:.3f}, "
            f"{int(own['n_wrong'])} of {int(own['n'])} problems wrong); {'; '.join(parts)}."
        )
    return out


def blind_spots(summary: pd.DataFrame) -> list[str]:
    """For each teacher: the group (family or difficulty) with the largest share of sure and wrong problems."""
    out = []
    for teacher, rows in summary[summary["group"] != "all"].groupby("teacher", sort=False):
        worst = rows.loc[rows["sure_and_wrong"].idxmax()]
        out.append(
            f"Teacher {teacher}: the largest blind spot is `{worst['group']}`: {percent(worst['sure_and_wrong'])} % "
            f"of its "
            f"{int(worst['n'])} problems have low entropy and a wrong answer (mean weight {worst['weight']:.2f}, "
            f"accuracy "
            f"{percent(worst['greedy_accuracy'])} %). Entropy measures agreement among samples, not truth."
        )
    return out


def costs(footing: pd.DataFrame) -> list[str]:
    """For each teacher: the range of tokens and seconds over the methods, so that unequal budgets are seen."""
    out = []
    for teacher, rows in footing.groupby("teacher", sort=False):
        tokens, seconds = rows["response_tokens"], rows["seconds"]
        low, high = rows.loc[tokens.idxmin()], rows.loc[tokens.idxmax()]
        if tokens.min() == tokens.max():
            out.append(
                f"Teacher {teacher}: every method sampled {tokens.iloc[0]:,.0f} tokens a run, in {seconds.min():.0f} "
                f"to {seconds.max():.0f} s."
            )
            continue
        out.append(
            f"Teacher {teacher}: at equal steps, sampled tokens a run go from {low['response_tokens']:,.0f} "
            f"({low['label']}) to "
            f"{high['response_tokens']:,.0f} ({high['label']}), and training time from {seconds.min():.0f} to "
            f"{seconds.max():.0f} s."
        )
    return out


def learning_rates(table: pd.DataFrame) -> list[str]:
    """One sentence for each method of a `selection_table`: the rate chosen, what it was tried against, and an edge."""
    out = []
    for label, rows in table.groupby("label", sort=False):
        best, rates = rows[rows["chosen"]].iloc[0], sorted(rows["lr"])
        others = rows[~rows["chosen"]]
        near = others[others["high"] >= best["low"]]
        edge = ""
        if len(rates) > 1 and best["lr"] in (rates[0], rates[-1]):
            side = "smallest" if best["lr"] == rates[0] else "largest"
            edge = f" It is the {side} rate tried: the best one may lie outside the grid."
        also = f"; the intervals of {len(near)} of {len(others)} other rates overlap with it" if len(others) else ""
        out.append(
            f"{label}: {best['lr']:g}, with {percent(best['accuracy'])} % of {int(best['problems']):,} validation "
            f"problems{also}.{edge}"
        )
    return out


def curriculum(metrics: pd.DataFrame, cell: str = "core") -> list[str]:
    """For each teacher: how the share of correct rollouts and the number of pairs moved from first to last quarter."""
    out = []
    for teacher, rows in metrics[metrics["cell"] == cell].groupby("teacher", sort=False):
        steps = int(rows["step"].max()) + 1
        first, last = rows[rows["step"] < steps / 4], rows[rows["step"] >= steps - steps / 4]
        share, pairs = ([float(part[name].mean()) for part in (first, last)] for name in ("share_correct", "pairs"))
        norms = ""
        names = [f"grad_norm/{part}" for part in ("distil", "contrast")]
        if set(names) <= set(rows.columns) and rows[names].notna().any().all():
            ratios = [float((p[names[1]] / p[names[0]]).mean()) for p in (first, last)]
            norms = (
                f"; the gradient norm of the contrast term was {ratios[0]:.2f} times that of the weighted distillation "
                f"term, and {ratios[1]:.2f} times at the end"
            )
        out.append(
            f"Teacher {teacher}: from the first to the last quarter of {steps} steps the share of correct rollouts "
            f"went from {percent(share[0])} to {percent(share[1])} % and the pairs a step from {pairs[0]:.1f} to "
            f"{pairs[1]:.1f}{norms}."
        )
    return out


def leaks(table: pd.DataFrame) -> list[str]:
    """For each model and context of a leak `summarise` table: the answer's probability at the first and last cut."""
    out = []
    for (model, context), rows in table.groupby(["model", "context"], sort=False):
        rows = rows.sort_values("fraction")
        first, last = rows.iloc[0], rows.iloc[-1]
        beside = "" if context == "none" else f", {100 * first['excess']:+.1f} points against the bare question"
        out.append(
            f"{model}, reading {'the question alone' if context == 'none' else f'the {context}'}: the gold answer has "
            f"probability {percent(first['probability'])} % ({percent(first['low'])} to {percent(first['high'])}) at "
            f"{first['fraction']:.0%} of the response{beside}, and {percent(last['probability'])} % at "
            f"{last['fraction']:.0%} ({int(first['rollouts'])} rollouts of {int(first['problems'])} problems)."
        )
    return out


def effects(table: pd.DataFrame) -> list[str]:
    """From `loss_pull.effects`: which methods raise all right responses and lower all others, and which do not."""
    kinds: dict[str, list[str]] = {}
    for method, rows in table.groupby("method", sort=False):
        right, other = (rows.loc[rows["correct"] == flag, "change"] for flag in (True, False))
        if (rows["change"] == 0).all():
            kind = "No gradient on this group"
        elif (right > 0).all() and (other < 0).all():
            kind = "Every right response up, every other one down"
        elif (right > 0).all():
            kind = "Every right response up, but at least one other as well"
        else:
            kind = "At least one right response down"
        kinds.setdefault(kind, []).append(f"{method} (right {right.mean():+.2f}, other {other.mean():+.2f} nats)")
    return [f"{kind}: {'; '.join(methods)}." for kind, methods in kinds.items()]

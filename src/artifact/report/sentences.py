"""Sentences made from numbers: what a notebook says about its results is computed, never written beforehand.

Every sentence carries the number, its interval and its n, and says "cannot be told apart" where the interval contains
0. Left out: any judgement that the numbers do not make themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from artifact.report.tables import SAME, percent


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def differences(table: pd.DataFrame) -> list[str]:
    """One sentence for each row of a `difference_table`."""
    out = []
    for r in table.itertuples():
        where = "" if r.scope == "all" else f" on {r.scope} problems"
        interval = f"95 % interval {100 * r.low:+.1f} to {100 * r.high:+.1f}, p = {r.p_value:.2g}, n = {r.problems:,}"
        if r.verdict == SAME:
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
    """For each teacher: the group (family or tier) with the largest share of sure and wrong problems."""
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

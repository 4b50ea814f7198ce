"""How often the rule behind every verdict (`differences.CLAIMS`) is wrong: false claims, and effects that it misses.

The variances of a real difference d_sp (seeds s, problems p: `stats/crossed.py`) are measured on stored evaluations,
and experiments of the same size are drawn from them and put through the rule itself:

    A/A          σ² of seeds and of what is left, none of problems: two names of one method
    no mean      the measured σ² of problems too: methods that differ on problems, and on average do not
    planted      the same with a true difference, found alone, and found in a table of m comparisons: its p is the
                 smallest of the table, which Holm multiplies by m

Real re-runs stand beside them: the seeds of one method, split in two halves in every way. Left out: the rule itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from artifact.report.differences import LEVEL, compared, outcomes, verdict, with_base
from artifact.report.text import SAME, count, interval, number, percent, say
from artifact.stats.crossed import Components, components, power, power_over_seeds
from artifact.stats.interval import wilson_interval

PLANTED = 0.02
"""The true difference that is planted: two points."""

MOST_SEEDS = 60
"""Up to so many seeds are looked through for how many a difference needs."""

RESAMPLES = 200
"""Of each bootstrap and sign-flip test here: they are held against p = 0.05, and there are a thousand of them."""


def calibration(
    evaluation: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    comparisons: int,
    *,
    planted: float = PLANTED,
    rounds: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """The rule on experiments like each of `pairs` (ids: method, reference) under each teacher, `rounds` of a kind.

    `comparisons` is m, how many the table of the pair has. Columns: split, teacher, label, reference, seeds (shared),
    problems, sd_seeds, sd_problems, sd_rest (of d_sp), rounds, false_same (claims of A/A), false_mean (of no mean
    difference), found, found_in_table (of the planted one), comparisons, planted, effect_found (true difference that is
    found in four of five experiments in the table), seeds_needed (for that of `planted`; missing beyond `MOST_SEEDS`).
    Missing where the two share fewer than two seeds.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for (split, teacher), group in with_base(evaluation).groupby(["split", "teacher"], sort=False):
        tables = {cell: outcomes(part) for cell, part in group.groupby("cell", sort=False)}
        labels = dict(zip(group["cell"], group["label"], strict=True))
        for cell, reference in pairs:
            a, b = tables[cell], tables[reference]
            shared = a.index.intersection(b.index)
            size = {"seeds": len(shared), "problems": a.shape[1]}
            row: dict[str, Any] = {"split": split, "teacher": teacher, "label": labels[cell]}
            row |= {"reference": labels[reference], **size, "comparisons": comparisons, "planted": planted}
            if len(shared) > 1:
                found = components((a.loc[shared] - b.loc[shared]).to_numpy())
                row |= _rates(found, size, comparisons, planted, rounds, rng)
                row |= _needs(found, size, comparisons, planted)
            rows.append(row)
    return pd.DataFrame(rows, columns=CALIBRATION)


CALIBRATION = (
    "split teacher label reference seeds problems sd_seeds sd_problems sd_rest rounds false_same false_mean found "
    "found_in_table comparisons planted effect_found seeds_needed"
).split()
"""The columns of `calibration`, in order."""


def _rates(
    of: Components, size: Mapping[str, int], comparisons: int, planted: float, rounds: int, rng: np.random.Generator
) -> dict[str, Any]:
    def claims(true: Components, among: int = 1) -> list[list[bool]]:
        rows = [draw(true, size["seeds"], size["problems"], rng) for _ in range(rounds)]
        return [[verdict(r | {"p_holm": min(1.0, m * r["p_both"])}) != SAME for r in rows] for m in (1, among)]

    same, _ = claims(Components(0.0, of.seeds, 0.0, of.rest))
    mean, _ = claims(Components(0.0, of.seeds, of.problems, of.rest))
    alone, in_table = claims(Components(planted, of.seeds, of.problems, of.rest), comparisons)
    return {
        "sd_seeds": of.seeds**0.5,
        "sd_problems": of.problems**0.5,
        "sd_rest": of.rest**0.5,
        "rounds": rounds,
        "false_same": float(np.mean(same)),
        "false_mean": float(np.mean(mean)),
        "found": float(np.mean(alone)),
        "found_in_table": float(np.mean(in_table)),
    }


def draw(true: Components, seeds: int, problems: int, rng: np.random.Generator) -> dict[str, Any]:
    """One experiment of two methods whose difference has these variances, compared (`differences.compared`).

    The methods lie symmetrically about 1/2 and are kept within [0, 1], which cuts differences beyond ± 1.
    """
    d = true.mean + true.seeds**0.5 * rng.standard_normal((seeds, 1))
    d = d + true.problems**0.5 * rng.standard_normal((1, problems))
    d = np.clip(d + true.rest**0.5 * rng.standard_normal((seeds, problems)), -1, 1)
    return compared(pd.DataFrame(0.5 + d / 2), pd.DataFrame(0.5 - d / 2), ("a", "b"), RESAMPLES)


def _needs(of: Components, size: Mapping[str, int], comparisons: int, planted: float) -> dict[str, Any]:
    """What would be found in four of five experiments, by the power of the two tests that seeds enter."""

    def lacking(effect: float, seeds: int) -> float:
        both = power(of, effect, seeds, size["problems"], (1 - LEVEL) / comparisons)
        return min(both, power_over_seeds(of, effect, seeds, size["problems"], 1 - LEVEL)) - 0.8

    enough = (seeds for seeds in range(2, MOST_SEEDS + 1) if lacking(planted, seeds) >= 0)
    return {
        "effect_found": _root(lambda effect: lacking(effect, size["seeds"])),
        "seeds_needed": float(next(enough, np.nan)),
    }


def _root(lacking: Callable[[float], float]) -> float:
    """Where `lacking` rises through 0, on (0, 1]; looked for upwards, as the power of a large effect has no number."""
    for effect in 2.0 ** np.arange(-14, 1):
        if lacking(effect) >= 0:
            return float(brentq(lacking, effect / 2, effect))
    return float("nan")


def halves(evaluation: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    """Real A/A: the seeds of each of `cells`, four at least, split into two halves in every way and compared.

    Columns: split, teacher, label, seeds (of a half), problems, splits, false_claims (how many), largest (|difference|
    over the splits). The splits of one method share its runs, so they are not independent.
    """
    rows = []
    chosen = evaluation[evaluation["cell"].isin(cells)]
    for (split, teacher, label), group in chosen.groupby(["split", "teacher", "label"], sort=False):
        table = outcomes(group)
        half = len(table) // 2
        seeds = tuple(table.index[: 2 * half])
        parts = [(*seeds[:1], *more) for more in combinations(seeds[1:], half - 1)] if half > 1 else []
        found = [_between(table, part, 2 * half) for part in parts]
        rows.append(
            {
                "split": split,
                "teacher": teacher,
                "label": label,
                "seeds": half,
                "problems": table.shape[1],
                "splits": len(found),
                "false_claims": sum(verdict(r | {"p_holm": r["p_both"]}) != SAME for r in found),
                "largest": max((abs(r["difference"]) for r in found), default=np.nan),
            }
        )
    return pd.DataFrame(rows)


def _between(table: pd.DataFrame, part: tuple[int, ...], of: int) -> dict[str, Any]:
    """The seeds of `part` against the rest of the first `of`, their order taken for a pairing."""
    rest = [seed for seed in table.index[:of] if seed not in part]
    a, b = (table.loc[list(seeds)].reset_index(drop=True) for seeds in (part, rest))
    return compared(a, b, ("a", "b"), RESAMPLES)


# --- as a reader sees them -------------------------------------------------------------------------------------------


def format_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """`calibration` in percent and points."""
    sds = zip(table["sd_seeds"], table["sd_problems"], table["sd_rest"], strict=True)
    planted = table["planted"].iloc[0]
    return pd.DataFrame(
        {
            "split": table["split"],
            "teacher": table["teacher"],
            "difference": table["label"] + " minus " + table["reference"],
            "seeds": table["seeds"].astype(str),
            "problems": table["problems"].map(count),
            "SD of seeds, problems, rest, points": [", ".join(percent(sd) for sd in three) for three in sds],
            "A/A claimed, %": table["false_same"].map(percent),
            "no mean difference claimed, %": table["false_mean"].map(percent),
            f"{percent(planted)} points found alone, %": table["found"].map(percent),
            f"among {table['comparisons'].iloc[0]} comparisons, %": table["found_in_table"].map(percent),
            "found in 80 %, points": table["effect_found"].map(percent),
            f"seeds for {percent(planted)} points": [number(n, 0) for n in table["seeds_needed"]],
        }
    )


def format_halves(table: pd.DataFrame) -> pd.DataFrame:
    """`halves` in points."""
    return pd.DataFrame(
        {
            "split": table["split"],
            "teacher": table["teacher"],
            "method": table["label"],
            "seeds against seeds": [f"{n} against {n}" for n in table["seeds"]],
            "problems": table["problems"].map(count),
            "splits": table["splits"].astype(str),
            "claimed": table["false_claims"].astype(str),
            "largest difference, points": [percent(x) for x in table["largest"]],
        }
    )


def sentences(table: pd.DataFrame, real: pd.DataFrame) -> list[str]:
    """What `calibration` and `halves` say: false claims over all, power, and what it would take."""
    known = table[table["rounds"].notna()]
    if known.empty:
        return ["every method has one seed, from which nothing may be claimed, so there is nothing to calibrate"]
    told = []
    nothing = {"false_same": "two names of one method", "false_mean": "methods that do not differ on average"}
    for column, what in nothing.items():
        n = int(known["rounds"].sum())
        hits = round(float((known[column] * known["rounds"]).sum()))
        share = wilson_interval(hits, n)
        told.append(
            f"of {n:,} simulated comparisons of {what}, {hits} were claimed: "
            f"{interval(100 * share.estimate, 100 * share.low, 100 * share.high, digits=1)} %"
        )
    if splits := int(real["splits"].sum()):
        claimed = int(real["false_claims"].sum())
        told.append(f"of {splits} real ones, halves of one method's seeds, {claimed} were claimed")
    for row in known.to_dict("records"):
        needed = "more than {most}" if row["seeds_needed"] != row["seeds_needed"] else "{seeds_needed:,}"
        told.append(
            say(
                "teacher {teacher}, {label} against {reference}: {planted:%} points are found in {found:%} % of "
                "experiments with {seeds} seeds and {problems:,} problems, in {found_in_table:%} % among {comparisons} "
                f"comparisons; found in four of five: {{effect_found:%}} points, and {{planted:%}} with {needed} seeds",
                row,
                most=MOST_SEEDS,
            )
        )
    return told

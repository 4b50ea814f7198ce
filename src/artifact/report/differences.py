"""Methods compared on the same problems: their outcomes, their differences, and which of those may be claimed.

A difference reads "no significant difference" unless problems *and* seeds support it. Over problems: the interval
leaves out 0 and the sign-flip test rejects (on few problems the bootstrap alone claims too much). Over training seeds:
a t-test rejects, paired where the two methods share them (what three seeds happened to do would pass for what a method
does). Over both at once: the crossed test rejects after Holm's correction over the whole table (two tests of one mean,
each blind to the other's error, reject together too often). `CLAIMS` says so to a reader, and `verdicts.py` measures
how often the rule is wrong. Left out: how a table is shown (`tables.py`), and the tests themselves (`stats/paired.py`,
`stats/crossed.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.provenance import text_hash
from artifact.report.styles import ordered
from artifact.report.text import SAME
from artifact.stats.bootstrap import RESAMPLES
from artifact.stats.crossed import crossed_difference
from artifact.stats.interval import Interval
from artifact.stats.paired import is_significant, paired_difference, seeds_p_value

REFERENCE = "opd"
"""The id of what methods are compared with: standard on-policy distillation."""

BASE = "base"
"""The id of the untouched student. It has no teacher, so it stands beside the runs of each teacher."""

UNTRAINED = (BASE, "teacher")
"""The ids of models that no run trained: they have no training seeds, so none can disagree."""

CLAIMS = (
    "A difference is claimed only where problems and seeds support it: the interval over problems leaves out 0, a "
    "sign-flip test over problems and a t-test over training seeds (paired, because runs of one seed share their "
    "prompts) each give p ≤ 0.05, and so does, after Holm's correction over all comparisons of the table, a t-test "
    "that counts problems and seeds as samples at once; one seed supports no claim."
)
"""The sentence that stands under every table with verdicts."""


def with_base(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The frame with the rows of `BASE`, which depends on no teacher, once for each teacher."""
    is_base = evaluation["cell"] == BASE
    base = evaluation[is_base].drop_duplicates(["seed", "split", "problem_id", "sample"])
    rest = evaluation[~is_base]
    parts = [f for t in dict.fromkeys(rest["teacher"]) for f in (base.assign(teacher=t), rest[rest["teacher"] == t])]
    return pd.concat(parts, ignore_index=True) if parts else base


def outcomes(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Seeds × problems of one method under one teacher on one split: 0/1, or the mean over samples.

    Raises ArtifactError when a response appears twice or a seed lacks a problem: a mean over the rest is biased.
    """
    names = evaluation[["label", "teacher", "split"]].drop_duplicates()
    if len(names) != 1:
        raise ArtifactError(f"outcomes are those of one label, teacher and split; got {names.to_dict('records')[:3]}")
    who = " / ".join(map(str, names.iloc[0]))
    keys = ["seed", "problem_id", "sample"]
    if evaluation.duplicated(keys).any():
        twice = evaluation.loc[evaluation.duplicated(keys), keys].iloc[0].to_dict()
        raise ArtifactError(f"{who}: response {twice} appears twice; pass each run once")
    table = evaluation.assign(correct=evaluation["correct"].astype(float)).pivot_table(
        index="seed", columns="problem_id", values="correct", aggfunc="mean"
    )
    if table.isna().to_numpy().any():
        raise ArtifactError(f"{who}: not every seed has every problem; evaluate all seeds on the same problems")
    return table


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's adjusted p-values (1979): the i-th smallest of m times m − i + 1, made non-decreasing, at most 1."""
    p = np.asarray(list(p_values), dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(x) for x in adjusted]


def difference_table(
    evaluation: pd.DataFrame,
    *,
    reference: str | Sequence[str] = REFERENCE,
    of: str | None = None,
    by: str | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Each cell minus the cell `reference` (an id, or several in turn) on the same problems, under the same teacher.

    of  only this cell's rows, so that a table holds the comparisons that are claimed and no other
    by  None: all problems; `family` or `difficulty`: one row for each of its values as well.
    Two trained methods are compared on the seeds they share, where these are two at least; else on all of both.
    Columns: split, teacher, cell, label, reference (its label), reference_cell (its id), scope (`all` or the value),
    problems, seeds, difference, low, high (over problems), p_value (sign flips over problems), p_both (problems and
    seeds at once; `p_value` where seeds cannot vary or say nothing), p_holm (of `p_both`, over all comparisons of
    this table; what stands in several rows, such as two methods without a teacher under each teacher, or a method
    and its reference with their parts exchanged, is one comparison), smallest_detectable (80 % power before Holm;
    missing where nothing varies), resolution (|difference| over it), sd_seeds (SD over seeds of the difference;
    missing with one, or where the seeds are not the same), se_problems (SE of the difference over problems),
    seeds_agreeing (per-seed differences with the sign of the mean, `2/3`; missing where the seeds of the two differ
    or there is one), verdict (`CLAIMS`), p_seeds (`seeds_p_value`; missing with one seed, and between two untrained
    models).
    Raises ArtifactError when a reference, or the cell `of`, was not run.
    """
    evaluation = with_base(evaluation)
    references = [reference] if isinstance(reference, str) else list(reference)
    if of is not None and of not in set(evaluation["cell"]):
        raise ArtifactError(f"the cell {of!r} was not run; there are {', '.join(dict.fromkeys(evaluation['cell']))}")
    rows = [row for one in references for row in _differences(evaluation, one, of, by, resamples)]
    together = {r["compared"]: r["p_both"] for r in rows}
    adjusted = dict(zip(together, holm(together.values()), strict=True))
    for row in rows:
        row["p_holm"] = adjusted[row["compared"]]
        row["verdict"] = verdict(row)
    return pd.DataFrame(rows, columns=DIFFERENCES)


def verdict(row: Mapping[str, Any]) -> str:
    """`higher`, `lower`, or that there is no significant difference (`CLAIMS`), of a comparison with its `p_holm`."""
    interval = Interval(row["difference"], row["low"], row["high"], LEVEL, "of the row")
    untrained = row["p_seeds"] is None and row["seeds_can_vary"] is False
    seeds = untrained or (row["p_seeds"] is not None and row["p_seeds"] <= 1 - LEVEL)
    if not (seeds and is_significant(interval, row["p_value"]) and row["p_holm"] <= 1 - LEVEL):
        return SAME
    return "higher" if row["difference"] > 0 else "lower"


def _differences(
    evaluation: pd.DataFrame, reference: str, of: str | None, by: str | None, resamples: int
) -> list[dict[str, Any]]:
    """The rows of one reference, without what depends on all rows."""
    rows = []
    for (split, teacher), group in evaluation.groupby(["split", "teacher"], sort=False):
        labels = dict(zip(group["cell"], group["label"], strict=True))
        if reference not in labels:
            raise ArtifactError(
                f"{split} / {teacher}: the reference {reference!r} was not run; there are {', '.join(labels)}"
            )
        tables = {labels[cell]: outcomes(group[group["cell"] == cell]) for cell in labels}
        minus = labels[reference]
        for label, table in tables.items():
            if set(table.columns) != set(tables[minus].columns):
                raise ArtifactError(f"{label!r} and {minus!r} (teacher {teacher}) were evaluated on different problems")
        scopes: dict[str, list[str]] = {"all": list(tables[minus].columns)}
        if by is not None:
            value_of = group.drop_duplicates("problem_id").set_index("problem_id")[by]
            scopes |= {v: [p for p in scopes["all"] if value_of[p] == v] for v in ordered(value_of)}
        for scope, problems in scopes.items():
            known = {label: text_hash(table[problems].to_csv()) for label, table in tables.items()}
            who = {"split": split, "teacher": teacher, "reference": minus, "reference_cell": reference, "scope": scope}
            rows += [
                {**who, "cell": cell, "label": label, "compared": frozenset((known[label], known[minus]))}
                | compared(tables[label][problems], tables[minus][problems], (cell, reference), resamples)
                for cell, label in labels.items()
                if cell != reference and of in (None, cell)
            ]
    return rows


DIFFERENCES = (
    "split teacher cell label reference reference_cell scope problems seeds difference low high p_value p_both "
    "p_holm smallest_detectable resolution sd_seeds se_problems seeds_agreeing verdict p_seeds"
).split()
"""The columns of `difference_table`, in order."""

LEVEL = 0.95
"""The level of the intervals; a claim needs p ≤ 1 − LEVEL."""


def compared(a: pd.DataFrame, b: pd.DataFrame, cells: tuple[str, str], resamples: int = RESAMPLES) -> dict[str, Any]:
    """One comparison, a minus b: the columns of `difference_table` that do not depend on the other rows.

    `a`, `b` are `outcomes` on the same problems, `cells` their ids.
    """
    fixed = [cell in UNTRAINED for cell in cells]
    shared = a.index.intersection(b.index)
    if not any(fixed) and len(shared) > 1:
        a, b = a.loc[shared], b.loc[shared]
    paired = paired_difference(a.to_numpy(), b.to_numpy(), LEVEL, resamples)
    d = paired.difference
    out: dict[str, Any] = {
        "problems": paired.problems,
        "seeds": max(len(a), len(b)),
        "difference": d.estimate,
        "low": d.low,
        "high": d.high,
        "p_value": paired.p_value,
        "p_both": paired.p_value,
        "smallest_detectable": paired.smallest_detectable,
        "sd_seeds": None,
        "se_problems": paired.sd_problems / len(a.columns) ** 0.5,
        "seeds_agreeing": None,
        "p_seeds": None,
        "seeds_can_vary": not all(fixed),
    }
    if not all(fixed):
        out |= _over_seeds(*((b, a) if fixed[0] else (a, b)), any(fixed))
    known = out["smallest_detectable"] == out["smallest_detectable"]
    return out | {"resolution": abs(out["difference"]) / out["smallest_detectable"] if known else None}


def _over_seeds(a: pd.DataFrame, b: pd.DataFrame, fixed: bool) -> dict[str, Any]:
    """What seeds say of a trained method `a` minus `b`, which is `fixed` where no seed varies it."""
    per_a, per_b = a.mean(axis=1), b.mean(axis=1)
    p_seeds = seeds_p_value(per_a.to_dict(), per_b.to_dict(), fixed=fixed)
    paired = fixed or list(a.index) == list(b.index)
    crossed = crossed_difference(a.to_numpy(), b.to_numpy(), paired=paired)
    if p_seeds is None or crossed is None:
        return {"p_seeds": None}
    out: dict[str, Any] = {
        "p_seeds": p_seeds,
        "p_both": crossed.p_value,
        "smallest_detectable": crossed.smallest_detectable,
    }
    if paired:
        out["sd_seeds"] = crossed.se_seeds * len(a) ** 0.5
    if paired and not fixed:
        d = per_a - per_b
        out["seeds_agreeing"] = f"{int((np.sign(d) == np.sign(d.mean())).sum())}/{len(d)}"
    return out

"""Methods compared on the same problems: their outcomes, their differences, and which of those may be claimed.

A difference reads "no significant difference" unless problems *and* seeds support it: its interval over problems leaves
out 0, the sign-flip test over problems rejects at the same level after Holm's correction over the whole table, and so
does a t-test over training seeds, paired where the two methods share them. (On few problems the bootstrap alone claims
too much; over problems alone, what three seeds happened to do passes for what a method does.) `CLAIMS` says so to a
reader. Left out: how a table is shown (`tables.py`), and the tests themselves (`stats/paired.py`).
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
from artifact.stats.interval import Interval
from artifact.stats.paired import is_significant, paired_difference, seeds_p_value

REFERENCE = "opd"
"""The id of what methods are compared with: standard on-policy distillation."""

BASE = "base"
"""The id of the untouched student. It has no teacher, so it stands beside the runs of each teacher."""

UNTRAINED = (BASE, "teacher")
"""The ids of models that no run trained: they have no training seeds, so none can disagree."""

CLAIMS = (
    "A difference is claimed only where problems and seeds support it: the interval over problems leaves out 0, the "
    "sign-flip test over problems gives p ≤ 0.05 after Holm's correction over all comparisons of the table, and a "
    "t-test over training seeds, paired because runs of one seed share their prompts, gives p ≤ 0.05; one seed "
    "supports no claim."
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
    Columns: split, teacher, cell, label, reference (its label), reference_cell (its id), scope (`all` or the value),
    problems, seeds, difference, low, high, p_value (sign flips over problems), p_holm (over all comparisons of this
    table; what stands in several rows, such as two methods without a teacher under each teacher, or a method and its
    reference with their parts exchanged, is one comparison),
    smallest_detectable (80 % power; missing where no problem differs), seeds_agreeing (per-seed differences with the
    sign of the mean, `2/3`; missing where the seeds of the two differ or there is one), verdict (`CLAIMS`), p_seeds
    (`seeds_p_value`; missing with one seed, and between two untrained models).
    Raises ArtifactError when a reference, or the cell `of`, was not run.
    """
    evaluation = with_base(evaluation)
    references = [reference] if isinstance(reference, str) else list(reference)
    if of is not None and of not in set(evaluation["cell"]):
        raise ArtifactError(f"the cell {of!r} was not run; there are {', '.join(dict.fromkeys(evaluation['cell']))}")
    rows = [row for one in references for row in _differences(evaluation, one, of, by, resamples)]
    compared = {r["compared"]: r["p_value"] for r in rows}
    adjusted = dict(zip(compared, holm(compared.values()), strict=True))
    for row in rows:
        row["p_holm"] = adjusted[row["compared"]]
        row["verdict"] = _verdict(row)
    return pd.DataFrame(rows, columns=DIFFERENCES)


def _verdict(row: Mapping[str, Any]) -> str:
    """`higher`, `lower`, or that there is no significant difference (`CLAIMS`)."""
    interval = Interval(row["difference"], row["low"], row["high"], LEVEL, "of the row")
    untrained = row["p_seeds"] is None and row["seeds_can_vary"] is False
    seeds = untrained or (row["p_seeds"] is not None and row["p_seeds"] <= 1 - LEVEL)
    if not (seeds and is_significant(interval, row["p_holm"])):
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
        scopes: dict[str, list[str]] = {"all": list(tables[minus].columns)}
        if by is not None:
            value_of = group.drop_duplicates("problem_id").set_index("problem_id")[by]
            scopes |= {v: [p for p in scopes["all"] if value_of[p] == v] for v in ordered(value_of)}
        for scope, problems in scopes.items():
            who = {"split": split, "teacher": teacher, "reference": minus, "reference_cell": reference, "scope": scope}
            rows += [
                {**who, "cell": cell, "label": label}
                | _difference(tables, label, minus, problems, teacher, resamples)
                | _over_seeds(tables[label][problems], tables[minus][problems], cell, reference)
                for cell, label in labels.items()
                if cell != reference and of in (None, cell)
            ]
    return rows


DIFFERENCES = (
    "split teacher cell label reference reference_cell scope problems seeds difference low high p_value p_holm "
    "smallest_detectable seeds_agreeing verdict p_seeds"
).split()
"""The columns of `difference_table`, in order."""

LEVEL = 0.95
"""The level of the intervals; a claim needs p ≤ 1 − LEVEL."""


def _over_seeds(a: pd.DataFrame, b: pd.DataFrame, cell: str, reference: str) -> dict[str, Any]:
    """How the per-seed accuracies of two methods differ: p_seeds, seeds_agreeing, and whether seeds can vary at all."""
    per_a, per_b = a.mean(axis=1), b.mean(axis=1)
    out: dict[str, Any] = {"seeds_can_vary": not (cell in UNTRAINED and reference in UNTRAINED), "seeds_agreeing": None}
    if len(a) > 1 and list(a.index) == list(b.index):
        d = (a - b).mean(axis=1)
        out["seeds_agreeing"] = f"{int((np.sign(d) == np.sign(d.mean())).sum())}/{len(d)}"
    if not out["seeds_can_vary"]:
        return out | {"p_seeds": None}
    fixed = cell in UNTRAINED or reference in UNTRAINED
    trained, other = (per_b, per_a) if cell in UNTRAINED else (per_a, per_b)
    return out | {"p_seeds": seeds_p_value(trained.to_dict(), other.to_dict(), fixed=fixed)}


def _difference(
    tables: Mapping[str, pd.DataFrame], label: str, reference: str, problems: list[str], teacher: object, resamples: int
) -> dict[str, Any]:
    a, b = tables[label], tables[reference]
    missing = [p for p in problems if p not in a.columns]
    if missing or len(a.columns) != len(b.columns):
        raise ArtifactError(f"{label!r} and {reference!r} (teacher {teacher}) were evaluated on different problems")
    a, b = a[problems], b[problems]
    paired = paired_difference(a.to_numpy(), b.to_numpy(), LEVEL, resamples)
    d = paired.difference
    return {
        "problems": paired.problems,
        "seeds": len(a),
        "difference": d.estimate,
        "low": d.low,
        "high": d.high,
        "p_value": paired.p_value,
        "smallest_detectable": paired.smallest_detectable,
        "compared": frozenset(text_hash(table.to_csv()) for table in (a, b)),
    }

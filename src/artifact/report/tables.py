"""The tables of the papers, as numbers (fractions of 1, tokens, seconds) and as a reader sees them (`format_*`).

Each function takes the frames of `artifact.studies.results` and gives one row per method; rows stay in the order of the
study and are never ranked. Two spreads appear, and each column says which: ± is the SD over training seeds, an interval
is a percentile bootstrap over problems (both explained in `stats/accuracy.py`). A difference reads "no significant
difference" unless problems *and* seeds support it: its interval over problems leaves out 0, the sign-flip test over
problems rejects at the same level after Holm's correction over the whole table, and so does a t-test over training
seeds, paired where the two methods share them. (On few problems the bootstrap alone claims too much; over problems
alone, what three seeds happened to do passes for what a method does.) `CLAIMS` says so to a reader. Left out: running
anything, and drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.phase1.validation import compare_scores
from artifact.provenance import text_hash
from artifact.report.styles import ordered
from artifact.report.text import DASH, bounds, count, interval, intervals, number, p_value, percent, spread, yes_no
from artifact.report.text import SAME as SAME  # the verdict that a reader filters tables by
from artifact.report.times import phase_seconds
from artifact.stats.accuracy import accuracy_interval, seed_spread
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
    "t-test over training seeds, paired because runs of one seed share their prompts, gives p ≤ 0.05; one seed supports "
    "no claim."
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


def accuracy_table(evaluation: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Accuracy of each label under each teacher (UOPD Table 1 and 2).

    Columns: split, teacher, cell, label, seeds, problems, samples (per problem), accuracy, sd (over seeds; missing with
    one), low, high (over problems, seeds averaged), response_tokens (mean), `difficulty:<name>`, `sd:<name>` per
    difficulty.
    """
    evaluation = with_base(evaluation)
    rows = []
    for (split, teacher, cell, label), group in evaluation.groupby(["split", "teacher", "cell", "label"], sort=False):
        table = outcomes(group)
        interval, spread = accuracy_interval(table.to_numpy(), 0.95, resamples), seed_spread(table.to_numpy())
        row: dict[str, Any] = {
            "split": split,
            "teacher": teacher,
            "cell": cell,
            "label": label,
            "seeds": len(table),
            "problems": table.shape[1],
            "samples": int(group["sample"].nunique()),
            "accuracy": interval.estimate,
            "sd": spread.sd,
            "low": interval.low,
            "high": interval.high,
            "response_tokens": float(group["response_tokens"].mean()),
        }
        difficulty_of = group.drop_duplicates("problem_id").set_index("problem_id")["difficulty"]
        for difficulty in ordered(evaluation["difficulty"]):
            columns = [p for p in table.columns if difficulty_of[p] == difficulty]
            inside = seed_spread(table[columns].to_numpy()) if columns else None
            row |= {
                f"difficulty:{difficulty}": inside.mean if inside else None,
                f"sd:{difficulty}": inside.sd if inside else None,
            }
        rows.append(row)
    return pd.DataFrame(rows)


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
    by: str | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Each cell minus the cell `reference` (an id, or several in turn) on the same problems, under the same teacher.

    by  None: all problems; `family` or `difficulty`: one row for each of its values as well.
    Columns: split, teacher, cell, label, reference (its label), scope (`all` or the value), problems, seeds,
    difference, low, high, p_value (sign flips over problems), p_holm (over all comparisons of this table; what stands
    in several rows, such as two methods without a teacher under each teacher, or a method and its reference with their
    parts exchanged, is one comparison),
    smallest_detectable (80 % power; missing where no problem differs), seeds_agreeing (per-seed differences with the
    sign of the mean, `2/3`; missing where the seeds of the two differ or there is one), verdict (`CLAIMS`), p_seeds
    (`seeds_p_value`; missing with one seed, and between two untrained models).
    Raises ArtifactError when a reference was not run.
    """
    evaluation = with_base(evaluation)
    references = [reference] if isinstance(reference, str) else list(reference)
    rows = [row for one in references for row in _differences(evaluation, one, by, resamples)]
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


def _differences(evaluation: pd.DataFrame, reference: str, by: str | None, resamples: int) -> list[dict[str, Any]]:
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
            of = group.drop_duplicates("problem_id").set_index("problem_id")[by]
            scopes |= {value: [p for p in scopes["all"] if of[p] == value] for value in ordered(of)}
        for scope, problems in scopes.items():
            who = {"split": split, "teacher": teacher, "reference": minus, "scope": scope}
            rows += [
                {**who, "cell": cell, "label": label}
                | _difference(tables, label, minus, problems, teacher, resamples)
                | _over_seeds(tables[label][problems], tables[minus][problems], cell, reference)
                for cell, label in labels.items()
                if cell != reference
            ]
    return rows


DIFFERENCES = (
    "split teacher cell label reference scope problems seeds difference low high p_value p_holm smallest_detectable "
    "seeds_agreeing verdict p_seeds"
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


def compute_budget(
    metrics: pd.DataFrame, settings: pd.DataFrame, annotation_tokens: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """What each method was given: means over seeds of whole training runs. `training_times` has the seconds.

    `settings` is `comparison.run_settings` of the study; `annotation_tokens` holds, by teacher, the tokens of phase 1's
    samples. Columns: teacher, cell, label, seeds, steps, prompts, rollouts, examples, response_tokens (sampled by
    the student), teacher_tokens (response tokens scored by the teacher, or by the initial student where uses_teacher is
    `self`), teacher_tokens_sampled (CORE's fallback answers, and all of phase 1 for a method that reads its weights or
    samples; missing for those when `annotation_tokens` does not name the teacher), reads_gold, uses_teacher (`yes`,
    `self`, `no`). Raises ArtifactError for a run without settings.
    """
    of = settings.drop_duplicates(["cell", "teacher"]).set_index(["cell", "teacher"])
    sums = ["rollouts", "examples", "response_tokens", "teacher_tokens"]
    rows = []
    for (teacher, cell, label), group in metrics.groupby(["teacher", "cell", "label"], sort=False):
        if (cell, teacher) not in of.index:
            raise ArtifactError(
                f"cell {cell!r} with teacher {teacher!r} is not part of the study whose settings were given"
            )
        given, per_seed = of.loc[(cell, teacher)], group.groupby("seed")
        steps = float(per_seed["step"].nunique().mean())
        sampled = float(per_seed["fallback_tokens"].sum().mean()) if "fallback_tokens" in group else 0.0
        if given["reads_annotation"]:
            sampled += (annotation_tokens or {}).get(str(teacher), float("nan"))
        rows.append(
            {
                "teacher": teacher,
                "cell": cell,
                "label": label,
                "seeds": per_seed.ngroups,
                "steps": steps,
                "prompts": steps * given["prompts_per_step"],
                **{n: float(x) for n, x in per_seed[sums].sum().mean().items()},
                "teacher_tokens_sampled": sampled,
                "reads_gold": given["reads_gold"],
                "uses_teacher": given["uses_teacher"],
            }
        )
    return pd.DataFrame(rows)


def training_times(metrics: pd.DataFrame) -> pd.DataFrame:
    """Seconds of a whole training loop, mean over seeds; neither phase 1 nor evaluation is in them."""
    keys = ["teacher", "cell", "label"]
    per_seed = metrics[[*keys, "seed"]].assign(seconds=phase_seconds(metrics).sum(axis=1))
    runs = per_seed.groupby([*keys, "seed"], sort=False)["seconds"].sum()
    return runs.groupby(keys, sort=False).agg(seeds="size", seconds="mean").reset_index()


def auroc_table(scores: Mapping[str, pd.DataFrame], *, resamples: int = 2000) -> pd.DataFrame:
    """AUROC of each uncertainty score for the teacher's errors: `compare_scores` for each teacher's `score_table`."""
    frames = [compare_scores(table, resamples=resamples).assign(teacher=teacher) for teacher, table in scores.items()]
    table = pd.concat(frames, ignore_index=True)
    return table[["teacher", *(c for c in table.columns if c != "teacher")]]


def annotation_summary(annotations: Mapping[str, pd.DataFrame], by: str = "difficulty") -> pd.DataFrame:
    """Phase 1 in numbers, for each teacher and each value of `by` (`difficulty` or `family`), and over all.

    Columns: teacher, group, n, greedy_accuracy, majority_accuracy, entropy (mean H / log N), zero (share with H = 0),
    weight (mean w), clusters (mean), sure_and_wrong (share with H / log N ≤ 0.5 whose greedy answer is wrong:
    what semantic entropy cannot see), signal_wrong (share of all weight that lies on problems the teacher gets wrong).
    """
    rows = []
    for teacher, frame in annotations.items():
        for value in ("all", *ordered(frame[by])):
            part = frame if value == "all" else frame[frame[by] == value]
            right = part["greedy_correct"].astype(bool)
            total = float(part["weight"].sum())
            rows.append(
                {
                    "teacher": teacher,
                    "group": value,
                    "n": len(part),
                    "greedy_accuracy": float(right.mean()),
                    "majority_accuracy": float(part["majority_correct"].astype(bool).mean()),
                    "entropy": float(part["normalised"].mean()),
                    "zero": float((part["normalised"] == 0).mean()),
                    "weight": float(part["weight"].mean()),
                    "clusters": float(part["clusters"].mean()),
                    "sure_and_wrong": float(((part["normalised"] <= 0.5) & ~right).mean()),
                    "signal_wrong": float(part.loc[~right, "weight"].sum()) / total if total > 0 else None,
                }
            )
    return pd.DataFrame(rows)


# --- as a reader sees them -------------------------------------------------------------------------------------------


def format_accuracy(table: pd.DataFrame, differences: pd.DataFrame | None = None) -> pd.DataFrame:
    """`accuracy_table` in percent. With a `difference_table`, a column says how each row stands to the reference."""
    shown = pd.DataFrame({"split": table["split"], "teacher": table["teacher"], "method": table["label"]})
    shown["seeds"] = table["seeds"].astype(str)
    shown["accuracy %, mean ± SD over seeds"] = list(map(spread, table["accuracy"], table["sd"]))
    ends = zip(table["low"], table["high"], strict=True)
    shown["95 % interval over problems"] = [bounds(low, high, percent) for low, high in ends]
    if differences is not None:
        overall = differences[differences["scope"] == "all"]
        keys = zip(overall["split"], overall["teacher"], overall["label"], strict=True)
        verdicts = dict(zip(keys, overall["verdict"], strict=True))
        name = overall["reference"].iloc[0]
        mine = zip(table["split"], table["teacher"], table["label"], strict=True)
        shown[f"against {name}"] = [verdicts.get(key, "reference") for key in mine]
    for column in [c for c in table.columns if c.startswith("difficulty:")]:
        difficulty = column.removeprefix("difficulty:")
        shown[difficulty] = list(map(spread, table[column], table[f"sd:{difficulty}"]))
    return shown


def format_differences(table: pd.DataFrame) -> pd.DataFrame:
    """`difference_table` in percentage points."""
    return pd.DataFrame(
        {
            "split": table["split"],
            "teacher": table["teacher"],
            "method": table["label"],
            "minus": table["reference"],
            "problems of": table["scope"],
            "n": table["problems"].map(count),
            "difference, points": [percent(d, sign=True) for d in table["difference"]],
            "95 % interval": [bounds(r.low, r.high, percent, sign=True) for r in table.itertuples()],
            "p": table["p_value"].map(p_value),
            "p (Holm)": table["p_holm"].map(p_value),
            "detectable, points": table["smallest_detectable"].map(percent),
            "seeds agreeing": table["seeds_agreeing"].fillna(DASH),
            "verdict": table["verdict"],
            "p over seeds": [DASH if p is None or p != p else p_value(p) for p in table["p_seeds"]],
        }
    )


def format_budget(table: pd.DataFrame) -> pd.DataFrame:
    """`compute_budget` with thousands separators; a dash where a number was not given."""
    counts = {
        "steps": "steps",
        "prompts": "prompts",
        "rollouts": "rollouts",
        "response tokens": "response_tokens",
        "teacher tokens scored": "teacher_tokens",
        "teacher tokens sampled": "teacher_tokens_sampled",
    }
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "method": table["label"],
            **{name: table[column].map(count) for name, column in counts.items()},
            "reads gold": yes_no(table["reads_gold"]),
            "uses teacher": table["uses_teacher"],
        }
    )


def format_auroc(table: pd.DataFrame) -> pd.DataFrame:
    """`auroc_table` with intervals in brackets and the paired difference from semantic entropy."""
    paired = [
        "reference"
        if r.minus_reference != r.minus_reference
        else interval(r.minus_reference, r.diff_lower, r.diff_upper, sign=True)
        + (f", {SAME}" if r.diff_lower <= 0 <= r.diff_upper else "")
        for r in table.itertuples()
    ]
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "score": table["score"].str.replace("_", " "),
            "problems": table["n"].map(count),
            "wrong": table["n_wrong"].map(count),
            "AUROC (95 % interval)": intervals(table, "auroc"),
            "minus semantic entropy": paired,
        }
    )


def format_annotations(table: pd.DataFrame) -> pd.DataFrame:
    """`annotation_summary` in percent."""
    names = {
        "greedy_accuracy": "greedy accuracy %",
        "majority_accuracy": "majority accuracy %",
        "zero": "H = 0, %",
        "sure_and_wrong": "sure and wrong %",
        "signal_wrong": "weight on wrong problems %",
    }
    shown = pd.DataFrame({"teacher": table["teacher"], "problems": table["group"], "n": table["n"].map(count)})
    for column, name in names.items():
        shown[name] = table[column].map(percent)
    for column, name in {"entropy": "mean H / log N", "weight": "mean weight", "clusters": "mean clusters"}.items():
        shown[name] = [number(value, 2) for value in table[column]]
    return shown

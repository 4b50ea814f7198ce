"""The tables of the papers, as numbers (fractions of 1, tokens, seconds) and as a reader sees them (`format_*`).

Each function takes the frames of `artifact.studies.results` and gives one row per method; rows stay in the order of the
study and are never ranked. Two spreads appear, and each column says which: ± is the SD over training seeds, an interval
is a percentile bootstrap over problems (both explained in `stats/accuracy.py`). Left out: running anything, drawing,
and which differences may be claimed (`differences.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from artifact.errors import ArtifactError
from artifact.phase1.validation import compare_scores
from artifact.report.differences import BASE as BASE
from artifact.report.differences import CLAIMS as CLAIMS  # the sentence that stands under every table with verdicts
from artifact.report.differences import REFERENCE as REFERENCE
from artifact.report.differences import difference_table as difference_table
from artifact.report.differences import outcomes as outcomes
from artifact.report.differences import with_base as with_base
from artifact.report.styles import ordered
from artifact.report.text import DASH, bounds, count, interval, intervals, number, p_value, percent, spread, yes_no
from artifact.report.text import SAME as SAME  # the verdict that a reader filters tables by
from artifact.report.times import phase_seconds
from artifact.stats.accuracy import accuracy_interval, seed_spread
from artifact.stats.bootstrap import RESAMPLES


def accuracy_table(evaluation: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Accuracy of each label under each teacher (UOPD Table 1 and 2).

    Columns: split, teacher, cell, label, reads_gold (whether its training read gold answers or solutions), seeds,
    problems, samples (per problem), accuracy, sd (over seeds; missing with one), low, high (over problems, seeds
    averaged), response_tokens (mean), `difficulty:<name>`, `sd:<name>` per difficulty.
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
            "reads_gold": bool(group["reads_gold"].iloc[0]),
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
    shown["reads labels"] = yes_no(table["reads_gold"])
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
    """`difference_table` in percentage points; of the two sources of error, SD over seeds and SE over problems."""
    errors = zip(table["sd_seeds"], table["se_problems"], strict=True)
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
            "p over problems": table["p_value"].map(p_value),
            "p over seeds": [DASH if p is None or p != p else p_value(p) for p in table["p_seeds"]],
            "p (both)": table["p_both"].map(p_value),
            "p (Holm)": table["p_holm"].map(p_value),
            "SD over seeds, SE over problems": [f"{percent(sd, 2)}, {percent(se, 2)}" for sd, se in errors],
            "detectable, points": table["smallest_detectable"].map(percent),
            "resolution": [number(r, 1) for r in table["resolution"]],
            "seeds": table["seeds"].astype(str),
            "seeds agreeing": table["seeds_agreeing"].fillna(DASH),
            "verdict": table["verdict"],
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

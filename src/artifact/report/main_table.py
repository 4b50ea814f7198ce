"""The drafts' main tables in their own rows and columns (UOPD Table 1; CORE section 4.2): pass@1 beside avg@k.

One block of rows per student–teacher pair; of each benchmark the greedy accuracy and the mean over k samples. A number
is marked as the best only where the rule of every verdict (`differences.CLAIMS`) supports it: the method is claimed to
lie above each other model of the student's size in its block and column. Left out: intervals, differences from a
reference and difficulties, which the wide tables behind it have (`tables.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.report.differences import difference_table, outcomes, with_base
from artifact.report.text import spread, yes_no
from artifact.stats.accuracy import seed_spread
from artifact.stats.bootstrap import RESAMPLES

UOPD_TABLE_1 = {
    "base": "Base",
    "opd": "Standard OPD",
    "grpo": "GRPO",
    "opsd": "Self-Distilled Reasoner",
    "uopd-soft": "UOPD (Ours)",
    "teacher": "Teacher",
}
"""Cell → row of UOPD's Table 1, in its order; the teacher, whom the text names an upper bound, stands below."""

CORE_MAIN_TABLE = {
    "sft": "Supervised fine-tuning baseline",
    "core-distil": "Distillation only (no contrastive)",
    "core-contrast": "Contrastive only (no distillation)",
    "core": "TCD (full method)",
    "teacher": "Teacher performance (upper bound)",
    "opd": "Standard OPD",
    "grpo": "GRPO",
}
"""Cell → row of the table that CORE's section 4.2 asks for, in its order; two baselines of the other paper below."""

TEACHER = "teacher"
"""The cell that is no model of the student's size: never the best of them."""

BEST = " *"
"""The mark behind a best number."""

MARKED = (
    "* the best of the student's size: claimed to lie above each other row of its block in that column but the "
    "teacher's, by the rule of all verdicts (problems and seeds at once, Holm's correction over these rows)"
)
"""The sentence that explains the mark."""


def pair_names(config: Config) -> dict[str, str]:
    """Teacher → how the tables head its block: `Student: Qwen3-1.7B, teacher: Qwen3-8B`."""
    student = Path(config.models.student).name
    return {
        name: f"Student: {student}, teacher: {Path(model).name}"
        for name, model in sorted(config.models.teachers.items())
    }


def main_table(
    measured: Mapping[str, pd.DataFrame], rows: Mapping[str, str], *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """One row per pair, method, benchmark and metric.

    measured  metric → evaluation frame (`results.evaluation_frame`), in the order of the columns: `pass@1`, `avg@16`
    rows      cell → its name in the draft, in the order of the rows; other cells of the frames are left out

    Columns: teacher, cell, label (the draft's name), reads_gold, split, metric, accuracy, sd (over seeds; missing with
    one), seeds, problems, samples (per problem), best. Raises ArtifactError for a row that was not measured.
    """
    out: list[dict[str, Any]] = []
    for metric, evaluation in measured.items():
        frame = with_base(evaluation)
        frame = frame[frame["cell"].isin(rows)]
        for (split, teacher), block in frame.groupby(["split", "teacher"], sort=False):
            if missing := [cell for cell in rows if cell not in set(block["cell"])]:
                raise ArtifactError(f"{split} / {teacher}, {metric}: the row(s) {', '.join(missing)} were not measured")
            best = _best(block, resamples)
            for cell, name in rows.items():
                part = block[block["cell"] == cell]
                table = outcomes(part)
                of = seed_spread(table.to_numpy())
                who = {"teacher": teacher, "cell": cell, "label": name, "reads_gold": bool(part["reads_gold"].iloc[0])}
                size = {"seeds": len(table), "problems": table.shape[1], "samples": int(part["sample"].nunique())}
                value = {"split": split, "metric": metric, "accuracy": of.mean, "sd": of.sd}
                out.append(who | value | size | {"best": cell == best})
    return pd.DataFrame(out)


def _best(block: pd.DataFrame, resamples: int) -> str | None:
    """The cell that is claimed to lie above each other one of the student's size; None where there is no such claim."""
    students = block[block["cell"] != TEACHER]
    accuracy = {cell: outcomes(part).to_numpy().mean() for cell, part in students.groupby("cell", sort=False)}
    top = max(accuracy, key=lambda cell: float(accuracy[cell]))
    others = difference_table(students, reference=top, resamples=resamples)
    return top if len(others) and (others["verdict"] == "lower").all() else None


def format_main(table: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """`main_table` as the drafts print it: a block per pair (`pair_names`), a column per benchmark and metric."""
    columns = [f"{split} {metric}" for split in table["split"].unique() for metric in table["metric"].unique()]
    cells = [spread(r.accuracy, r.sd) + (BEST if r.best else "") for r in table.itertuples()]
    long = table.assign(shown=cells, column=table["split"] + " " + table["metric"])
    wide = long.pivot(index=["teacher", "cell"], columns="column", values="shown")
    out = []
    for teacher, block in long.groupby("teacher", sort=False):
        for cell, part in block.groupby("cell", sort=False):
            first = {"pair": pairs[str(teacher)], "method": part["label"].iloc[0]}
            marks = {"reads labels": yes_no(part["reads_gold"].iloc[:1]).iloc[0], "seeds": str(part["seeds"].max())}
            out.append(first | marks | {column: wide.loc[(teacher, cell), column] for column in columns})
    return pd.DataFrame(out)


def columns_said(table: pd.DataFrame) -> str:
    """How many problems, samples and seeds stand behind the columns of `main_table`, in words for its caption."""
    parts = []
    for (split, metric), part in table.groupby(["split", "metric"], sort=False):
        samples, problems, seeds = (sorted(set(part[name])) for name in ("samples", "problems", "seeds"))
        many = "one greedy response" if samples == [1] else f"{samples[-1]} samples"
        over = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed(s)"
        parts.append(f"{metric} on {split}: {many} to each of {problems[-1]:,} problems, {over}")
    return "; ".join(parts)

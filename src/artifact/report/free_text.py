"""Free text in tables: what a task's verdicts and scores look like, entropies beside one another, scores of methods.

Frames in, frames out; intervals are 95 % over problems. Left out: measuring (`evaluate/scores.py`,
`phase1/similarity.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from artifact.phase1.similarity import COLUMN
from artifact.records import Problem, Verdict
from artifact.report.text import count, interval, number, p_value, percent
from artifact.stats.auroc import auroc_bootstrap
from artifact.stats.bootstrap import RESAMPLES
from artifact.stats.checks import OneClassOnly
from artifact.stats.paired import is_significant, paired_difference

ENTROPIES = {
    "semantic_entropy": "classes of equal meaning",
    "answer_string_entropy": "equal strings",
    COLUMN: "similarity by the metric",
}
"""The entropies of free text: column of a score table, and what makes two answers alike."""


def verdict_rows(problems: Sequence[Problem], texts: Sequence[str], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per response: family, question, response, verdict, metric, score."""
    return pd.DataFrame(
        {
            "family": [p.meta["family"] for p in problems],
            "question": [p.question for p in problems],
            "response": texts,
            "verdict": [str(v.status) for v in verdicts],
            "metric": [v.rule for v in verdicts],
            "score": [math.nan if v.score is None else v.score for v in verdicts],
        }
    )


def entropy_by_family(
    scores: Mapping[str, pd.DataFrame], families: Mapping[str, str], *, resamples: int = 2000
) -> pd.DataFrame:
    """AUROC of each of ENTROPIES for the teacher's errors, by teacher and family.

    scores    teacher → score table with the column of `phase1.similarity.with_similarity`
    families  problem id → family
    Columns: teacher, family, n, wrong, entropy, mean (of H / log N), auroc, lower, upper; the last three are NaN where
    the teacher is only right or only wrong, so that there is nothing to tell apart.
    """
    rows = []
    for teacher, table in scores.items():
        for family, part in table.groupby(table["problem_id"].map(families), sort=False):
            for name in ENTROPIES:
                try:
                    found = auroc_bootstrap(part[name], part["wrong"], resamples=resamples)
                    ends = (found.estimate, found.low, found.high)
                except OneClassOnly:
                    ends = (math.nan,) * 3
                rows.append((teacher, family, len(part), int(part["wrong"].sum()), name, part[name].mean(), *ends))
    return pd.DataFrame(rows, columns=["teacher", "family", "n", "wrong", "entropy", "mean", "auroc", "lower", "upper"])


def format_entropies(table: pd.DataFrame) -> pd.DataFrame:
    """`entropy_by_family` for reading."""
    ends = table[["auroc", "lower", "upper"]].itertuples(index=False)
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "family": table["family"],
            "problems": table["n"].map(count),
            "wrong": table["wrong"].map(count),
            "entropy over": table["entropy"].map(ENTROPIES),
            "mean H / log N": table["mean"].map(lambda x: number(x, 2)),
            "AUROC (95 % interval)": ["one class only" if a != a else interval(a, low, high) for a, low, high in ends],
        }
    )


def score_changes(frame: pd.DataFrame, base: str, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Mean change of the score from `base` (a label) to each other label, paired by problem, by family.

    frame  a row per response: label, family, rule (the metric), problem_id, score; of a problem and label that has
           several, by seed, their mean
    Columns: family, metric, label, problems, change, lower, upper (95 % bootstrap over problems), p_value (sign flips),
    smallest (the change that so many problems find in 80 % of cases), significant.
    """
    rows = []
    for (family, metric), part in frame.groupby(["family", "rule"], sort=False):
        scores = part.pivot_table(index="problem_id", columns="label", values="score", aggfunc="mean")
        for label in dict.fromkeys(part["label"]):
            if label != base:
                d = paired_difference(scores[label], scores[base], resamples=resamples)
                ends = (d.difference.estimate, d.difference.low, d.difference.high, d.p_value, d.smallest_detectable)
                claimed = is_significant(d.difference, d.p_value)
                rows.append((family, metric, label, len(scores), *ends, claimed))
    names = ["family", "metric", "label", "problems", "change", "lower", "upper", "p_value", "smallest", "significant"]
    return pd.DataFrame(rows, columns=names)


def format_changes(table: pd.DataFrame) -> pd.DataFrame:
    """`score_changes` for reading, in points of a hundred."""
    rows = list(table.itertuples())
    return pd.DataFrame(
        {
            "task": table["family"],
            "metric": table["metric"],
            "method": table["label"],
            "problems": table["problems"].map(count),
            "change": [interval(r.change, r.lower, r.upper, percent, sign=True) for r in rows],
            "p": table["p_value"].map(p_value),
            "could be found": table["smallest"].map(percent),
            "in words": [
                ("better" if r.change > 0 else "worse") if r.significant else "no difference to be told" for r in rows
            ],
        }
    )


def format_scores(table: pd.DataFrame) -> pd.DataFrame:
    """`evaluate.scores.score_table` by teacher, label and family, in percent."""
    rows = list(table.itertuples())
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "method": table["label"],
            "family": table["family"],
            "correct %": [interval(r.correct, r.correct_low, r.correct_high, percent) for r in rows],
            "metric": table["metric"],
            "score %": [interval(r.score, r.score_low, r.score_high, percent) for r in rows],
        }
    )

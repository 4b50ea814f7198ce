"""A headline under several graders: accuracy by each, how far they agree, and every response on which they do not.

accuracy    mean of `correct` by one grader with its interval over problems (`stats.accuracy_interval`)
agreement   share of responses on which two graders both say correct or both say not correct, with Cohen's kappa:
            κ = (p_o − p_e) / (1 − p_e), p_o observed agreement, p_e that of independent graders with the same rates;
            κ is None where a grader gives only one verdict on everything, since p_e may then be 1
disagreements   the responses that divide the graders, with their texts, what each extracted and said

Several samples of a problem are averaged within it before an interval is drawn. Left out: which grader is right; that
is what reading the list is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from artifact.errors import EmptyDataset
from artifact.records import Problem, Rollout
from artifact.stats.bootstrap import cluster_bootstrap
from artifact.stats.interval import Interval, wilson_interval
from artifact.tasks.graders import as_columns, grade
from artifact.tasks.verifier import Verifier

HEADLINE = "math_verify"
"""The grader whose accuracy is the headline."""


@dataclass(frozen=True)
class GraderReport:
    """What the graders say about one set of responses.

    accuracy       a row per grader: grader, accuracy, low, high, level, method, unparsed, timeout, error, responses,
                   problems, difference (to the headline grader, in accuracy)
    agreement      a row per pair: first, second, agreement, kappa, only_first, only_second (responses only one accepts)
    """

    accuracy: pd.DataFrame
    agreement: pd.DataFrame


def graded(
    problems: Sequence[Problem],
    groups: Sequence[Sequence[Rollout]],
    graders: Sequence[str] | None = None,
    verifier: Verifier | None = None,
) -> pd.DataFrame:
    """One row per response: problem_id, sample, gold, question, response, `<grader>` (status) and `<grader>_answer`.

    `verifier` is the run's own, so that the headline is the number the run reports and the other graders look for an
    answer where it does (`tasks/graders.py`); default: the shared one with the default rules. Raises EmptyDataset for
    no responses, ValueError for an unknown grader.
    """
    flat = [(p, r) for p, group in zip(problems, groups, strict=True) for r in group]
    if not flat:
        raise EmptyDataset("no responses to grade: agreement cannot be measured on nothing")
    verdicts = grade([r.text for _, r in flat], [p.answer for p, _ in flat], graders, verifier)
    return pd.DataFrame(
        {
            "problem_id": [p.id for p, _ in flat],
            "sample": [r.sample for _, r in flat],
            "gold": [p.answer for p, _ in flat],
            "question": [p.question for p, _ in flat],
            "response": [r.text for _, r in flat],
            **as_columns(verdicts),
        }
    )


def graders_in(frame: pd.DataFrame) -> list[str]:
    """The graders whose verdicts a frame of `graded` holds."""
    return [str(c).removesuffix("_answer") for c in frame.columns if str(c).endswith("_answer")]


def report_of(frame: pd.DataFrame) -> GraderReport:
    """The report on a frame of `graded`, or on several of them joined: rows of one problem_id are one cluster."""
    if frame.empty:
        raise EmptyDataset("no graded responses: agreement cannot be measured on nothing")
    correct = {name: frame[name].eq("correct").to_numpy() for name in graders_in(frame)}
    owner = pd.factorize(frame["problem_id"])[0]
    headline = float(np.mean(correct.get(HEADLINE, next(iter(correct.values())))))
    rows = []
    for name, outcome in correct.items():
        interval = _interval(outcome, owner, 0.95, 0)
        rows.append(
            {
                "grader": name,
                "accuracy": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "level": interval.level,
                "method": interval.method,
                **{status: int(frame[name].eq(status).sum()) for status in ("unparsed", "timeout", "error")},
                "responses": len(outcome),
                "problems": len(set(owner.tolist())),
                "difference": float(outcome.mean()) - headline,
            }
        )
    return GraderReport(pd.DataFrame(rows), pairwise_agreement(correct))


def disagreements(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame of `graded` that some graders accept and others do not, for reading."""
    divided = frame[graders_in(frame)].eq("correct").nunique(axis=1) > 1
    return frame[divided].reset_index(drop=True)


def pairwise_agreement(correct: dict[str, np.ndarray]) -> pd.DataFrame:
    """Agreement and Cohen's kappa of each pair of graders; `correct` holds one bool a response for each."""
    columns = ["first", "second", "agreement", "kappa", "only_first", "only_second"]
    rows = []
    for a, b in combinations(correct, 2):
        x, y = correct[a].astype(bool), correct[b].astype(bool)
        only = int((x & ~y).sum()), int((y & ~x).sum())
        rows.append((a, b, float((x == y).mean()), cohens_kappa(x, y), *only))
    return pd.DataFrame(rows, columns=columns)


def cohens_kappa(x: np.ndarray, y: np.ndarray) -> float | None:
    """Cohen's kappa of two graders' verdicts; None where one of them gives one verdict only (Cohen 1960)."""
    from sklearn.metrics import cohen_kappa_score

    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        return None
    return float(cohen_kappa_score(x, y))


def _interval(outcome: np.ndarray, owner: np.ndarray, level: float, seed: int) -> Interval:
    if len(set(owner.tolist())) == len(owner):  # one response per problem: independent trials
        return wilson_interval(int(outcome.sum()), len(outcome), level)
    return cluster_bootstrap(outcome.astype(float), owner, level, seed=seed)

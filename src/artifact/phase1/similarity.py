"""Entropy of free text without a judge: how alike the answers are by a metric, in place of classes.

    H_s = −Σ_n q_n log Σ_m q_m s(n, m)          nats; q_n as in Eq. 4, s(n, m) in [0, 1], s(n, n) = 1

the similarity-sensitive entropy of order 1 (Leinster & Cobbold 2012, Ecology 93). With s = 1 for equal strings alone it
is the answer-string entropy, with s = 1 inside a class and 0 between classes the semantic entropy, and 0 where all
answers are alike. A sample without an answer is like none but itself. A metric that compares with no text (the share of
constraints) says nothing of two answers: ROUGE-L stands in (`comparing`). Left out: classes (`clustering.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from artifact.errors import ArtifactError
from artifact.phase1.entropy import Floats, sample_weights
from artifact.phase1.records import Annotation
from artifact.records import Problem
from artifact.tasks.metrics import Metric, find_metric

COLUMN = "similarity_entropy"
"""The column of a score table that holds H_s / log N."""


def similarity_entropy(mean_logprobs_N: ArrayLike, similarity_NN: ArrayLike) -> float:
    """H_s in nats. Raises ArtifactError unless the similarities are symmetric, in [0, 1], and 1 on the diagonal."""
    weights_N = sample_weights(mean_logprobs_N)
    s_NN = np.asarray(similarity_NN, dtype=np.float64)
    if s_NN.shape != (len(weights_N), len(weights_N)):
        raise ArtifactError(f"similarities have shape {s_NN.shape}; {len(weights_N)} samples need one for each pair")
    if not (np.array_equal(s_NN, s_NN.T) and (s_NN.diagonal() == 1).all() and s_NN.min() >= 0 and s_NN.max() <= 1):
        raise ArtifactError("similarities must be symmetric, lie in [0, 1], and be 1 between a sample and itself")
    q_N = weights_N / weights_N.sum()
    return max(0.0, -math.fsum(q_N * np.log(s_NN @ q_N)))


def comparing(metric: Metric) -> Metric:
    """`metric` where it compares texts, else ROUGE-L."""
    return metric if metric.compared else find_metric("rougeL")


def similarities(answers_N: Sequence[str | None], metric: Metric) -> Floats:
    """s(n, m): the mean of the metric's two directions, each answer in turn the reference; None = no answer."""
    n = len(answers_N)
    s_NN = np.eye(n)
    for i in range(n):
        for j in range(i):
            left, right = answers_N[i], answers_N[j]
            if left is not None and right is not None:
                s_NN[i, j] = s_NN[j, i] = (
                    1.0 if left == right else (_one(metric, left, right) + _one(metric, right, left)) / 2
                )
    return s_NN


def _one(metric: Metric, text: str, reference: str) -> float:
    return metric.score(text, Problem("samples", "", reference, None, "", ""))


def normalised_similarity_entropy(annotation: Annotation, metric: Metric) -> float:
    """H_s / log N of the samples that an annotation counts, in [0, 1]."""
    valid = [bool(p) for p in annotation.parsed]
    counted = [i for i, v in enumerate(valid) if v or annotation.normaliser == "n"]
    answers = [annotation.answers[i] if valid[i] else None for i in counted]
    value = similarity_entropy([annotation.mean_logprobs[i] for i in counted], similarities(answers, metric))
    return min(1.0, value / math.log(annotation.n_counted))


def with_similarity(
    table: pd.DataFrame, annotations: Sequence[Annotation], metric_of: Callable[[str], Metric]
) -> pd.DataFrame:
    """A score table (`validation.score_table`) with the column `similarity_entropy`; `metric_of` a problem's id."""
    values = {a.problem_id: normalised_similarity_entropy(a, metric_of(a.problem_id)) for a in annotations}
    return table.assign(**{COLUMN: table["problem_id"].map(values)})

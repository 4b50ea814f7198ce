"""Metrics of free text by name, each in [0, 1], from the field's own libraries.

bleu     sentence BLEU of sacrebleu: effective n-gram order, exponential smoothing, 13a tokens; all references at once
chrf     sentence chrF of sacrebleu: character 6-grams, β = 2; all references at once
rouge1, rouge2, rougeL  F-measure of rouge-score without stemming; of several references the one that fits best

They equal what the libraries' command lines print for one line of text (`sacrebleu -sl`, `rouge_score.rouge`), divided
by 100 where those print percentages. A problem's references are `meta["references"]`, else its answer. Left out: what
score makes a response correct (`grading.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from artifact.errors import ArtifactError
from artifact.records import Problem

ROUNDING = 1e-9
"""How far beyond 0 or 1 a metric may come by rounding; it is put back to the end."""


class MetricError(ArtifactError, ValueError):
    """A metric cannot be computed, or gave what is no score; the message names metric, problem and value."""


@dataclass(frozen=True)
class Metric:
    """A score of a response to a problem; `compared` says whether it needs a reference text."""

    name: str
    function: Callable[[str, Problem], float]
    compared: bool = False

    def score(self, text: str, problem: Problem) -> float:
        """The score in [0, 1]. Raises MetricError for any other value."""
        value = float(self.function(text, problem))
        if not -ROUNDING <= value <= 1 + ROUNDING or math.isnan(value):
            raise MetricError(
                f"metric {self.name!r} gave {value} for a response to problem {problem.id!r}; scores lie in [0, 1]: "
                "divide percentages by 100, and turn round what is better when it is smaller"
            )
        return min(1.0, max(0.0, value))


def references_of(problem: Problem) -> list[str]:
    """The texts a response is compared with: `meta["references"]`, else the answer, without empty ones."""
    given = problem.meta.get("references")
    return [text for text in ([problem.answer] if given is None else given) if text and text.strip()]


def require_references(metric: str, problems: Sequence[Problem]) -> None:
    """MetricError that names the problems without a reference text."""
    bare = [p.id for p in problems if not references_of(p)]
    if bare:
        raise MetricError(
            f"metric {metric!r} compares with reference texts, and {len(bare)} of {len(problems)} problems have none, "
            f"first {bare[:3]}: give each an answer (or meta['references']), or leave these problems out"
        )


@cache
def _sacrebleu(name: str) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(effective_order=True) if name == "bleu" else CHRF()


@cache
def _rouge(name: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=False)


def _by_sacrebleu(name: str, text: str, problem: Problem) -> float:
    return _sacrebleu(name).sentence_score(text, references_of(problem)).score / 100


def _by_rouge(name: str, text: str, problem: Problem) -> float:
    return _rouge(name).score_multi(references_of(problem), text)[name].fmeasure


METRICS: dict[str, Metric] = {
    **{name: Metric(name, partial(_by_sacrebleu, name), compared=True) for name in ("bleu", "chrf")},
    **{name: Metric(name, partial(_by_rouge, name), compared=True) for name in ("rouge1", "rouge2", "rougeL")},
}
"""The metrics that are known by name; a task may bring its own."""


def find_metric(metric: str | Metric) -> Metric:
    """The metric called so, or the one given; MetricError lists the names for an unknown one."""
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise MetricError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}, or give a Metric of your own")
    return METRICS[metric]

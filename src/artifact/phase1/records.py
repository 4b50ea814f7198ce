"""The record of phase 1: one `Annotation` a problem, from which every weight, table and figure can be rebuilt."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from artifact.phase1.clustering import contradictions
from artifact.phase1.judge import Judgement
from artifact.records import Record, RecordError
from artifact.tasks.answer_text import untypeset

NORMALISERS = ("n", "n_valid")
"""`n`: entropy over all N samples, unparsed ones as singletons, divided by log N (the paper).
`n_valid`: entropy over the samples with an answer only, divided by the log of their number."""


@dataclass(frozen=True, slots=True)
class Annotation(Record):
    """Semantic entropy of the teacher on one problem, with all it was computed from. Entropies in nats.

    Per problem
        n, n_valid            samples drawn, samples with an answer
        normaliser            `n` or `n_valid`, see NORMALISERS; the samples *counted* below are all n, or the n_valid
        entropy               probability-weighted semantic entropy, Eq. 5
        discrete_entropy      the same from class counts
        normalised, weight    H / log N in [0, 1] and 1 − H / log N, Eq. 6
        clusters              number of classes among the counted samples
        majority_answer       most frequent raw answer of the largest class; "" when no sample has an answer
        majority_share        that class's share of the counted samples; 0 when no sample has an answer
        majority_correct      1 verified correct, 0 not (also when there is no answer), −1 unknown (the verifier failed)
        answer_string_entropy entropy over raw answer strings, = entropy + Σ_c cluster_probs[c] · intra_entropy[c]
        mean_logprob          mean over the counted samples of ℓ/|y| (a baseline uncertainty score)
        judge, judgements     name of the judge, and the verdicts that were asked for
    Per sample (length n)
        cluster_ids, answers (raw; "" where unparsed), parsed (1 or 0), token_counts, mean_logprobs (ℓ/|y|)
    Per class (length max(cluster_ids) + 1; 0 for classes that are not counted)
        cluster_probs, intra_entropy (the aleatoric part)
    """

    problem_id: str
    n: int
    n_valid: int
    normaliser: str
    entropy: float
    discrete_entropy: float
    normalised: float
    weight: float
    clusters: int
    cluster_ids: tuple[int, ...]
    answers: tuple[str, ...]
    parsed: tuple[int, ...]
    cluster_probs: tuple[float, ...]
    intra_entropy: tuple[float, ...]
    majority_answer: str
    majority_share: float
    majority_correct: int
    answer_string_entropy: float
    mean_logprob: float
    token_counts: tuple[int, ...]
    mean_logprobs: tuple[float, ...]
    judge: str
    judgements: tuple[Judgement, ...] = ()

    COLUMNS: ClassVar[dict[str, str]] = {
        "problem_id": "str",
        "n": "int",
        "n_valid": "int",
        "normaliser": "str",
        "entropy": "float",
        "discrete_entropy": "float",
        "normalised": "float",
        "weight": "float",
        "clusters": "int",
        "cluster_ids": "[int]",
        "answers": "[str]",
        "parsed": "[int]",
        "cluster_probs": "[double]",
        "intra_entropy": "[double]",
        "majority_answer": "str",
        "majority_share": "float",
        "majority_correct": "int",
        "answer_string_entropy": "float",
        "mean_logprob": "float",
        "token_counts": "[int]",
        "mean_logprobs": "[double]",
        "judge": "str",
        "judgements": "json",
    }

    def __post_init__(self) -> None:
        for name in ("cluster_ids", "answers", "parsed", "token_counts", "mean_logprobs"):
            if len(getattr(self, name)) != self.n:
                raise RecordError(
                    f"annotation of problem {self.problem_id!r} has n = {self.n} samples but "
                    f"{len(getattr(self, name))} entries in `{name}`"
                )
        if self.normaliser not in NORMALISERS:
            raise RecordError(
                f"annotation of problem {self.problem_id!r}: unknown normaliser {self.normaliser!r}; use one of "
                f"{NORMALISERS}"
            )

    @property
    def n_counted(self) -> int:
        """Number of samples behind the entropies: n, or n_valid under that normaliser."""
        return self.n if self.normaliser == "n" else self.n_valid

    @property
    def contradictions(self) -> list[Judgement]:
        """The judgements that call two answers different which share a class all the same (`clustering.py`)."""
        strings = [untypeset(a) if valid else None for a, valid in zip(self.answers, self.parsed, strict=True)]
        return contradictions(strings, self.cluster_ids, self.judgements)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Annotation:
        plain = super(Annotation, cls).from_row(row | {"judgements": "[]"})
        return replace(plain, judgements=tuple(Judgement(**j) for j in json.loads(row["judgements"])))

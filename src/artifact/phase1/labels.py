"""Where the labels come from: gold answers, or another model's majority answer; and how much the AUROC moves.

The paper calls answers of a larger model ground truth, so its AUROC is against a fallible label. Here both sources
exist side by side:

    gold    the verdict on the teacher's answer, against the gold answer of the problem
    model   the teacher's answer is *wrong* where it is not equivalent to the majority answer of a stronger annotated
            model; equivalence by the clustering rule (equal untypeset strings, else the judge; only True merges)

A model that shares the teacher's habits agrees with its errors. So both AUROCs are given, with the cells of
disagreement. Left out: how the stronger model was sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.phase1.clustering import cluster_many
from artifact.phase1.judge import EquivalenceJudge, SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.stats.auroc import compare_labels
from artifact.stats.interval import Interval
from artifact.tasks.answer_text import untypeset

SOURCES = ("gold", "model")


@dataclass(frozen=True, slots=True)
class SourceComparison:
    """One score under both label sources, on the problems that have both.

    problems          with both labels; `unlabelled` more have none from the model (it gave no answer)
    differ            share of the problems whose labels differ
    gold_only         wrong by gold, right by the model: errors that both models share
    model_only        right by gold, wrong by the model: errors of the labelling model, or of the comparison
    auroc_gold, auroc_model, difference   model − gold, paired interval over problems
    """

    score: str
    problems: int
    unlabelled: int
    wrong_gold: int
    wrong_model: int
    differ: float
    gold_only: int
    model_only: int
    auroc_gold: float
    auroc_model: float
    difference: Interval


def model_labels(
    annotations: Sequence[Annotation],
    stronger: Sequence[Annotation],
    judge: EquivalenceJudge | None = None,
    *,
    answers: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Labels of the teacher's answers by the majority answer of `stronger`; one row per problem of `annotations`.

    answers  problem id → the teacher's answer that is judged (None = it gave none), such as the greedy one; by default
             the majority answer of the annotation
    Columns: problem_id, answer, reference ("" where there is none), wrong (1, 0, or −1 where the stronger model gave no
    answer), decided (False where the judge could not tell and the pair counts as different).
    Raises ArtifactError when a problem is missing from `stronger` or `answers`, or is annotated twice.
    """
    judge = SymbolicJudge() if judge is None else judge
    reference = {a.problem_id: a.majority_answer for a in stronger}
    own = {a.problem_id: a.majority_answer for a in annotations}
    if len(reference) != len(stronger) or len(own) != len(annotations):
        raise ArtifactError("a problem is annotated twice; keep one annotation per problem and model")
    for name, have in (("the stronger model's annotations", reference), ("`answers`", answers)):
        missing = [i for i in own if have is not None and i not in have]
        if missing:
            raise ArtifactError(f"{name} lack {len(missing)} of {len(own)} problems, first {missing[0]!r}")
    given = {i: (own[i] if answers is None else answers[i]) or None for i in own}
    pairs = [[given[i], reference[i] or None] for i in own]
    rows = []
    for i, pair, clustering in zip(own, pairs, cluster_many(pairs, judge), strict=True):
        same = clustering.cluster_ids[0] == clustering.cluster_ids[1]
        wrong = -1 if untypeset(pair[1]) is None else int(not same)
        decided = all(j.equivalent is not None for j in clustering.judgements)
        rows.append((i, pair[0] or "", pair[1] or "", wrong, decided))
    return pd.DataFrame(rows, columns=["problem_id", "answer", "reference", "wrong", "decided"])


def compare_sources(table: pd.DataFrame, labels: pd.DataFrame, *, resamples: int = 2000) -> SourceComparison:
    """How the AUROC of one score moves when gold labels are replaced by a model's.

    `table` is a `score_table` with gold labels, `labels` the `model_labels` of the *same* answers. Raises ArtifactError
    when a problem of `table` has no row.
    """
    of = labels.set_index("problem_id")["wrong"]
    missing = [i for i in table["problem_id"] if i not in of.index]
    if missing:
        raise ArtifactError(f"`labels` has no row for {len(missing)} of {len(table)} problems, first {missing[0]!r}")
    model = table["problem_id"].map(of).to_numpy()
    both = model >= 0
    gold_P, model_P = table["wrong"].to_numpy(dtype=bool)[both], model[both] == 1
    c = compare_labels(table["semantic_entropy"].to_numpy()[both], model_P, gold_P, resamples=resamples)
    return SourceComparison(
        "semantic_entropy",
        int(both.sum()),
        int((~both).sum()),
        int(gold_P.sum()),
        int(model_P.sum()),
        float(np.mean(gold_P != model_P)),
        int((gold_P & ~model_P).sum()),
        int((~gold_P & model_P).sum()),
        c.auroc_b,
        c.auroc_a,
        c.difference,
    )


def source_table(comparisons: Mapping[str, SourceComparison]) -> pd.DataFrame:
    """One row per comparison."""
    rows = [
        (
            case,
            c.score,
            c.problems,
            c.unlabelled,
            c.wrong_gold,
            c.wrong_model,
            c.differ,
            c.gold_only,
            c.model_only,
            c.auroc_gold,
            c.auroc_model,
            c.difference.estimate,
            c.difference.low,
            c.difference.high,
        )
        for case, c in comparisons.items()
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "case",
            "score",
            "problems",
            "unlabelled",
            "wrong_gold",
            "wrong_model",
            "differ",
            "gold_only",
            "model_only",
            "auroc_gold",
            "auroc_model",
            "difference",
            "lower",
            "upper",
        ],
    )

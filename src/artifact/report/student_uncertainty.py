"""Is a student surer of itself after distillation than it is right? Its own samples, before and after training.

From k sampled responses of each problem (`evaluation_frame` of a sampled evaluation), as phase 1 does with a teacher:

    confidence  share of the samples in the largest class of answers; a sample without an answer is a class of its own
    H           entropy of the classes' counts (discrete semantic entropy), over log k
    right       whether the largest class is the correct one; of classes of one size, the share of them that is correct

Classes are those of the vote (`protocol.vote_classes`): all correct answers, and wrong ones that are equal by exact
comparison. Left out: sampling, and the probability-weighted entropy, which needs log-probabilities of the samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.evaluate.protocol import problem_values, vote_classes
from artifact.phase1.entropy import discrete_semantic_entropy
from artifact.report.text import count, interval, intervals, number, percent, split_column
from artifact.stats.auroc import auroc_bootstrap
from artifact.stats.bootstrap import bootstrap_values, percentile_interval
from artifact.stats.calibration import calibration
from artifact.stats.checks import Floats, OneClassOnly
from artifact.stats.interval import Interval


def self_uncertainty(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per problem of one model's samples: problem_id, samples, confidence, normalised (H / log k), right.

    Raises ArtifactError for fewer than two samples a problem, and the errors of `problem_values`.
    """
    value = problem_values(frame)
    k = len(frame) // len(value)
    if k < 2:
        raise ArtifactError(f"{k} sample(s) a problem say nothing of how sure a model is; sample at least 2")
    rows = []
    for problem_id, group in frame.groupby("problem_id", sort=False):
        voted = vote_classes(list(group["extracted"]), list(group["correct"]))
        classes = [c if c >= 0 else -1 - i for i, c in enumerate(voted)]
        sizes = Counter(classes)
        largest = [c for c, n in sizes.items() if n == max(sizes.values())]
        rows.append(
            {
                "problem_id": problem_id,
                "samples": k,
                "confidence": max(sizes.values()) / k,
                "normalised": discrete_semantic_entropy(classes) / math.log(k),
                "right": (0 in largest) / len(largest),
            }
        )
    return pd.DataFrame(rows)


def student_table(
    evaluation: pd.DataFrame, ks: Sequence[int] = (8,), *, bins: int = 10, resamples: int = 1000
) -> pd.DataFrame:
    """Every model of a sampled `evaluation_frame`, one seed each.

    Columns: split, teacher, cell, label, problems, samples, avg (mean accuracy of a sample), pass@k for each of `ks`,
    majority (accuracy of the largest class), confidence, normalised (mean H / log k), over (confidence − majority, with
    over_lower, over_upper: 95 % bootstrap over problems), ece (of the confidence for `right`, a tie counting as wrong),
    auroc, auroc_lower, auroc_upper (of H for a wrong majority; missing where a model is only right or only wrong).
    """
    rows = []
    for names, part in evaluation.groupby(["split", "teacher", "cell", "label"], sort=False):
        if part["seed"].nunique() != 1:
            raise ArtifactError(f"{' / '.join(map(str, names))}: give one seed; samples of several are not one model's")
        own, values = self_uncertainty(part), problem_values(part, ks)
        right = own["right"] == 1
        gap = _mean_interval((own["confidence"] - own["right"]).to_numpy(), resamples)
        row = dict(zip(("split", "teacher", "cell", "label"), names, strict=True))
        row |= {"problems": len(own), "samples": int(own["samples"].iloc[0]), "avg": float(values.iloc[:, 0].mean())}
        row |= {f"pass@{k}": float(values[f"pass@{k}"].mean()) for k in ks}
        row |= {"majority": float(own["right"].mean()), "confidence": float(own["confidence"].mean())}
        row |= {"normalised": float(own["normalised"].mean()), "over": gap.estimate}
        row |= {"over_lower": gap.low, "over_upper": gap.high}
        row["ece"] = calibration(own["confidence"], right, bins=bins).ece
        try:
            found = auroc_bootstrap(own["normalised"], ~right, resamples=resamples)
            row |= {"auroc": found.estimate, "auroc_lower": found.low, "auroc_upper": found.high}
        except OneClassOnly:
            row |= dict.fromkeys(("auroc", "auroc_lower", "auroc_upper"), math.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def _mean_interval(values_P: Floats, resamples: int) -> Interval:
    """Mean over problems with its 95 % percentile bootstrap interval."""
    means = bootstrap_values(
        lambda rows: values_P[rows].mean(1), [np.arange(len(values_P))], resamples=resamples, seed=0
    )
    return percentile_interval(float(values_P.mean()), means, 0.95, "percentile bootstrap over problems")


def format_student(table: pd.DataFrame) -> pd.DataFrame:
    """`student_table` in percent; AUROC and H / log k as they are. Of several splits each row says of which it is."""
    passes = [c for c in table.columns if c.startswith("pass@")]
    k = int(table["samples"].iloc[0])
    return pd.DataFrame(
        {
            **split_column(table),
            "teacher": table["teacher"],
            "method": table["label"],
            "problems": table["problems"].map(count),
            f"avg@{k} %": table["avg"].map(percent),
            **{f"{c} %": table[c].map(percent) for c in passes},
            "majority right %": table["majority"].map(percent),
            "confidence %": table["confidence"].map(percent),
            "confidence − majority, points": [
                interval(r.over, r.over_lower, r.over_upper, percent, sign=True) for r in table.itertuples()
            ],
            "ECE %": table["ece"].map(percent),
            "mean H / log k": [number(v, 2) for v in table["normalised"]],
            "AUROC of H": intervals(table, "auroc", "auroc_lower", "auroc_upper"),
        }
    )

"""Graded responses in a table: the mean score by metric beside the share that is correct, each with its interval.

A row says by which metric its scores are, so that no mean mixes chrF with ROUGE. Left out: accuracies alone
(`protocol.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from artifact.errors import EmptyDataset
from artifact.stats.bootstrap import RESAMPLES, cluster_bootstrap


def score_table(frame: pd.DataFrame, by: Sequence[str] = (), resamples: int = RESAMPLES) -> pd.DataFrame:
    """A row per group of `by` and metric: mean score and share correct, 95 % intervals over problems.

    frame  a row per response (`evaluate.to_frame`), and the columns of `by`
    Columns: those of `by`, metric, responses, problems, score with score_low and score_high, correct with correct_low
    and correct_high. Responses without a score (answers compared by algebra) are left out; EmptyDataset where none has
    one.
    """
    scored = frame[frame["score"].notna()]
    if scored.empty:
        raise EmptyDataset(f"none of the {len(frame)} responses has a score: their task knows right and wrong only")
    rows = []
    for key, part in scored.groupby([*by, "rule"], sort=False):
        row = dict(zip([*by, "metric"], key if isinstance(key, tuple) else (key,), strict=True))
        row |= {"responses": len(part), "problems": part["problem_id"].nunique()}
        for name in ("score", "correct"):
            values = part[name].astype(float).to_numpy()
            mean = cluster_bootstrap(values, part["problem_id"], resamples=resamples)
            row |= {name: mean.estimate, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(row)
    return pd.DataFrame(rows)

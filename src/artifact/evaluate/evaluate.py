"""Measuring a policy on a split: greedy pass@1 and avg@k, every response and verdict kept.

The caller hands over a sampler whose engines hold the weights to be measured; this file only decides what is asked and
how answers become rows. Intervals and comparisons are in `statistics.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifact.records import Problem, Rollout

if TYPE_CHECKING:
    import pandas as pd


def to_frame(problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]], split: str) -> pd.DataFrame:
    """One row a response.

    Columns: split, problem_id, difficulty, family, sample, correct, status, extracted, response_tokens, finish_reason.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "split": split,
            "problem_id": p.id,
            "difficulty": p.difficulty,
            "family": p.meta.get("family", ""),
            "sample": r.sample,
            "correct": r.correct,
            "status": str(r.verdict.status) if r.verdict else "unverified",
            "extracted": r.verdict.extracted if r.verdict else None,
            "response_tokens": len(r.response_ids),
            "finish_reason": r.finish_reason,
        }
        for p, group in zip(problems, groups, strict=True)
        for r in group
    )

"""Measuring a policy on a split: greedy pass@1 and avg@k, every response and verdict kept.

The caller hands over a sampler whose engines hold the weights to be measured; this file only decides what is asked and
how answers become rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from artifact.records import Problem, Rollout


def to_frame(problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]], split: str) -> pd.DataFrame:
    """One row per response."""
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
            "score": r.verdict.score if r.verdict else None,
            "rule": r.verdict.rule if r.verdict else "",
            "response_tokens": len(r.response_ids),
            "finish_reason": r.finish_reason,
        }
        for p, group in zip(problems, groups, strict=True)
        for r in group
    )

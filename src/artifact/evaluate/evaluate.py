"""Measuring a policy on a split: greedy pass@1 and avg@k, every response and verdict kept.

The caller hands over a sampler whose engines hold the weights to be measured; this file only decides what is asked and
how answers become rows. Intervals and comparisons are in `statistics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from artifact.errors import EmptyDataset
from artifact.records import Problem, Rollout, Verdict

if TYPE_CHECKING:
    import pandas as pd

VerifyBatch = Callable[[list[str], list[str]], list[Verdict]]
"""(response texts, gold answers) → verdicts"""


def verify_groups(
    problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]], verify: VerifyBatch
) -> list[tuple[Rollout, ...]]:
    """The same rollouts with their verdicts, verified in one batch."""
    flat = [r for group in groups for r in group]
    golds = [p.answer for p, group in zip(problems, groups, strict=True) for _ in group]
    verdicts = iter(verify([r.text for r in flat], golds))
    return [tuple(r.with_verdict(next(verdicts)) for r in group) for group in groups]


def evaluate(
    sampler: Any,
    problems: Sequence[Problem],
    prompts: Sequence[tuple[str, tuple[int, ...]]],
    verify: VerifyBatch,
    *,
    max_new_tokens: int,
    k: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: Any = 0,
) -> list[tuple[Rollout, ...]]:
    """k verified responses a problem; greedy when the temperature is 0.

    Raises EmptyDataset for an empty split: an accuracy over nothing is not 0.
    """
    if not problems:
        raise EmptyDataset("the evaluation split holds no problem: an accuracy cannot be measured on nothing")
    groups = sampler.sample(
        prompts, k, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=("evaluate", seed)
    )
    return verify_groups(problems, groups, verify)


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
            "correct": bool(r.verdict and r.verdict.correct),
            "status": str(r.verdict.status) if r.verdict else "unverified",
            "extracted": r.verdict.extracted if r.verdict else None,
            "response_tokens": len(r.response_ids),
            "finish_reason": r.finish_reason,
        }
        for p, group in zip(problems, groups, strict=True)
        for r in group
    )

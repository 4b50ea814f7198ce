"""What a token budget cuts off, counted: responses that hit the limit, and prompts that leave no room for one.

Nothing is ever shortened silently: a response cut off at the budget stays a response (its verdict is usually
`unparsed`), and a prompt that does not fit is left out whole, by name. Report both beside any accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifact.errors import EmptyDataset
from artifact.records import Rollout

Prompt = tuple[str, tuple[int, ...]]
"""(problem id, prompt token ids)"""


@dataclass(frozen=True, slots=True)
class Truncation:
    """Counts over rollouts: all, cut off at the budget, and cut off without an answer; `problems` names them."""

    responses: int
    cut: int
    cut_unparsed: int
    problems: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of responses that were cut off."""
        return self.cut / self.responses


def count_truncation(rollouts: Sequence[Rollout]) -> Truncation:
    """How many responses ended by their budget. Raises EmptyDataset for none: a share of nothing is not 0."""
    if not rollouts:
        raise EmptyDataset("no rollout to count truncated responses of")
    cut = [r for r in rollouts if r.finish_reason == "length"]
    unparsed = sum(r.verdict is not None and r.verdict.extracted is None for r in cut)
    return Truncation(len(rollouts), len(cut), unparsed, tuple(dict.fromkeys(r.problem_id for r in cut)))


def fit_prompts(
    prompts: Sequence[Prompt], max_model_len: int, max_new_tokens: int
) -> tuple[list[Prompt], dict[str, int]]:
    """(prompts that leave room for `max_new_tokens`, problem id → tokens of those that do not).

    Raises EmptyDataset where none fits, with the shortest and the remedy.
    """
    limit = max_model_len - max_new_tokens
    kept = [p for p in prompts if len(p[1]) <= limit]
    if prompts and not kept:
        shortest = min(len(ids) for _, ids in prompts)
        raise EmptyDataset(
            f"no prompt fits: the shortest of {len(prompts)} has {shortest} tokens, and max_model_len = "
            f"{max_model_len} leaves {limit} beside max_new_tokens = {max_new_tokens}; raise the former or "
            "lower the latter"
        )
    return kept, {name: len(ids) for name, ids in prompts if len(ids) > limit}

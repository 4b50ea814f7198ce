"""Preference pairs of one problem at one step: chosen and rejected side by side, log-ratios and margin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, ClassVar

import pandas as pd

from artifact.errors import ArtifactError
from artifact.inspect.opened import Opened, opened
from artifact.inspect.tokens import Tokens
from artifact.inspect.view import View
from artifact.records import Problem
from artifact.train.token_records import TokenRecord

Words = list[tuple[str, bool]]
"""A text in pieces, each with whether the other text has it too."""


def pairs(run: Any, step: int, problem: str) -> Pairs:
    """The pairs of a recorded problem at a recorded step. ArtifactError, naming those that are, where there is none."""
    found = opened(run)
    chosen = pairs_of(found, step, found.problems(found.config.task.train_split).get(problem), None)
    if chosen is None or not len(chosen):
        there = sorted(k for k, records in found.records.items() if any(r.role == "rejected" for r in records))
        shown = (
            ", ".join(f"({s}, {p!r})" for s, p in there[:8]) or "none: its method contrasts nothing, or recorded none"
        )
        raise ArtifactError(
            f"run {found.key} has no pair of {problem!r} at step {step}; (step, problem) with pairs: {shown}"
        )
    return chosen


def pairs_of(run: Opened, step: int, problem: Problem | None, sample: int | None) -> Pairs | None:
    """The pairs of a problem at a step, those with own rollout `sample` alone where it is given."""
    if problem is None:
        return None
    by_example: dict[int, dict[str, TokenRecord]] = {}
    for r in run.records.get((step, problem.id), []):
        if r.role in ("chosen", "rejected") and r.example is not None:
            by_example.setdefault(r.example, {})[r.role] = r
    made = [Pair(run, of["chosen"], of["rejected"]) for of in by_example.values()]
    return Pairs(
        run, step, problem, [p for p in made if sample is None or sample in (p.chosen.sample, p.rejected.sample)]
    )


@dataclass(frozen=True)
class Pair:
    """One rejected response and the chosen one that it is set against."""

    run: Opened
    chosen: TokenRecord
    rejected: TokenRecord

    def text(self, r: TokenRecord) -> str:
        """The response as text, its end of sequence left out."""
        return str(self.run.tokenizer.decode(list(r.response_ids), skip_special_tokens=True))

    @property
    def words(self) -> tuple[Words, Words]:
        """Both texts in words, each with whether it stands in the other one too (longest matching blocks)."""
        return word_diff(self.text(self.chosen), self.text(self.rejected))

    @property
    def sources(self) -> tuple[str, str]:
        """Where the two come from."""
        origin = "reference solution" if self.chosen.sample is None else f"own rollout #{self.chosen.sample}"
        return origin, f"own rollout #{self.rejected.sample}"

    @property
    def tokens(self) -> tuple[Tokens, Tokens]:
        """Both responses token by token."""
        return Tokens(self.run, self.chosen), Tokens(self.run, self.rejected)


class Pairs(View):
    """All pairs of one problem at one step."""

    template: ClassVar[str] = "pairs.html.jinja"

    def __init__(self, run: Opened, step: int, problem: Problem, found: list[Pair]) -> None:
        self.run, self.step, self.problem, self.found = run, step, problem, found
        self.title = f"{len(found)} preference pairs of {problem.id} at step {step}, run {run.key}"

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.found)

    def to_frame(self) -> pd.DataFrame:
        """One row per pair: both texts and sources, log-ratios (SimPO: mean log-probabilities), margin."""
        return pd.DataFrame(
            [
                {
                    "chosen_from": p.sources[0],
                    "chosen": p.text(p.chosen),
                    "rejected_sample": p.rejected.sample,
                    "rejected": p.text(p.rejected),
                    "chosen_log_ratio": p.chosen.log_ratio,
                    "rejected_log_ratio": p.rejected.log_ratio,
                    "margin": p.rejected.margin,
                }
                for p in self.found
            ]
        )


def word_diff(left: str, right: str) -> tuple[Words, Words]:
    """Both texts in words, numbers, signs and spaces, each with whether it is part of a block that both have."""
    a, b = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (left, right))
    same_a, same_b = [False] * len(a), [False] * len(b)
    for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            same_a[block.a + k] = same_b[block.b + k] = True
    return list(zip(a, same_a, strict=True)), list(zip(b, same_b, strict=True))

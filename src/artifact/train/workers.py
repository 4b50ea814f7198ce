"""Who does the work of a run, as the loop sees it: a contract, with one implementation on Ray and one in this process.

Every call returns when its work is done or raises, but for `accumulate` and where `wait` is False; deadlines are the
implementation's. Scores and reference
log-probabilities stay where they were computed: the loop only hands them on, as `Handle`s that `step` opens. Left out:
where anything runs (`actors/`), and the order of the phases (`loop.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from artifact.records import Problem, Rollout
from artifact.train.examples import Example
from artifact.train.rollouts import Completion
from artifact.train.token_reading import Answer, Question
from artifact.train.token_records import TokenRecord

Handle = object
"""Something computed elsewhere that only the workers open."""

ReferenceLogprobs = Mapping[int, Sequence[np.ndarray]]
"""log p_ref of each response token of an example's sequences, by index of the example."""


@dataclass(frozen=True)
class StepWork:
    """What is the same on every rank of one optimiser step.

    denominators     of each component, over the whole step
    component_norms  measure the gradient norm of each weighted component by itself (a backward pass each)
    """

    step: int
    coefficients: dict[str, float]
    denominators: dict[str, float]
    component_norms: bool = False


class Workers(Protocol):
    """Student ranks with their engines, the scoring model, and the reference."""

    ranks: int

    def start(self, total_steps: int) -> None:
        """Fresh weights, a fresh optimiser, a schedule over `total_steps`."""
        ...

    def teacher_scores(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """The scoring model's top-k of each shard's distillation examples; None for a shard without any.

        wait  return when they are there; else at once, with what will become of them
        """
        ...

    def reference_logprobs(self, shards: Sequence[Sequence[Example]], *, wait: bool = True) -> list[Handle | None]:
        """log p_ref of each shard's preference and policy-gradient examples, as `teacher_scores`."""
        ...

    def teacher_answers(
        self, prompts: Sequence[tuple[int, ...]], how: str, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[Completion]:
        """A fresh response of the scoring model to each prompt, by `generate` or `autoregress`."""
        ...

    def step(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Handle | None],
        reference: Sequence[Handle | None],
    ) -> list[dict[str, float]]:
        """One optimiser step, a shard per rank; the metrics of each rank."""
        ...

    def accumulate(
        self,
        work: StepWork,
        shards: Sequence[Sequence[Example]],
        scores: Sequence[Handle | None],
        reference: Sequence[Handle | None],
    ) -> None:
        """Begin with a part of an optimiser step, a shard per rank; parts are taken in the order of these calls."""
        ...

    def update(self, work: StepWork) -> list[dict[str, float]]:
        """End the step whose parts were given to `accumulate`; the metrics of each rank."""
        ...

    def token_readings(self, questions: Sequence[Question], *, scorer: bool, reference: bool) -> list[Answer]:
        """What the student says of given responses now, and with it the scoring model and the reference if asked."""
        ...

    def sync_weights(self, version: int) -> float:
        """Give the sampler the student's weights and prove that they arrived; the largest |Δ log-prob| in nats."""
        ...

    def check_rollouts(self, groups: Sequence[Sequence[Rollout]], *, trained_since: bool = False) -> None:
        """Raise StaleEngine where rollouts of the weights synced last were not drawn from them.

        trained_since  the student has other weights by now: the engines' own, proven at the sync, are asked
        """
        ...

    def save_checkpoint(self, folder: Path, tag: str) -> None:
        """Weights and optimiser state, for exact resumption."""
        ...

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        """Take up weights and optimiser state."""
        ...

    def save_weights(self, folder: Path) -> None:
        """The current weights alone."""
        ...


class Log(Protocol):
    """What a run leaves behind while it trains, and where it goes on (`studies/runlog.py`)."""

    checkpoints: Path
    weights: Path

    def resume(self) -> int:
        """The step to go on from: 0 for a fresh run."""
        ...

    def progress(self, steps: range) -> Iterable[int]:
        """`steps`, shown to whoever waits."""
        ...

    def step(
        self, step: int, groups: Sequence[Sequence[Rollout]], metrics: dict[str, float], seconds: dict[str, float]
    ) -> None:
        """Record optimiser step `step` (0-based)."""
        ...

    def tokens(self, step: int, records: Sequence[TokenRecord]) -> None:
        """Record what the models said of single tokens in optimiser step `step`, before its update."""
        ...

    def curve(self, step: int, problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]]) -> None:
        """Record an evaluation on the curve split after `step` optimiser steps."""
        ...

    def keep_ahead(self, step: int, rollouts: Sequence[Rollout]) -> None:
        """Put `rollouts`, drawn for `step` before the weights of its checkpoint were there, beside that checkpoint."""
        ...

    def ahead(self, step: int) -> list[Rollout]:
        """What `keep_ahead` put beside the checkpoint of `step`."""
        ...

    def commit(self, step: int) -> None:
        """The checkpoint of `step` is complete: what came before it is now permanent."""
        ...

"""What a run is trained and measured on, and what it may read of phase 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from artifact.records import Problem, Rollout
from artifact.train.rollouts import Decode, Prompt, VerifyBatch
from artifact.train.settings import RunSettings

Outcomes = list[tuple[Rollout, ...]]
"""Verified rollouts, a tuple for each problem."""

Measure = Callable[[], Outcomes]


@dataclass(frozen=True)
class RunInputs:
    """Problems, their prompts, and how answers are verified.

    encode(problem, context) gives prompt ids with `none`, `answer` or `solution` in the system message;
    encode_text(text) the ids of a response, end of sequence included, and mask_text(text) which of them a tool would
    have written (None: no tool); decode(several ids) their texts. `vocabulary` is the number of token ids that the
    tokenizer has: a teacher's head may have more rows, which mean nothing (None: it has none such).
    untrained(measure) gives the outcomes of the untrained student on `curve`, which runs of one student share: those
    known from another run, or else what `measure()` finds.
    """

    train: Sequence[Problem]
    curve: Sequence[Problem]
    encode: Callable[[Problem, str], tuple[int, ...]]
    encode_text: Callable[[str], tuple[int, ...]]
    decode: Decode
    verify: VerifyBatch
    mask_text: Callable[[str], tuple[bool, ...] | None] = lambda text: None
    vocabulary: int | None = None
    untrained: Callable[[Measure], Outcomes] = lambda measure: measure()

    def prompts(self, problems: Sequence[Problem]) -> list[Prompt]:
        """Prompts of `problems` without any hint."""
        return [(p.id, self.encode(p, "none")) for p in problems]


@dataclass(frozen=True)
class TeacherAnnotations:
    """What a run may read of phase 1, by problem id: uncertainty weights w(x), and the teacher's verified samples."""

    weights: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Rollout]] = field(default_factory=dict)


def prompt_order(problems: int, settings: RunSettings, step: int) -> list[int]:
    """Indices of the training problems of `step`: shuffled passes over the data, or draws with replacement."""
    size, seed = settings.train.prompts_per_step, settings.seed
    if settings.train.with_replacement:
        return np.random.default_rng([seed, step]).integers(0, problems, size).tolist()
    wanted = range(step * size, (step + 1) * size)
    passes = {i // problems: np.random.default_rng([seed, 2**20 + i // problems]).permutation(problems) for i in wanted}
    return [int(passes[i // problems][i % problems]) for i in wanted]

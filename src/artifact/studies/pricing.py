"""Processor seconds of the stages of a plan on CPUs, by the model of `step_cost.py`.

At most, as the plan's tokens are: every response is taken to be as long as it may be. Left out: training by a method
that does more than distil, which was not measured; scoring of answers; time on a clock, which depends on who shares
the cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.studies.inputs import mean_prompt_tokens
from artifact.studies.step_cost import Measured, Shape, Size, measured, size_of


@dataclass(frozen=True)
class Pricer:
    """Prices what one run computes.

    prompt  mean tokens of its training prompts, which stand for those of every split
    """

    found: Measured
    config: Config
    student: Size
    teacher: Size
    prompt: float

    def train(self, steps: int | None) -> float | None:
        """Processor seconds of `steps` optimiser steps; None where the method does more than distil, or of None."""
        needs = self.config.make_method().needs
        distils_alone = needs.rollouts and needs.scorer and not (needs.verdicts or needs.reference)
        if steps is None or not distils_alone:
            return None
        rollouts = self.config.train.prompts_per_step * self.config.sampling.samples_per_prompt
        shape = self._shape(rollouts, self.config.sampling.max_new_tokens, self.student)
        return steps * self.found.model.total(shape)

    def sample(self, rollouts: int | None, tokens: int, *, by_teacher: bool = False) -> float | None:
        """Processor seconds of sampling `rollouts` responses of `tokens` tokens at a time; None of None."""
        if rollouts is None:
            return None
        shape = self._shape(rollouts, tokens, self.teacher if by_teacher else self.student)
        return self.found.model.seconds(shape)["rollout"]

    def _shape(self, rollouts: int, tokens: int, sampled: Size) -> Shape:
        engine, ranks = self.config.cluster.engine, self.config.cluster.student_workers
        scorer = self.student if self.config.make_method().needs.self_teacher else self.teacher
        return Shape(rollouts, self.prompt, tokens, tokens, sampled, scorer, engine.count, ranks, engine.max_num_seqs)


def pricer(config: Config) -> Pricer | None:
    """What prices a run of `config`; None on GPUs, without a measured model, and where models or data are not here."""
    found = measured()
    if found is None or config.cluster.device != "cpu":
        return None
    try:
        sizes = _size(config.models.student), _size(config.teacher_path)
        return Pricer(found, config, *sizes, mean_prompt_tokens(config))
    except (ArtifactError, FileNotFoundError, ImportError, ValueError):
        return None  # the plan says of each model and split what is missing


_size = lru_cache(maxsize=64)(size_of)


def price_lines(config: Config) -> list[str]:
    """What a reader of prices should know: where they come from, their error, and what goes beyond the measured."""
    priced = pricer(config)
    if priced is None:
        return []
    lines = [f"processor hours: {priced.found.says()}"]
    weights = max(priced.student.weights, priced.teacher.weights)
    if weights > priced.found.largest:
        lines.append(
            f"processor hours are extrapolated: a model here has {weights / 1e6:,.1f} million weights, the largest "
            f"measured {priced.found.largest / 1e6:,.1f}"
        )
    return lines

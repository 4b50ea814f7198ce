"""GRPO: policy gradient on verified correctness, advantages normalised within each prompt's group.

One update a batch, so the ratio is 1 at the update and the printed loss is near 0 by construction: watch the reward.
Groups whose rollouts are all right or all wrong have advantage 0; they count in the denominator and teach nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from artifact.config import Config, ConfigError, Section
from artifact.records import Example, Group
from artifact.train.methods.base import Batch, Method, Needs, Step, register


@register("grpo")
class GroupRelativePolicyOptimisation(Method):
    """Needs the verifier; the reference only when `losses.policy_gradient.kl_coefficient` is positive."""

    class Options(Section):
        """scale: divide advantages by the group's standard deviation (`std`), or not (`none`, Dr. GRPO)."""

        scale: Literal["std", "none"] = "std"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.sampling.samples_per_prompt < 2:
            raise ConfigError(
                "GRPO compares rollouts of one prompt: sampling.samples_per_prompt = "
                f"{config.sampling.samples_per_prompt}, it needs at least 2"
            )
        self.needs = Needs(verdicts=True, reference=config.losses.policy_gradient.kl_coefficient > 0, gold=True)

    def batch(self, groups: Sequence[Group], step: Step) -> Batch:
        import torch

        from artifact.train.losses.policy_gradient import group_advantages

        rewards_GK = torch.tensor(
            [[float(r.verdict is not None and r.verdict.correct) for r in g.rollouts] for g in groups],
            dtype=torch.float64,
        )
        advantages_GK = group_advantages(rewards_GK, scale=self.options.scale)
        examples = tuple(
            Example.of(r, policy_gradient=float(a), behaviour_logprobs=r.logprobs)
            for g, row in zip(groups, advantages_GK, strict=True)
            for r, a in zip(g.rollouts, row, strict=True)
        )
        informative = float((advantages_GK != 0).any(1).double().mean())
        return Batch(
            examples, {"policy_gradient": 1.0}, {"reward": float(rewards_GK.mean()), "informative_groups": informative}
        )

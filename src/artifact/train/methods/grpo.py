"""GRPO: policy gradient on rewards, normalised within each prompt's group: verified correctness, or a task's score.

One update per batch, so the ratio is 1 at the update and the printed loss is near 0 by construction: watch the reward.
Groups whose rollouts are all right or all wrong have advantage 0; they count in the denominator and teach nothing.

The gradient is that of the policy that was sampled, softmax(logits / T) with T = `sampling.temperature`, unless
`losses.policy_gradient.temperature` is 1. Sampling that cuts the distribution (`top_p` below 1), or that is greedy, is
refused: its policy has no log-probability of this form.

Under `losses.mask_truncated_completions` a truncated rollout keeps its reward, and so its part in the mean and standard
deviation of its group, as in TRL; it is left out of loss and denominator. (TRL's `grpo` and `dr_grpo` reductions still
count it in the denominator, its `bnpo` and `dapo` do not.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from artifact.errors import ConfigError
from artifact.records import Group
from artifact.train.examples import Reinforce
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register
from artifact.train.settings import RunSettings, Sampling, Settings


def require_whole_distribution(sampling: Sampling, who: str) -> None:
    """ConfigError where rollouts are greedy or drawn from a cut distribution: a policy gradient has no such policy."""
    for name, value, fault in (
        ("temperature", sampling.temperature, sampling.temperature == 0.0),
        ("top_p", sampling.top_p, sampling.top_p < 1.0),
    ):
        if fault:
            raise ConfigError(
                f"sampling.{name} = {value}: {who} needs rollouts drawn from the whole distribution, whose "
                "log-probabilities its gradient takes; set temperature above 0 and top_p to 1"
            )


def require_ratio(settings: RunSettings, who: str) -> None:
    """ConfigError where the ratio of a policy gradient on rollouts of an older policy could not be right."""
    if not settings.train.staleness:
        return
    if settings.sampling.temperature != 1.0:
        raise ConfigError(
            f"train.staleness = 1 with sampling.temperature = {settings.sampling.temperature:g}: {who} divides by the "
            "probabilities of the older policy that drew its rollouts, and engines record them at temperature 1 only; "
            "set sampling.temperature = 1, or train.staleness = 0"
        )
    if settings.losses.policy_gradient.kl_coefficient > 0:
        raise ConfigError(
            f"train.staleness = 1 with losses.policy_gradient.kl_coefficient = "
            f"{settings.losses.policy_gradient.kl_coefficient:g}: the estimate of the KL divergence is one for tokens "
            f"of the student itself, and {who} would be given those of an older policy; set one of the two to 0"
        )


@register("grpo")
class GroupRelativePolicyOptimisation(Method):
    """Needs the verifier; the reference only when `losses.policy_gradient.kl_coefficient` is positive."""

    every_rollout = "policy_gradient"

    @dataclass(frozen=True)
    class Options(Settings):
        """scale: divide advantages by the group's standard deviation (`std`), or not (`none`, Dr. GRPO)."""

        scale: Literal["std", "none"] = "std"

    def __init__(self, settings: RunSettings, options: Options | None = None) -> None:
        super().__init__(settings, options)
        if settings.sampling.samples_per_prompt < 2:
            raise ConfigError(
                "GRPO compares rollouts of one prompt: sampling.samples_per_prompt = "
                f"{settings.sampling.samples_per_prompt}, it needs at least 2"
            )
        require_whole_distribution(settings.sampling, "GRPO")
        require_ratio(settings, "GRPO")
        self.needs = Needs(verdicts=True, reference=settings.losses.policy_gradient.kl_coefficient > 0, gold=True)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        import torch

        from artifact.train.losses.policy_gradient import group_advantages

        rewards_GK = torch.tensor([_rewards(g) for g in groups], dtype=torch.float64)
        advantages_GK = group_advantages(rewards_GK, scale=self.options.scale)
        temperature = self.settings.policy_temperature
        examples = tuple(
            Reinforce.of(r, float(a), temperature)
            for g, row in zip(groups, advantages_GK, strict=True)
            for r, a in zip(g.rollouts, row, strict=True)
            if self.trained_on([r])
        )
        informative = float((advantages_GK != 0).any(1).double().mean())
        return Batch(
            examples, {"policy_gradient": 1.0}, {"reward": float(rewards_GK.mean()), "informative_groups": informative}
        )


def _rewards(group: Group) -> list[float]:
    """The reward of each rollout (`Rollout.reward`); one without a judgement gets the others' mean: no advantage."""
    judged = [r.reward for r in group.rollouts if not r.unjudged]
    mean = sum(judged) / len(judged) if judged else 0.0
    return [mean if r.unjudged else r.reward for r in group.rollouts]

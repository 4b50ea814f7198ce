"""Control: push each wrong rollout down by a fixed advantage of −1, without a teacher and without a chosen response.

    L = 1/|I| Σ_{y ∈ I} mean_t ρ_t        I: the incorrect rollouts of the step; ρ = 1 at its one update

What CORE's contrast would be if only the *rejected* half of each pair mattered: verdicts are read, nothing correct is
ever raised. The gradient is that of the policy which was sampled, as in GRPO (`grpo.py`), and nothing bounds the loss
from below: many steps of it wear the policy out.
"""

from __future__ import annotations

from collections.abc import Sequence

from artifact.records import Group
from artifact.train.examples import Reinforce
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register
from artifact.train.methods.grpo import require_ratio, require_whole_distribution
from artifact.train.settings import RunSettings


@register("negative")
class NegativeOnly(Method):
    """Needs the verifier, through which it reads gold answers; the reference only under a KL coefficient, as GRPO."""

    def __init__(self, settings: RunSettings, options: object = None) -> None:
        super().__init__(settings, options)
        require_whole_distribution(settings.sampling, "the fixed negative advantage")
        require_ratio(settings, "the fixed negative advantage")
        self.needs = Needs(verdicts=True, reference=settings.losses.policy_gradient.kl_coefficient > 0, gold=True)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        wrong = [r for g in groups for r in self.trained_on(g.incorrect)]
        examples = tuple(Reinforce.of(r, -1.0, self.settings.policy_temperature) for r in wrong)
        return Batch(examples, {"policy_gradient": 1.0}, {"negatives": float(len(examples))})

"""UOPD: on-policy distillation with each prompt weighted by how sure its teacher is (UOPD Eq. 6, 8 and 9).

    L = 1/|B| Σ_x 1/K Σ_j w(x) · mean_t ℓ_t(x, y_j)

w comes from semantic entropy measured before training (`phase1/`). Besides the paper's `soft` and `binary` forms
there are other measures of the same samples (`majority`, `miller_madow`, `chao_shen`) and controls: `shuffled` (soft
weights dealt to random prompts: is it *which* prompts, or only the smaller step?), `verified` (soft, and 0 where the
teacher's majority answer is wrong: what labels add) and `gold` (1 where that answer is right, else 0: what a perfect
uncertainty estimate would give).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from artifact.records import Group
from artifact.train.methods.base import (
    READS_GOLD,
    Batch,
    Method,
    Needs,
    Scheme,
    StepContext,
    Weighting,
    register,
    require_annotated,
)
from artifact.train.methods.opd import distil_all
from artifact.train.settings import Bound, RunSettings, Settings


@register("uopd")
class UncertaintyWeightedDistillation(Method):
    """Needs the teacher and its uncertainty weights; reads gold answers only under `weighting: verified | gold`."""

    every_rollout = "distil"

    @dataclass(frozen=True)
    class Options(Settings):
        """weighting: scheme; tau: threshold of `binary` on H / log N.

        Under `binary` every weight of a step may be 0. The step is then taken with a gradient of 0: AdamW still moves
        the weights, by the momentum of earlier steps, decays its moments, and goes on in its schedule.
        """

        weighting: Scheme = "soft"
        tau: Annotated[float, Bound(ge=0, le=1)] = 0.5

    def __init__(self, settings: RunSettings, options: Options | None = None) -> None:
        super().__init__(settings, options)
        self.needs = Needs(teacher=True, uncertainty=True, gold=self.options.weighting in READS_GOLD)

    def weighting(self) -> Weighting:
        scheme = self.options.weighting
        tau = self.options.tau if scheme == "binary" else None
        return Weighting(scheme, tau, self.settings.seed if scheme == "shuffled" else None)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        require_annotated(groups, context.weights, "uncertainty weight")
        weights = {g.problem.id: context.weights[g.problem.id] for g in groups}
        mean = sum(weights.values()) / len(weights)
        rollouts = self.trained_on(r for g in groups for r in g.rollouts)
        return Batch(distil_all(rollouts, weights), {"distil": 1.0}, {"mean_weight": mean})

"""UOPD: on-policy distillation with each prompt weighted by how sure its teacher is (UOPD Eq. 6, 8 and 9).

    L = 1/|B| Σ_x 1/K Σ_j w(x) · mean_t ℓ_t(x, y_j)

w comes from semantic entropy measured before training (`phase1/`). Besides the paper's `soft` and `binary` forms
there are two controls: `shuffled` (soft weights dealt to random prompts: is it *which* prompts, or only the smaller
step?) and `gold` (1 if the teacher's majority answer is right: what a perfect uncertainty estimate would give).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from artifact.config import Config, Section
from artifact.records import Group
from artifact.train.methods.base import Batch, Method, Needs, Step, register, require_annotated
from artifact.train.methods.opd import distil_all


@register("uopd")
class UncertaintyWeightedDistillation(Method):
    """Needs the teacher and its uncertainty weights; reads gold answers only under `weighting: gold`."""

    class Options(Section):
        """weighting: scheme; tau: threshold of `binary` on H / log N."""

        weighting: Literal["uniform", "soft", "binary", "shuffled", "gold"] = "soft"
        tau: float = Field(0.5, ge=0, le=1)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.needs = Needs(teacher=True, uncertainty=True, gold=self.options.weighting == "gold")

    def weighting(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {"scheme": self.options.weighting}
        if self.options.weighting == "binary":
            chosen["tau"] = self.options.tau
        if self.options.weighting == "shuffled":
            chosen["seed"] = self.config.seed
        return chosen

    def batch(self, groups: Sequence[Group], step: Step) -> Batch:
        require_annotated(groups, step.weights, "uncertainty weight")
        weights = {g.problem.id: step.weights[g.problem.id] for g in groups}
        mean = sum(weights.values()) / len(weights)
        return Batch(distil_all(groups, weights), {"distil": 1.0}, {"mean_weight": mean})

"""Standard on-policy distillation: every rollout, weight 1 (UOPD Eq. 2 with the reduction of Eq. 8–9, w = 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from artifact.records import Group, Rollout
from artifact.train.examples import Distil
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register


def distil_all(rollouts: Iterable[Rollout], weight_of: dict[str, float] | None = None) -> tuple[Distil, ...]:
    """A distillation example for each rollout, weighted by its problem's entry in `weight_of` (1 without it).

    A rollout of weight 0 stays in the batch: it counts in the denominator of Eq. 9.
    """
    return tuple(Distil.of(r, 1.0 if weight_of is None else weight_of[r.problem_id]) for r in rollouts)


@register("opd")
class OnPolicyDistillation(Method):
    """Needs the teacher only: no verifier, no gold answers."""

    needs = Needs(teacher=True)
    every_rollout = "distil"

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        return Batch(distil_all(self.trained_on(r for g in groups for r in g.rollouts)), {"distil": 1.0})

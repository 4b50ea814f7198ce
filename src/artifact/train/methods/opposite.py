"""Control: CORE's routing turned round. Distil where the rollout is wrong, imitate it where it is right.

The route published elsewhere sends correct rollouts to supervised learning and incorrect ones to the teacher; if it did
as well as CORE, routing by verdict would matter less than CORE says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifact.records import Group
from artifact.train.examples import Distil, Imitate
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register
from artifact.train.settings import NotNegative, Settings


@register("opposite")
class OppositeRouting(Method):
    """Needs verifier and teacher; reads gold answers through the verdicts."""

    @dataclass(frozen=True)
    class Options(Settings):
        """alpha: weight of distillation beside imitation, as in CORE."""

        alpha: NotNegative = 5.0

    needs = Needs(verdicts=True, teacher=True, gold=True)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        wrong = [Distil.of(r) for g in groups for r in self.trained_on(g.incorrect)]
        right = [Imitate.of(r) for g in groups for r in self.trained_on(g.correct)]
        share = sum(len(g.correct) for g in groups) / max(1, sum(len(g.correct) + len(g.incorrect) for g in groups))
        return Batch((*wrong, *right), {"distil": self.options.alpha, "nll": 1.0}, {"share_correct": share})

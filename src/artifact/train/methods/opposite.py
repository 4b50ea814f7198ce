"""Control: CORE's routing turned round. Distil where the rollout is wrong, imitate it where it is right.

The route published elsewhere sends correct rollouts to supervised learning and incorrect ones to the teacher; if it did
as well as CORE, routing by verdict would matter less than CORE says.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from artifact.config import Section
from artifact.records import Example, Group
from artifact.train.methods.base import Batch, Method, Needs, Step, register


@register("opposite")
class OppositeRouting(Method):
    """Needs verifier and teacher; reads gold answers through the verdicts."""

    class Options(Section):
        """alpha: weight of distillation beside imitation, as in CORE."""

        alpha: float = Field(5.0, ge=0)

    needs = Needs(verdicts=True, teacher=True, gold=True)

    def batch(self, groups: Sequence[Group], step: Step) -> Batch:
        wrong = [Example.of(r, distil=1.0) for g in groups for r in g.incorrect]
        right = [Example.of(r, nll=1.0) for g in groups for r in g.correct]
        share = len(right) / max(1, len(right) + len(wrong))
        return Batch((*wrong, *right), {"distil": self.options.alpha, "nll": 1.0}, {"share_correct": share})

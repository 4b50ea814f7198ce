"""Supervised fine-tuning on reference solutions: negative log-likelihood, off-policy, the classical baseline.

Source: CORE §4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from artifact.errors import EmptyDataset
from artifact.records import Group
from artifact.train.examples import Imitate
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register


@register("sft")
class SupervisedFineTuning(Method):
    """Needs reference solutions; samples nothing."""

    needs = Needs(rollouts=False, gold=True)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        examples = tuple(
            Imitate(
                g.problem.id,
                g.prompt_ids,
                context.encode_text(g.problem.solution),
                response_mask=context.mask_text(g.problem.solution),
            )
            for g in groups
            if g.problem.solution
        )
        if not examples:
            raise EmptyDataset(
                f"none of the {len(groups)} problems of step {context.step} has a reference solution; SFT has nothing "
                "to imitate"
            )
        return Batch(examples, {"nll": 1.0}, {"without_solution": float(len(groups) - len(examples))})

"""Sequence-level distillation on the teacher's verified samples: negative log-likelihood, off-policy (Kim & Rush 2016).

The texts are the teacher's own responses of phase 1 (same sampler, same verifier); only those with a correct verdict
are imitated, at most K of them per step, in turns. A prompt with fewer correct samples than K counts less, one without
is counted and teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from artifact.errors import EmptyDataset
from artifact.records import Group
from artifact.train.examples import Imitate
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register, require_annotated


@register("seqkd")
class SequenceLevelDistillation(Method):
    """Needs the teacher's stored samples; reads gold answers, through their verdicts; samples nothing itself."""

    needs = Needs(rollouts=False, teacher=True, teacher_samples=True, gold=True)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        require_annotated(groups, context.teacher_samples, "teacher samples")
        k = self.settings.sampling.samples_per_prompt
        examples: list[Imitate] = []
        without = 0
        for group in groups:
            correct = [r for r in self.trained_on(context.teacher_samples[group.problem.id]) if r.correct]
            without += not correct
            first = context.step * k
            for i in range(first, first + min(k, len(correct))):
                sample = correct[i % len(correct)]
                examples.append(
                    Imitate(group.problem.id, group.prompt_ids, sample.response_ids, response_mask=sample.response_mask)
                )
        if not examples:
            raise EmptyDataset(
                f"the teacher has no verified sample for any of the {len(groups)} problems of step {context.step}: "
                "there is nothing to imitate"
            )
        return Batch(tuple(examples), {"nll": 1.0}, {"prompts_without_sample": float(without)})

"""CORE: verify each rollout, distil where it is right, contrast it with a correct solution where it is wrong (CORE §3).

    L = α · L_distill(C) + L_contrast(I)        C correct, I incorrect rollouts of each prompt

Each incorrect rollout is *rejected* against one *chosen* response: by default the reference solution, else an own
correct rollout. A prompt with neither is counted in `pairs_without_chosen` and contributes no pair (fallback `skip`).
With a teacher that reads the answer or the solution (`teacher_context`), every rollout is distilled ("the full set of
student-generated responses"); otherwise the correct ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from artifact.config import Config, Section
from artifact.losses.mix import mix_coefficients
from artifact.methods.base import Batch, Method, Needs, Step, register
from artifact.records import Example, Group, Rollout


@register("core")
class ContrastiveOnPolicyDistillation(Method):
    """Needs verifier, teacher and reference; reads gold answers and solutions."""

    class Options(Section):
        """parts           both terms, or one alone (the papers' ablation rows)
        alpha, mix      weight of distillation, and how it is combined (`losses/mix.py`)
        chosen_order    where a chosen response comes from, first that is there
        teacher_context what the teacher reads besides the question when it scores
        distil_on       None = `all` for an answer-aware teacher, `correct` otherwise
        """

        parts: Literal["both", "distil", "contrast"] = "both"
        alpha: float = Field(5.0, ge=0)
        mix: Literal["weighted", "convex", "adaptive"] = "weighted"
        chosen_order: tuple[Literal["reference", "own"], ...] = ("reference", "own")
        teacher_context: Literal["none", "answer", "solution"] = "none"
        distil_on: Literal["correct", "all"] | None = None

        @model_validator(mode="after")
        def _mix_is_possible(self) -> ContrastiveOnPolicyDistillation.Options:
            mix_coefficients(self.mix, alpha=self.alpha, batch_accuracy=0.5)  # refuses α > 1 with `convex`
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        contrast = self.options.parts != "distil"
        self.needs = Needs(
            verdicts=True,
            teacher=self.options.parts != "contrast",
            reference=contrast and config.losses.contrast.form == "dpo",
            gold=True,
        )

    def batch(self, groups: Sequence[Group], step: Step) -> Batch:
        o = self.options
        distil_on = o.distil_on or ("correct" if o.teacher_context == "none" else "all")
        examples: list[Example] = []
        without_chosen = 0
        for group in groups:
            if o.parts != "contrast":
                context = None if o.teacher_context == "none" else step.encode(group.problem, o.teacher_context)
                for r in group.correct if distil_on == "correct" else group.rollouts:
                    examples.append(
                        Example(r.problem_id, r.prompt_ids, r.response_ids, distil=1.0, teacher_prompt_ids=context)
                    )
            if o.parts != "distil":
                for rejected in group.incorrect:
                    chosen = self._chosen(group, rejected, step)
                    if chosen is None:
                        without_chosen += 1
                        continue
                    examples.append(
                        Example(
                            group.problem.id, group.prompt_ids, chosen, contrast=1.0, rejected_ids=rejected.response_ids
                        )
                    )
        rollouts = sum(len(g.rollouts) for g in groups)
        accuracy = sum(len(g.correct) for g in groups) / rollouts
        mixed = mix_coefficients(o.mix, alpha=o.alpha, batch_accuracy=accuracy)
        coefficients = {
            "both": {"distil": mixed.distil, "contrast": mixed.contrast},
            "distil": {"distil": 1.0},
            "contrast": {"contrast": 1.0},
        }[o.parts]
        facts = {
            "share_correct": accuracy,
            "pairs": float(sum(e.contrast is not None for e in examples)),
            "pairs_without_chosen": float(without_chosen),
        }
        return Batch(tuple(examples), coefficients, facts)

    def _chosen(self, group: Group, rejected: Rollout, step: Step) -> tuple[int, ...] | None:
        """The chosen response for `rejected`: own correct rollouts take turns, so one sample is not chosen for all."""
        for source in self.options.chosen_order:
            if source == "reference" and group.problem.solution:
                return step.encode_text(group.problem.solution)
            if source == "own" and group.correct:
                return group.correct[rejected.sample % len(group.correct)].response_ids
        return None

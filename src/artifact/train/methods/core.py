"""CORE: verify each rollout, distil where it is right, contrast it with a correct solution where it is wrong (CORE §3).

    L = α · L_distill(C) + L_contrast(I)        C correct, I incorrect rollouts of each prompt (`routing.py`)

Each incorrect rollout is *rejected* against one *chosen* response: by default the reference solution, else an own
correct rollout. For a prompt with neither the teacher may answer (`fallback: generate | autoregress`), under its own
context; its response is verified and, unless correct, never chosen. With a teacher that reads the answer or the
solution (`teacher_context`), every rollout is distilled ("the full set of student-generated responses"); otherwise the
correct ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from artifact.records import Group
from artifact.train.examples import Distil, Mask, Prefer, TokenIds
from artifact.train.losses.mix import mix_coefficients
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register
from artifact.train.routing import Routed, Routing, route
from artifact.train.settings import NotNegative, RunSettings, Settings

Chosen = tuple[TokenIds, Mask]
"""A response that may be chosen: its token ids and their mask."""


@register("core")
class ContrastiveOnPolicyDistillation(Method):
    """Needs verifier, teacher and reference; reads gold answers and solutions."""

    @dataclass(frozen=True)
    class Options(Settings):
        """parts           both terms, or one alone (the papers' ablation rows)
        alpha, mix      weight of distillation, and how it is combined (`losses/mix.py`)
        chosen_order    where a chosen response comes from, first that is there
        fallback        what to do for a prompt that has none of them
        teacher_context what the teacher reads besides the question when it scores
        distil_on       None = `all` for an answer-aware teacher, `correct` otherwise
        routing         what parts C from I: the verdict, or the rank of the score within the group (graded tasks)
        """

        parts: Literal["both", "distil", "contrast"] = "both"
        alpha: NotNegative = 5.0
        mix: Literal["weighted", "convex", "adaptive"] = "weighted"
        chosen_order: tuple[Literal["reference", "own"], ...] = ("reference", "own")
        fallback: Literal["skip", "generate", "autoregress"] = "skip"
        teacher_context: Literal["none", "answer", "solution"] = "none"
        distil_on: Literal["correct", "all"] | None = None
        routing: Routing = "verdict"

        def __post_init__(self) -> None:
            super().__post_init__()
            mix_coefficients(self.mix, alpha=self.alpha, batch_accuracy=0.5)  # refuses α > 1 with `convex`

    def __init__(self, settings: RunSettings, options: Options | None = None) -> None:
        super().__init__(settings, options)
        contrast = self.options.parts != "distil"
        answers = contrast and self.options.fallback != "skip"
        context = self.options.teacher_context
        self.needs = Needs(
            verdicts=True,
            teacher=self.options.parts != "contrast" or answers,
            teacher_answers=answers,
            reference=contrast and settings.losses.contrast.form == "dpo",
            gold=True,
            contexts=(context,) if context != "none" and (self.options.parts != "contrast" or answers) else (),
        )

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        o = self.options
        distilled = self._distilled(groups, context) if o.parts != "contrast" else []
        pairs, metrics = self._pairs(groups, context) if o.parts != "distil" else ([], {})
        judged = sum(len(g.rollouts) - len(g.unjudged) for g in groups)
        accuracy = sum(len(self._routed(g).correct) for g in groups) / max(judged, 1)
        mixed = mix_coefficients(o.mix, alpha=o.alpha, batch_accuracy=accuracy)
        coefficients = {
            "both": {"distil": mixed.distil, "contrast": mixed.contrast},
            "distil": {"distil": 1.0},
            "contrast": {"contrast": 1.0},
        }[o.parts]
        metrics |= {"share_correct": accuracy, "pairs": float(len(pairs))}
        return Batch((*distilled, *pairs), coefficients, metrics)

    def _routed(self, group: Group) -> Routed:
        return route(group, self.options.routing)

    def _distilled(self, groups: Sequence[Group], context: StepContext) -> list[Distil]:
        """Distillation examples: the correct rollouts, or all of them, scored under the teacher's context."""
        o = self.options
        distil_on = o.distil_on or ("correct" if o.teacher_context == "none" else "all")
        out = []
        for group in groups:
            informed = None if o.teacher_context == "none" else context.encode(group.problem, o.teacher_context)
            for r in self.trained_on(self._routed(group).correct if distil_on == "correct" else group.rollouts):
                out.append(Distil.of(r, teacher_prompt_ids=informed))
        return out

    def _pairs(self, groups: Sequence[Group], context: StepContext) -> tuple[list[Prefer], dict[str, float]]:
        """Preference pairs, one for each incorrect rollout that has a chosen response; and what became of the rest."""
        o = self.options
        rejected_of = [self.trained_on(self._routed(g).incorrect) for g in groups]
        bare = [i for i, g in enumerate(groups) if rejected_of[i] and not self._candidates(g, context)]
        taught: dict[int, list[Chosen]] = {}  # by group: a problem that comes twice in a step is answered for each
        if bare and o.fallback != "skip":
            answers = context.ask_teacher([groups[i].problem for i in bare], o.fallback, o.teacher_context)
            for i, responses in zip(bare, answers, strict=True):
                usable = [r for r in self.trained_on(responses) if r.correct]
                taught[i] = [(r.response_ids, r.response_mask) for r in usable]
        pairs: list[Prefer] = []
        without = 0
        for i, group in enumerate(groups):
            candidates = self._candidates(group, context) or taught.get(i, [])
            for rejected in rejected_of[i]:
                if not candidates:
                    without += 1
                    continue
                # Own correct rollouts take turns, so that one sample is not chosen for all.
                ids, mask = candidates[rejected.sample % len(candidates)]
                pairs.append(
                    Prefer(
                        group.problem.id,
                        group.prompt_ids,
                        ids,
                        rejected.response_ids,
                        chosen_mask=mask,
                        rejected_mask=rejected.response_mask,
                    )
                )
        metrics = {"pairs_without_chosen": float(without)}
        if o.fallback != "skip":
            metrics |= {
                "fallback_prompts": float(len(bare)),
                "fallback_verified": float(sum(bool(responses) for responses in taught.values())),
            }
        return pairs, metrics

    def _candidates(self, group: Group, context: StepContext) -> list[Chosen]:
        """Responses that may be chosen for this prompt: those of the first source in `chosen_order` that has any."""
        for source in self.options.chosen_order:
            if source == "reference" and group.problem.solution:
                solution = group.problem.solution
                return [(context.encode_text(solution), context.mask_text(solution))]
            if source == "own" and (own := self.trained_on(self._routed(group).correct)):
                return [(r.response_ids, r.response_mask) for r in own]
        return []

"""Mutants of the methods: which responses, with which mask, weight and teacher prompt, on which component."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

TESTS = ("train/methods/test_methods.py",)
CORE, SEQKD, GRPO = "train/methods/core.py", "train/methods/seqkd.py", "train/methods/grpo.py"

MUTANTS = (
    Mutant(
        "truncated responses train in spite of the mask",
        "train/methods/base.py",
        "if not (masked and r.truncated))",
        "if not masked or r)",
        ("train/test_options.py::test_rewards_of_masked_rollouts_stay_in_their_groups_statistics",),
    ),
    Mutant(
        "GRPO leaves masked rollouts out of their group",
        "train/methods/grpo.py",
        "[_rewards(g) for g in groups]",
        "[[x if self.trained_on([r]) else 0.0 for x, r in zip(_rewards(g), g.rollouts)] for g in groups]",
        ("train/test_options.py::test_rewards_of_masked_rollouts_stay_in_their_groups_statistics",),
    ),
    Mutant("CORE: rejected mask dropped", CORE, "rejected_mask=rejected.response_mask", "rejected_mask=None", TESTS),
    Mutant("CORE: chosen mask dropped", CORE, "chosen_mask=mask", "chosen_mask=None", TESTS),
    Mutant("CORE: the reference solution has no mask", CORE, "context.mask_text(solution))]", "None)]", TESTS),
    Mutant(
        "CORE: one own response chosen for all",
        CORE,
        "candidates[rejected.sample % len(candidates)]",
        "candidates[0]",
        TESTS,
    ),
    Mutant(
        "CORE: chosen and rejected exchanged",
        CORE,
        "                        ids,\n                        rejected.response_ids,",
        "                        rejected.response_ids,\n                        ids,",
        TESTS,
    ),
    Mutant(
        "CORE: an unverified answer of the teacher is chosen",
        CORE,
        "for r in self.trained_on(responses) if r.correct]",
        "for r in self.trained_on(responses)]",
        TESTS,
    ),
    Mutant(
        "CORE: the teacher is asked for every prompt",
        CORE,
        "if rejected_of[i] and not self._candidates(g, context)]",
        "if rejected_of[i]]",
        TESTS,
    ),
    Mutant(
        "CORE: the order of chosen sources is ignored",
        CORE,
        "for source in self.options.chosen_order:",
        'for source in ("reference", "own"):',
        TESTS,
    ),
    Mutant(
        "CORE: the teacher scores without its context",
        CORE,
        "Distil.of(r, teacher_prompt_ids=informed)",
        "Distil.of(r)",
        TESTS,
    ),
    Mutant("CORE: distils everything", CORE, '"correct" if o.teacher_context == "none" else "all"', '"all"', TESTS),
    Mutant(
        "CORE: adaptive by the share of prompts",
        CORE,
        "sum(len(g.correct) for g in groups) / max(sum(len(g.rollouts) - len(g.unjudged) for g in groups), 1)",
        "sum(bool(g.correct) for g in groups) / len(groups)",
        TESTS,
    ),
    Mutant(
        "CORE: coefficients exchanged",
        CORE,
        '{"distil": mixed.distil, "contrast": mixed.contrast}',
        '{"distil": mixed.contrast, "contrast": mixed.distil}',
        TESTS,
    ),
    Mutant(
        "CORE: DPO without a reference",
        CORE,
        'reference=contrast and settings.losses.contrast.form == "dpo"',
        "reference=False",
        TESTS,
    ),
    Mutant("CORE: a pair without chosen response is not counted", CORE, "without += 1", "without += 0", TESTS),
    Mutant("SeqKD: no turns", SEQKD, "correct[i % len(correct)]", "correct[(i - first) % len(correct)]", TESTS),
    Mutant("SeqKD: turns advance by one", SEQKD, "first = context.step * k", "first = context.step", TESTS),
    Mutant(
        "SeqKD: unverified samples imitated",
        SEQKD,
        "context.teacher_samples[group.problem.id]) if r.correct]",
        "context.teacher_samples[group.problem.id])]",
        TESTS,
    ),
    Mutant("SeqKD: mask dropped", SEQKD, "response_mask=sample.response_mask", "response_mask=None", TESTS),
    Mutant(
        "SeqKD: K copies of few samples", SEQKD, "first + min(k, len(correct))", "first + (k if correct else 0)", TESTS
    ),
    Mutant(
        "SFT: mask dropped",
        "train/methods/sft.py",
        "response_mask=context.mask_text(g.problem.solution),",
        "response_mask=None,",
        TESTS,
    ),
    Mutant(
        "GRPO: advantage of a group's first rollout",
        GRPO,
        "Reinforce.of(r, float(a), temperature)",
        "Reinforce.of(r, float(row[0]), temperature)",
        TESTS,
    ),
    Mutant("GRPO: the scale option is ignored", GRPO, "scale=self.options.scale", 'scale="std"', TESTS),
    Mutant(
        "GRPO: KL without a reference",
        GRPO,
        "reference=settings.losses.policy_gradient.kl_coefficient > 0",
        "reference=False",
        TESTS,
    ),
    Mutant(
        "a rollout's mask is not distilled",
        "train/examples.py",
        "            teacher_prompt_ids,\n            rollout.response_mask,",
        "            teacher_prompt_ids,\n            None,",
        ("train/test_examples.py",),
    ),
    Mutant(
        "UOPD: weight of the first prompt for all",
        "train/methods/opd.py",
        "else weight_of[r.problem_id]",
        "else next(iter(weight_of.values()))",
        TESTS,
    ),
    Mutant(
        "UOPD: a prompt of weight 0 leaves the batch",
        "train/methods/opd.py",
        "weight_of[r.problem_id]) for r in rollouts)",
        "weight_of[r.problem_id]) for r in rollouts if weight_of is None or weight_of[r.problem_id])",
        TESTS,
    ),
    Mutant(
        "a prompt without annotation is let through",
        "train/methods/base.py",
        "if missing:",
        "if len(missing) > 2:",
        TESTS,
    ),
    Mutant(
        "OPSD: the teacher reads no solution",
        "train/methods/opsd.py",
        "context.encode(group.problem, self.options.context)",
        'context.encode(group.problem, "none")',
        TESTS,
    ),
    Mutant(
        "OPSD: scored by the run's teacher",
        "train/methods/opsd.py",
        'own = self.options.teacher == "self"',
        "own = False",
        TESTS,
    ),
    Mutant(
        "opposite routing: distils the right",
        "train/methods/opposite.py",
        "[Distil.of(r) for g in groups for r in self.trained_on(g.incorrect)]",
        "[Distil.of(r) for g in groups for r in self.trained_on(g.correct)]",
        TESTS,
    ),
    Mutant(
        "unparsed responses belong to nobody",
        "records.py",
        "return tuple(r for r in self.rollouts if not r.correct and not r.unjudged)",
        'return tuple(r for r in self.rollouts if r.verdict and r.verdict.status == "wrong")',
        TESTS,
    ),
)

"""Mutants of `train/objective.py`: what reaches the losses from examples, settings, frozen models and masks."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

FILE, TOKENS = "train/objective.py", "train/losses/distillation.py"
PARTS = ("train/test_objective_components.py",)
WHOLE = ("train/test_objective.py",)

MUTANTS = (
    Mutant(
        "responses of a shared prompt have one first token",
        FILE,
        "(packed.position_T[self.row_T] * weight_VH.shape[0] + self.target_T)",
        "packed.position_T[self.row_T]",
        ("actors/test_shared_prompts.py",),
    ),
    Mutant(
        "response mask dropped",
        FILE,
        "kept = torch.from_numpy(np.flatnonzero(self.chosen))",
        "kept = torch.arange(len(self.chosen))",
        PARTS,
    ),
    Mutant(
        "masked tokens of what is given dropped from the wrong place",
        FILE,
        "joined_T[self.kept_T]",
        "joined_T[: len(self.kept_T)]",
        PARTS,
    ),
    Mutant(
        "policy gradient at temperature 1 always",
        FILE,
        "    temperature = temperatures[0]\n",
        "    temperature = 1.0\n",
        PARTS,
    ),
    Mutant(
        "behaviour's log-probabilities tempered without their normaliser",
        FILE,
        "logprobs_T + (behaviour_T - part.target_logprobs()) / temperature",
        "behaviour_T / temperature",
        PARTS,
    ),
    Mutant(
        "reference at temperature 1 always",
        FILE,
        "e.temperature if isinstance(e, Reinforce) else 1.0",
        "1.0",
        ("train/test_objective.py",),
    ),
    Mutant(
        "distil: weights ignored",
        FILE,
        "        part.weight_S,\n        part.mask_T,",
        "        part.weight_S * 0 + 1,\n        part.mask_T,",
        PARTS,
    ),
    Mutant(
        "nll: weights ignored",
        FILE,
        "reduce(loss_T, part.segment_T, part.weight_S, ",
        "reduce(loss_T, part.segment_T, part.weight_S * 0 + 1, ",
        PARTS,
    ),
    Mutant(
        "contrast: weights ignored",
        FILE,
        "reduce_pairs(out.loss_P, part.weight_S,",
        "reduce_pairs(out.loss_P, part.weight_S * 0 + 1,",
        PARTS,
    ),
    Mutant(
        "policy gradient: advantage counted twice",
        FILE,
        "part.segment_T, ones_S, part.mask_T",
        "part.segment_T, part.weight_S, part.mask_T",
        PARTS,
    ),
    Mutant(
        "policy gradient: one advantage for all",
        FILE,
        "part.weight_S[part.segment_T],",
        "part.weight_S[part.segment_T * 0],",
        PARTS,
    ),
    Mutant(
        "entropy gap reversed",
        TOKENS,
        "entropy_gap(student.entropy_T, entropy_T)",
        "entropy_gap(entropy_T, student.entropy_T)",
        PARTS,
    ),
    Mutant(
        "divergence share dropped", TOKENS, 'elif settings.token_weight == "divergence_share":', "elif False:", PARTS
    ),
    Mutant(
        "divergence share over the whole micro-batch",
        TOKENS,
        "divergence_share(out.divergence_T, segment_T,",
        "divergence_share(out.divergence_T, segment_T * 0,",
        PARTS,
    ),
    Mutant("a method's own token weights dropped", FILE, "if any(u is not None for u in own):", "if False:", PARTS),
    Mutant(
        "one kind of token weight replaces the other", FILE, "else own_T * token_weight_T", "else token_weight_T", PARTS
    ),
    Mutant(
        "policy gradient: KL to the reference dropped",
        FILE,
        "kl_coefficient=settings.kl_coefficient,",
        "kl_coefficient=0.0,",
        PARTS,
    ),
    Mutant("SimPO's margin dropped", FILE, "gamma=settings.margin_in_force", "gamma=0.0", PARTS),
    Mutant(
        "SimPO on sums",
        FILE,
        'settings.length_normalised or settings.form == "simpo"',
        "settings.length_normalised",
        PARTS,
    ),
    Mutant(
        "length normalisation ignored",
        FILE,
        'settings.length_normalised or settings.form == "simpo"',
        'settings.form == "simpo"',
        PARTS,
    ),
    Mutant(
        "DPO's β is fixed",
        FILE,
        "beta=settings.beta_in_force)\n    return reduce_pairs",
        "beta=0.1)\n    return reduce_pairs",
        PARTS,
    ),
    Mutant(
        "SimPO's β is fixed", FILE, "simpo(*policy, beta=settings.beta_in_force,", "simpo(*policy, beta=0.1,", PARTS
    ),
    Mutant(
        "constant reduction divides by 1",
        FILE,
        'max_new_tokens if mode == "constant"',
        '1 if mode == "constant"',
        PARTS,
    ),
    Mutant(
        "denominators count masked tokens",
        FILE,
        "if example.response_mask is None else sum(example.response_mask)",
        "if example.response_mask is None else len(example.response_mask)",
        PARTS,
    ),
    Mutant(
        "imitation reduced as the policy gradient is",
        FILE,
        "Imitate: losses.distil.reduction,",
        "Imitate: losses.policy_gradient.reduction,",
        PARTS,
    ),
    Mutant(
        "τ² dropped", TOKENS, "scale_by_tau_squared=settings.scale_by_tau_squared", "scale_by_tau_squared=False", PARTS
    ),
    Mutant(
        "student at temperature 1",
        TOKENS,
        "        temperature=settings.temperature,\n        with_entropy",
        "        with_entropy",
        PARTS,
    ),
    Mutant(
        "teacher taken as scored at temperature 1",
        TOKENS,
        "teacher_temperature=settings.temperature",
        "teacher_temperature=1.0",
        PARTS,
    ),
    Mutant("the kind of divergence is ignored", TOKENS, "kind=settings.divergence", 'kind="forward_kl"', PARTS),
    Mutant("the support mode is ignored", TOKENS, "support=settings.support", 'support="renorm"', PARTS),
    Mutant(
        "the mixture of the JSD is ignored",
        TOKENS,
        "        beta=settings.beta,\n        temperature",
        "        beta=0.5,\n        temperature",
        PARTS,
    ),
    Mutant(
        "clip bounds exchanged",
        FILE,
        "clip_low=settings.clip_low,\n        clip_high=settings.clip_high,",
        "clip_low=settings.clip_high,\n        clip_high=settings.clip_low,",
        PARTS,
    ),
    Mutant(
        "masks of a pair exchanged",
        FILE,
        "return example.chosen_mask, example.rejected_mask",
        "return example.rejected_mask, example.chosen_mask",
        (*WHOLE, *PARTS),
    ),
    Mutant(
        "policy log-probabilities of a pair exchanged",
        FILE,
        "chosen_P, rejected_P = scores.split(pairs)",
        "rejected_P, chosen_P = scores.split(pairs)",
        PARTS,
    ),
    Mutant(
        "reference log-probabilities pair by pair",
        FILE,
        "[values[j] for j in range(per_example) for values in known]",
        "[v for values in known for v in values]",
        PARTS,
    ),
    Mutant(
        "teacher rows of the first examples",
        FILE,
        "[batch.teacher[i] for i in members]",
        "batch.teacher[: len(members)]",
        WHOLE,
    ),
    Mutant(
        "reference of the first examples",
        FILE,
        "[batch.reference[i] for i in members]",
        "batch.reference[: len(members)]",
        PARTS,
    ),
    Mutant(
        "sequences counted as examples",
        FILE,
        "np.cumsum([0, *(len(e.sequences) for e in batch.examples)])",
        "np.arange(len(batch.examples) + 1)",
        PARTS,
    ),
    Mutant(
        "an example of weight 0 leaves the denominator",
        FILE,
        "for e in examples if isinstance(e, kind)]\n        constant",
        "for e in examples if isinstance(e, kind) and e.weight]\n        constant",
        WHOLE,
    ),
    Mutant(
        "advantage 0 drops its KL term",
        FILE,
        "return example.weight != 0.0 or kept_by_kl",
        "return example.weight != 0.0",
        WHOLE,
    ),
    Mutant(
        "what is to be scored is numbered by its place",
        FILE,
        "return {i: e.teacher_sequence for i, e in enumerate(examples) if isinstance(e, Distil) and e.weight != 0.0}",
        "return dict(enumerate(e.teacher_sequence for e in examples if isinstance(e, Distil) and e.weight != 0.0))",
        WHOLE,
    ),
    Mutant("coefficients ignored", FILE, "= coefficient * value", "= value", WHOLE),
    Mutant(
        "a loss that is not finite passes",
        FILE,
        "        check_finite(component, value, LossContext(",
        "        (lambda *a: None)(component, value, LossContext(",
        PARTS,
    ),
    Mutant(
        "diagnostics over masked tokens too",
        "train/losses/diagnostics.py",
        "chosen = value_T.detach()[mask_T].double()",
        "chosen = value_T.detach().double()",
        ("train/losses/test_small_parts.py",),
    ),
    Mutant(
        "a response chosen for several read from the first row of all",
        FILE,
        "head.logprobs_TK[:, 0][self.tensor(place_T)]",
        "head.logprobs_TK[:, 0][self.tensor(place_T * 0)]",
        PARTS,
    ),
    Mutant(
        "rows through the head in the order of their first appearance",
        FILE,
        "rows = self.tensor(first)",
        "rows = self.tensor(np.sort(first))",
        PARTS,
    ),
)

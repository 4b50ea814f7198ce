"""Mutants of `train/losses`: direction, support, masks, reductions, normalisers, clips, and the guard."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

MUTANTS = (
    Mutant(
        "flip the direction of the KL",
        "train/losses/divergence.py",
        'if kind == "forward_kl":',
        'kind = {"forward_kl": "reverse_kl", "reverse_kl": "forward_kl"}.get(kind, kind)\n    if kind == "forward_kl":',
        ("train/losses/test_divergence.py",),
    ),
    Mutant(
        "swap student and teacher",
        "train/losses/divergence.py",
        "loss = -_expectation(p_t, log_s)",
        "loss = -_expectation(log_s.exp(), log_t)",
        ("train/losses/test_divergence.py",),
    ),
    Mutant(
        "clamp a truncated KL at 0",
        "train/losses/divergence.py",
        "divergence = loss.detach() + _expectation(p_t, log_t)",
        "divergence = (loss.detach() + _expectation(p_t, log_t)).clamp(min=0)",
        ("train/losses/test_divergence.py",),
    ),
    Mutant(
        "leave the teacher unnormalised",
        "train/losses/divergence.py",
        "return logprobs_TK - log_mass",
        "return logprobs_TK",
        ("train/losses/test_divergence.py",),
    ),
    Mutant(
        "swap the mixture of the JSD",
        "train/losses/divergence.py",
        "log_t + math.log(beta), log_s + math.log1p(-beta)",
        "log_s + math.log(beta), log_t + math.log1p(-beta)",
        ("train/losses/test_divergence.py",),
    ),
    Mutant(
        "drop the response mask",
        "train/losses/reduction.py",
        ".masked_fill(~mask_T, 0.0)",
        "",
        ("train/losses/test_reduction.py",),
    ),
    Mutant(
        "drop the response mask of a preference",
        "train/losses/preference.py",
        "logprobs_T.masked_fill(~mask_T, 0.0)",
        "logprobs_T",
        ("train/losses/test_preference.py",),
    ),
    Mutant(
        "divide by padded instead of masked lengths",
        "train/losses/reduction.py",
        "mask_T.to(loss_T.dtype)",
        "(mask_T | True).to(loss_T.dtype)",
        ("train/losses/test_reduction.py",),
    ),
    Mutant(
        "swap chosen and rejected",
        "train/losses/preference.py",
        "_logistic(beta * (chosen_P - rejected_P)",
        "_logistic(beta * (rejected_P - chosen_P)",
        ("train/losses/test_preference.py",),
    ),
    Mutant(
        "forget the reference",
        "train/losses/preference.py",
        "policy_rejected_P - reference_rejected_P.detach()",
        "policy_rejected_P",
        ("train/losses/test_preference.py",),
    ),
    Mutant(
        "normalise over the chunk, not the vocabulary",
        "train/losses/lm_head.py",
        "lse = lse_TC.logsumexp(dim=1)",
        "lse = lse_TC.amax(dim=1)",
        ("train/losses/test_lm_head.py",),
    ),
    Mutant(
        "forget the normaliser in the gradient",
        "train/losses/lm_head.py",
        ".mul_(minus_total)",
        ".mul_(0.0)",
        ("train/losses/test_lm_head.py",),
    ),
    Mutant(
        "forget the temperature in the gradient",
        "train/losses/lm_head.py",
        "grad = grads[0] * ctx.scale",
        "grad = grads[0]",
        ("train/losses/test_lm_head.py",),
    ),
    Mutant(
        "clip without regard to the sign of the advantage",
        "train/losses/policy_gradient.py",
        "torch.minimum(ratio * advantage, clipped_ratio * advantage)",
        "clipped_ratio * advantage",
        ("train/losses/test_policy_gradient.py",),
    ),
    Mutant(
        "flip the sign of the advantage",
        "train/losses/policy_gradient.py",
        "loss = -torch.minimum",
        "loss = torch.minimum",
        ("train/losses/test_policy_gradient.py",),
    ),
    Mutant(
        "allow alpha above 1 in the convex mix",
        "train/losses/mix.py",
        "if alpha > 1.0:",
        "if alpha > 100.0:",
        ("train/losses/test_small_parts.py",),
    ),
    Mutant(
        "let infinity pass the guard",
        "train/losses/finite.py",
        "if bool(finite.all()):",
        "if not bool(tensor.isnan().any()):",
        ("train/losses/test_small_parts.py",),
    ),
)

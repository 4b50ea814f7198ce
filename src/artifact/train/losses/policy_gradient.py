"""GRPO: group-normalised advantages and the clipped-ratio loss (Shao et al. 2024, Eq. 3 and 4.1.2), the RL baseline.

    A_gk = r_gk − mean_k r_gk,  divided by std_k r_gk if scale = "std"  (the k−1 form; "none" is Dr. GRPO's)
    ρ_t  = exp(log p_S(y_t) − log p_behaviour(y_t))
    ℓ_t  = −min(ρ_t A, clip(ρ_t, 1 − clip_low, 1 + clip_high) A) + c (e^{d_t} − 1 − d_t)
    d_t  = log p_ref(y_t) − log p_S(y_t)

All three log-probabilities are those of one temperature T: log softmax(z/T). With T that of the rollouts, the gradient
of Σ_t ℓ_t at ρ = 1 estimates −∇J_T, J_T the expected reward of the policy softmax(z/T) that was sampled; with another T
it is the gradient of no expectation. The last term is Schulman's k3 estimator: never negative, and unbiased for tokens
sampled from p_S. At the rollouts' T it therefore estimates KL(p_S,T ‖ p_ref,T) of the *tempered* policies, token by
token; at T = 1 with rollouts of another temperature it is the mean of the same expression over tokens of another
policy, which is no KL divergence.

Unequal clip bounds are DAPO's "clip-higher". Left out: the reduction (`reduction.py`), correction for a behaviour
policy whose log-probs come from another engine, and any value function.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class PolicyGradientLoss(NamedTuple):
    """One entry per token, [T]. Only loss_T has a gradient.

    ratio_T    ρ_t
    clipped_T  bool, True where the clip removes the gradient: ρ is past the bound its advantage pushes it towards
    kl_T       the k3 estimate against the reference, before its coefficient; None without a reference
    """

    loss_T: Tensor
    ratio_T: Tensor
    clipped_T: Tensor
    kl_T: Tensor | None


def group_advantages(rewards_GK: Tensor, *, scale: Literal["std", "none"] = "std") -> Tensor:
    """Advantage of each rollout within its group, [G, K].

    A group whose rewards are all equal gets 0 exactly: it says nothing about which rollout was better. No constant is
    added to the standard deviation. Raises ValueError for groups of fewer than two rollouts, rewards that are not
    finite, or an unknown scale.
    """
    if scale not in ("std", "none"):
        raise ValueError(f"unknown advantage scale {scale!r}; choose 'std' or 'none'")
    if rewards_GK.dim() != 2 or rewards_GK.shape[1] < 2:
        raise ValueError(
            f"rewards must be [G, K] with K ≥ 2, got {tuple(rewards_GK.shape)}: one rollout has no baseline"
        )
    if not rewards_GK.is_floating_point() or not bool(rewards_GK.isfinite().all()):
        raise ValueError(f"rewards must be finite floating-point numbers, got {rewards_GK.dtype} {rewards_GK.tolist()}")
    flat_G1 = (rewards_GK == rewards_GK[:, :1]).all(dim=1, keepdim=True)
    centred = (rewards_GK - rewards_GK.mean(dim=1, keepdim=True)).masked_fill(flat_G1, 0.0)
    if scale == "none":
        return centred
    return centred / rewards_GK.std(dim=1, keepdim=True, correction=1).masked_fill(flat_G1, 1.0)


def grpo_token_loss(
    logprobs_T: Tensor,
    behaviour_logprobs_T: Tensor,
    advantage_T: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    reference_logprobs_T: Tensor | None = None,
    kl_coefficient: float = 0.0,
) -> PolicyGradientLoss:
    """The clipped policy-gradient loss of each response token.

    All inputs are [T], log-probs natural and all at one temperature; the advantage is that of the token's rollout.
    Behaviour and reference log-probs and advantages carry no gradient. Raises ValueError for shapes that disagree, clip
    bounds outside 0 ≤ clip_low < 1, clip_high ≥ 0, a negative KL coefficient, or one without reference log-probs.
    """
    given = [logprobs_T, behaviour_logprobs_T, advantage_T] + (
        [] if reference_logprobs_T is None else [reference_logprobs_T]
    )
    if any(x.dim() != 1 or x.shape != logprobs_T.shape for x in given):
        raise ValueError(f"policy-gradient inputs must share one shape [T], got {[tuple(x.shape) for x in given]}")
    if not (0.0 <= clip_low < 1.0 and clip_high >= 0.0):
        raise ValueError(f"clip bounds must satisfy 0 ≤ clip_low < 1 and clip_high ≥ 0, got {clip_low} and {clip_high}")
    if not kl_coefficient >= 0.0 or (kl_coefficient > 0.0 and reference_logprobs_T is None):
        raise ValueError(f"kl_coefficient {kl_coefficient} must be ≥ 0, and needs reference log-probs when it is not 0")
    advantage = advantage_T.detach()
    ratio = (logprobs_T - behaviour_logprobs_T.detach()).exp()
    clipped_ratio = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    loss = -torch.minimum(ratio * advantage, clipped_ratio * advantage)
    kl = None
    if reference_logprobs_T is not None:
        kl = k3_divergence(logprobs_T, reference_logprobs_T)
        if kl_coefficient > 0.0:
            loss = loss + kl_coefficient * kl
        kl = kl.detach()
    ratio = ratio.detach()
    clipped = ((advantage > 0) & (ratio > 1.0 + clip_high)) | ((advantage < 0) & (ratio < 1.0 - clip_low))
    return PolicyGradientLoss(loss, ratio, clipped, kl)


def k3_divergence(logprobs_T: Tensor, reference_logprobs_T: Tensor) -> Tensor:
    """k3 = e^d − 1 − d with d = log p_ref − log p_S, per token; `expm1` keeps small d from cancelling."""
    d = reference_logprobs_T.detach() - logprobs_T
    return torch.expm1(d) - d

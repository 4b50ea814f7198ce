"""Preference losses over (chosen, rejected) pairs: the contrast term of CORE 3.3.

With s(y) the log-probability of response y, summed over its response tokens (or averaged, if `length_normalised`):

    DPO     margin = β [(s_S(y_c) − s_ref(y_c)) − (s_S(y_r) − s_ref(y_r))]          loss = −log σ(margin)
    SimPO   margin = β [s̄_S(y_c) − s̄_S(y_r)],  s̄ the mean per token               loss = −log σ(margin − γ)

DPO: Rafailov et al. 2023, Eq. 7; the paper's form sums. SimPO: Meng et al. 2024, Eq. 6; it needs no reference model.
EOS is a response token: when it was generated it belongs to the sums. Left out: choosing the pairs (a method's job),
the mean over pairs (`reduction.reduce_pairs`), label smoothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus


class PreferenceLoss(NamedTuple):
    """One entry per pair, [P]. Only loss_P has a gradient.

    margin_P    the implicit reward of the chosen response minus that of the rejected one (SimPO: before γ is taken off)
    accuracy_P  1 where the margin is positive, 0 where negative, 0.5 where it is exactly 0 (policy = reference, step 0)
    """

    loss_P: Tensor
    margin_P: Tensor
    accuracy_P: Tensor


def sequence_logprobs(
    logprobs_T: Tensor, segment_T: Tensor, n_sequences: int, mask_T: Tensor, *, length_normalised: bool = False
) -> Tensor:
    """Log-probability of each packed response, [S]: over its unmasked tokens the sum, or the mean if length_normalised.

    A sequence without an unmasked token gets 0. Raises ValueError for shapes that disagree or a mask that is not bool.
    """
    if not logprobs_T.shape == segment_T.shape == mask_T.shape or logprobs_T.dim() != 1 or mask_T.dtype != torch.bool:
        raise ValueError(
            f"log-probs {tuple(logprobs_T.shape)}, segments {tuple(segment_T.shape)} and bool mask "
            f"{tuple(mask_T.shape)} ({mask_T.dtype}) must share one shape [T]"
        )
    sums = logprobs_T.new_zeros(n_sequences).index_add(0, segment_T, logprobs_T.masked_fill(~mask_T, 0.0))
    if not length_normalised:
        return sums
    lengths = logprobs_T.new_zeros(n_sequences).index_add(0, segment_T, mask_T.to(logprobs_T.dtype))
    return sums / lengths.clamp(min=1.0)


def dpo(
    policy_chosen_P: Tensor,
    policy_rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    *,
    beta: float = 0.1,
) -> PreferenceLoss:
    """DPO from four sequence log-probabilities [P] each (`sequence_logprobs`); the reference's carry no gradient.

    Raises ValueError for shapes that disagree or β ≤ 0 (which would prefer the rejected response).
    """
    _check_pairs(policy_chosen_P, policy_rejected_P, reference_chosen_P, reference_rejected_P)
    _check_beta(beta)
    chosen_P = policy_chosen_P - reference_chosen_P.detach()
    rejected_P = policy_rejected_P - reference_rejected_P.detach()
    return _logistic(beta * (chosen_P - rejected_P), gamma=0.0)


def simpo(
    policy_chosen_mean_P: Tensor, policy_rejected_mean_P: Tensor, *, beta: float = 2.0, gamma: float = 1.0
) -> PreferenceLoss:
    """SimPO from two *length-normalised* sequence log-probabilities [P]; γ ≥ 0 is the margin the loss aims beyond.

    The defaults lie in the range the SimPO authors report (β 2.0-2.5, γ/β about 0.5). Raises ValueError as `dpo` does.
    """
    _check_pairs(policy_chosen_mean_P, policy_rejected_mean_P)
    _check_beta(beta)
    if not gamma >= 0.0:
        raise ValueError(f"SimPO's gamma is a margin and cannot be negative, got {gamma}")
    return _logistic(beta * (policy_chosen_mean_P - policy_rejected_mean_P), gamma=gamma)


def _logistic(margin_P: Tensor, gamma: float) -> PreferenceLoss:
    """−log σ(margin − γ) = softplus(γ − margin), stable for margins of any size."""
    detached = margin_P.detach()
    return PreferenceLoss(softplus(gamma - margin_P), detached, 0.5 * (detached.sign() + 1.0))


def _check_pairs(*logprobs: Tensor) -> None:
    if any(x.dim() != 1 or x.shape != logprobs[0].shape for x in logprobs):
        raise ValueError(f"sequence log-probs must share one shape [P], got {[tuple(x.shape) for x in logprobs]}")


def _check_beta(beta: float) -> None:
    if not beta > 0.0:
        raise ValueError(
            f"preference beta must be positive, got {beta}: at 0 nothing is learnt, below it the sign flips"
        )

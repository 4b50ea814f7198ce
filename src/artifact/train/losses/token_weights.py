"""Optional per-token weights on a loss, always without gradient: named options, in neither paper's equations.

    entropy_gap        u_t = σ(α (H_S,t − H_T,t))            more weight where the student is less sure than the teacher
    divergence_share   u_t = n_s · softmax_{t∈s}(ℓ_t / τ)    more weight where the loss is large; mean 1 over a response

Weights change the numerator of a reduction only, never its denominator.
"""

from __future__ import annotations

import torch
from torch import Tensor


def entropy_gap(student_entropy_T: Tensor, teacher_entropy_T: Tensor, *, alpha: float = 5.0) -> Tensor:
    """σ(α (H_S − H_T)) per token, [T], in (0, 1); 0.5 where both are equally sure.

    Entropies are in nats and of one kind on both sides (both of the full vocabulary, or both of the top-k).
    Raises ValueError for shapes that disagree or α < 0 (which would favour tokens the student is already sure of).
    """
    if student_entropy_T.shape != teacher_entropy_T.shape or student_entropy_T.dim() != 1:
        raise ValueError(
            f"entropies must share one shape [T], got student {tuple(student_entropy_T.shape)}, "
            f"teacher {tuple(teacher_entropy_T.shape)}"
        )
    if not alpha >= 0.0:
        raise ValueError(f"entropy_gap's alpha must be ≥ 0, got {alpha}")
    return torch.sigmoid(alpha * (student_entropy_T - teacher_entropy_T).detach())


def divergence_share(
    divergence_T: Tensor, segment_T: Tensor, n_sequences: int, mask_T: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """n_s · softmax over each response of ℓ_t/τ, [T]: mean 1 over a response's n_s unmasked tokens, 0 at masked ones.

    Raises ValueError for shapes that disagree, a mask that is not bool, or a temperature ≤ 0.
    """
    if (
        not divergence_T.shape == segment_T.shape == mask_T.shape
        or divergence_T.dim() != 1
        or mask_T.dtype != torch.bool
    ):
        raise ValueError(
            f"divergences {tuple(divergence_T.shape)}, segments {tuple(segment_T.shape)} and bool mask "
            f"{tuple(mask_T.shape)} ({mask_T.dtype}) must share one shape [T]"
        )
    if not temperature > 0.0:
        raise ValueError(f"divergence_share's temperature must be positive, got {temperature}")
    scaled_T = (divergence_T.detach() / temperature).masked_fill(~mask_T, -torch.inf)
    top_S = scaled_T.new_full((n_sequences,), -torch.inf).scatter_reduce_(0, segment_T, scaled_T, "amax")
    shifted_T = (scaled_T - top_S[segment_T]).masked_fill(~mask_T, -torch.inf)  # a response fully masked has top −∞
    exp_T = shifted_T.exp()
    total_S = exp_T.new_zeros(n_sequences).index_add_(0, segment_T, exp_T)
    length_S = exp_T.new_zeros(n_sequences).index_add_(0, segment_T, mask_T.to(exp_T.dtype))
    return exp_T * (length_S / total_S.clamp(min=torch.finfo(exp_T.dtype).tiny))[segment_T]

"""Distillation of each token on the teacher's support, from hidden states to loss: what the step and its records share.

    ℓ_t = D(p̃_T ‖ p_S)  at position t          `divergence.py` (UOPD Eq. 7)
    u_t = the token weight of the settings       `token_weights.py`

Left out: weights of examples and the reduction (`objective.py`).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from artifact.train.losses.divergence import token_divergence
from artifact.train.losses.lm_head import HeadOutput, log_probs_at
from artifact.train.losses.token_weights import divergence_share, entropy_gap
from artifact.train.settings import DistilSettings


class DistilledTokens(NamedTuple):
    """Of T response tokens: ℓ_t with gradient, the divergence and the token weight (None = 1) without, the student."""

    loss_T: Tensor
    divergence_T: Tensor
    token_weight_T: Tensor | None
    student: HeadOutput


def distil_tokens(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    ids_TK: Tensor,
    teacher_TK: Tensor,
    entropy_T: Tensor,
    tail_T: Tensor | None,
    segment_T: Tensor,
    n_responses: int,
    mask_T: Tensor,
    settings: DistilSettings,
) -> DistilledTokens:
    """The student at the teacher's top-k, and what the loss makes of it.

    ids_TK, teacher_TK, entropy_T, tail_T  the teacher's rows (`scoring.TeacherRows`) at `settings.temperature`
    segment_T                              which of `n_responses` each token belongs to
    mask_T                                 bool, True = trained on
    """
    student = log_probs_at(
        hidden_TH,
        weight_VH,
        ids_TK,
        temperature=settings.temperature,
        with_entropy=settings.token_weight == "entropy_gap",
        with_argmax=True,
        with_tail=settings.support == "tail",
    )
    out = token_divergence(
        teacher_TK,
        student.logprobs_TK,
        kind=settings.divergence,
        support=settings.support,
        teacher_tail_T=tail_T,
        student_tail_T=student.tail_T,
        beta=settings.beta,
        temperature=settings.temperature,
        teacher_temperature=settings.temperature,
        scale_by_tau_squared=settings.scale_by_tau_squared,
    )
    token_weight_T = None
    if settings.token_weight == "entropy_gap":
        assert student.entropy_T is not None  # asked for above
        token_weight_T = entropy_gap(student.entropy_T, entropy_T)
    elif settings.token_weight == "divergence_share":
        token_weight_T = divergence_share(out.divergence_T, segment_T, n_responses, mask_T)
    return DistilledTokens(out.loss_T, out.divergence_T, token_weight_T, student)

"""Divergence between teacher and student at each token, on the teacher's top-k support (UOPD Eq. 7, CORE 3.3).

With p_T, p_S the full-vocabulary distributions at temperature τ and v_1 … v_k the teacher's top-k ids, the entries
that enter the sums over j are

    renorm   p̃_T(v_j) = p_T(v_j) / Σ_i p_T(v_i);  p_S(v_j) is *not* renormalised   (the papers; default)
    tail     both sides get one more entry, the mass of all other ids: two proper (k+1)-way distributions
    raw      p_T(v_j) and p_S(v_j) as they are

    forward_kl   loss ℓ_t = −Σ_j p_T log p_S (Eq. 7)                divergence Σ_j p_T (log p_T − log p_S)
    reverse_kl   loss = divergence = Σ_j p_S (log p_S − log p_T)
    jsd          loss = divergence = β Σ_j p_T (log p_T − log m) + (1−β) Σ_j p_S (log p_S − log m)
                 with m = β p_T + (1−β) p_S

The cross-entropy ℓ_t differs from the KL by the teacher's entropy, a constant, so both have one gradient; log the
divergence, which reads 0 for teacher = student at k = V. At k < V and teacher = student, `renorm` reads −log Σ_j
p_T(v_j) > 0. There `raw` reads 0, but its gradient is not 0: the forward KL raises, and the reverse KL lowers, the
student's mass on the support (∂/∂z_v = p_S(v) Σ_j p_T(v_j) − p_T(v), which is −p_T(v) (1 − Σ_j p_T(v_j)) there).

The tail's log-mass comes from whoever holds the logits (`lm_head.log_probs_at`, `scoring.FrozenModel`): rebuilt as
1 − Σ_j from float32 values, a tail below 1e-7 has no digit and no gradient. At k = V there is no tail on either side.

jsd is GKD's (and TRL's) form. As β → 0, jsd/β → KL(T‖S); as β → 1, jsd/(1−β) → KL(S‖T); jsd itself goes to 0 at both
ends, so β must lie strictly between. Each of its terms in j is ≥ 0, whatever the support.

No truncated sum is clamped at 0: it may rightly be negative (`raw`, and reverse KL with an unnormalised student), and a
clamp would silence that token's gradient. Reverse KL under `raw`, or `renorm` of the teacher alone, is lowered by
moving student mass off the support: use `tail`, or `renormalise_student`. Left out: reduction over tokens
(`reduction.py`), clipping.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Divergence = Literal["forward_kl", "reverse_kl", "jsd"]
Support = Literal["renorm", "tail", "raw"]


class TokenDivergence(NamedTuple):
    """loss_T is what to minimise (times τ² if asked); divergence_T is what to report: detached, without the τ²."""

    loss_T: Tensor
    divergence_T: Tensor


def token_divergence(
    teacher_logprobs_TK: Tensor,
    student_logprobs_TK: Tensor,
    *,
    kind: Divergence = "forward_kl",
    support: Support = "renorm",
    teacher_tail_T: Tensor | None = None,
    student_tail_T: Tensor | None = None,
    beta: float = 0.5,
    temperature: float = 1.0,
    teacher_temperature: float | None = None,
    scale_by_tau_squared: bool = False,
    renormalise_student: bool = False,
) -> TokenDivergence:
    """The loss and the divergence of each token, [T], in nats.

    teacher_logprobs_TK   natural logs of the teacher's full-vocabulary soft-max at its top-k ids, not renormalised;
                          taken without gradient
    student_logprobs_TK   the student's at the same ids and at `temperature`, full-vocabulary (`lm_head.log_probs_at`)
    teacher_tail_T        log of the teacher's mass outside its top-k, at the temperature of its log-probs; `tail` needs
                          both tails
    student_tail_T        log of the student's mass outside the same ids
    beta                  teacher's share of the mixture, only used by `jsd`
    temperature           τ of the student's log-probs and of the loss
    teacher_temperature   temperature at which the teacher was scored; must be stated when τ is not 1, as nothing in the
                          numbers tells. Where it is not τ but τ₀, `renorm` tempers the k stored values, which is exact:
                          the unknown normaliser cancels, softmax_j(z_j/τ) = softmax_j((τ₀/τ) log p_T(v_j)). `tail`
                          and `raw` need the full sum: score the teacher at τ.
    scale_by_tau_squared  multiply the loss by τ² (Hinton et al. 2015, section 2.1)
    renormalise_student   with `renorm`, renormalise the student over the support as well (not the papers' form)

    Raises ValueError for disagreeing shapes, unknown names, β outside (0, 1), or temperatures that cannot be
    reconciled.
    """
    if teacher_temperature is None:
        if temperature != 1.0:
            raise ValueError(
                f"temperature is {temperature}: say at which temperature the teacher was scored (teacher_temperature)"
            )
        teacher_temperature = 1.0
    _check(
        teacher_logprobs_TK, student_logprobs_TK, kind, support, temperature, teacher_temperature, renormalise_student
    )
    teacher = teacher_logprobs_TK.detach().to(student_logprobs_TK.dtype) * (teacher_temperature / temperature)
    if support == "tail":
        log_t = with_tail(teacher, teacher_tail_T, "teacher")
        log_s = with_tail(student_logprobs_TK, student_tail_T, "student")
    else:
        log_t = renormalised(teacher) if support == "renorm" else teacher
        log_s = renormalised(student_logprobs_TK) if renormalise_student else student_logprobs_TK
    p_t = log_t.exp()
    if kind == "forward_kl":
        loss = -_expectation(p_t, log_s)
        divergence = loss.detach() + _expectation(p_t, log_t)
    elif kind == "reverse_kl":
        loss = _expectation(log_s.exp(), log_s - log_t)
        divergence = loss.detach()
    else:
        if not 0.0 < beta < 1.0:
            raise ValueError(
                f"jsd needs 0 < beta < 1, got {beta}; it vanishes at both ends: use forward_kl or reverse_kl"
            )
        nowhere = log_t.isneginf() & log_s.isneginf()  # logaddexp of two −∞ passes on a NaN gradient
        t, s = log_t.masked_fill(nowhere, 0.0), log_s.masked_fill(nowhere, 0.0)
        log_m = torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))
        loss = beta * _expectation(p_t, log_t - log_m) + (1.0 - beta) * _expectation(log_s.exp(), log_s - log_m)
        divergence = loss.detach()
    return TokenDivergence(loss * temperature**2 if scale_by_tau_squared else loss, divergence)


def renormalised(logprobs_TK: Tensor) -> Tensor:
    """Log-probabilities of the distribution given that the token is on the support, [T, K]."""
    return logprobs_TK - logprobs_TK.logsumexp(dim=-1, keepdim=True)


def with_tail(logprobs_TK: Tensor, tail_T: Tensor | None, whose: str) -> Tensor:
    """Log-probabilities with the tail's as the last entry, [T, K+1]. ValueError without it, or where it is NaN."""
    if tail_T is None or tail_T.shape != logprobs_TK.shape[:1] or bool(tail_T.isnan().any()):
        found = "none" if tail_T is None else f"{tuple(tail_T.shape)} with {int(tail_T.isnan().sum())} NaN"
        raise ValueError(
            f"support 'tail' needs the {whose}'s log-mass outside the top-k of {logprobs_TK.shape[0]} tokens, got "
            f"{found}: ask the output head and the scorer for it (with_tail=True)"
        )
    return torch.cat([logprobs_TK, tail_T.to(logprobs_TK.dtype).unsqueeze(-1)], dim=-1)


def _expectation(p_TK: Tensor, value_TK: Tensor) -> Tensor:
    """Σ_k p value, where an entry of probability 0 contributes 0 whatever its value (0 · −∞ = 0), with gradient 0."""
    possible = p_TK > 0
    return (p_TK * value_TK.masked_fill(~possible, 0.0)).sum(dim=-1)


def _check(
    teacher: Tensor,
    student: Tensor,
    kind: str,
    support: str,
    temperature: float,
    teacher_temperature: float,
    renorm_s: bool,
) -> None:
    if teacher.dim() != 2 or teacher.shape != student.shape:
        raise ValueError(
            f"teacher {tuple(teacher.shape)} and student {tuple(student.shape)} log-probs must both be [T, K]"
        )
    if kind not in get_args(Divergence):
        raise ValueError(f"unknown divergence {kind!r}; choose from {get_args(Divergence)}")
    if support not in get_args(Support):
        raise ValueError(f"unknown support {support!r}; choose from {get_args(Support)}")
    if not (temperature > 0.0 and teacher_temperature > 0.0):
        raise ValueError(f"temperatures must be positive, got student {temperature}, teacher {teacher_temperature}")
    if temperature != teacher_temperature and support != "renorm":
        raise ValueError(
            f"support {support!r} needs the teacher scored at temperature {temperature}, but it was scored at "
            f"{teacher_temperature}: its full-vocabulary sum cannot be recovered from the top-k; score it again at "
            f"{temperature}, or use 'renorm'"
        )
    if renorm_s and support != "renorm":
        raise ValueError(f"renormalise_student only means something for support 'renorm', got {support!r}")

"""What to log beside a distillation loss, as plain floats.

Mass and agreement on the top-k support tell whether truncation matters and whether the student drifts off the support;
without them a small truncated divergence can hide a collapsed student.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def distillation_diagnostics(
    teacher_ids_TK: Tensor,
    teacher_logprobs_TK: Tensor,
    student_logprobs_TK: Tensor,
    mask_T: Tensor,
    *,
    divergence_T: Tensor | None = None,
    student_entropy_T: Tensor | None = None,
    student_argmax_T: Tensor | None = None,
) -> dict[str, float]:
    """Token means over the unmasked tokens of a micro-batch, and their number as `tokens`; no gradient.

    Log-probs are full-vocabulary ones at the teacher's ids. Keys: `teacher_mass`, `student_mass` (probability on the
    support), `teacher_entropy` (nats, of the renormalised top-k); where given also `divergence`, `student_entropy` and
    `top1_agreement` (the share of tokens on which both have the same most probable id). An empty selection gives
    `{"tokens": 0.0}`. Raises ValueError for shapes that disagree or a mask that is not bool.
    """
    shape = teacher_ids_TK.shape
    per_token = {"divergence": divergence_T, "student_entropy": student_entropy_T, "student_argmax": student_argmax_T}
    bad = [name for name, x in per_token.items() if x is not None and x.shape != shape[:1]]
    if teacher_logprobs_TK.shape != shape or student_logprobs_TK.shape != shape or mask_T.shape != shape[:1] or bad:
        raise ValueError(
            f"ids {tuple(shape)}, teacher {tuple(teacher_logprobs_TK.shape)} and student "
            f"{tuple(student_logprobs_TK.shape)} log-probs must be [T, K], mask {tuple(mask_T.shape)} [T]; "
            f"not [T]: {bad}"
        )
    if mask_T.dtype != torch.bool:
        raise ValueError(f"mask_T must be bool (True = counted), got {mask_T.dtype}")
    columns = {
        "teacher_mass": teacher_logprobs_TK.exp().sum(dim=1),
        "student_mass": student_logprobs_TK.exp().sum(dim=1),
        "teacher_entropy": topk_entropy(teacher_logprobs_TK),
    }
    if divergence_T is not None:
        columns["divergence"] = divergence_T
    if student_entropy_T is not None:
        columns["student_entropy"] = student_entropy_T
    if student_argmax_T is not None:
        best = teacher_logprobs_TK.argmax(dim=1, keepdim=True)
        columns["top1_agreement"] = teacher_ids_TK.gather(1, best).squeeze(1) == student_argmax_T
    n_tokens = int(mask_T.sum())
    if n_tokens == 0:
        return {"tokens": 0.0}
    means = {name: float(x.detach()[mask_T].double().mean()) for name, x in columns.items()}
    return {"tokens": float(n_tokens)} | means


def token_mean(value_T: Tensor, mask_T: Tensor) -> float:
    """Mean over the unmasked tokens; 0 where there is none (a response of tool output only)."""
    chosen = value_T.detach()[mask_T].double()
    return float(chosen.mean()) if chosen.numel() else 0.0


def topk_entropy(logprobs_TK: Tensor) -> Tensor:
    """Entropy in nats of each row renormalised over its K entries, [T], no gradient; entries of probability 0 add 0."""
    log_p = logprobs_TK.detach().log_softmax(dim=1)
    entropy_T: Tensor = torch.special.entr(log_p.exp()).sum(dim=1)
    return entropy_T


def merge_diagnostics(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """One token-weighted mean from those of several micro-batches or ranks.

    Raises ValueError if the others do not hold the same quantities.
    """
    filled = [p for p in parts if p["tokens"] > 0]
    if not filled:
        return {"tokens": 0.0}
    if any(p.keys() != filled[0].keys() for p in filled):
        raise ValueError(f"diagnostics to merge hold different quantities: {[sorted(p) for p in filled]}")
    total = math.fsum(p["tokens"] for p in filled)
    names = [name for name in filled[0] if name != "tokens"]
    return {"tokens": total} | {n: math.fsum(p["tokens"] * p[n] for p in filled) / total for n in names}

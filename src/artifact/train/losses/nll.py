"""Negative log-likelihood of given response tokens: SFT on reference solutions, SeqKD on verified teacher samples.

    ℓ_t = −log p_S(y_t | x, y_<t)

Left out: the reduction (`reduction.py`) and the mask. EOS is a token like any other, or the model never learns to stop.
"""

from __future__ import annotations

from torch import Tensor


def token_nll(target_logprobs_T: Tensor) -> Tensor:
    """Per-token negative log-likelihood in nats, [T], from the target tokens' log-probs [T] or [T, 1] (`log_probs_at`).

    Raises ValueError for any other shape.
    """
    if target_logprobs_T.dim() == 2 and target_logprobs_T.shape[1] == 1:
        target_logprobs_T = target_logprobs_T.squeeze(1)
    if target_logprobs_T.dim() != 1:
        raise ValueError(
            f"target log-probs must be [T] or [T, 1], one per response token, got {tuple(target_logprobs_T.shape)}"
        )
    return -target_logprobs_T

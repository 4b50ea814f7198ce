"""From per-token losses to a micro-batch's share of the optimiser step's loss.

Denominators are those of the *whole* step, over all micro-batches and ranks: the driver computes them once per loss
component with `step_denominator`, and the shares returned by `reduce` then sum exactly to the step's loss, however the
step is cut up. With w_s the sequence weight, u_t the token weight, m_t the response mask and n_s = Σ_{t∈s} m_t:

    sequence_mean  Σ_s w_s (1/n_s) Σ_{t∈s} m_t u_t ℓ_t / N   N = sequences in the step (UOPD Eq. 8-9, CORE 3.3; default)
    token_mean     Σ_s w_s Σ_{t∈s} m_t u_t ℓ_t / M           M = unmasked tokens in the step
    constant       Σ_s w_s Σ_{t∈s} m_t u_t ℓ_t / (N · L)     L = a fixed length, such as the token budget (Dr. GRPO)

Weights never enter a denominator: a prompt of weight 0 still counts in N (UOPD Eq. 9 divides by K and |D|). A sequence
without any unmasked token adds nothing and does not count. Sequences must not be split between micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["sequence_mean", "token_mean", "constant"]


def step_denominator(lengths: Sequence[int], mode: Reduction, *, constant_length: int | None = None) -> float:
    """The denominator of one loss component for a whole optimiser step.

    `lengths` holds the number of unmasked response tokens of every sequence that takes part in the component, over all
    micro-batches and ranks, those of weight 0 included. For preference pairs use `sequence_mean`, one entry per pair.
    Returns 0.0 if nothing takes part: leave the component out of that step. Raises ValueError for a bad mode, length or
    constant.
    """
    if mode not in get_args(Reduction):
        raise ValueError(f"unknown reduction {mode!r}; choose from {get_args(Reduction)}")
    if any(n < 0 for n in lengths):
        raise ValueError(f"negative response length in {list(lengths)}")
    if (mode == "constant") != (constant_length is not None):
        raise ValueError(
            f"constant_length goes with reduction 'constant' and no other; got {mode!r}, {constant_length}"
        )
    if mode == "token_mean":
        return float(sum(lengths))
    n_sequences = sum(n > 0 for n in lengths)
    if constant_length is None:
        return float(n_sequences)
    if constant_length < 1:
        raise ValueError(f"constant_length must be at least 1, got {constant_length}")
    return float(n_sequences * constant_length)


def reduce(
    loss_T: Tensor,
    segment_T: Tensor,
    weight_S: Tensor,
    mask_T: Tensor,
    mode: Reduction,
    denominator: float,
    *,
    token_weight_T: Tensor | None = None,
) -> Tensor:
    """This micro-batch's share of the step's loss, a scalar with gradient.

    loss_T [T] per-token losses; segment_T [T] int64 sequence index; weight_S [S] sequence weights; mask_T [T] bool,
    True = trained on; denominator from `step_denominator`; token_weight_T [T] optional. Masked tokens are dropped, not
    multiplied by 0, so their loss may be anything, even NaN. Its gradient is 0, which an infinite derivative further up
    still turns into NaN (0 · ∞): `objective` leaves masked tokens out before it computes any loss. Raises ValueError
    for wrong shapes, a mask that is not bool, or a denominator ≤ 0.
    """
    _check(loss_T, segment_T, weight_S, mask_T, mode, denominator, token_weight_T)
    weight_T = weight_S.to(loss_T.dtype)[segment_T]
    if mode == "sequence_mean":
        n_S = weight_S.new_zeros(weight_S.shape, dtype=loss_T.dtype).index_add_(0, segment_T, mask_T.to(loss_T.dtype))
        weight_T = weight_T / n_S.clamp(min=1.0)[segment_T]
    if token_weight_T is not None:
        weight_T = weight_T * token_weight_T.to(loss_T.dtype)
    return (loss_T * weight_T).masked_fill(~mask_T, 0.0).sum() / denominator


def reduce_pairs(loss_P: Tensor, weight_P: Tensor, denominator: float) -> Tensor:
    """This micro-batch's share of a per-pair loss: Σ_p w_p ℓ_p / (pairs in the step), a scalar with gradient."""
    if loss_P.shape != weight_P.shape or loss_P.dim() != 1:
        raise ValueError(f"pair losses {tuple(loss_P.shape)} and weights {tuple(weight_P.shape)} must both be [P]")
    _check_denominator(denominator)
    return (loss_P * weight_P.to(loss_P.dtype)).sum() / denominator


def _check(
    loss: Tensor,
    segment: Tensor,
    weight: Tensor,
    mask: Tensor,
    mode: str,
    denominator: float,
    token_weight: Tensor | None,
) -> None:
    if mode not in get_args(Reduction):
        raise ValueError(f"unknown reduction {mode!r}; choose from {get_args(Reduction)}")
    shapes = {"loss_T": loss, "segment_T": segment, "mask_T": mask} | (
        {} if token_weight is None else {"token_weight_T": token_weight}
    )
    if len({tuple(t.shape) for t in shapes.values()}) != 1 or loss.dim() != 1 or weight.dim() != 1:
        found = {name: tuple(t.shape) for name, t in shapes.items()} | {"weight_S": tuple(weight.shape)}
        raise ValueError(f"per-token tensors must share one shape [T] and weights be [S], got {found}")
    if str(mask.dtype) != "torch.bool":  # by name, so that this module stays free of torch at import
        raise ValueError(f"mask_T must be bool (True = trained on), got {mask.dtype}")
    _check_denominator(denominator)


def _check_denominator(denominator: float) -> None:
    if not denominator > 0.0:
        raise ValueError(
            f"denominator is {denominator}: no sequence takes part in this component in this step; skip the component, "
            "and compute the denominator over the whole step with step_denominator"
        )

"""A tensor's content as one 64-bit number, exact in every dtype and the same on every device.

    F(x) = Σ_i b_i · (2 i + 1) · φ   mod 2⁶⁴,    b_i the bits of element i as an integer, φ = 0x9E3779B97F4A7C15

The weight of each position is odd, so any change of one element changes the sum; integer sums do not depend on their
order, so a GPU gives what a CPU gives, and the F of a tensor is the sum of those of its pieces, each counted from where
it stands. It proves that weights arrived, to the bit, where log-probabilities of a bfloat16 model can only say that
they arrived roughly. Left out: an adversary (it is no cryptographic hash).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

PHI = 0x9E3779B97F4A7C15 - 2**64
"""2⁶⁴ over the golden ratio, as a signed 64-bit integer: it spreads the weights of near positions over all bits."""

PIECE = 1 << 24
"""Elements summed at once: three arrays of 128 MiB."""

TABLE = 1 << 20
"""Weights of positions that are kept once they were computed, 8 MiB a device: small tensors are most of a model's."""

_INTEGER_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(tensor: Tensor, first: int = 0) -> int:
    """F of the elements in row-major order, on the tensor's own device. Shape and dtype are not part of it.

    first  the position of its first element, where `tensor` is a piece of a larger one
    """
    bits = tensor.detach().contiguous().view(_INTEGER_OF_SIZE[tensor.element_size()]).reshape(-1)
    end = first + bits.numel()
    if end <= TABLE:
        return int((bits * _table(tensor.device, TABLE)[first:end]).sum()) % 2**64
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for start in range(0, bits.numel(), PIECE):
        piece = bits[start : start + PIECE].long()
        total += (piece * _weights(first + start, piece.numel(), tensor.device)).sum()
    return int(total) % 2**64


def _weights(first: int, n: int, device: torch.device) -> Tensor:
    """(2 i + 1) · φ of `n` positions from `first` on."""
    return torch.arange(first, first + n, device=device).mul_(2).add_(1).mul_(PHI)


@lru_cache(maxsize=4)
def _table(device: torch.device, n: int) -> Tensor:
    return _weights(0, n, device)

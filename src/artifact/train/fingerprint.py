"""A tensor's content as one 64-bit number, exact in every dtype and the same on every device.

    F(x) = Σ_i b_i · (2 i + 1) · φ   mod 2⁶⁴,    b_i the bits of element i as an integer, φ = 0x9E3779B97F4A7C15

The weight of each position is odd, so any change of one element changes the sum; integer sums do not depend on their
order, so a GPU gives what a CPU gives, and the F of a tensor is the sum of those of its pieces, each counted from where
it stands. It proves that weights arrived, to the bit, where log-probabilities of a bfloat16 model can only say that
they arrived roughly. Left out: an adversary (it is no cryptographic hash).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

PHI = 0x9E3779B97F4A7C15 - 2**64
"""2⁶⁴ over the golden ratio, as a signed 64-bit integer: it spreads the weights of near positions over all bits."""

PIECE = 1 << 18
"""Elements that a processor sums at once: with their weights they fit its cache."""

PIECE_OF_DEVICE = 1 << 22
"""Elements that a GPU sums at once, where each launch has its price; their weights are 32 MiB."""

_INTEGER_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(tensor: Tensor, first: int = 0, *, tiny_is_zero: bool = False) -> int:
    """F of the elements in row-major order, on the tensor's own device. Shape and dtype are not part of it.

    first         the position of its first element, where `tensor` is a piece of a larger one
    tiny_is_zero  count each number smaller than the smallest normal one, and a zero with a sign, as zero

    A piece that starts at s has F = Σ_j b_j · (2 j + 1) · φ + 2 s φ · Σ_j b_j, so weights are computed once a device.
    On a processor NumPy sums: torch would share out each piece among threads that wait for each other.
    """
    bits = tensor.detach().contiguous().view(_INTEGER_OF_SIZE[tensor.element_size()]).reshape(-1)
    smallest = _smallest_normal(tensor.dtype) if tiny_is_zero else 0
    if bits.device.type == "cpu":
        return _on_processor(bits.numpy(), first, smallest)
    return _on_device(bits, first, smallest)


def _on_processor(bits: np.ndarray, first: int, smallest: int) -> int:
    weights, total = _weights(torch.device("cpu"), PIECE).numpy(), 0
    for start in range(0, bits.size, PIECE):
        piece = bits[start : start + PIECE]
        if smallest and (tiny := (piece & np.iinfo(piece.dtype).max) < smallest).any():
            piece = np.where(tiny, 0, piece)
        wide = piece.astype(np.int64)
        total += int(np.einsum("i,i", wide, weights[: wide.size])) + 2 * (first + start) * PHI * int(wide.sum())
    return total % 2**64


def _on_device(bits: Tensor, first: int, smallest: int) -> int:
    weights = _weights(bits.device, PIECE_OF_DEVICE)
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for start in range(0, bits.numel(), PIECE_OF_DEVICE):
        piece = bits[start : start + PIECE_OF_DEVICE]
        if smallest:
            piece = piece.masked_fill((piece & torch.iinfo(piece.dtype).max) < smallest, 0)
        total += (piece * weights[: piece.numel()]).sum() + piece.sum() * _signed(2 * (first + start) * PHI)
    return int(total) % 2**64


def _smallest_normal(dtype: torch.dtype) -> int:
    """The bits of the smallest normal number: without its sign, what is nearer to zero has smaller ones."""
    smallest = torch.tensor(torch.finfo(dtype).tiny, dtype=dtype)
    return int(smallest.view(_INTEGER_OF_SIZE[dtype.itemsize]))


def _signed(value: int) -> int:
    """The 64-bit integer with a sign that is `value` modulo 2⁶⁴."""
    return (value + 2**63) % 2**64 - 2**63


@lru_cache(maxsize=4)
def _weights(device: torch.device, n: int) -> Tensor:
    """(2 i + 1) · φ of the first `n` positions."""
    return torch.arange(n, device=device).mul_(2).add_(1).mul_(PHI)

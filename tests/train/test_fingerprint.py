"""The fingerprint of a tensor: its formula in Python integers, and that nothing slips through."""

from __future__ import annotations

import pytest
import torch

from artifact.train import fingerprint as module
from artifact.train.fingerprint import fingerprint

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int32, torch.uint8]


def make(dtype: torch.dtype) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(7, 5, generator=g) * 50
    return x.abs().to(dtype) if dtype == torch.uint8 else x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("piece", "table"), [(4, 0), (4, 20), (1 << 24, 0), (1 << 24, 1 << 20)])
def test_is_the_sum_of_the_formula(dtype: torch.dtype, piece: int, table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pieces, and by weights that are kept; `table` 0 and 20 are shorter than the tensor."""
    monkeypatch.setattr(module, "PIECE", piece)
    monkeypatch.setattr(module, "TABLE", table)
    x = make(dtype)
    raw, size = (
        x.contiguous().numpy(force=True).tobytes()
        if dtype != torch.bfloat16
        else x.view(torch.int16).numpy().tobytes(),
        x.element_size(),
    )
    bits = [int.from_bytes(raw[i : i + size], "little", signed=size > 1) for i in range(0, len(raw), size)]
    expected = sum(b * (2 * i + 1) * 0x9E3779B97F4A7C15 for i, b in enumerate(bits)) % 2**64
    assert fingerprint(x) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_change_is_seen(dtype: torch.dtype) -> None:
    """Any single bit, two elements exchanged, a stale element, a transposed copy."""
    x = make(dtype)
    seen = {fingerprint(x)}
    as_int = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    for bit in range(8 * x.element_size()):
        changed = x.clone()
        mask = 1 << bit if bit < 8 * x.element_size() - 1 or as_int == torch.uint8 else -(1 << bit)
        changed.view(as_int).view(-1)[11] ^= mask
        seen.add(fingerprint(changed))
    swapped = x.clone()
    swapped[0, 0], swapped[6, 4] = x[6, 4].clone(), x[0, 0].clone()
    seen |= {fingerprint(swapped), fingerprint(x.T.contiguous())}
    assert len(seen) == 8 * x.element_size() + 3


def test_layout_does_not_matter_and_values_do() -> None:
    x = make(torch.float32)
    assert fingerprint(x.T.contiguous().T) == fingerprint(x)
    assert fingerprint(torch.tensor([0.0])) != fingerprint(torch.tensor([-0.0])), "bits, not values"
    assert fingerprint(torch.tensor([])) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pieces_of_a_tensor_add_up_where_they_stand(dtype: torch.dtype) -> None:
    x = make(dtype)
    pieces = [(x[:2], 0), (x[2:3], 10), (x[3:], 15)]
    assert sum(fingerprint(piece, first) for piece, first in pieces) % 2**64 == fingerprint(x)
    assert sum(fingerprint(piece) for piece, _ in pieces) % 2**64 != fingerprint(x)

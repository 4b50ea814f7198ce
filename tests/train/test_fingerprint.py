"""The fingerprint of a tensor: its formula in Python integers, and that nothing slips through."""

from __future__ import annotations

import pytest
import torch

from artifact.train import fingerprint as module
from artifact.train.fingerprint import fingerprint

AS_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int32, torch.uint8]


def make(dtype: torch.dtype) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(7, 5, generator=g) * 50
    return x.abs().to(dtype) if dtype == torch.uint8 else x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("piece", [1, 4, 34, 35, 1 << 18])
def test_is_the_sum_of_the_formula(dtype: torch.dtype, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece and in several, as a processor does it and as a GPU does."""
    monkeypatch.setattr(module, "PIECE", piece)
    monkeypatch.setattr(module, "PIECE_OF_DEVICE", piece)
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
    assert module._on_device(x.view(AS_INTEGERS[size]).reshape(-1), 0, 0) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_change_is_seen(dtype: torch.dtype) -> None:
    """Any single bit, two elements exchanged, a stale element, a transposed copy."""
    x = make(dtype)
    seen = {fingerprint(x)}
    as_int = AS_INTEGERS[x.element_size()]
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_what_a_product_may_flush_counts_as_zero_where_it_is_asked_for(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).tiny
    x = torch.tensor([3.0, -0.0, smallest / 2, -smallest / 2, smallest, -smallest, 0.0], dtype=dtype)
    flushed = torch.tensor([3.0, 0.0, 0.0, 0.0, smallest, -smallest, 0.0], dtype=dtype)
    assert fingerprint(x) != fingerprint(flushed)
    assert fingerprint(x, 5, tiny_is_zero=True) == fingerprint(flushed, 5)
    for on in (module._on_processor, module._on_device):
        bits = x.view(AS_INTEGERS[x.element_size()])
        of = bits.numpy() if on is module._on_processor else bits
        assert on(of, 5, module._smallest_normal(dtype)) == fingerprint(flushed, 5)
    nan = torch.tensor([float("nan"), float("inf")], dtype=dtype)
    assert fingerprint(nan, tiny_is_zero=True) == fingerprint(nan), "what is not finite is kept"

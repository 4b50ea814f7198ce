"""The chunked output head on CUDA: matrix products by cuBLAS, everything between them in two Triton kernels.

The formulas are those of `lm_head.py`. There each tile of logits is read and written about six times by elementwise
passes, and each of the K requested ids is looked for in each tile by several [T, K] arrays of int64; on an H100 that
costs more than the four matrix products (`results/gpu/`). Here a tile is read once in the forward pass, which carries
along, for each row,

    m = max z,  s = Σ exp(z − m),  a = Σ exp(z − m) (z − m),  argmax z       (a only where the entropy is asked for)
    lse = m + log s,   entropy = log s − a / s

(the online soft-max of Milakov and Gimelshein 2018) and picks up the logits of the requested ids; and once in the
backward pass, which leaves ∂L/∂z in half precision, as the two products after it take it.

Half-precision input on CUDA; `lm_head.log_probs_at` chooses it there. Under Triton's interpreter (`TRITON_INTERPRET=1`)
it runs on a CPU, which is how its logic is tested where there is no GPU. Left out: the tail's log-mass, float32 and
float64 input (the reference computes those).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def _forward_tile(  # type: ignore[no-untyped-def]
    logits,
    index,
    picked,
    top,
    total,
    moment,
    best,
    start,
    width,
    scale,
    k,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ENTROPY: tl.constexpr,
    ARGMAX: tl.constexpr,
):
    """One row of one tile: update the row's running sums, and pick up the requested logits that lie in the tile."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    z = tl.load(logits + row * width + column, mask=column < width, other=-float("inf")) * scale
    here = tl.max(z, axis=0)
    before = tl.load(top + row)
    m = tl.maximum(before, here)
    shifted = z - m
    e = tl.exp(shifted)
    shrink = tl.exp(before - m)  # 0 for the first tile, where `before` is −∞
    s = tl.load(total + row)
    tl.store(top + row, m)
    tl.store(total + row, s * shrink + tl.sum(e, axis=0))
    if ENTROPY:
        a = tl.load(moment + row)
        drop = tl.where(s > 0, s * (before - m), 0.0)
        tl.store(moment + row, (a + drop) * shrink + tl.sum(tl.where(column < width, e * shifted, 0.0), axis=0))
    if ARGMAX:
        where = tl.argmax(z, axis=0) + start
        tl.store(best + row, where.to(tl.int64), mask=here > before)
    slot = tl.arange(0, BLOCK_K)
    local = tl.load(index + row * k + slot, mask=slot < k, other=-1).to(tl.int32) - start
    inside = (local >= 0) & (local < width) & (slot < k)
    found = tl.load(logits + row * width + tl.where(inside, local, 0), mask=inside, other=0.0) * scale
    tl.store(picked + row * k + slot, found, mask=inside)


@triton.jit
def _backward_tile(  # type: ignore[no-untyped-def]
    logits, index, grad, minus_total, lse, out, start, width, scale, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr
):
    """One row of one tile: logits become ∂L/∂z in place, float32, and then `out`, in half precision."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    kept = column < width
    z = tl.load(logits + row * width + column, mask=kept, other=-float("inf")) * scale
    d = tl.exp(z - tl.load(lse + row)) * tl.load(minus_total + row)
    tl.store(logits + row * width + column, d, mask=kept)
    tl.debug_barrier()
    slot = tl.arange(0, BLOCK_K)
    local = tl.load(index + row * k + slot, mask=slot < k, other=-1).to(tl.int32) - start
    inside = (local >= 0) & (local < width) & (slot < k)
    g = tl.load(grad + row * k + slot, mask=inside, other=0.0)
    tl.atomic_add(logits + row * width + tl.where(inside, local, 0), g, mask=inside)
    tl.debug_barrier()
    whole = tl.load(logits + row * width + column, mask=kept, other=0.0)
    tl.store(out + row * width + column, whole.to(out.dtype.element_ty), mask=kept)


class FusedLogProbsAt(torch.autograd.Function):
    """`lm_head._LogProbsAt` for half-precision input, without the tail."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, index: Tensor, scale: float, chunk: int, flags: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        with_entropy, with_argmax = flags
        rows, k = index.shape
        index = index.contiguous()
        picked = torch.empty(rows, k, device=hidden.device, dtype=torch.float32)
        top = torch.full((rows,), -torch.inf, device=hidden.device)
        total, moment = torch.zeros_like(top), torch.zeros_like(top)
        best = torch.zeros(rows, device=hidden.device, dtype=torch.int64)
        for start, logits in _tiles(hidden, weight, chunk):
            if rows:
                _forward_tile[(rows,)](
                    logits,
                    index,
                    picked,
                    top,
                    total,
                    moment,
                    best,
                    start,
                    logits.shape[1],
                    scale,
                    k,
                    BLOCK=_power(logits.shape[1]),
                    BLOCK_K=_power(k),
                    ENTROPY=with_entropy,
                    ARGMAX=with_argmax,
                    num_warps=8,
                )
        log_total = total.log()
        lse = top + log_total
        entropy = log_total - moment / total if with_entropy else None
        for extra in (entropy, best if with_argmax else None):
            if extra is not None:
                ctx.mark_non_differentiable(extra)
        ctx.save_for_backward(hidden, weight, index, lse)
        ctx.scale, ctx.chunk = scale, chunk
        return picked.sub_(lse.unsqueeze(1)), entropy, best if with_argmax else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, index, lse = ctx.saved_tensors
        assert grads[0] is not None
        rows, k = index.shape
        grad = (grads[0] * ctx.scale).contiguous()
        minus_total = grad.sum(dim=1).neg_()
        grad_hidden = torch.zeros(hidden.shape, device=hidden.device) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for start, logits in _tiles(hidden, weight, ctx.chunk):
            width = logits.shape[1]
            d_logits = torch.empty(rows, width, device=hidden.device, dtype=hidden.dtype)
            if rows:
                _backward_tile[(rows,)](
                    logits,
                    index,
                    grad,
                    minus_total,
                    lse,
                    d_logits,
                    start,
                    width,
                    ctx.scale,
                    k,
                    BLOCK=_power(width),
                    BLOCK_K=_power(k),
                    num_warps=8,
                )
            if grad_hidden is not None:
                grad_hidden = _plus_product(grad_hidden, d_logits, weight[start : start + width])
            if grad_weight is not None:
                torch.mm(d_logits.t(), hidden, out=grad_weight[start : start + width])
        return None if grad_hidden is None else grad_hidden.to(hidden.dtype), grad_weight, None, None, None, None


def _power(n: int) -> int:
    return max(int(triton.next_power_of_2(n)), 16)


def _tiles(hidden: Tensor, weight: Tensor, chunk: int) -> Any:
    """(first column, unscaled logits float32 [T, columns]) of each chunk of the vocabulary."""
    for start in range(0, weight.shape[0], chunk):
        piece = weight[start : start + chunk].t()
        if hidden.is_cuda:
            yield start, torch.mm(hidden, piece, out_dtype=torch.float32)
        else:
            yield start, hidden.float() @ piece.float()


def _plus_product(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`total` + left · right in float32."""
    if total.is_cuda:
        return torch.addmm(total, left, right, out_dtype=torch.float32)
    return total.addmm_(left.float(), right.float())

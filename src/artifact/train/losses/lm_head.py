"""The chunked output head: log-probabilities at chosen token ids without ever holding the [T, V] logits.

    z_tv = (h_t · W_v) / τ      log p_tv = z_tv − lse_t,  lse_t = log Σ_v exp z_tv  over the whole vocabulary
    ∂L/∂z_tv = Σ_{k: index_tk = v} g_tk − p_tv Σ_k g_tk,     g_tk = ∂L/∂log p_t,index_tk

The log-mass of the tail, log m_t = log Σ_{v ∉ index_t} p_tv, is summed over the tail itself: 1 − Σ_k p_tk loses every
digit of a tail below 1e-7 in float32. With g_t = ∂L/∂log m_t it adds g_t ([v ∉ index_t] p_tv / m_t − p_tv).

The vocabulary is cut into chunks of `chunk_vocab` columns. The forward pass keeps only lse_t; the backward pass
computes each chunk of logits once more and turns it into gradients in place. So time is four head-sized matrix products
(forward, recomputation, ∂h, ∂W) and extra memory about T · chunk_vocab numbers, 1.3 % of the logits for V = 151,936 and
2,048 columns, besides a few arrays the size of `index_TK`. `benchmarks/chunked_head.py` measures both.

Why the vocabulary and not the tokens: each row of W, and of its gradient, is then read and written once. Chunks of a
few tokens stream the whole of W (1.2 GB for H = 2048, V = 151,936) through memory for every chunk, and round a
half-precision weight gradient once per chunk.

Left out: a bias, a vocabulary split over ranks, ZeRO-3 partitioned weights (gather them first), second derivatives.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_VOCAB = {"reference": 2048, "triton": 8192}
"""Columns per chunk. On a CPU wider ones gain nothing; on an H100 2,048 take 1.17 times as long as 8,192."""
Kernel = Literal["reference", "triton"]
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class HeadOutput(NamedTuple):
    """What one pass over the vocabulary yields.

    logprobs_TK  log-probabilities at the requested ids, differentiable; float32, or float64 for float64 input
    entropy_T    entropy in nats of the full distribution at the given temperature, no gradient; None unless asked for
    argmax_T     id of the most probable token, int64, no gradient; None unless asked for
    tail_T       log of the probability of all ids that were not requested, differentiable; −∞ where none is left; None
                 unless asked for
    """

    logprobs_TK: Tensor
    entropy_T: Tensor | None
    argmax_T: Tensor | None
    tail_T: Tensor | None


def log_probs_at(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    index_TK: Tensor,
    *,
    temperature: float = 1.0,
    chunk_vocab: int | None = None,
    with_entropy: bool = False,
    with_argmax: bool = False,
    with_tail: bool = False,
    kernel: Kernel | None = None,
) -> HeadOutput:
    """Log-probabilities of the tokens `index_TK` under the full-vocabulary softmax(hidden · weightᵀ / temperature).

    hidden_TH [T, H] and weight_VH [V, H] have one dtype (float32, float64, bfloat16 or float16); index_TK [T, K] holds
    any integer ids, repeated ids allowed (a repeated id leaves the tail once). Half-precision products are accumulated,
    and the log-probabilities returned, in float32. Both inputs get exact gradients.

    kernel  `reference` (torch operations, every device and dtype) or `triton` (`lm_head_triton.py`: half precision on
            CUDA, without the tail); None takes the first of `kernels`

    On CUDA, gradients are reproducible to the bit only under `torch.use_deterministic_algorithms(True)`
    (`scatter_add_`).

    Raises ValueError for wrong shapes, dtypes, a non-positive temperature, or ids outside the vocabulary.
    """
    _check(hidden_TH, weight_VH, index_TK, temperature, chunk_vocab)
    flags = (with_entropy, with_argmax, with_tail)
    offered = kernels(hidden_TH, with_tail)
    kernel = offered[0] if kernel is None else kernel
    if kernel not in offered:
        raise ValueError(
            f"kernel {kernel!r} does not compute this ({hidden_TH.dtype} on {hidden_TH.device.type}, "
            f"with_tail={with_tail}); choose from {offered}"
        )
    scale, chunk_vocab = 1.0 / temperature, chunk_vocab or CHUNK_VOCAB[kernel]
    if kernel == "triton":
        from artifact.train.losses.lm_head_triton import FusedLogProbsAt

        logprobs_TK, entropy_T, argmax_T = FusedLogProbsAt.apply(
            hidden_TH, weight_VH, index_TK.int(), scale, chunk_vocab, flags[:2]
        )
        return HeadOutput(logprobs_TK, entropy_T, argmax_T, None)
    return HeadOutput(*_LogProbsAt.apply(hidden_TH, weight_VH, index_TK.long(), scale, chunk_vocab, flags))


def kernels(hidden_TH: Tensor, with_tail: bool = False) -> tuple[Kernel, ...]:
    """What can compute `log_probs_at` for this input, the fastest first."""
    half = hidden_TH.dtype in (torch.bfloat16, torch.float16)
    if hidden_TH.is_cuda and half and not with_tail and importlib.util.find_spec("triton"):
        return ("triton", "reference")
    return ("reference",)


class _LogProbsAt(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, index: Tensor, scale: float, chunk: int, flags: tuple[bool, ...]
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        with_entropy, with_argmax, with_tail = flags
        tiles = _Tiles(hidden, weight, scale, chunk)
        picked = hidden.new_zeros(index.shape, dtype=tiles.dtype)
        lse_of_tile, entropy_of_tile, top_of_tile, argmax_of_tile, tail_of_tile = [], [], [], [], []
        for start, logits in tiles:
            inside, local = _local_index(index, start, logits.shape[1])
            torch.where(inside, logits.gather(1, local), picked, out=picked)
            if with_tail:
                requested = _requested(logits, inside, local)
                tail_of_tile.append(logits.masked_fill(requested, -torch.inf).logsumexp(dim=1))
            top, argmax = logits.max(dim=1) if with_argmax else (logits.amax(dim=1), None)
            shifted = logits.sub_(top.unsqueeze(1))
            exp = shifted.exp() if with_entropy else shifted.exp_()
            total = exp.sum(dim=1)
            lse_of_tile.append(top + total.log())
            if with_entropy:  # entropy of the distribution within this tile
                entropy_of_tile.append(total.log() - exp.mul_(shifted).sum(dim=1) / total)
            if argmax is not None:
                top_of_tile.append(top)
                argmax_of_tile.append(argmax + start)
        lse_TC = torch.stack(lse_of_tile, dim=1)
        lse = lse_TC.logsumexp(dim=1)
        entropy = argmax_id = tail = lse_tail = None
        if with_entropy:  # chain rule: H = Σ_c w_c (H_c − log w_c), with w_c the probability of tile c
            log_w = lse_TC - lse.unsqueeze(1)
            entropy = (log_w.exp() * (torch.stack(entropy_of_tile, dim=1) - log_w)).sum(dim=1)
            ctx.mark_non_differentiable(entropy)
        if with_argmax:
            best = torch.stack(top_of_tile, dim=1).argmax(dim=1, keepdim=True)
            argmax_id = torch.stack(argmax_of_tile, dim=1).gather(1, best).squeeze(1)
            ctx.mark_non_differentiable(argmax_id)
        if with_tail:
            lse_tail = torch.stack(tail_of_tile, dim=1).logsumexp(dim=1)
            tail = lse_tail - lse
        ctx.save_for_backward(hidden, weight, index, lse, lse_tail)
        ctx.scale, ctx.chunk = scale, chunk
        return picked.sub_(lse.unsqueeze(1)), entropy, argmax_id, tail

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, index, lse, lse_tail = ctx.saved_tensors
        assert grads[0] is not None  # autograd materialises absent gradients as zeros
        grad = grads[0] * ctx.scale
        tiles = _Tiles(hidden, weight, ctx.scale, ctx.chunk)
        minus_total = grad.sum(dim=1, keepdim=True).neg_()
        grad_tail = None
        if lse_tail is not None:
            assert grads[3] is not None
            # No tail is left where it is −∞: its gradient is 0, whatever stands upstream.
            grad_tail = (grads[3] * ctx.scale).masked_fill(lse_tail.isneginf(), 0.0).unsqueeze(1)
            minus_total = minus_total - grad_tail
        grad_hidden = hidden.new_zeros(hidden.shape, dtype=tiles.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for start, logits in tiles:
            inside, local = _local_index(index, start, logits.shape[1])
            from_tail = None
            if grad_tail is not None:
                share = (logits - lse_tail.unsqueeze(1)).masked_fill_(_requested(logits, inside, local), -torch.inf)
                from_tail = share.exp_().mul_(grad_tail)
            d_logits = logits.sub_(lse.unsqueeze(1)).exp_().mul_(minus_total)
            if from_tail is not None:
                d_logits.add_(from_tail)
            d_logits.scatter_add_(1, local, grad.masked_fill(~inside, 0.0))
            rows = slice(start, start + logits.shape[1])
            if grad_hidden is not None:
                _add_product(grad_hidden, d_logits, weight[rows])
            if grad_weight is not None:
                _store_product(grad_weight[rows], d_logits.t(), hidden)
        return None if grad_hidden is None else grad_hidden.to(hidden.dtype), grad_weight, None, None, None, None


class _Tiles:
    """The scaled logits, one chunk of the vocabulary at a time, all in one buffer that the caller may overwrite."""

    def __init__(self, hidden: Tensor, weight: Tensor, scale: float, chunk: int) -> None:
        self.hidden, self.weight, self.scale = hidden, weight, scale
        self.chunk = min(chunk, weight.shape[0])
        self.dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        n_rows, n_vocab = self.hidden.shape[0], self.weight.shape[0]
        buffer = self.hidden.new_empty(n_rows * self.chunk, dtype=self.dtype)
        for start in range(0, n_vocab, self.chunk):
            weight = self.weight[start : start + self.chunk]
            tile = buffer[: n_rows * weight.shape[0]].view(n_rows, weight.shape[0])
            _store_product(tile, self.hidden, weight.t())
            yield start, tile if self.scale == 1.0 else tile.mul_(self.scale)


def _local_index(index: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Which ids lie in the columns [start, start + width), and their column there (0 for those that do not)."""
    local = index - start
    inside = (local >= 0) & (local < width)
    return inside, local.mul_(inside)


def _requested(logits: Tensor, inside: Tensor, local: Tensor) -> Tensor:
    """Which entries of a tile are among the requested ids, Boolean."""
    return torch.zeros_like(logits).scatter_add_(1, local, inside.to(logits.dtype)) > 0


def project(hidden_TH: Tensor, weight_VH: Tensor) -> Tensor:
    """The logits hidden · weightᵀ, [T, V], never in half precision: float32, or float64 of float64 input.

    Logits of a bfloat16 model rounded to bfloat16 would move a log-probability by 0.03 nats on average, and the most
    probable token at one position in fifty; here, as in `log_probs_at`, the products are summed and returned in
    float32.
    """
    return hidden_TH @ weight_VH.T if _exact(hidden_TH, weight_VH) else _wide_product(hidden_TH, weight_VH.T)


def _exact(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and left.dtype in (torch.float32, torch.float64)


def _wide_product(left: Tensor, right: Tensor) -> Tensor:
    """Left · right with a float32 result, where at least one factor is in half precision.

    On CUDA both factors enter the tensor cores in half precision and the sum leaves in float32; elsewhere both are
    widened.
    """
    if left.is_cuda:
        half = right.dtype if right.dtype != torch.float32 else left.dtype
        return torch.mm(left.to(half), right.to(half), out_dtype=torch.float32)
    return left.float() @ right.float()


def _store_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Out ← left · right, accumulated in float32 or better, and rounded once if `out` is in half precision."""
    if out.dtype == left.dtype == right.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(_wide_product(left, right))


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Out ← out + left · right, accumulated in float32 or better."""
    if out.dtype == left.dtype == right.dtype:
        out.addmm_(left, right)
    else:
        out.add_(_wide_product(left, right))


def _check(hidden: Tensor, weight: Tensor, index: Tensor, temperature: float, chunk: int | None) -> None:
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(f"hidden {tuple(hidden.shape)} and weight {tuple(weight.shape)} must be [T, H] and [V, H]")
    if hidden.dtype != weight.dtype or hidden.dtype not in _FLOATS:
        raise ValueError(f"hidden is {hidden.dtype} and weight {weight.dtype}: cast both to one floating-point dtype")
    if index.dim() != 2 or index.shape[0] != hidden.shape[0]:
        raise ValueError(f"index {tuple(index.shape)} must be [T, K] with T = {hidden.shape[0]}, the rows of hidden")
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(f"index must hold integer token ids, got {index.dtype}")
    if not temperature > 0.0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk_vocab must be at least 1, got {chunk}")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < weight.shape[0]:
        raise ValueError(
            f"token ids span [{int(index.min())}, {int(index.max())}] but the head has {weight.shape[0]} rows; "
            "teacher and student must share a vocabulary (padded sizes differ within one family)"
        )

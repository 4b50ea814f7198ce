"""The chunked output head against the dense log-softmax, a token-by-token loop, and finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from artifact.train.losses.lm_head import log_probs_at, project

SETTINGS = settings(deadline=None, max_examples=30, derandomize=True)


def make(t: int, h: int, v: int, k: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(t, h, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(v, h, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(v, (t, k), generator=g)


def dense(hidden: torch.Tensor, weight: torch.Tensor, index: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    return torch.log_softmax(hidden @ weight.T / temperature, dim=-1).gather(1, index)


def test_equals_a_loop_over_tokens_and_ids() -> None:
    """CORE appendix A.2: log-softmax of one token's logits at a time, then gather."""
    hidden, weight, index = make(4, 3, 7, 2)
    got = log_probs_at(hidden, weight, index, temperature=1.7, chunk_vocab=3).logprobs_TK
    h, w = hidden.tolist(), weight.tolist()
    for t in range(4):
        logits = [sum(a * b for a, b in zip(h[t], w[v], strict=True)) / 1.7 for v in range(7)]
        normaliser = math.log(math.fsum(math.exp(z) for z in logits))
        for k in range(2):
            assert got[t, k].item() == pytest.approx(logits[int(index[t, k])] - normaliser, abs=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 4096])
def test_dense_and_chunked_agree(dtype: torch.dtype, tolerance: float, chunk: int) -> None:
    hidden, weight, index = make(33, 16, 100, 9, dtype)
    upstream = torch.randn(33, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
    expected = dense(hidden, weight, index, 0.6)
    expected_grads = torch.autograd.grad(expected, (hidden, weight), upstream)
    got = log_probs_at(hidden, weight, index, temperature=0.6, chunk_vocab=chunk).logprobs_TK
    grads = torch.autograd.grad(got, (hidden, weight), upstream)
    for ours, theirs in zip((got.detach(), *grads), (expected.detach(), *expected_grads), strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        assert float((ours - theirs).abs().max()) <= tolerance * scale


@SETTINGS
@given(
    t=st.integers(0, 6),
    h=st.integers(1, 5),
    v=st.integers(1, 12),
    k=st.integers(1, 5),
    chunk=st.integers(1, 13),
    seed=st.integers(0, 999),
)
def test_any_shape_and_chunk_agrees_with_dense(t: int, h: int, v: int, k: int, chunk: int, seed: int) -> None:
    hidden, weight, index = make(t, h, v, k, seed=seed)
    out = log_probs_at(hidden, weight, index, chunk_vocab=chunk, with_entropy=True, with_argmax=True)
    expected = dense(hidden, weight, index)
    torch.testing.assert_close(out.logprobs_TK, expected, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(out.logprobs_TK.square().sum(), (hidden, weight))
    theirs = torch.autograd.grad(expected.square().sum(), (hidden, weight))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    logits = (hidden @ weight.T).detach()
    p = logits.softmax(dim=1)
    torch.testing.assert_close(out.entropy_T, torch.special.entr(p).sum(dim=1), rtol=0, atol=1e-10)
    assert torch.equal(out.argmax_T, logits.argmax(dim=1))


def test_gradients_match_finite_differences() -> None:
    hidden, weight, index = make(3, 2, 5, 3)

    def f(h: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return log_probs_at(h, w, index, temperature=0.8, chunk_vocab=2, with_entropy=True).logprobs_TK

    assert torch.autograd.gradcheck(f, (hidden, weight))


def test_repeated_ids_add_their_gradients() -> None:
    """One call serves distillation and the sampled token, which is usually among the teacher's ids as well."""
    hidden, weight, _ = make(2, 3, 6, 1)
    index = torch.tensor([[4, 4, 1], [0, 0, 0]])
    got = torch.autograd.grad(log_probs_at(hidden, weight, index, chunk_vocab=2).logprobs_TK.sum(), (hidden, weight))
    expected = torch.autograd.grad(dense(hidden, weight, index).sum(), (hidden, weight))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_only_the_input_that_asks_gets_a_gradient(frozen: str) -> None:
    hidden, weight, index = make(3, 2, 5, 3)
    (hidden if frozen == "hidden" else weight).requires_grad_(False)
    log_probs_at(hidden, weight, index).logprobs_TK.sum().backward()
    assert (hidden.grad is None) == (frozen == "hidden")
    assert (weight.grad is None) == (frozen == "weight")


@pytest.mark.parametrize("shift", [1e3, -1e3])
def test_shifting_all_logits_changes_nothing(shift: float) -> None:
    hidden, weight, index = make(3, 4, 9, 2)
    wide = torch.cat([hidden, torch.ones(3, 1, dtype=torch.float64)], dim=1)
    plain = torch.cat([weight, torch.zeros(9, 1, dtype=torch.float64)], dim=1)
    shifted = torch.cat([weight, torch.full((9, 1), shift, dtype=torch.float64)], dim=1)
    a, b = (log_probs_at(wide, w, index, chunk_vocab=4, with_entropy=True) for w in (plain, shifted))
    torch.testing.assert_close(a.logprobs_TK, b.logprobs_TK, rtol=0, atol=1e-10)
    torch.testing.assert_close(a.entropy_T, b.entropy_T, rtol=0, atol=1e-10)


def test_extreme_logits_stay_finite() -> None:
    """A near one-hot row: log-probs of 0 and −2,000, entropy 0, and no NaN in the gradient."""
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    out = log_probs_at(hidden, weight, torch.tensor([[0, 1, 2]]), chunk_vocab=1, with_entropy=True)
    assert out.logprobs_TK.tolist() == [[0.0, -2000.0, -1000.0]]
    assert out.entropy_T is not None and out.entropy_T.item() == 0.0
    out.logprobs_TK.sum().backward()
    assert weight.grad is not None and bool(weight.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    """Value and gradient equal the float64 result on the same rounded inputs, up to rounding the result."""
    hidden, weight, index = make(64, 32, 300, 8, dtype)
    out = log_probs_at(hidden, weight, index, chunk_vocab=17)
    assert out.logprobs_TK.dtype == torch.float32
    h64, w64 = (x.detach().double().requires_grad_() for x in (hidden, weight))
    expected = dense(h64, w64, index)
    torch.testing.assert_close(out.logprobs_TK.double(), expected, rtol=0, atol=2e-5)
    ours = torch.autograd.grad(out.logprobs_TK.sum(), (hidden, weight))
    theirs = torch.autograd.grad(expected.sum(), (h64, w64))
    half_ulp = torch.finfo(dtype).eps
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=half_ulp, atol=1e-3 * half_ulp + 1e-4)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operators create and that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.live = {k: (ref, n) for k, (ref, n) in self.live.items() if not ref.expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(n for _, n in self.live.values()))
        return result


def test_logits_are_never_materialised() -> None:
    """Live tensors beyond the two gradients peak under 8 % of the [T, V] logits, at the papers' T and k / V."""
    t, h, v, k = 512, 8, 151_936 // 4, 128
    hidden, weight, index = make(t, h, v, k, torch.float32)
    with LiveBytes() as memory:
        log_probs_at(hidden, weight, index, chunk_vocab=1024).logprobs_TK.sum().backward()
    gradients = 4 * (t * h + v * h)
    assert (memory.peak - gradients) / (4 * t * v) < 0.08


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"chunk_vocab": 0}, "chunk_vocab must be at least 1"),
        ({"index_TK": torch.tensor([[5], [0], [0]])}, "head has 5 rows"),
        ({"index_TK": torch.tensor([[-1], [0], [0]])}, "head has 5 rows"),
        ({"index_TK": torch.zeros(2, 1, dtype=torch.long)}, "T = 3"),
        ({"index_TK": torch.zeros(3, 1)}, "integer token ids"),
        ({"hidden_TH": torch.zeros(3, 4, dtype=torch.float64)}, r"\[T, H\] and \[V, H\]"),
        ({"hidden_TH": torch.zeros(3, 2)}, "cast both"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    hidden, weight, index = make(3, 2, 5, 3)
    arguments = {"hidden_TH": hidden, "weight_VH": weight, "index_TK": index} | change
    with pytest.raises(ValueError, match=message):
        log_probs_at(**arguments)


@pytest.mark.parametrize("chunk", [1, 7, 64, 4096])
def test_the_tail_is_the_mass_of_all_other_ids(chunk: int) -> None:
    """Value and gradient against the dense soft-max, repeated ids leaving once."""
    hidden, weight, index = make(9, 6, 40, 5)
    index[0] = torch.tensor([3, 3, 7, 3, 0])
    both = torch.randn(9, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    dense_rows = torch.log_softmax(hidden @ weight.T / 0.7, dim=-1)
    tail = dense_rows.scatter(1, index, -torch.inf).logsumexp(-1)
    expected = torch.cat([dense_rows.gather(1, index), tail[:, None]], dim=1)
    out = log_probs_at(hidden, weight, index, temperature=0.7, chunk_vocab=chunk, with_tail=True)
    assert out.tail_T is not None
    got = torch.cat([out.logprobs_TK, out.tail_T[:, None]], dim=1)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    ours, theirs = (torch.autograd.grad(x, (hidden, weight), both) for x in (got, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_tail_far_below_float32s_resolution() -> None:
    """One id of probability 1 − 1e-30 in float32: the tail is its own sum, not what 1 − p leaves."""
    hidden, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[70.0], [0.0], [0.5]])
    out = log_probs_at(hidden, weight, torch.tensor([[0]]), with_tail=True)
    exact = math.log(math.exp(-70.0) + math.exp(-69.5)) - math.log1p(math.exp(-70.0) + math.exp(-69.5))
    assert out.tail_T is not None and out.tail_T.item() == pytest.approx(exact, rel=1e-6)
    out.tail_T.sum().backward()  # ∂ log m / ∂h = Σ_v (q_v − p_v) w_v, with q the soft-max over the tail
    q = math.exp(0.5) / (1.0 + math.exp(0.5))
    assert hidden.grad is not None and hidden.grad.item() == pytest.approx(0.5 * q - 70.0, rel=1e-6)


def test_no_tail_is_left_when_all_ids_are_requested() -> None:
    hidden, weight, _ = make(3, 4, 6, 1)
    out = log_probs_at(hidden, weight, torch.arange(6).repeat(3, 1), with_tail=True)
    assert out.tail_T is not None and bool(out.tail_T.isneginf().all())
    gradients = torch.autograd.grad(out.tail_T.exp().sum() + out.logprobs_TK.sum(), (hidden, weight))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_logits_of_a_half_precision_model_are_not_rounded_to_it() -> None:
    hidden, weight = (x.detach() for x in make(40, 64, 50, 1, torch.bfloat16)[:2])
    wide = project(hidden, weight)
    exact = hidden.double() @ weight.double().T
    assert wide.dtype == torch.float32
    assert float((wide - exact).abs().max()) < 1e-4 < 1e-2 < float((wide.bfloat16() - exact).abs().max())
    double = project(hidden.double(), weight.double())
    assert double.dtype == torch.float64 and torch.equal(double, hidden.double() @ weight.double().T)

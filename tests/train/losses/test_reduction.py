"""Reductions against loops over sequences; above all, the shares of micro-batches add up to the step."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.train.losses.reduction import reduce, reduce_pairs, step_denominator

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)
MODES = ["sequence_mean", "token_mean", "constant"]
CONSTANT = 17


def naive(losses: list[list[float]], weights: list[float], masks: list[list[bool]], mode: str) -> float:
    """The step's loss from nested lists, one list a sequence, as the formulas read (UOPD Eq. 8-9)."""
    kept = [[x for x, m in zip(row, mask, strict=True) if m] for row, mask in zip(losses, masks, strict=True)]
    counted = [row for row in kept if row]
    if mode == "sequence_mean":
        return sum(w * sum(row) / len(row) for w, row in zip(weights, kept, strict=True) if row) / len(counted)
    total = sum(w * sum(row) for w, row in zip(weights, kept, strict=True))
    return total / (sum(map(len, kept)) if mode == "token_mean" else len(counted) * CONSTANT)


def packed(rows: list[list[float]], masks: list[list[bool]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    loss = torch.tensor([x for row in rows for x in row], dtype=torch.float64)
    segment = torch.tensor([s for s, row in enumerate(rows) for _ in row], dtype=torch.long)
    return loss, segment, torch.tensor([m for mask in masks for m in mask], dtype=torch.bool)


sequences = st.lists(
    st.tuples(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=5), st.floats(0, 2)),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("mode", MODES)
@SETTINGS
@given(step=sequences, cuts=st.lists(st.integers(0, 7), max_size=4))
def test_shares_of_any_split_sum_to_the_naive_loss(mode: str, step: list, cuts: list[int]) -> None:
    rows, masks = [[x for x, _ in s] for s, _ in step], [[m for _, m in s] for s, _ in step]
    weights = [w for _, w in step]
    denominator = step_denominator(
        [sum(m) for m in masks], mode, constant_length=CONSTANT if mode == "constant" else None
    )
    if denominator == 0.0:
        assert not any(map(any, masks))
        return
    edges = [0, *sorted(min(c, len(step)) for c in cuts), len(step)]  # empty micro-batches included
    total = 0.0
    for a, b in pairwise(edges):
        weight = torch.tensor(weights[a:b], dtype=torch.float64)
        total += reduce(*_order(packed(rows[a:b], masks[a:b]), weight), mode, denominator).item()
    assert total == pytest.approx(naive(rows, weights, masks, mode), abs=1e-9)


def _order(tokens: tuple[torch.Tensor, torch.Tensor, torch.Tensor], weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    loss, segment, mask = tokens
    return loss, segment, weight, mask


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_each_tokens_coefficient(mode: str) -> None:
    """d share / d ℓ_t, by hand: two sequences of 3 and 1 tokens, one of them masked, weights 0.5 and 2."""
    loss = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    segment, mask = torch.tensor([0, 0, 0, 1]), torch.tensor([True, False, True, True])
    weight, factor = torch.tensor([0.5, 2.0]), torch.tensor([1.0, 9.0, 3.0, 0.25])
    denominator = step_denominator([2, 1], mode, constant_length=10 if mode == "constant" else None)
    reduce(loss, segment, weight, mask, mode, denominator, token_weight_T=factor).backward()
    expected = {
        "sequence_mean": [0.5 / 2 / 2, 0.0, 3 * 0.5 / 2 / 2, 0.25 * 2 / 1 / 2],
        "token_mean": [0.5 / 3, 0.0, 3 * 0.5 / 3, 0.25 * 2 / 3],
        "constant": [0.5 / 20, 0.0, 3 * 0.5 / 20, 0.25 * 2 / 20],
    }[mode]
    assert loss.grad is not None and loss.grad.tolist() == pytest.approx(expected)


def test_sequence_mean_and_token_mean_differ_on_unequal_lengths() -> None:
    """Losses (1, 1, 1) and (4): the mean of means is 2.5, the token mean 7/4."""
    loss, segment, mask = packed([[1.0, 1.0, 1.0], [4.0]], [[True] * 3, [True]])
    ones = torch.ones(2, dtype=torch.float64)
    assert reduce(loss, segment, ones, mask, "sequence_mean", step_denominator([3, 1], "sequence_mean")).item() == 2.5
    assert reduce(loss, segment, ones, mask, "token_mean", step_denominator([3, 1], "token_mean")).item() == 1.75


@pytest.mark.parametrize("mode", MODES)
def test_masked_tokens_may_be_nan(mode: str) -> None:
    loss = torch.tensor([1.0, math.nan, 3.0], requires_grad=True)
    mask = torch.tensor([True, False, True])
    share = reduce(loss, torch.zeros(3, dtype=torch.long), torch.ones(1), mask, mode, 2.0)
    share.backward()
    assert share.item() == (1.0 if mode == "sequence_mean" else 2.0)
    assert loss.grad is not None and loss.grad[1].item() == 0.0 and bool(loss.grad.isfinite().all())


@pytest.mark.parametrize("mode", MODES)
def test_a_weight_of_zero_still_counts_in_the_denominator(mode: str) -> None:
    """UOPD Eq. 9: an unsure prompt lowers the step's loss, it does not hand its share to the others."""
    loss, segment, mask = packed([[2.0, 2.0], [6.0, 6.0]], [[True] * 2] * 2)
    denominator = step_denominator([2, 2], mode, constant_length=2 if mode == "constant" else None)
    assert reduce(loss, segment, torch.tensor([1.0, 0.0]), mask, mode, denominator).item() == 1.0


@SETTINGS
@given(factor=st.floats(0, 100))
def test_scaling_all_weights_scales_the_share(factor: float) -> None:
    loss, segment, mask = packed([[1.0, -2.0], [3.0]], [[True, True], [True]])
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64)
    base = reduce(loss, segment, weight, mask, "sequence_mean", 2.0).item()
    assert reduce(loss, segment, factor * weight, mask, "sequence_mean", 2.0).item() == pytest.approx(factor * base)


def test_pairs_divide_by_the_steps_pairs() -> None:
    loss = torch.tensor([1.0, 3.0], requires_grad=True)
    share = reduce_pairs(loss, torch.tensor([1.0, 0.5]), step_denominator([1] * 5, "sequence_mean"))
    share.backward()
    assert share.item() == pytest.approx(2.5 / 5)
    assert loss.grad is not None and loss.grad.tolist() == pytest.approx([0.2, 0.1])


def test_step_denominators() -> None:
    assert step_denominator([3, 0, 5], "sequence_mean") == 2.0
    assert step_denominator([3, 0, 5], "token_mean") == 8.0
    assert step_denominator([3, 0, 5], "constant", constant_length=120) == 240.0
    assert step_denominator([], "sequence_mean") == 0.0


def test_the_driver_needs_no_torch_for_denominators_and_coefficients() -> None:
    code = "import sys, artifact.train.losses.mix, artifact.train.losses.reduction; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: step_denominator([1], "mean"), "unknown reduction 'mean'"),
        (lambda: step_denominator([-1], "token_mean"), "negative response length"),
        (lambda: step_denominator([1], "constant"), "constant_length goes with"),
        (lambda: step_denominator([1], "token_mean", constant_length=5), "constant_length goes with"),
        (lambda: step_denominator([1], "constant", constant_length=0), "at least 1"),
        (lambda: reduce_pairs(torch.ones(2), torch.ones(3), 1.0), r"must both be \[P\]"),
        (lambda: reduce_pairs(torch.ones(2), torch.ones(2), 0.0), "denominator is 0.0"),
    ],
)
def test_wrong_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "mean"}, "unknown reduction"),
        ({"denominator": 0.0}, "no sequence takes part"),
        ({"denominator": math.nan}, "no sequence takes part"),
        ({"mask_T": torch.ones(3)}, "must be bool"),
        ({"mask_T": torch.ones(4, dtype=torch.bool)}, r"share one shape \[T\]"),
        ({"token_weight_T": torch.ones(2)}, r"share one shape \[T\]"),
    ],
)
def test_wrong_reduce_input_is_refused(change: dict, message: str) -> None:
    arguments = {
        "loss_T": torch.ones(3),
        "segment_T": torch.zeros(3, dtype=torch.long),
        "weight_S": torch.ones(1),
        "mask_T": torch.ones(3, dtype=torch.bool),
        "mode": "token_mean",
        "denominator": 3.0,
    } | change
    with pytest.raises(ValueError, match=message):
        reduce(**arguments)

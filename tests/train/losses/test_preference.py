"""DPO and SimPO against naive loops, closed forms, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.train.losses.preference import dpo, sequence_logprobs, simpo

SETTINGS = settings(deadline=None, max_examples=40, derandomize=True)
LOGPROBS = [[-1.0, -2.0, -0.5], [-4.0], [-0.25, -0.25]]


def pack(rows: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    flat = torch.tensor([x for row in rows for x in row], dtype=torch.float64)
    segment = torch.tensor([s for s, row in enumerate(rows) for _ in row], dtype=torch.long)
    return flat, segment, torch.ones_like(flat, dtype=torch.bool)


def quad(seed: int = 0, pairs: int = 4) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [(-20.0 * torch.rand(pairs, generator=g, dtype=torch.float64)).requires_grad_() for _ in range(4)]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_sequence_logprobs_sum_or_average_their_tokens() -> None:
    flat, segment, mask = pack(LOGPROBS)
    assert sequence_logprobs(flat, segment, 3, mask).tolist() == [-3.5, -4.0, -0.5]
    means = sequence_logprobs(flat, segment, 3, mask, length_normalised=True).tolist()
    assert means == pytest.approx([-3.5 / 3, -4.0, -0.25])
    mask[0] = False
    assert sequence_logprobs(flat, segment, 3, mask).tolist() == [-2.5, -4.0, -0.5]
    assert sequence_logprobs(flat, segment, 3, mask, length_normalised=True)[0].item() == -1.25


def test_eos_is_part_of_the_sum() -> None:
    """The last token of a finished response is EOS: leaving it out would not teach the model where to stop."""
    flat, segment, mask = pack([[-1.0, -2.0, -7.0]])  # the last one is EOS
    assert sequence_logprobs(flat, segment, 1, mask).item() == -10.0


def test_dpo_equals_the_naive_loop() -> None:
    """−log σ(β[(log p_S(y_c) − log p_ref(y_c)) − (log p_S(y_r) − log p_ref(y_r))]), pair by pair."""
    sc, sr, rc, rr = quad()
    out = dpo(sc, sr, rc, rr, beta=0.1)
    for i in range(4):
        margin = 0.1 * ((sc[i].item() - rc[i].item()) - (sr[i].item() - rr[i].item()))
        assert out.margin_P[i].item() == pytest.approx(margin, abs=1e-12)
        assert out.loss_P[i].item() == pytest.approx(-math.log(sigmoid(margin)), abs=1e-12)
        assert out.accuracy_P[i].item() == float(margin > 0)


def test_dpo_raises_the_chosen_and_lowers_the_rejected() -> None:
    """∂L/∂s_c = −β σ(−margin) < 0 and ∂L/∂s_r the opposite: descent makes the chosen response likelier."""
    sc, sr, rc, rr = quad()
    out = dpo(sc, sr, rc, rr, beta=0.3)
    out.loss_P.sum().backward()
    expected = [-0.3 * sigmoid(-m) for m in out.margin_P.tolist()]
    assert sc.grad is not None and sr.grad is not None
    assert sc.grad.tolist() == pytest.approx(expected)
    assert sr.grad.tolist() == pytest.approx([-x for x in expected])
    assert rc.grad is None and rr.grad is None


def test_policy_equal_to_reference_gives_log_two() -> None:
    sc, sr, _, _ = quad()
    out = dpo(sc, sr, sc, sr)
    assert out.loss_P.tolist() == pytest.approx([math.log(2.0)] * 4)
    assert out.accuracy_P.tolist() == [0.5] * 4


def test_gradients_match_finite_differences() -> None:
    sc, sr, rc, rr = quad()
    assert torch.autograd.gradcheck(lambda a, b: dpo(a, b, rc, rr, beta=0.5).loss_P, (sc, sr))
    assert torch.autograd.gradcheck(lambda a, b: simpo(a, b, beta=2.0, gamma=1.0).loss_P, (sc, sr))


def test_dpo_on_sums_and_on_means_differ() -> None:
    """The paper sums; the working code averages. A long chosen response (10 × −0.5) against a short rejected one (−2):
    the sum prefers the rejected one, the mean the chosen one."""
    flat, segment, mask = pack([[-0.5] * 10, [-2.0]])
    zero = torch.zeros(1, dtype=torch.float64)
    margins = {}
    for normalised in (False, True):
        chosen, rejected = sequence_logprobs(flat, segment, 2, mask, length_normalised=normalised).split(1)
        margins[normalised] = dpo(chosen, rejected, zero, zero, beta=1.0).margin_P.item()
    assert margins == {False: pytest.approx(-3.0), True: pytest.approx(1.5)}


def test_simpo_equals_its_formula() -> None:
    """Means −0.5 and −2, β = 2, γ = 1: margin 3, loss −log σ(2)."""
    out = simpo(
        torch.tensor([-0.5], dtype=torch.float64), torch.tensor([-2.0], dtype=torch.float64), beta=2.0, gamma=1.0
    )
    assert out.margin_P.item() == 3.0
    assert out.loss_P.item() == pytest.approx(-math.log(sigmoid(2.0)), abs=1e-12)


@SETTINGS
@given(seed=st.integers(0, 9999), shift=st.floats(-100, 100))
def test_adding_a_constant_to_chosen_and_rejected_changes_nothing(seed: int, shift: float) -> None:
    sc, sr, rc, rr = quad(seed)
    torch.testing.assert_close(dpo(sc + shift, sr + shift, rc, rr).loss_P, dpo(sc, sr, rc, rr).loss_P)
    torch.testing.assert_close(simpo(sc + shift, sr + shift).loss_P, simpo(sc, sr).loss_P)


@SETTINGS
@given(seed=st.integers(0, 9999))
def test_swapping_the_pair_flips_the_margin(seed: int) -> None:
    sc, sr, rc, rr = quad(seed)
    torch.testing.assert_close(dpo(sr, sc, rr, rc).margin_P, -dpo(sc, sr, rc, rr).margin_P)


@pytest.mark.parametrize("margin", [-1e6, 1e6])
def test_huge_margins_stay_finite(margin: float) -> None:
    chosen = torch.tensor([margin], requires_grad=True)
    zero = torch.zeros(1)
    out = dpo(chosen, zero, zero, zero, beta=1.0)
    out.loss_P.backward()
    assert out.loss_P.item() == max(0.0, -margin)
    assert chosen.grad is not None and chosen.grad.item() == (-1.0 if margin < 0 else 0.0)


def test_wrong_input_is_refused() -> None:
    sc, sr, rc, rr = quad()
    with pytest.raises(ValueError, match="beta must be positive"):
        dpo(sc, sr, rc, rr, beta=0.0)
    with pytest.raises(ValueError, match="beta must be positive"):
        simpo(sc, sr, beta=-1.0)
    with pytest.raises(ValueError, match="gamma is a margin"):
        simpo(sc, sr, gamma=-0.1)
    with pytest.raises(ValueError, match=r"share one shape \[P\]"):
        dpo(sc, sr[:2], rc, rr)
    with pytest.raises(ValueError, match=r"share one shape \[T\]"):
        sequence_logprobs(sc, torch.zeros(4, dtype=torch.long), 1, torch.ones(4))

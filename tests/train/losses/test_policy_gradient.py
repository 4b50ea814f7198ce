"""GRPO's advantages and clipped loss against naive loops, closed forms, and finite differences."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.train.losses.policy_gradient import group_advantages, grpo_token_loss, k3_divergence

SETTINGS = settings(deadline=None, max_examples=40, derandomize=True)


def tokens(t: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    policy = -3.0 * torch.rand(t, generator=g, dtype=torch.float64)
    behaviour, reference = (policy + 0.4 * torch.randn(t, generator=g, dtype=torch.float64) for _ in range(2))
    return policy.requires_grad_(), behaviour, torch.randn(t, generator=g, dtype=torch.float64), reference


def test_advantages_equal_the_statistics_library() -> None:
    rewards = [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    got = group_advantages(torch.tensor(rewards, dtype=torch.float64))
    for g, row in enumerate(rewards):
        mean, std = statistics.mean(row), statistics.stdev(row)
        assert got[g].tolist() == pytest.approx([(r - mean) / std for r in row])
    plain = group_advantages(torch.tensor(rewards, dtype=torch.float64), scale="none")
    assert plain[1].tolist() == [-0.25, -0.25, -0.25, 0.75]


@pytest.mark.parametrize("scale", ["std", "none"])
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_groups_without_variance_get_zero_advantages(scale: str, reward: float) -> None:
    """0.1 is not representable: its mean may differ from it by rounding, which dividing by std would blow up."""
    got = group_advantages(torch.full((3, 8), reward), scale=scale)
    assert torch.equal(got, torch.zeros(3, 8))


@SETTINGS
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4), min_size=1, max_size=5),
    st.floats(1, 9),
)
def test_advantages_are_centred_and_blind_to_scale(rows: list[list[float]], factor: float) -> None:
    rewards = torch.tensor(rows, dtype=torch.float64)
    got = group_advantages(rewards)
    torch.testing.assert_close(got.sum(dim=1), torch.zeros(len(rows), dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(group_advantages(factor * rewards + 2.0), got, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kl", [0.0, 0.05])
def test_loss_equals_the_naive_loop(kl: float) -> None:
    policy, behaviour, advantage, reference = tokens()
    out = grpo_token_loss(
        policy, behaviour, advantage, clip_low=0.2, clip_high=0.28, reference_logprobs_T=reference, kl_coefficient=kl
    )
    n_clipped = 0
    for t in range(len(policy)):
        ratio, a = math.exp(policy[t].item() - behaviour[t].item()), advantage[t].item()
        clipped = min(max(ratio, 0.8), 1.28)
        d = reference[t].item() - policy[t].item()
        k3 = math.exp(d) - 1.0 - d
        assert out.loss_T[t].item() == pytest.approx(-min(ratio * a, clipped * a) + kl * k3, abs=1e-12)
        assert out.kl_T is not None and out.kl_T[t].item() == pytest.approx(k3, abs=1e-12)
        is_clipped = clipped * a < ratio * a
        assert out.clipped_T[t].item() == is_clipped
        n_clipped += is_clipped
    assert 0 < n_clipped < len(policy)  # the sample shows both cases


def test_gradients_match_finite_differences() -> None:
    policy, behaviour, advantage, reference = tokens()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return grpo_token_loss(x, behaviour, advantage, reference_logprobs_T=reference, kl_coefficient=0.1).loss_T

    assert torch.autograd.gradcheck(loss, (policy,))


def test_on_policy_gradient_is_minus_the_advantage() -> None:
    """At ρ = 1 the loss is REINFORCE: ∂ℓ/∂log p = −A. A right answer (A > 0) becomes likelier under descent."""
    policy, _, advantage, _ = tokens()
    grpo_token_loss(policy, policy.detach(), advantage).loss_T.sum().backward()
    torch.testing.assert_close(policy.grad, -advantage)


def test_clipped_tokens_get_no_gradient() -> None:
    policy = torch.tensor(
        [0.5, -0.5, 0.5, -0.5], dtype=torch.float64, requires_grad=True
    )  # ratios e^±0.5, outside ±0.2
    advantage = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    out = grpo_token_loss(policy, torch.zeros(4, dtype=torch.float64), advantage)
    out.loss_T.sum().backward()
    assert out.clipped_T.tolist() == [True, True, False, False]
    assert policy.grad is not None and [g == 0.0 for g in policy.grad.tolist()] == [True, True, False, False]


def test_k3_is_unbiased_for_samples_of_the_policy() -> None:
    """Σ_v p_S(v) k3(v) equals KL(p_S‖p_ref) exactly, whatever the two distributions."""
    g = torch.Generator().manual_seed(3)
    log_s, log_r = (torch.randn(9, generator=g, dtype=torch.float64).log_softmax(0) for _ in range(2))
    expected = torch.nn.functional.kl_div(log_r, log_s, log_target=True, reduction="sum")
    torch.testing.assert_close((log_s.exp() * k3_divergence(log_s, log_r)).sum(), expected)


@SETTINGS
@given(d=st.floats(-1e-3, 1e-3))
def test_k3_keeps_its_precision_near_zero(d: float) -> None:
    """k3 = d²/2 + d³/6 + d⁴/24 + …; the naive e^d − 1 − d loses all digits in float32 there."""
    got = k3_divergence(torch.zeros(1, dtype=torch.float64), torch.tensor([d], dtype=torch.float64)).item()
    assert got == pytest.approx(d**2 / 2 + d**3 / 6 + d**4 / 24, rel=1e-6, abs=1e-19)
    assert got >= 0.0


def test_wrong_input_is_refused() -> None:
    policy, behaviour, advantage, _ = tokens()
    with pytest.raises(ValueError, match="one rollout has no baseline"):
        group_advantages(torch.ones(3, 1))
    with pytest.raises(ValueError, match="finite floating-point"):
        group_advantages(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="unknown advantage scale"):
        group_advantages(torch.ones(1, 2), scale="max")
    with pytest.raises(ValueError, match=r"share one shape \[T\]"):
        grpo_token_loss(policy, behaviour[:3], advantage)
    with pytest.raises(ValueError, match="clip bounds"):
        grpo_token_loss(policy, behaviour, advantage, clip_low=1.0)
    with pytest.raises(ValueError, match="needs reference log-probs"):
        grpo_token_loss(policy, behaviour, advantage, kl_coefficient=0.1)

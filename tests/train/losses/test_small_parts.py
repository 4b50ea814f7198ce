"""Token weights, diagnostics, coefficients, negative log-likelihood, and the guard against non-finite values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.train.losses.diagnostics import distillation_diagnostics, merge_diagnostics, token_mean, topk_entropy
from artifact.train.losses.finite import LossContext, NonFiniteLoss, check_finite
from artifact.train.losses.mix import mix_coefficients
from artifact.train.losses.nll import token_nll
from artifact.train.losses.token_weights import divergence_share, entropy_gap

SETTINGS = settings(deadline=None, max_examples=40, derandomize=True)

# --- token weights


def test_entropy_gap_equals_its_formula() -> None:
    student = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([1.0, 1.5, 0.0], dtype=torch.float64)
    got = entropy_gap(student, teacher, alpha=5.0)
    assert got.tolist() == pytest.approx([1 / (1 + math.exp(-5.0 * x)) for x in (0.0, -1.0, 2.0)])
    assert not got.requires_grad


def test_divergence_share_equals_the_naive_loop() -> None:
    """n · softmax(ℓ/τ) over each response's unmasked tokens; the masked token's infinite loss must not matter."""
    rows, tau = [[0.1, 2.0, math.inf, 0.5], [3.0]], 0.7
    flat = torch.tensor([x for r in rows for x in r], dtype=torch.float64, requires_grad=True)
    segment, mask = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([True, True, False, True, True])
    kept = [math.exp(x / tau) for x in (0.1, 2.0, 0.5)]
    expected = [3 * kept[0] / sum(kept), 3 * kept[1] / sum(kept), 0.0, 3 * kept[2] / sum(kept), 1.0]
    got = divergence_share(flat, segment, 2, mask, temperature=tau)
    assert got.tolist() == pytest.approx(expected)
    assert not got.requires_grad


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-50, 50), st.booleans()), min_size=1, max_size=20))
def test_divergence_share_has_mean_one_over_each_response(tokens: list[tuple[int, float, bool]]) -> None:
    """Sequence 4 stays empty and others may be fully masked: all weights 0 there, and never a NaN."""
    segment = torch.tensor([s for s, _, _ in tokens])
    loss = torch.tensor([x for _, x, _ in tokens], dtype=torch.float64)
    mask = torch.tensor([m for _, _, m in tokens])
    got = divergence_share(loss, segment, 5, mask)
    assert bool((got[~mask] == 0).all())
    for s in range(5):
        of_s = (segment == s) & mask
        assert got[of_s].sum().item() == pytest.approx(int(of_s.sum()))


def test_token_weights_refuse_wrong_input() -> None:
    x, segment, mask = torch.ones(3), torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"share one shape \[T\]"):
        entropy_gap(x, torch.ones(2))
    with pytest.raises(ValueError, match="alpha must be"):
        entropy_gap(x, x, alpha=-1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        divergence_share(x, segment, 1, mask, temperature=0.0)
    with pytest.raises(ValueError, match=r"share one shape \[T\]"):
        divergence_share(x, segment, 1, x)


# --- diagnostics

TEACHER = torch.tensor([[0.6, 0.3], [0.5, 0.5], [0.9, 0.1]], dtype=torch.float64).log()
STUDENT = torch.tensor([[0.2, 0.3], [0.1, 0.1], [0.5, 0.5]], dtype=torch.float64).log()
IDS = torch.tensor([[7, 3], [1, 2], [5, 0]])


def test_diagnostics_by_hand() -> None:
    mask = torch.tensor([True, False, True])
    got = distillation_diagnostics(
        IDS,
        TEACHER,
        STUDENT,
        mask,
        divergence_T=torch.tensor([1.0, math.nan, 2.0]),
        student_entropy_T=torch.tensor([0.5, 9.0, 1.5]),
        student_argmax_T=torch.tensor([7, 1, 0]),
    )
    h0 = -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)
    h2 = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert got == pytest.approx(
        {
            "tokens": 2.0,
            "teacher_mass": 0.95,
            "student_mass": 0.75,
            "teacher_entropy": (h0 + h2) / 2,
            "divergence": 1.5,
            "student_entropy": 1.0,
            "top1_agreement": 0.5,
        }
    )
    assert all(type(v) is float for v in got.values())


def test_top1_agreement_does_not_trust_the_order_of_the_support() -> None:
    flipped = distillation_diagnostics(
        IDS.flip(1),
        TEACHER.flip(1),
        STUDENT.flip(1),
        torch.tensor([True, False, True]),
        student_argmax_T=torch.tensor([7, 1, 5]),
    )
    assert flipped["top1_agreement"] == 1.0


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_merged_diagnostics_do_not_depend_on_the_split(cut: int) -> None:
    mask = torch.ones(3, dtype=torch.bool)
    whole = distillation_diagnostics(IDS, TEACHER, STUDENT, mask)
    parts = [distillation_diagnostics(IDS[s], TEACHER[s], STUDENT[s], mask[s]) for s in (slice(cut), slice(cut, None))]
    assert merge_diagnostics(parts) == pytest.approx(whole)


def test_diagnostics_edge_cases() -> None:
    assert merge_diagnostics([]) == {"tokens": 0.0}
    assert topk_entropy(torch.tensor([[0.0, -torch.inf]])).item() == 0.0
    with pytest.raises(ValueError, match="different quantities"):
        merge_diagnostics([{"tokens": 1.0, "a": 1.0}, {"tokens": 1.0, "b": 1.0}])
    with pytest.raises(ValueError, match="must be bool"):
        distillation_diagnostics(IDS, TEACHER, STUDENT, torch.ones(3))
    with pytest.raises(ValueError, match=r"not \[T\]: \['student_argmax'\]"):
        distillation_diagnostics(IDS, TEACHER, STUDENT, torch.ones(3) > 0, student_argmax_T=torch.ones(2))


# --- mix


def test_coefficients_of_each_mix() -> None:
    assert mix_coefficients("weighted", alpha=5.0) == (5.0, 1.0)
    assert mix_coefficients("convex", alpha=0.25) == (0.25, 0.75)
    assert mix_coefficients("adaptive", batch_accuracy=0.25) == (0.25, 0.75)


@pytest.mark.parametrize("alpha", [1.0001, 5.0, 10.0])
def test_alpha_above_one_with_convex_is_refused(alpha: float) -> None:
    """The papers' α = 5 and 10 under the printed formula would maximise the contrast loss; the error says so."""
    with pytest.raises(ValueError, match=rf"1 − alpha = {1 - alpha:g} and training would maximise the contrast loss"):
        mix_coefficients("convex", alpha=alpha)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"mode": "weighted"},
        {"mode": "weighted", "alpha": -0.1},
        {"mode": "convex", "alpha": -0.1},
        {"mode": "weighted", "alpha": math.nan},
        {"mode": "weighted", "alpha": math.inf},
        {"mode": "adaptive"},
        {"mode": "adaptive", "batch_accuracy": 1.1},
        {"mode": "adaptive", "batch_accuracy": math.nan},
        {"mode": "sum", "alpha": 1.0},
    ],
)
def test_senseless_mixes_are_refused(kwargs: dict) -> None:
    with pytest.raises(ValueError, match="mix"):
        mix_coefficients(**kwargs)


# --- nll and guard


def test_nll_is_cross_entropy() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([0, 3, 6, 6, 1])
    logprobs = logits.log_softmax(-1).gather(1, target[:, None])
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(token_nll(logprobs), expected)
    torch.testing.assert_close(token_nll(logprobs[:, 0]), expected)
    with pytest.raises(ValueError, match="one per response token"):
        token_nll(logits)


CONTEXT = LossContext(step=12, example_ids=["gsm8k/1", "gsm8k/2", "gsm8k/3"])


def test_finite_values_pass() -> None:
    check_finite("distil", torch.tensor([1.0, -1e30]), CONTEXT)
    check_finite("distil", torch.zeros(0), CONTEXT)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_values_stop_the_run_and_say_where(value: float) -> None:
    with pytest.raises(NonFiniteLoss) as caught:
        check_finite("contrast", torch.tensor(value), CONTEXT)
    error = caught.value
    assert (error.component, error.step, error.example_ids) == ("contrast", 12, tuple(CONTEXT.example_ids))
    assert all(word in str(error) for word in ("contrast", "step 12", "gsm8k/2", str(value)))


def test_only_the_sequences_at_fault_are_named() -> None:
    loss_TK = torch.tensor([[1.0, 1.0], [1.0, math.nan], [1.0, 1.0], [math.inf, 1.0]])
    with pytest.raises(NonFiniteLoss, match="2 non-finite of 8") as caught:
        check_finite("distil", loss_TK, CONTEXT, segment_T=torch.tensor([0, 1, 1, 2]))
    assert caught.value.example_ids == ("gsm8k/2", "gsm8k/3")


def test_the_mean_over_tokens_is_that_of_the_unmasked_ones() -> None:
    values = torch.tensor([1.0, 5.0, float("nan"), 3.0])
    assert token_mean(values, torch.tensor([True, False, False, True])) == 2.0
    assert token_mean(values, torch.zeros(4, dtype=torch.bool)) == 0.0

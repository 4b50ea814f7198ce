"""Token divergences against naive loops over the formulas, closed forms, and properties often got wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.train.losses import divergence
from artifact.train.losses.divergence import TokenDivergence

SETTINGS = settings(deadline=None, max_examples=40, derandomize=True)
KINDS = ["forward_kl", "reverse_kl", "jsd"]
SUPPORTS = ["renorm", "tail", "raw"]


def pair(t: int = 5, v: int = 11, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Teacher and student logits [T, V], float64; the student's want a gradient."""
    g = torch.Generator().manual_seed(seed)
    teacher, student = (2.0 * torch.randn(t, v, generator=g, dtype=torch.float64) for _ in range(2))
    return teacher, student.requires_grad_()


def at_top_k(
    teacher: torch.Tensor, student: torch.Tensor, k: int, tau: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Full-vocabulary log-probs of both at the teacher's top-k ids, at temperature tau."""
    ids = teacher.topk(k, dim=-1).indices
    return (teacher / tau).log_softmax(-1).gather(1, ids), (student / tau).log_softmax(-1).gather(1, ids)


def log_tail(logits: torch.Tensor, ids: torch.Tensor, tau: float = 1.0) -> torch.Tensor:
    """Log of the mass outside `ids`, summed over it."""
    return (logits / tau).log_softmax(-1).scatter(1, ids, -torch.inf).logsumexp(-1)


def at_top_k_with_tails(
    teacher: torch.Tensor, student: torch.Tensor, k: int, tau: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`at_top_k`, and the log-mass of both outside the teacher's top-k."""
    ids = teacher.topk(k, dim=-1).indices
    return *at_top_k(teacher, student, k, tau), log_tail(teacher, ids, tau), log_tail(student, ids, tau)


def token_divergence(
    log_t: torch.Tensor, log_s: torch.Tensor, *tails: torch.Tensor, **settings: Any
) -> TokenDivergence:
    """The product's, given both tails where there are any."""
    named = dict(zip(("teacher_tail_T", "student_tail_T"), tails, strict=False))
    return divergence.token_divergence(log_t, log_s, **named, **settings)


def oracle(log_t: list[float], log_s: list[float], kind: str, support: str, beta: float) -> tuple[float, float]:
    """(loss, divergence) of one token, written from the formulas with Python floats."""
    p_t, p_s = [math.exp(x) for x in log_t], [math.exp(x) for x in log_s]
    if support == "renorm":
        mass = math.fsum(p_t)
        p_t = [p / mass for p in p_t]
    if support == "tail":
        p_t, p_s = [*p_t, 1.0 - math.fsum(p_t)], [*p_s, 1.0 - math.fsum(p_s)]
    both = list(zip(p_t, p_s, strict=True))
    if kind == "forward_kl":
        return -sum(t * math.log(s) for t, s in both), sum(t * math.log(t / s) for t, s in both)
    if kind == "reverse_kl":
        value = sum(s * math.log(s / t) for t, s in both)
        return value, value
    value = 0.0
    for t, s in both:
        m = beta * t + (1.0 - beta) * s
        value += beta * t * math.log(t / m) + (1.0 - beta) * s * math.log(s / m)
    return value, value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("k", [1, 4, 10])
def test_equals_the_naive_loop(kind: str, support: str, k: int) -> None:
    log_t, log_s, *tails = at_top_k_with_tails(*pair(), k)
    out = token_divergence(log_t, log_s, *tails, kind=kind, support=support, beta=0.3)
    for t in range(len(log_t)):
        loss, divergence = oracle(log_t[t].tolist(), log_s[t].tolist(), kind, support, 0.3)
        assert out.loss_T[t].item() == pytest.approx(loss, abs=1e-12)
        assert out.divergence_T[t].item() == pytest.approx(divergence, abs=1e-12)


def test_default_is_the_papers_token_by_token_loop() -> None:
    """CORE appendix A.2: soft-max over the teacher's k values, student log-softmax over all V, gather."""
    teacher, student = pair()
    values, ids = teacher.topk(4, dim=-1)
    out = token_divergence(*at_top_k(teacher, student, 4))
    for t in range(len(teacher)):
        teacher_probs = torch.softmax(values[t], dim=-1)
        student_logprobs = torch.log_softmax(student[t], dim=-1).gather(-1, ids[t])
        assert out.loss_T[t].item() == pytest.approx(-(teacher_probs * student_logprobs).sum().item(), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("k", [3, 11])
def test_gradients_match_finite_differences(kind: str, support: str, k: int) -> None:
    teacher, student = pair(t=2)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return token_divergence(
            *at_top_k_with_tails(teacher, logits, k, 1.3),
            kind=kind,
            support=support,
            temperature=1.3,
            teacher_temperature=1.3,
            scale_by_tau_squared=True,
        ).loss_T

    assert torch.autograd.gradcheck(loss, (student,), atol=1e-6)


@pytest.mark.parametrize("support", SUPPORTS)
def test_k_equals_v_gives_the_full_divergence(support: str) -> None:
    """Once nothing is truncated, all supports agree with torch's own KL, in value and gradient."""
    teacher, student = pair()
    log_t, log_s, *tails = at_top_k_with_tails(teacher, student, 11)
    full = {
        "forward_kl": torch.nn.functional.kl_div(log_s, log_t, log_target=True, reduction="none").sum(-1),
        "reverse_kl": torch.nn.functional.kl_div(log_t, log_s, log_target=True, reduction="none").sum(-1),
    }
    for kind, expected in full.items():
        out = token_divergence(log_t, log_s, *tails, kind=kind, support=support)
        torch.testing.assert_close(out.divergence_T, expected.detach(), rtol=0, atol=1e-12)
        ours, theirs = (torch.autograd.grad(x.sum(), student, retain_graph=True)[0] for x in (out.loss_T, expected))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("support", SUPPORTS)
def test_teacher_equals_student_gives_zero(kind: str, support: str) -> None:
    """At k = V every divergence is 0 and so is its gradient; the divergence is logged, not the cross-entropy."""
    teacher, _ = pair()
    student = teacher.clone().requires_grad_()
    out = token_divergence(*at_top_k_with_tails(teacher, student, 11), kind=kind, support=support)
    torch.testing.assert_close(out.divergence_T, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    out.loss_T.sum().backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher), rtol=0, atol=1e-12)


@pytest.mark.parametrize("support", ["tail", "raw"])
def test_teacher_equals_student_gives_zero_when_truncated(support: str) -> None:
    teacher, _ = pair()
    out = token_divergence(*at_top_k_with_tails(teacher, teacher, 3), support=support)
    torch.testing.assert_close(out.divergence_T, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_renormalised_teacher_equal_to_student_reads_minus_log_mass() -> None:
    teacher, _ = pair()
    log_t, log_s = at_top_k(teacher, teacher, 3)
    out = token_divergence(log_t, log_s)
    torch.testing.assert_close(out.divergence_T, -log_t.logsumexp(-1), rtol=0, atol=1e-12)
    both = token_divergence(log_t, log_s, renormalise_student=True)
    torch.testing.assert_close(both.divergence_T, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_truncated_kl_is_not_clamped() -> None:
    """A student with more mass on the support than the teacher has a negative truncated KL, and must still learn.

    Teacher (.3, .2 | .5), student (.5, .3 | .2) on a support of two:
    .3 log(.3/.5) + .2 log(.2/.3) = −0.2343…
    """
    log_t = torch.tensor([[0.3, 0.2]], dtype=torch.float64).log()
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log().requires_grad_()
    out = token_divergence(log_t, logits.log_softmax(-1)[:, :2], support="raw")
    assert out.divergence_T.item() == pytest.approx(0.3 * math.log(0.6) + 0.2 * math.log(2 / 3), abs=1e-15)
    assert out.divergence_T.item() < -0.2
    (gradient,) = torch.autograd.grad(out.loss_T.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[-0.05, -0.05, 0.1]], dtype=torch.float64))  # p_S Σ p_T − p_T


def test_truncated_reverse_kl_sheds_student_mass_and_the_tail_prevents_it() -> None:
    """Teacher = student, k < V: the right gradient is 0. `raw` pushes mass off the support; `tail` does not."""
    teacher, _ = pair()
    for support, sheds in (("raw", True), ("tail", False)):
        student = teacher.clone().requires_grad_()
        log_t, log_s, *tails = at_top_k_with_tails(teacher, student, 3)
        loss = token_divergence(log_t, log_s, *tails, kind="reverse_kl", support=support).loss_T
        (gradient,) = torch.autograd.grad(loss.sum(), student)
        mass_before = log_s.detach().exp().sum(-1)
        mass_after = at_top_k(teacher, teacher - 0.1 * gradient, 3)[1].exp().sum(-1)
        assert bool((mass_after < mass_before - 1e-6).all()) == sheds
        assert (float(gradient.abs().max()) > 1e-3) == sheds


def test_forward_and_reverse_kl_run_in_their_named_directions() -> None:
    """Teacher (.9, .1), student (.5, .5): KL(T‖S) = .9 log 1.8 + .1 log .2; KL(S‖T) = .5 log(5/9) + .5 log 5."""
    log_t, log_s = (torch.tensor([p], dtype=torch.float64).log() for p in ([0.9, 0.1], [0.5, 0.5]))
    forward = token_divergence(log_t, log_s, kind="forward_kl").divergence_T.item()
    reverse = token_divergence(log_t, log_s, kind="reverse_kl").divergence_T.item()
    assert forward == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert reverse == pytest.approx(0.5 * math.log(5 / 9) + 0.5 * math.log(5))


def test_jsd_has_the_documented_limits_and_is_symmetric_at_one_half() -> None:
    log_t, log_s = at_top_k(*pair(), 11)
    beta = 1e-6
    near_0 = token_divergence(log_t, log_s, kind="jsd", beta=beta).divergence_T / beta
    near_1 = token_divergence(log_t, log_s, kind="jsd", beta=1 - beta).divergence_T / beta
    torch.testing.assert_close(near_0, token_divergence(log_t, log_s).divergence_T, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        near_1, token_divergence(log_t, log_s, kind="reverse_kl").divergence_T, rtol=1e-4, atol=1e-6
    )
    there = token_divergence(log_t, log_s, kind="jsd").divergence_T
    back = token_divergence(log_s.detach(), log_t, kind="jsd").divergence_T
    torch.testing.assert_close(there, back, rtol=0, atol=1e-12)


@SETTINGS
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 11),
    kind=st.sampled_from(KINDS),
    support=st.sampled_from(SUPPORTS),
    tau=st.floats(0.5, 3.0),
    shift=st.floats(-50, 50),
)
def test_invariances(seed: int, k: int, kind: str, support: str, tau: float, shift: float) -> None:
    """Order of the support, a shift of either side's logits: nothing changes. Proper distributions: never < 0."""
    teacher, student = pair(seed=seed)
    log_t, log_s, *tails = at_top_k_with_tails(teacher, student, k, tau)
    kwargs = {"kind": kind, "support": support, "temperature": tau, "teacher_temperature": tau}
    base = token_divergence(log_t, log_s, *tails, **kwargs)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    permuted = token_divergence(log_t[:, order], log_s[:, order], *tails, **kwargs)
    shifted = token_divergence(*at_top_k_with_tails(teacher + shift, student - shift, k, tau), **kwargs)
    for other in (permuted, shifted):
        torch.testing.assert_close(other.loss_T, base.loss_T, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other.divergence_T, base.divergence_T, rtol=1e-9, atol=1e-9)
    if support == "tail" or kind == "jsd" or (support == "renorm" and kind == "forward_kl"):
        assert float(base.divergence_T.min()) >= -1e-12


@SETTINGS
@given(seed=st.integers(0, 10_000), k=st.integers(1, 11), tau=st.floats(0.3, 4.0))
def test_tempering_stored_top_k_is_exact_for_renorm(seed: int, k: int, tau: float) -> None:
    """Raw log-probs stored at temperature 1 give the same loss as a teacher scored at tau."""
    teacher, student = pair(seed=seed)
    stored, _ = at_top_k(teacher, student, k)
    log_t, log_s = at_top_k(teacher, student, k, tau)
    exact = token_divergence(log_t, log_s, temperature=tau, teacher_temperature=tau)
    tempered = token_divergence(stored, log_s, temperature=tau, teacher_temperature=1.0)
    torch.testing.assert_close(tempered.loss_T, exact.loss_T, rtol=0, atol=1e-10)


def test_tau_squared_scales_the_loss_and_not_the_report() -> None:
    log_t, log_s = at_top_k(*pair(), 4, 2.0)
    plain = token_divergence(log_t, log_s, temperature=2.0, teacher_temperature=2.0)
    scaled = token_divergence(log_t, log_s, temperature=2.0, teacher_temperature=2.0, scale_by_tau_squared=True)
    torch.testing.assert_close(scaled.loss_T, 4.0 * plain.loss_T)
    torch.testing.assert_close(scaled.divergence_T, plain.divergence_T)


def test_teacher_gets_no_gradient() -> None:
    log_t, log_s = at_top_k(*pair(), 4)
    log_t.requires_grad_()
    token_divergence(log_t, log_s, kind="jsd").loss_T.sum().backward()
    assert log_t.grad is None


def test_an_impossible_teacher_token_adds_nothing_to_the_forward_kl() -> None:
    """A padded support entry of probability 0 must not turn 0 · −∞ into NaN, in value or gradient."""
    log_t, log_s = at_top_k(*pair(), 4)
    padded = torch.cat([log_t, torch.full((5, 1), -torch.inf, dtype=torch.float64)], dim=1)
    wider = torch.cat([log_s.detach(), torch.full((5, 1), -3.0, dtype=torch.float64)], dim=1).requires_grad_()
    out = token_divergence(padded, wider)
    torch.testing.assert_close(out.divergence_T, token_divergence(log_t, log_s).divergence_T)
    out.loss_T.sum().backward()
    assert wider.grad is not None and bool((wider.grad[:, -1] == 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tail_below_the_resolution_of_float32_keeps_its_value_and_gradient(kind: str) -> None:
    """Tails of 1e-10 (teacher) and 1e-14 (student), where 1 − Σ p is 0 in float32; the oracle is float64."""
    t64 = torch.tensor([[0.0, -1.0, math.log(1e-10)]], dtype=torch.float64)
    s64 = torch.tensor([[-0.5, 0.0, math.log(1e-14)]], dtype=torch.float64)
    found = {}
    for dtype in (torch.float64, torch.float32):
        teacher, student = t64.to(dtype), s64.to(dtype).clone().requires_grad_()
        loss = token_divergence(*at_top_k_with_tails(teacher, student, 2), kind=kind, support="tail", beta=0.3).loss_T
        (gradient,) = torch.autograd.grad(loss.sum(), student)
        found[dtype] = loss.detach().double(), gradient.double()
    for single, double in zip(found[torch.float32], found[torch.float64], strict=True):
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-15)
    p_t, p_s = t64.softmax(-1)[0], s64.softmax(-1)[0]
    assert bool((found[torch.float64][1][0, 2] != 0).item())
    if kind == "forward_kl":  # its gradient is p_S − p_T, in every entry
        torch.testing.assert_close(found[torch.float32][1][0], p_s - p_t, rtol=1e-4, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_no_tail_at_k_equal_v_adds_nothing(kind: str) -> None:
    """−∞ on both sides: no value, no NaN in the gradient."""
    teacher, student = pair()
    log_t, log_s, *tails = at_top_k_with_tails(teacher, student, 11)
    assert all(bool(tail.isneginf().all()) for tail in tails)
    own = student.detach().log_softmax(-1).gather(1, teacher.topk(11).indices).requires_grad_()
    none = torch.full((5,), -torch.inf, dtype=torch.float64).requires_grad_()
    out = token_divergence(log_t, own, tails[0], none, kind=kind, support="tail")
    raw = token_divergence(log_t, log_s, kind=kind, support="raw")
    torch.testing.assert_close(out.loss_T, raw.loss_T, rtol=0, atol=1e-12)
    out.loss_T.sum().backward()
    assert own.grad is not None and bool(own.grad.isfinite().all())
    assert none.grad is not None and bool((none.grad == 0).all())


@pytest.mark.parametrize("missing", ["teacher", "student"])
def test_a_missing_tail_is_refused(missing: str) -> None:
    log_t, log_s, of_teacher, of_student = at_top_k_with_tails(*pair(), 4)
    tails = {"teacher_tail_T": of_teacher, "student_tail_T": of_student} | {f"{missing}_tail_T": None}
    with pytest.raises(ValueError, match=f"needs the {missing}'s log-mass"):
        divergence.token_divergence(log_t, log_s, support="tail", **tails)


def test_a_probability_that_is_not_a_number_reaches_the_loss() -> None:
    """It must meet the check for non-finite losses, not be dropped as if it were a probability of 0."""
    log_t, log_s = at_top_k(*pair(), 4)
    log_t[2, 1] = torch.nan
    assert bool(token_divergence(log_t, log_s, support="raw").loss_T[2].isnan())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kind": "kl"}, "unknown divergence 'kl'"),
        ({"support": "topk"}, "unknown support 'topk'"),
        ({"kind": "jsd", "beta": 0.0}, "0 < beta < 1"),
        ({"kind": "jsd", "beta": 1.0}, "0 < beta < 1"),
        ({"temperature": 2.0}, "say at which temperature the teacher was scored"),
        ({"temperature": 2.0, "teacher_temperature": 1.0, "support": "tail"}, "score it again"),
        ({"temperature": 2.0, "teacher_temperature": 1.0, "support": "raw"}, "score it again"),
        ({"temperature": -1.0, "teacher_temperature": 1.0}, "temperatures must be positive"),
        ({"support": "tail", "renormalise_student": True}, "renormalise_student"),
    ],
)
def test_wrong_settings_are_refused(kwargs: dict[str, object], message: str) -> None:
    log_t, log_s = at_top_k(*pair(), 4)
    with pytest.raises(ValueError, match=message):
        token_divergence(log_t, log_s, **kwargs)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \[T, K\]"):
        token_divergence(torch.zeros(3, 2), torch.zeros(3, 4))

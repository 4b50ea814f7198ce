"""Each loss component through `objective`, against loops over the formula: weights, masks, temperatures, references.

What `losses/` proves on tensors is proved here on *examples*: the right rows, masks, weights and settings reach it.
The oracle is a plain forward pass of one sequence at a time and Python floats; it shares no code with `objective`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.tiny import tiny_qwen3
from transformers import Qwen3ForCausalLM

from artifact.config import checked
from artifact.train.examples import COMPONENTS, Distil, Example, Imitate, Prefer, Reinforce
from artifact.train.losses.finite import NonFiniteLoss
from artifact.train.objective import MicroBatch, Outcome, denominators, objective
from artifact.train.scoring import TeacherScores
from artifact.train.settings import Losses

V, BUDGET = 23, 16


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return tiny_qwen3(V).double()


def token_logprobs(model: Any, prompt: tuple[int, ...], response: tuple[int, ...], tau: float = 1.0) -> list[Any]:
    """log softmax(z_t / τ), [V], before each response token."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return list((logits / tau).log_softmax(-1))


def outcome_of(
    model: Any, examples: list[Example], settings: dict, scores: TeacherScores | None = None, reference: Any = None
) -> Outcome:
    losses = checked(Losses, {"distil": {"top_k": 3}} | settings, "test")
    rows = {} if scores is None else scores.by_example()
    every = range(len(examples))
    batch = MicroBatch(
        examples,
        [rows.get(i) for i in every],
        [None if reference is None else reference[i] for i in every],
        4,
        dict.fromkeys(COMPONENTS, 1.0),
        denominators(examples, losses, BUDGET),
    )
    return objective(model.model, model.lm_head.weight, batch, losses)


def loss_of(*arguments: Any, **options: Any) -> float:
    return float(outcome_of(*arguments, **options).loss.detach())


PROMPT = (1, 2, 3)
LONG, SHORT = (4, 5, 6, 7, 8), (9, 10)
MASK = (True, False, True, False, True)
TWO = [(LONG, MASK, 0.5), (SHORT, None, 2.0)]
"""(response, mask, weight): tool tokens in one of them, weights other than 1 in both."""


def weighted_mean(per_token: list[list[float]], reduction: str) -> float:
    """Σ_s w_s … over both responses, masked tokens left out, as the docstring of `losses/reduction.py` has it."""
    total, tokens = 0.0, 0
    for values, (_, mask, weight) in zip(per_token, TWO, strict=True):
        kept = [v for v, m in zip(values, mask or [True] * len(values), strict=True) if m]
        tokens += len(kept)
        total += weight * (sum(kept) / len(kept) if reduction == "sequence_mean" else sum(kept))
    return total / (2 if reduction == "sequence_mean" else tokens)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
def test_nll(model, reduction):
    examples = [Imitate(f"p{i}", PROMPT, y, w, m) for i, (y, m, w) in enumerate(TWO)]
    values = [[-float(row[t]) for row, t in zip(token_logprobs(model, PROMPT, y), y, strict=True)] for y, _, _ in TWO]
    got = loss_of(model, examples, {"distil": {"top_k": 3, "reduction": reduction}})
    assert got == pytest.approx(weighted_mean(values, reduction), abs=1e-10)


def teacher_scores(seed: int, k: int = 3) -> TeacherScores:
    rng, n = np.random.default_rng(seed), len(LONG) + len(SHORT)
    z = rng.normal(size=(n, V))
    logp = z - np.log(np.exp(z).sum(1, keepdims=True))
    ids = np.argsort(-logp, 1)[:, :k].astype(np.int32)
    offsets = np.array([0, len(LONG), n])
    top = np.take_along_axis(logp, ids, 1)
    tail = np.log(1 - np.exp(top).sum(1))
    return TeacherScores(ids, top, rng.uniform(0.5, 2, n), offsets, np.arange(2), tail)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("token_weight", ["none", "entropy_gap", "divergence_share"])
@pytest.mark.parametrize("own", [None, (1.0, 0.5, 2.0, 3.0, 0.25)])
def test_distillation(model, reduction, token_weight, own):
    """Temperature 1.5, τ², masks, prompt weights, and every source of per-token weights."""
    tau, scores = 1.5, teacher_scores(5)
    examples = [
        Distil(f"p{i}", PROMPT, y, w, response_mask=m, token_weight=own if i == 0 else None)
        for i, (y, m, w) in enumerate(TWO)
    ]
    values = []
    for i, (y, mask, _) in enumerate(TWO):
        kept = mask or (True,) * len(y)
        ells, gaps, kls = [], [], []
        for t, row in enumerate(token_logprobs(model, PROMPT, y, tau)):
            r = int(scores.offsets[i]) + t
            p = np.exp(scores.logprobs[r]) / np.exp(scores.logprobs[r]).sum()
            log_s = row[torch.tensor(scores.ids[r].astype(int))].numpy()
            ells.append(-float(p @ log_s))
            kls.append(float(p @ (np.log(p) - log_s)))
            h_s = -float((row.exp() * row).sum())
            gaps.append(1 / (1 + math.exp(-5.0 * (h_s - scores.entropy[r]))))
        total = sum(math.exp(d) for d, m in zip(kls, kept, strict=True) if m)
        share = [sum(kept) * math.exp(d) / total for d in kls]
        u = {"none": [1.0] * len(y), "entropy_gap": gaps, "divergence_share": share}[token_weight]
        mine = own if own is not None and i == 0 else (1.0,) * len(y)
        values.append([tau**2 * e * a * b for e, a, b in zip(ells, u, mine, strict=True)])
    settings = {"distil": {"top_k": 3, "reduction": reduction, "temperature": tau, "token_weight": token_weight}}
    assert loss_of(model, examples, settings, scores) == pytest.approx(weighted_mean(values, reduction), abs=1e-9)


@pytest.mark.parametrize("kl", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["sequence_mean", "constant"])
def test_policy_gradient(model, kl, reduction):
    rng = np.random.default_rng(7)
    behaviour = [rng.normal(-3, 0.3, len(y)) for y, _, _ in TWO]
    reference = [[rng.normal(-3, 0.3, len(y))] for y, _, _ in TWO]
    examples = [
        Reinforce(f"p{i}", PROMPT, y, w - 1, tuple(b), m)
        for i, ((y, m, w), b) in enumerate(zip(TWO, behaviour, strict=True))
    ]
    total = 0.0
    for (y, mask, w), b, (ref,) in zip(TWO, behaviour, reference, strict=True):
        values = []
        for t, row in enumerate(token_logprobs(model, PROMPT, y)):
            ratio, a, d = math.exp(float(row[y[t]]) - b[t]), w - 1, ref[t] - float(row[y[t]])
            values.append(-min(ratio * a, min(max(ratio, 0.8), 1.2) * a) + kl * (math.exp(d) - 1 - d))
        kept = [v for v, m in zip(values, mask or [True] * len(y), strict=True) if m]
        total += sum(kept) / (len(kept) if reduction == "sequence_mean" else BUDGET)
    settings = {"policy_gradient": {"kl_coefficient": kl, "reduction": reduction}}
    assert loss_of(model, examples, settings, reference=reference) == pytest.approx(total / 2, abs=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.6])
def test_the_policy_gradient_is_that_of_the_expected_reward_of_the_policy_that_is_sampled(model, temperature):
    """Every response of one token, each with its probability: the gradient is ∇ Σ_y p_T(y) R(y), exactly."""
    reward = torch.from_numpy(np.random.default_rng(3).normal(size=V))

    def expected_reward() -> torch.Tensor:
        logits = model(torch.tensor([list(PROMPT)])).logits[0, -1]
        return ((logits / temperature).softmax(-1) * reward).sum()

    model.zero_grad()
    expected_reward().backward()
    exact = [p.grad.clone() for p in model.parameters()]
    plain = token_logprobs(model, PROMPT, (0,))[0]
    p = token_logprobs(model, PROMPT, (0,), temperature)[0].exp()
    examples = [
        Reinforce("p", PROMPT, (v,), float(p[v] * reward[v]) * V, (float(plain[v]),), temperature=temperature)
        for v in range(V)
    ]
    model.zero_grad()
    got = outcome_of(model, examples, {})
    got.loss.backward()
    for q, e in zip(model.parameters(), exact, strict=True):
        torch.testing.assert_close(-q.grad, e, atol=1e-6, rtol=1e-4)  # its norms are computed in float32
    model.zero_grad()
    assert got.diagnostics["policy_gradient"]["ratio"] == pytest.approx(1.0, abs=1e-9)


def test_policy_gradient_examples_of_two_temperatures_are_refused(model):
    examples = [Reinforce("p", PROMPT, SHORT, 1.0, (-1.0, -1.0), temperature=t) for t in (0.7, 1.0)]
    with pytest.raises(ValueError, match=r"temperatures \[0\.7, 1\.0\]"):
        loss_of(model, examples, {})


def test_what_stands_at_a_masked_token_reaches_neither_loss_nor_gradient(model):
    """Infinite derivatives and NaN at tool tokens: 0 · ∞ must not come about, in any component."""
    nan, n = math.nan, len(LONG)
    behaviour = tuple(-2.0 if m else -1e4 for m in MASK)
    reference = np.where(MASK, -2.0, nan)
    clean = teacher_scores(5)
    spoilt = np.where(np.asarray(MASK)[:, None], clean.logprobs[:n], nan)

    def gradient(fill: Any, values: Any, teacher: Any) -> torch.Tensor:
        scores = TeacherScores(clean.ids[:n], teacher, clean.entropy[:n], np.array([0, n]), np.array([0]))
        examples = [
            Distil("a", PROMPT, LONG, 1.0, None, MASK),
            Imitate("b", PROMPT, LONG, 1.0, MASK),
            Reinforce("c", PROMPT, LONG, 0.5, fill, MASK),
            Prefer("d", PROMPT, LONG, SHORT, 1.0, MASK),
        ]
        model.zero_grad()
        settings = {"policy_gradient": {"kl_coefficient": 0.3}}
        references = [None, None, [values], [values, np.array([-1.0, -1.0])]]
        outcome_of(model, examples, settings, scores, references).loss.backward()
        found = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        model.zero_grad()
        return found

    plain = gradient((-2.0,) * n, np.full(n, -2.0), clean.logprobs[:n])
    assert plain.abs().max() > 0.01
    torch.testing.assert_close(gradient(behaviour, reference, spoilt), plain, atol=0, rtol=0)


@pytest.mark.parametrize("form", ["dpo", "simpo"])
@pytest.mark.parametrize("normalised", [False, True])
def test_preference(model, form, normalised):
    """Two pairs with weights 0.5 and 2; SimPO is always a mean, and aims beyond its margin; each has its own β."""
    rng = np.random.default_rng(8)
    pairs = [(LONG, MASK, SHORT, None, 0.5), (SHORT, None, LONG, MASK, 2.0)]
    reference = [[rng.normal(-3, 0.3, len(c)), rng.normal(-3, 0.3, len(r))] for c, _, r, _, _ in pairs]
    examples = [Prefer(f"p{i}", PROMPT, c, r, w, cm, rm) for i, (c, cm, r, rm, w) in enumerate(pairs)]
    mean = normalised or form == "simpo"

    def s(values: Any, mask: Any) -> float:
        kept = [float(v) for v, m in zip(values, mask or [True] * len(values), strict=True) if m]
        return sum(kept) / (len(kept) if mean else 1)

    def policy(y: tuple[int, ...]) -> list[float]:
        return [float(row[t]) for row, t in zip(token_logprobs(model, PROMPT, y), y, strict=True)]

    beta, aim = (2.0, 1.0) if form == "simpo" else (0.1, 0.0)
    total = 0.0
    for (c, cm, r, rm, w), (ref_c, ref_r) in zip(pairs, reference, strict=True):
        margin = s(policy(c), cm) - s(policy(r), rm)
        if form == "dpo":
            margin -= s(ref_c, cm) - s(ref_r, rm)
        total += w * math.log1p(math.exp(-(beta * margin - aim)))
    settings = {"contrast": {"form": form, "length_normalised": normalised}}
    assert loss_of(model, examples, settings, reference=reference) == pytest.approx(total / 2, abs=1e-9)


def own_logprobs(model: Any, y: tuple[int, ...]) -> list[float]:
    return [float(row[t]) for row, t in zip(token_logprobs(model, PROMPT, y), y, strict=True)]


@pytest.mark.parametrize("beta", [0.5, 2.5])
@pytest.mark.parametrize("form", ["dpo", "simpo"])
def test_the_preferences_beta_is_that_of_the_settings(model, form, beta):
    example = Prefer("p", PROMPT, LONG, SHORT)
    c, r = own_logprobs(model, LONG), own_logprobs(model, SHORT)
    ref_c, ref_r = [-2.0] * 5, [-3.0] * 2
    margin = sum(c) / 5 - sum(r) / 2 if form == "simpo" else (sum(c) + 10.0) - (sum(r) + 6.0)
    aim = 0.75 if form == "simpo" else 0.0
    settings = {"contrast": {"form": form, "beta": beta} | ({"simpo_margin": 0.75} if form == "simpo" else {})}
    got = loss_of(model, [example], settings, reference=[[np.array(ref_c), np.array(ref_r)]])
    assert got == pytest.approx(math.log1p(math.exp(-(beta * margin - aim))), abs=1e-9)


@pytest.mark.parametrize("support", ["renorm", "tail", "raw"])
@pytest.mark.parametrize(("kind", "beta"), [("forward_kl", 0.5), ("reverse_kl", 0.5), ("jsd", 0.5), ("jsd", 0.2)])
def test_divergence_and_support_are_those_of_the_settings(model, kind, beta, support):
    """The formulas of `losses/divergence.py` on probabilities, entry by entry."""
    scores = teacher_scores(6)
    examples = [Distil(f"p{i}", PROMPT, y) for i, (y, _, _) in enumerate(TWO)]
    total = 0.0
    for i, (y, _, _) in enumerate(TWO):
        for t, row in enumerate(token_logprobs(model, PROMPT, y)):
            r = int(scores.offsets[i]) + t
            p, q = np.exp(scores.logprobs[r]), row.exp()[torch.tensor(scores.ids[r].astype(int))].numpy()
            if support == "tail":
                p, q = np.append(p, 1 - p.sum()), np.append(q, 1 - q.sum())
            if support == "renorm":
                p = p / p.sum()
            m = beta * p + (1 - beta) * q
            value = {
                "forward_kl": -p @ np.log(q),
                "reverse_kl": q @ np.log(q / p),
                "jsd": beta * p @ np.log(p / m) + (1 - beta) * q @ np.log(q / m),
            }[kind]
            total += value / len(y) / 2
    settings = {"distil": {"top_k": 3, "divergence": kind, "beta": beta, "support": support}}
    assert loss_of(model, examples, settings, scores) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("advantage", [1.5, -1.5])
def test_clip_bounds_are_those_of_the_settings(model, advantage):
    """Ratios e^±0.6 and 1, bounds 0.3 below and 0.1 above."""
    own = own_logprobs(model, LONG)
    shift = (0.6, -0.6, 0.0, 0.6, -0.6)
    behaviour = tuple(v - s for v, s in zip(own, shift, strict=True))
    got = outcome_of(
        model,
        [Reinforce("p", PROMPT, LONG, advantage, behaviour)],
        {"policy_gradient": {"clip_low": 0.3, "clip_high": 0.1}},
    )
    values = [-min(math.exp(s) * advantage, min(max(math.exp(s), 0.7), 1.1) * advantage) for s in shift]
    assert float(got.loss.detach()) == pytest.approx(sum(values) / 5, abs=1e-9)
    assert got.diagnostics["policy_gradient"]["clip_fraction"] == pytest.approx(2 / 5), "where the bound is passed"


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_imitation_is_reduced_as_distillation_is(model, reduction):
    examples = [Imitate(f"p{i}", PROMPT, y, w, m) for i, (y, m, w) in enumerate(TWO)]
    values = [[-v for v in own_logprobs(model, y)] for y, _, _ in TWO]
    settings = {"distil": {"top_k": 3, "reduction": reduction}, "policy_gradient": {"reduction": "constant"}}
    assert loss_of(model, examples, settings) == pytest.approx(weighted_mean(values, reduction), abs=1e-10)


def test_diagnostics_are_means_over_the_tokens_that_the_policy_chose(model):
    own, ref = own_logprobs(model, LONG), np.array([-1.0, -7.0, -2.0, -7.0, -3.0])
    behaviour = tuple(v - 0.1 * t for t, v in enumerate(own))
    examples = [Imitate("a", PROMPT, LONG, 1.0, MASK), Reinforce("a", PROMPT, LONG, 0.5, behaviour, MASK)]
    found = outcome_of(
        model, examples, {"policy_gradient": {"kl_coefficient": 0.1}}, reference=[None, [ref]]
    ).diagnostics
    kept = [t for t, m in enumerate(MASK) if m]
    assert found["nll"] == {"tokens": 3.0, "nll": pytest.approx(-sum(own[t] for t in kept) / 3)}
    d = [ref[t] - own[t] for t in kept]
    assert found["policy_gradient"] == {
        "tokens": 3.0,
        "clip_fraction": pytest.approx(2 / 3),  # of the ratios 1, e^0.2, e^0.4 two are above 1.2
        "ratio": pytest.approx(sum(math.exp(0.1 * t) for t in kept) / 3),
        "reference_kl": pytest.approx(sum(math.exp(x) - 1 - x for x in d) / 3),
    }


def test_examples_of_other_components_in_between_keep_their_rows_and_references(model):
    """A pair holds two sequences; what follows it has its own rows, its own reference, and nobody else's."""
    behaviour, ref = (-2.0, -2.5), np.array([-1.5, -3.5])
    pair = Prefer("p", PROMPT, LONG, SHORT)
    reinforced = Reinforce("r", PROMPT, (11, 12), 1.0, behaviour)
    settings = {"policy_gradient": {"kl_coefficient": 0.3}}
    pair_reference = [np.linspace(-1, -2, 5), np.array([-3.0, -1.0])]
    alone = loss_of(model, [pair], settings, reference=[pair_reference])
    got = loss_of(
        model, [Imitate("i", PROMPT, SHORT), pair, reinforced], settings, reference=[None, pair_reference, [ref]]
    )
    expected = alone - sum(own_logprobs(model, SHORT)) / 2
    for own, b, r in zip(own_logprobs(model, (11, 12)), behaviour, ref, strict=True):
        expected += (-min(math.exp(own - b), 1.2) + 0.3 * (math.exp(r - own) - 1 - (r - own))) / 2
    assert got == pytest.approx(expected, abs=1e-9)


def test_a_loss_that_is_not_finite_stops_the_step_and_is_named(model):
    example = Reinforce("p7", PROMPT, SHORT, -1.0, (-800.0, -1.0))
    with pytest.raises(NonFiniteLoss, match="policy_gradient") as caught:
        loss_of(model, [example], {})
    assert (caught.value.step, caught.value.example_ids) == (4, ("p7",))


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_the_teachers_temperature_is_the_losses(model, tau):
    """`tail` needs the teacher scored at τ, and takes what it is given as such."""
    scores = teacher_scores(9)
    total = 0.0
    for t, row in enumerate(token_logprobs(model, PROMPT, LONG, tau)):
        p, q = np.exp(scores.logprobs[t]), row.exp()[torch.tensor(scores.ids[t].astype(int))].numpy()
        total -= tau**2 * (p @ np.log(q) + (1 - p.sum()) * math.log(1 - q.sum())) / len(LONG)
    first = TeacherScores(
        scores.ids[: len(LONG)],
        scores.logprobs[: len(LONG)],
        scores.entropy[: len(LONG)],
        np.array([0, 5]),
        np.arange(1),
        scores.tail[: len(LONG)],
    )
    settings = {"distil": {"top_k": 3, "temperature": tau, "support": "tail"}}
    assert loss_of(model, [Distil("p", PROMPT, LONG)], settings, first) == pytest.approx(total, abs=1e-9)

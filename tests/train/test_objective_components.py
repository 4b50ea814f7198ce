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
from transformers import Qwen3Config, Qwen3ForCausalLM

from artifact.config import checked
from artifact.train.examples import COMPONENTS, Distil, Example, Imitate, Prefer, Reinforce
from artifact.train.objective import MicroBatch, denominators, objective
from artifact.train.scoring import TeacherScores
from artifact.train.settings import Losses

V, BUDGET = 23, 16


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
        max_position_embeddings=64,
    )
    return Qwen3ForCausalLM(config).double()


def token_logprobs(model: Any, prompt: tuple[int, ...], response: tuple[int, ...], tau: float = 1.0) -> list[Any]:
    """log softmax(z_t / τ), [V], before each response token."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return list((logits / tau).log_softmax(-1))


def loss_of(
    model: Any, examples: list[Example], settings: dict, scores: TeacherScores | None = None, reference: Any = None
) -> float:
    losses = checked(Losses, {"distil": {"top_k": 3}} | settings, "test")
    rows = {} if scores is None else scores.by_example()
    every = range(len(examples))
    batch = MicroBatch(
        examples,
        [rows.get(i) for i in every],
        [None if reference is None else reference[i] for i in every],
        0,
        dict.fromkeys(COMPONENTS, 1.0),
        denominators(examples, losses, BUDGET),
    )
    return float(objective(model.model, model.lm_head.weight, batch, losses).loss.detach())


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
    return TeacherScores(ids, np.take_along_axis(logp, ids, 1), rng.uniform(0.5, 2, n), offsets, np.arange(2))


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


@pytest.mark.parametrize("form", ["dpo", "simpo"])
@pytest.mark.parametrize("normalised", [False, True])
def test_preference(model, form, normalised):
    """Two pairs with weights 0.5 and 2; SimPO is always a mean, and aims beyond its margin."""
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

    total = 0.0
    for (c, cm, r, rm, w), (ref_c, ref_r) in zip(pairs, reference, strict=True):
        margin = s(policy(c), cm) - s(policy(r), rm)
        if form == "dpo":
            margin -= s(ref_c, cm) - s(ref_r, rm)
        total += w * math.log1p(math.exp(-(0.1 * margin - (0.5 if form == "simpo" else 0.0))))
    settings = {"contrast": {"form": form, "length_normalised": normalised}}
    assert loss_of(model, examples, settings, reference=reference) == pytest.approx(total / 2, abs=1e-9)

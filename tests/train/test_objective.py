"""The step's loss and gradient do not depend on how the step is cut into micro-batches; rows go to their own tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.train.tiny import exact, tiny_qwen3
from transformers import Qwen3ForCausalLM

from artifact.train.examples import Distil, Example, Imitate, Prefer, Reinforce
from artifact.train.objective import MicroBatch, denominators, has_gradient, objective, to_reference, to_score
from artifact.train.packing import micro_batches, pack, response_hidden
from artifact.train.scoring import TeacherScores
from artifact.train.settings import ContrastSettings, DistilSettings, Losses, PolicyGradientSettings

V = 23


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return exact(tiny_qwen3(V))


def _examples(rng: np.random.Generator, n: int = 8) -> list[Example]:
    """Ragged examples, every component among them, some of weight 0 and one with masked tool tokens."""
    out: list[Example] = []
    for i in range(n):
        prompt = tuple(rng.integers(0, V, rng.integers(1, 6)).tolist())
        response = tuple(rng.integers(0, V, rng.integers(1, 9)).tolist())
        out.append(Distil(f"p{i}", prompt, response, [1.0, 0.0, 0.5][i % 3]))
        if i % 4 == 1:
            behaviour = tuple(rng.normal(-2, 0.3, len(response)).tolist())
            out.append(Reinforce(f"p{i}", prompt, response, 0.7 - i, behaviour))
        if i % 4 == 2:
            out.append(Prefer(f"p{i}", prompt, response, tuple(rng.integers(0, V, 4).tolist())))
        if i % 4 == 3:
            out.append(Imitate(f"p{i}", prompt, response, 1.0, (True,) + (False,) * (len(response) - 1)))
    return out


def _teacher(examples: list[Example], rng: np.random.Generator, k: int) -> TeacherScores:
    """Scores of every distilled example, those of weight 0 included, with the index of the example they belong to."""
    scored = [i for i, e in enumerate(examples) if isinstance(e, Distil)]
    lengths = [len(examples[i].sequences[0][1]) for i in scored]
    logits = rng.normal(size=(sum(lengths), V))
    logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    ids = np.argsort(-logprobs, 1)[:, :k].astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TeacherScores(ids, np.take_along_axis(logprobs, ids, 1), np.zeros(sum(lengths)), offsets, np.asarray(scored))


def _gradient(model, examples, scores, reference, losses, chunks):
    model.zero_grad()
    rows, whole, total = scores.by_example(), denominators(examples, losses, 16), 0.0
    for chunk in chunks:
        batch = MicroBatch(
            [examples[i] for i in chunk],
            [rows.get(i) for i in chunk],
            [reference.get(i) for i in chunk],
            0,
            {"distil": 5.0, "nll": 0.5, "policy_gradient": 1.0, "contrast": 1.0},
            whole,
        )
        outcome = objective(model.model, model.lm_head.weight, batch, losses)
        outcome.loss.backward()
        total += float(outcome.loss.detach())
    return total, torch.cat([p.grad.reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
def test_accumulation_over_1_2_or_4_passes_gives_the_same_gradient(model, reduction):
    rng = np.random.default_rng(1)
    examples = _examples(rng)
    scores = _teacher(examples, rng, 5)
    reference = {i: [rng.normal(-2, 0.3, len(r)) for _, r in e.sequences] for i, e in enumerate(examples)}
    losses = Losses(distil=DistilSettings(top_k=5, reduction=reduction))
    loss, gradient = _gradient(model, examples, scores, reference, losses, [list(range(len(examples)))])
    assert abs(loss) > 0.1
    n = len(examples)
    assert n == 14 and {type(e) for e in examples} == {Distil, Imitate, Prefer, Reinforce}
    for chunks in (
        [list(range(7)), list(range(7, n))],
        [[i, n - 1 - i] for i in range(n // 2)],
        [[i] for i in range(n)],
    ):
        other_loss, other = _gradient(model, examples, scores, reference, losses, chunks)
        assert other_loss == pytest.approx(loss, abs=1e-12)
        torch.testing.assert_close(other, gradient, atol=1e-12, rtol=1e-10)


def test_distillation_equals_the_papers_token_by_token_loop(model):
    """UOPD Eq. 7–9 written out with plain loops over positions, prompts and tokens."""
    rng = np.random.default_rng(2)
    examples = [
        Distil(f"p{i}", tuple(rng.integers(0, V, 2 + i).tolist()), tuple(rng.integers(0, V, 5 - i).tolist()), w)
        for i, w in enumerate((1.0, 0.25, 0.0))
    ]
    scores = _teacher(examples, rng, 4)
    losses = Losses(distil=DistilSettings(top_k=4))
    loss, _ = _gradient(model, examples, scores, {}, losses, [[0, 1, 2]])
    expected = 0.0
    for i, e in enumerate(examples):
        logits = model(input_ids=torch.tensor([[*e.prompt_ids, *e.response_ids]])).logits[0]
        total = 0.0
        for t in range(len(e.response_ids)):
            row = scores.offsets[i] + t
            p = torch.tensor(np.exp(scores.logprobs[row]) / np.exp(scores.logprobs[row]).sum())
            log_s = torch.log_softmax(logits[len(e.prompt_ids) - 1 + t], -1)[
                torch.tensor(scores.ids[row].astype(np.int64))
            ]
            total += float(-(p * log_s).sum())
        expected += e.weight * total / len(e.response_ids)
    assert loss == pytest.approx(5.0 * expected / 3, abs=1e-10)


@pytest.mark.parametrize("form", ["dpo", "simpo"])
def test_readers_of_one_sequence_share_its_pass_and_their_gradients_add_up(model, form):
    """Right y, wrong a and b: seven examples of ten sequences are three rows; plain torch, one sequence at a time."""
    rng = np.random.default_rng(7)
    prompt, y, a, b = (1, 2, 3), (4, 5, 6, 7), (8, 9), (5, 5, 5)
    examples = [
        Distil("p", prompt, y, 1.0),
        Distil("p", prompt, a, 0.5),
        Prefer("p", prompt, y, a),
        Prefer("p", prompt, y, b),
        Distil("p", prompt, y, 0.25),
        Prefer("p", prompt, y, a, chosen_mask=(True, False, True, True)),
        Imitate("p", prompt, b),
    ]
    scores = _teacher(examples, rng, 4)
    reference = {i: [rng.normal(-2, 0.3, len(r)) for _, r in e.sequences] for i, e in enumerate(examples)}
    losses = Losses(distil=DistilSettings(top_k=4), contrast=ContrastSettings(form=form))
    shapes = []
    hook = model.model.embed_tokens.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    loss, gradient = _gradient(model, examples, scores, reference, losses, [list(range(len(examples)))])
    hook.remove()
    assert shapes == [(3, 7)]

    def rows(response):
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
        return torch.log_softmax(logits[len(prompt) - 1 : -1], -1)

    def score(response, known, mask):
        kept = [t for t, m in enumerate(mask or (True,) * len(response)) if m]
        own = rows(response)
        values = [own[t, response[t]] - (known[t] if form == "dpo" else 0.0) for t in kept]
        return sum(values) / (len(kept) if form == "simpo" else 1)

    model.zero_grad()
    expected, beta = torch.zeros((), dtype=torch.float64), losses.contrast.beta_in_force
    teacher = scores.by_example()
    for i, e in enumerate(examples):
        if isinstance(e, Distil):
            p = torch.tensor(np.exp(teacher[i].logprobs))
            mine = rows(e.response_ids).gather(1, torch.tensor(teacher[i].ids.astype(np.int64)))
            expected = expected - 5.0 * e.weight / 3 * (p / p.sum(1, keepdim=True) * mine).sum(1).mean()
        elif isinstance(e, Imitate):
            own = rows(e.response_ids)
            expected = expected - 0.5 * sum(own[t, y] for t, y in enumerate(e.response_ids)) / len(e.response_ids)
        else:
            chosen, rejected = (
                score(r, k, m)
                for (_, r), k, m in zip(e.sequences, reference[i], (e.chosen_mask, e.rejected_mask), strict=True)
            )
            margin = beta * (chosen - rejected) - (losses.contrast.margin_in_force if form == "simpo" else 0.0)
            expected = expected - torch.nn.functional.logsigmoid(margin) / 3
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-12)
    torch.testing.assert_close(
        gradient, torch.cat([p.grad.reshape(-1) for p in model.parameters()]), atol=1e-12, rtol=0
    )


def test_a_prompt_of_weight_zero_counts_in_the_denominator(model):
    rng = np.random.default_rng(3)
    one = Distil("a", (1, 2), (3, 4, 5), 1.0)
    zero = Distil("b", (1, 2), (3, 4), 0.0)
    scores = _teacher([one, zero], rng, 4)
    losses = Losses(distil=DistilSettings(top_k=4))
    alone, _ = _gradient(model, [one], scores, {}, losses, [[0]])
    both, _ = _gradient(model, [one, zero], scores, {}, losses, [[0, 1]])
    assert both == pytest.approx(alone / 2, abs=1e-12)


def test_packed_positions_predict_their_own_response_tokens(model):
    """The shift: row t of a response is the state before it, also for the first token and right-padded sequences."""
    sequences = [((1, 2, 3), (4, 5)), ((6,), (7, 8, 9, 10, 11, 12))]
    packed = pack(sequences)
    hidden = response_hidden(model.model, packed)
    rows = 0
    for b, (prompt, response) in enumerate(sequences):
        alone = model.model(input_ids=torch.tensor([[*prompt, *response]])).last_hidden_state[0]
        n = len(response)
        torch.testing.assert_close(
            hidden[rows : rows + n], alone[len(prompt) - 1 : len(prompt) - 1 + n], atol=1e-12, rtol=0
        )
        assert packed.target_T[rows : rows + n].tolist() == list(response)
        assert set(packed.segment_T[rows : rows + n].tolist()) == {b}
        rows += n


def test_micro_batches_cover_every_item_once_within_the_limit():
    rng = np.random.default_rng(4)
    items = [((i,) * int(rng.integers(1, 30)), (0,) * int(rng.integers(1, 30))) for i in range(50)]
    batches = list(micro_batches(items, lambda s: [s], 100))
    assert sorted(i for b in batches for i in b) == list(range(50))
    for b in batches:
        assert len(b) == 1 or len(b) * max(len(items[i][0]) + len(items[i][1]) for i in b) <= 100


def test_tool_tokens_of_either_response_stay_out_of_the_preference(model):
    """DPO by hand on the tokens that the policy chose: log-probabilities from a plain forward pass, one by one."""
    prompt, chosen, rejected = (3, 4), (5, 6, 7, 8), (9, 10, 11)
    chosen_mask, rejected_mask = (True, False, False, True), (True, True, False)
    example = Prefer("p", prompt, chosen, rejected, 1.0, chosen_mask, rejected_mask)
    reference = [np.array([-1.0, -9.0, -9.0, -2.0]), np.array([-0.5, -0.25, -9.0])]
    losses = Losses(distil=DistilSettings(top_k=2))
    batch = MicroBatch([example], [None], [reference], 0, {"contrast": 1.0}, denominators([example], losses, 16))
    got = float(objective(model.model, model.lm_head.weight, batch, losses).loss.detach())

    def summed(response: tuple[int, ...], mask: tuple[bool, ...]) -> float:
        with torch.no_grad():
            logprobs = model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
        first = len(prompt) - 1
        return sum(float(logprobs[first + t, token]) for t, token in enumerate(response) if mask[t])

    margin = (summed(chosen, chosen_mask) - (-3.0)) - (summed(rejected, rejected_mask) - (-0.75))
    assert got == pytest.approx(np.log1p(np.exp(-0.1 * margin)), rel=1e-9)


def test_what_the_frozen_models_score_carries_the_index_of_its_example() -> None:
    losses = Losses(distil=DistilSettings(top_k=2))
    examples: list[Example] = [
        Imitate("a", (1,), (2, 3)),
        Distil("b", (1,), (2,), 0.0),
        Distil("c", (1,), (4, 5), 0.5, teacher_prompt_ids=(8, 9)),
        Reinforce("d", (1,), (6,), -0.5, (-0.1,), temperature=0.5),
        Reinforce("e", (1,), (7,), 0.0, (-0.1,)),
        Prefer("f", (1,), (2, 3), (4,)),
        Distil("g", (1,), (5,)),
    ]
    assert to_score(examples) == {2: ((8, 9), (4, 5)), 6: ((1,), (5,))}
    assert to_reference(examples, losses) == {3: ((((1,), (6,)),), 0.5), 5: ((((1,), (2, 3)), ((1,), (4,))), 1.0)}
    assert [has_gradient(e, losses) for e in examples] == [True, False, True, True, False, True, True]


def test_a_kl_coefficient_keeps_rollouts_of_advantage_zero(model) -> None:
    """GRPO's group that is all right or all wrong: nothing to reinforce, but its KL to the reference is in the loss."""
    losses = Losses(distil=DistilSettings(top_k=2), policy_gradient=PolicyGradientSettings(kl_coefficient=0.3))
    example = Reinforce("p", (1, 2), (3, 4, 5), 0.0, (-1.0, -1.0, -1.0))
    assert has_gradient(example, losses) and list(to_reference([example], losses)) == [0]
    reference = np.array([-2.0, -3.0, -1.5])
    whole = denominators([example], losses, 16)
    batch = MicroBatch([example], [None], [[reference]], 0, {"policy_gradient": 1.0}, whole)
    got = float(objective(model.model, model.lm_head.weight, batch, losses).loss.detach())
    with torch.no_grad():
        own = model(torch.tensor([[1, 2, 3, 4, 5]])).logits[0].log_softmax(-1)
    d = [float(r - own[1 + t, token]) for t, (r, token) in enumerate(zip(reference, (3, 4, 5), strict=True))]
    assert got == pytest.approx(0.3 * sum(np.exp(x) - 1 - x for x in d) / 3, rel=1e-9)

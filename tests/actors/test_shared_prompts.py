"""Shared prompts through transformers' own decoders: what each sequence says by itself, and its gradient.

The oracle is one plain forward pass a sequence, with transformers' attention and nothing beside it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from tests.train.test_student import KeptGradient, flat_gradient
from tests.train.tiny import exact, settings, tiny_qwen3
from torch import Tensor

from artifact.actors.placement import Slot
from artifact.actors.scoring import ScoringActor
from artifact.actors.shared_prompts import share_prompts
from artifact.config import load
from artifact.errors import ConfigError
from artifact.train.examples import Asked, Distil, Example, Imitate, Prefer, Reinforce, TokenPair
from artifact.train.objective import denominators, to_reference, to_score
from artifact.train.packing import pack
from artifact.train.scoring import FrozenModel
from artifact.train.student import Policy, Student
from artifact.train.workers import StepWork

V = 11


def tiny_llama(vocabulary: int, seed: int = 0) -> Any:
    """Two layers with two queries a key."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "max_position_embeddings": 64,
    }
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **shape, **heads))


MAKERS: dict[str, Any] = {"qwen3": tiny_qwen3, "llama": tiny_llama}
NETWORKS = {name: exact(make(V)) for name, make in MAKERS.items()}
ids = st.lists(st.integers(0, V - 1), min_size=1, max_size=7).map(tuple)
groups = st.lists(st.tuples(ids, st.lists(ids, min_size=1, max_size=4)), min_size=1, max_size=4)
GROUPS: list[tuple[Any, list[Any]]] = [
    ((1, 2, 3), [(4, 5), (4, 6, 7), (8,)]),
    ((1, 2), [(3, 4, 5)]),
    ((9,), [(7, 7, 7, 7, 0), (2, 0)]),
]


def of_groups(shapes: Sequence[tuple[Any, Sequence[Any]]]) -> list[TokenPair]:
    """The sequences of groups, one response of each prompt after another, so that no group stands together."""
    most = max(len(responses) for _, responses in shapes)
    return [(prompt, responses[k]) for k in range(most) for prompt, responses in shapes if k < len(responses)]


def pulled(logits_TV: Tensor) -> Tensor:
    """A loss that every logit pulls at differently."""
    direction = torch.linspace(-1.0, 1.0, logits_TV.numel(), dtype=logits_TV.dtype).reshape(logits_TV.shape)
    return (logits_TV.log_softmax(-1) * direction).sum()


def alone(network: Any, sequences: Sequence[TokenPair]) -> tuple[Tensor, Tensor]:
    """Logits before every response token and the gradient of `pulled`, from one forward pass a sequence."""
    network = copy.deepcopy(network)
    rows = []
    for prompt, response in sequences:
        assert network.config._attn_implementation == "sdpa"
        logits = network(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0]
        rows.append(logits[len(prompt) - 1 : -1])
    pulled(torch.cat(rows)).backward()
    return torch.cat(rows).detach(), flat_gradient(network)


def shared(network: Any, sequences: Sequence[TokenPair], checkpointed: bool = False) -> tuple[Tensor, Tensor]:
    """The same through one pass with shared prompts."""
    network = share_prompts(copy.deepcopy(network))
    policy = Policy(network, settings().losses, checkpointed, shared_prompts=True)
    logits = policy(pack(sequences, shared_prompts=True))
    assert isinstance(logits, Tensor)
    pulled(logits).backward()
    return logits.detach(), flat_gradient(policy)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_logits_and_gradients_are_those_of_each_sequence_by_itself(
    name: str, dtype: torch.dtype, tolerance: float, checkpointed: bool
) -> None:
    network, sequences = copy.deepcopy(NETWORKS[name]), of_groups(GROUPS)
    torch.nn.Module.to(network, dtype)
    packed = pack(sequences, shared_prompts=True)
    assert packed.input_BT.numel() == sum(len(p) + sum(map(len, rs)) for p, rs in GROUPS), "each prompt once"
    for found, expected in zip(shared(network, sequences, checkpointed), alone(network, sequences), strict=True):
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@given(groups, st.sampled_from(sorted(NETWORKS)))
@effort(max_examples=25, deadline=None)
def test_any_groups(shapes: list[tuple[tuple[int, ...], list[tuple[int, ...]]]], name: str) -> None:
    """Repeated responses, single ones, prompts that begin alike, prompts longer and shorter than their responses."""
    sequences = of_groups(shapes)
    for found, expected in zip(shared(NETWORKS[name], sequences), alone(NETWORKS[name], sequences), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_rounds_no_worse_than_one_sequence_at_a_time(name: str) -> None:
    network, sequences = NETWORKS[name], of_groups(GROUPS)
    half = copy.deepcopy(network).bfloat16()
    exact_values = alone(copy.deepcopy(half).double(), sequences)
    for found, plain, truth in zip(shared(half, sequences), alone(half, sequences), exact_values, strict=True):
        assert float((found.double() - truth).norm()) < 2 * float((plain.double() - truth).norm())


EXAMPLES: list[Example] = [
    Distil("a", (1, 8), (3, 4, 5, 6, 0), 0.5),
    Imitate("b", (2, 8), (2, 2, 0), 0.5),
    Distil("a", (1, 8), (3, 0), 0.25),
    Distil("a", (1, 8), (7,), teacher_prompt_ids=(10, 1, 8)),
    Prefer("d", (4, 8), (4, 0), (5, 5, 5, 0)),
    Prefer("d", (4, 8), (4, 0), (5, 6)),
    Reinforce("d", (4, 8), (4, 0), 1.5, (-1.0, -2.0)),
    Reinforce("d", (4, 8), (6, 0), -0.5, (-1.5, -2.5), (True, False)),
    Reinforce("e", (9, 9, 9, 8), (6, 0), 0.75, (-1.5, -2.5)),
]
COEFFICIENTS = {"distil": 5.0, "nll": 0.5, "policy_gradient": 1.5, "contrast": 2.0}


@pytest.mark.parametrize("tokens", [1, 24, 500])
def test_a_step_of_every_component_is_that_of_one_sequence_a_pass(tokens: int) -> None:
    """Loss, its parts, diagnostics and gradient, with teacher and reference; a pass of two rows is a pair by itself."""
    network = NETWORKS["qwen3"]
    teacher, start = FrozenModel(exact(tiny_qwen3(V, seed=9))), FrozenModel(exact(tiny_qwen3(V, seed=3)))
    seen = []
    for share in (False, True):
        s = settings(optimiser__micro_batch_tokens=tokens if share else 1, policy_gradient__kl_coefficient=0.3)
        body = share_prompts(copy.deepcopy(network)) if share else copy.deepcopy(network)
        engine = KeptGradient(Policy(body, s.losses, shared_prompts=share))
        student = Student(engine.policy, engine, s.optimiser, s.losses, total_steps=5)
        metrics = student.step(
            StepWork(0, COEFFICIENTS, denominators(EXAMPLES, s.losses, 8), True),
            EXAMPLES,
            teacher.teacher_scores(to_score(EXAMPLES), 4),
            start.reference_logprobs(to_reference(EXAMPLES, s.losses)),
        )
        metrics.pop("micro_batches")
        seen.append((metrics, engine.gradient))
    (plain, expected), (found, gradient) = seen
    assert found.keys() == plain.keys() and gradient is not None and expected is not None
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=1e-12)
    for name, value in plain.items():
        assert found[name] == pytest.approx(value, rel=1e-6 if "grad_norm/" in name else 1e-11, abs=1e-12), name


def tables(frozen: FrozenModel, max_tokens: int) -> list[Tensor]:
    """Teacher scores and log-probabilities of the groups."""
    sequences = of_groups(GROUPS)
    scores = frozen.teacher_scores(dict(enumerate(sequences)), 4, 0.7, max_tokens, with_tail=True)
    asked = {5: Asked((sequences[0], sequences[3])), 2: Asked((sequences[1],), 0.5)}
    logprobs = frozen.reference_logprobs(asked, max_tokens)
    arrays = [scores.ids, scores.logprobs, scores.entropy, scores.tail, *(a for i in (5, 2) for a in logprobs[i])]
    return [torch.from_numpy(a) for a in arrays]


@pytest.fixture
def model(tmp_path: Path) -> str:
    tiny_qwen3(V).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.parametrize("max_tokens", [12, 500])
def test_a_scoring_actor_scores_with_and_without_and_the_latter_to_the_bit(model: str, max_tokens: int) -> None:
    """The model is held once for both; one sequence a pass is what either has to say."""
    actor = ScoringActor(Slot("teacher", 1.0, 0.0, "cpu", 1, {}), "float32")
    before, one_by_one = tables(actor.load(model), max_tokens), tables(actor.load(model), 1)
    for found, expected in zip(tables(actor.load(model, True), max_tokens), one_by_one, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(tables(actor.load(model), max_tokens), before, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_without_branches_a_network_is_transformers_own_to_the_bit(name: str, tmp_path: Path) -> None:
    """Left-padded prompts with a mask, a cache, and what is saved."""
    network = MAKERS[name](V)
    other = share_prompts(copy.deepcopy(network))
    assert share_prompts(other) is other
    prompts = {
        "input_ids": torch.tensor([[0, 0, 3, 4], [5, 6, 7, 8]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]),
    }
    assert torch.equal(network(**prompts).logits, other(**prompts).logits)
    answers = [
        n.generate(**prompts, max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=None)
        for n in (network, other)
    ]
    assert torch.equal(*answers)
    for n, folder in ((network, "plain"), (other, "other")):
        n.save_pretrained(tmp_path / folder)
    saved = [json.loads((tmp_path / f / "config.json").read_text(encoding="utf-8")) for f in ("plain", "other")]
    assert saved[0] == saved[1]


def test_networks_that_it_has_not_been_run_with_are_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=8, n_layer=1, n_head=1, attn_pdrop=0.0))
    sliding, eager, dropping = tiny_qwen3(V), tiny_qwen3(V), tiny_qwen3(V)
    sliding.config.layer_types = ["full_attention", "sliding_attention"]
    eager.set_attn_implementation("eager")
    dropping.config.attention_dropout = 0.1
    for network, words in (
        (gpt2, "GPT2LMHeadModel has not been run with it, only LlamaForCausalLM and Qwen3ForCausalLM"),
        (sliding, "Qwen3ForCausalLM has layers of full_attention, sliding_attention"),
        (eager, "the attention of Qwen3ForCausalLM is 'eager', not 'sdpa'"),
        (dropping, r"attention_dropout = 0\.1"),
    ):
        with pytest.raises(ConfigError, match=rf"optimiser\.shared_prompts: .*{words}.*; set it to false"):
            share_prompts(network)


def test_devices_that_it_has_not_been_run_on_are_refused() -> None:
    assert load("tiny", {"optimiser.shared_prompts": True}).optimiser.shared_prompts
    with pytest.raises(ConfigError, match=r"optimiser\.shared_prompts has been run on CPU alone, and cluster\.device"):
        load("single-gpu", {"optimiser.shared_prompts": True})

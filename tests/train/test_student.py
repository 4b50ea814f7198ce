"""One optimiser step of one rank: its gradient against loops over the formula, its guards, and what it reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.train.tiny import Network, settings, token_logprobs
from torch import Tensor

from artifact.errors import ArtifactError, NonFinite
from artifact.train.examples import Distil, Example, Imitate, Prefer
from artifact.train.objective import denominators, to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.student import OutputHead, Policy, Student, check_norms, gradient_norms, policy_logprobs
from artifact.train.workers import StepWork

EXAMPLES: list[Example] = [
    Distil("a", (1, 8), (3, 4, 5, 6, 0), 0.0),
    Imitate("b", (2, 8), (2, 2, 0), 0.5),
    Distil("c", (3, 8), (1, 0), 0.25, teacher_prompt_ids=(10, 3, 8)),
    Prefer("d", (4, 8), (4, 0), (5, 5, 5, 0)),
    Distil("e", (5, 8, 8), (7, 7, 7, 0)),
    Imitate("f", (1,), (9,), 0.0),
]
COEFFICIENTS = {"distil": 5.0, "nll": 0.5, "contrast": 2.0}


class KeptGradient:
    """An engine that keeps the gradient of a step and moves nothing, or moves by plain gradient descent."""

    def __init__(self, policy: Policy, lr: float = 0.0) -> None:
        self.policy = policy
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(policy.parameters(), lr=lr)
        self.gradient: Tensor | None = None
        self.backward_calls = self.steps = 0

    def __call__(self, batch: Any) -> Any:
        return self.policy(batch)

    def backward(self, loss: Tensor) -> None:
        self.backward_calls += 1
        loss.backward()

    def local_norms(self) -> Tensor:
        return gradient_norms(self.policy)

    def step(self) -> None:
        self.steps += 1
        self.without_gradient = [n for n, p in self.policy.named_parameters() if p.grad is None]
        self.gradient = flat_gradient(self.policy)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def get_global_grad_norm(self) -> float:
        assert self.gradient is not None
        return float(self.gradient.norm())


def flat_gradient(module: torch.nn.Module) -> Tensor:
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in module.parameters()]
    )


def one_step(
    examples: list[Example], tokens: int = 24, *, norms: bool = False, step: int = 0, **changed: Any
) -> tuple[dict[str, float], KeptGradient, Network]:
    s = settings(optimiser__micro_batch_tokens=tokens, **changed)
    network, teacher, reference = Network().double(), FrozenModel(Network(seed=9)), FrozenModel(Network())
    engine = KeptGradient(Policy(network, s.losses))
    student = Student(engine.policy, engine, s.optimiser, s.losses, total_steps=5)
    wanted = to_score(examples)
    metrics = student.step(
        StepWork(step, COEFFICIENTS, denominators(examples, s.losses, 8), norms),
        examples,
        teacher.teacher_scores(wanted, 4) if wanted else None,
        reference.reference_logprobs(to_reference(examples, s.losses)),
    )
    return metrics, engine, network


def differentiable(network: Network, prompt: Any, response: Any) -> list[Tensor]:
    """log softmax before each response token, with gradient, one sequence at a time."""
    states = network.model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).last_hidden_state[0]
    logits = states @ network.lm_head.weight.T
    return list(logits[len(prompt) - 1 : -1].log_softmax(-1))


def expected_losses(network: Network) -> dict[str, Tensor]:
    """Each component by its formula, with loops; the teacher reads its own prompt, the reference is the start."""
    teacher, start = Network(seed=9).double(), Network().double()
    losses = dict.fromkeys(COEFFICIENTS, torch.zeros((), dtype=torch.float64))
    for e in EXAMPLES:
        if isinstance(e, Distil):
            informed = differentiable(teacher, e.teacher_prompt_ids or e.prompt_ids, e.response_ids)
            for row, mine in zip(informed, differentiable(network, e.prompt_ids, e.response_ids), strict=True):
                top = row.detach().topk(4)
                p = top.values.exp() / top.values.exp().sum()
                losses["distil"] = losses["distil"] - e.weight / 3 / len(e.response_ids) * (p * mine[top.indices]).sum()
        elif isinstance(e, Imitate):
            own = differentiable(network, e.prompt_ids, e.response_ids)
            nll = -sum(row[t] for row, t in zip(own, e.response_ids, strict=True)) / len(e.response_ids)
            losses["nll"] = losses["nll"] + e.weight / 2 * nll
        elif isinstance(e, Prefer):
            margin = torch.zeros((), dtype=torch.float64)
            for sign, response in ((1, e.chosen_ids), (-1, e.rejected_ids)):
                own = sum(r[t] for r, t in zip(differentiable(network, e.prompt_ids, response), response, strict=True))
                margin = margin + sign * (own - sum(token_logprobs(start, e.prompt_ids, response)))
            losses["contrast"] = losses["contrast"] - torch.nn.functional.logsigmoid(0.1 * margin)
    return losses


@pytest.mark.parametrize("tokens", [1, 12, 500])
def test_loss_and_gradient_of_a_step_are_those_of_the_formula_however_it_is_cut(tokens: int) -> None:
    """Examples of weight 0 stand between the others: every row of teacher and reference must find its own."""
    metrics, engine, _ = one_step(EXAMPLES, tokens)
    plain = Network().double()
    losses = expected_losses(plain)
    total = sum(COEFFICIENTS[name] * value for name, value in losses.items())
    total.backward()  # type: ignore[union-attr]
    assert engine.gradient is not None
    torch.testing.assert_close(engine.gradient, flat_gradient(plain), atol=2e-5, rtol=2e-5)
    assert metrics["loss"] == pytest.approx(float(total.detach()), abs=1e-5)
    for name, value in losses.items():
        assert metrics[f"loss/{name}"] == pytest.approx(float(value.detach()), abs=1e-5)
    assert metrics["grad_norm"] == pytest.approx(float(flat_gradient(plain).norm()), rel=1e-4)
    assert metrics["distil/tokens"] == 6.0 and metrics["nll/tokens"] == 3.0 and metrics["contrast/tokens"] == 1.0
    assert metrics["micro_batches"] == {1: 4.0, 12: 3.0, 500: 1.0}[tokens]
    assert engine.backward_calls == metrics["micro_batches"] and engine.steps == 1


@pytest.mark.parametrize("tokens", [1, 500])
def test_norms_of_the_components_are_those_of_their_weighted_gradients(tokens: int) -> None:
    metrics, engine, _ = one_step(EXAMPLES, tokens, norms=True)
    for name, coefficient in COEFFICIENTS.items():
        plain = Network().double()
        (coefficient * expected_losses(plain)[name]).backward()
        assert metrics[f"grad_norm/{name}"] == pytest.approx(float(flat_gradient(plain).norm()), rel=1e-4), name
    unmeasured, other, _ = one_step(EXAMPLES, tokens)
    assert not [name for name in unmeasured if name.startswith("grad_norm/")]
    assert engine.gradient is not None and other.gradient is not None
    assert torch.equal(engine.gradient, other.gradient), "measuring changes nothing"


def test_the_learning_rate_of_a_step_is_set_before_the_step() -> None:
    """Linear, one warm-up step of five: lr at steps 0 and 1, nothing left at the last."""
    for step, expected in ((0, 0.02), (1, 0.02), (3, 0.02 / 3), (4, 0.0)):
        metrics, engine, _ = one_step(EXAMPLES[1:2], step=step)
        assert metrics["lr"] == pytest.approx(expected)
        assert engine.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_a_step_with_nothing_to_learn_is_a_step_and_moves_nothing() -> None:
    """Every rank must step, or the others wait for it."""
    metrics, engine, network = one_step([EXAMPLES[0], EXAMPLES[5]])
    assert engine.steps == engine.backward_calls == 1 and engine.gradient is not None
    assert not engine.gradient.any()
    assert engine.without_gradient == [], "an engine that shares gradients out waits for each of them"
    assert (metrics["loss"], metrics["grad_norm"], metrics["micro_batches"]) == (0.0, 0.0, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), Network().double().parameters(), strict=True))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is finite, its gradient is not: ∇√x at 0."""
    s, network = settings(), Network()
    policy = Policy(network, s.losses)
    engine = KeptGradient(policy, lr=0.1)
    student = Student(policy, engine, s.optimiser, s.losses, total_steps=5)
    spoil = engine.backward
    weight = next(network.parameters())
    monkeypatch.setattr(engine, "backward", lambda loss: spoil(loss + (weight * 0).sum().sqrt()))
    examples = [EXAMPLES[1]]
    with pytest.raises(NonFinite, match=r"gradient of model\.embedding\.weight .* at step 0, problems \['b'\]"):
        student.step(StepWork(0, COEFFICIENTS, denominators(examples, s.losses, 8)), examples, None, None)
    assert engine.steps == 0


def test_log_probabilities_of_the_policy() -> None:
    network = Network()
    sequences = [((1, 2), (3, 4, 5)), ((6,), (7,)), ((1, 2, 3, 4), (5, 6))]
    found = policy_logprobs(Policy(network, settings().losses), sequences)
    for values, (prompt, response) in zip(found, sequences, strict=True):
        assert values.dtype == np.float64
        assert values == pytest.approx(token_logprobs(network, prompt, response), abs=1e-5)


def test_a_head_with_a_bias_is_refused_and_one_without_keeps_its_parameter() -> None:
    """The chunked head has no bias: a model that has one would be trained as if it were 0."""
    linear = torch.nn.Linear(3, 4, bias=False)
    head, states = OutputHead(linear), torch.ones(2, 3)
    assert head.weight is linear.weight and torch.equal(head(states), linear(states))
    assert head(states, lambda h, w: (h @ w.T, "kept"))[1] == "kept"
    with pytest.raises(ValueError, match="the output head has a bias"):
        OutputHead(torch.nn.Linear(3, 4))


@pytest.fixture
def network() -> torch.nn.Sequential:
    """A network whose gradients are all finite, one of them absent."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    network[1].bias.grad = None
    return network


def check(network: torch.nn.Sequential) -> None:
    named = [Imitate("b", (1,), (2,)), Imitate("a", (1,), (2,))]
    check_norms([n for n, _ in network.named_parameters()], gradient_norms(network), 3, named)


def test_finite_gradients_pass(network: torch.nn.Sequential) -> None:
    assert gradient_norms(network).tolist() == pytest.approx([12**0.5, 2.0, 8**0.5, 0.0])
    check(network)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_entry_that_is_not_finite_is_found_and_its_parameter_named(
    network: torch.nn.Sequential, value: float
) -> None:
    network[1].weight.grad[1, 2] = value
    with pytest.raises(NonFinite, match=r"gradient of 1\.weight \(and 0 more\) .* at step 3, problems \['a', 'b'\]"):
        check(network)


@pytest.mark.parametrize(("given", "asked"), [(1, 2), (2, 1), (0, 1)])
def test_a_step_with_another_number_of_parts_moves_nothing(given: int, asked: int) -> None:
    s = settings()
    network = Network()
    engine = KeptGradient(Policy(network, s.losses))
    student = Student(engine.policy, engine, s.optimiser, s.losses, total_steps=5)
    work = StepWork(0, {"nll": 1.0}, {"nll": 2.0})
    for _ in range(given):
        student.accumulate(work, [Imitate("p", (1, 2), (3, 4))], None, None)
    with pytest.raises(ArtifactError, match=rf"step 0 has {asked} part\(s\), and the student has gathered"):
        student.update(work, asked)
    assert all(
        torch.equal(p, q) for p, q in zip(network.state_dict().values(), Network().state_dict().values(), strict=True)
    )

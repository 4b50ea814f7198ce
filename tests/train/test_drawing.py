"""Rollouts drawn one step ahead: whose they are, what they are worth, and that an interruption does not change them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import STOP, MemoryLog, Network, Stopped, decode, inputs, rows, settings, token_logprobs

from artifact.errors import ConfigError, Mismatch
from artifact.records import Rollout, write_parquet
from artifact.train.examples import Reinforce
from artifact.train.inputs import TeacherAnnotations, prompt_order
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.losses.policy_gradient import grpo_token_loss
from artifact.train.methods.base import make
from artifact.train.objective import MicroBatch, objective
from artifact.train.settings import RunSettings

STALE = {"train__staleness": 1}


class Kept(LocalWorkers):
    """The plain workers, the weights of each version, and when rollouts were checked against which."""

    def __init__(self, s: RunSettings) -> None:
        super().__init__(Network(), Network(seed=9), s, decode, [STOP])
        self.versions: dict[int, dict[str, torch.Tensor]] = {}
        self.checked: list[tuple[int, bool]] = []

    def sync_weights(self, version: int) -> float:
        self.versions[version] = {name: p.clone() for name, p in self.network.state_dict().items()}
        return super().sync_weights(version)

    def check_rollouts(self, groups: Any, *, trained_since: bool = False) -> None:
        assert {r.policy_version for g in groups for r in g} == {self._version}, "before the engines get others"
        self.checked.append((self._version, trained_since))


def run(folder: Path, method: str = "opd", log: MemoryLog | None = None, **changed: Any) -> tuple[MemoryLog, Kept]:
    s = settings(**STALE | changed)
    log, made = log or MemoryLog(folder), Kept(s)
    train(s, make(method, s), inputs(), made, made, log, TeacherAnnotations({f"p{i}": 0.5 for i in range(5)}))
    return log, made


def test_rollouts_of_a_step_are_those_of_the_policy_one_step_before(tmp_path: Path) -> None:
    """By the weights that were kept: each response is scored again, alone, by every version there was."""
    log, made = run(tmp_path, train__curve_every=2)
    assert [{r.policy_version for g in groups for r in g} for groups in log.groups] == [{0}, {0}, {1}, {2}, {3}]
    for step, groups in enumerate(log.groups):
        assert [g[0].problem_id for g in groups] == [f"p{i}" for i in prompt_order(5, settings(), step)]
        for version in range(5):
            network = Network()
            network.load_state_dict(made.versions[version])
            gap = max(
                abs(a - b)
                for g in groups
                for r in g
                for a, b in zip(r.logprobs, token_logprobs(network, r.prompt_ids, r.response_ids), strict=True)
            )
            assert (gap < 1e-5) == (version == max(0, step - 1)), (step, version, gap)
    assert [(m["lag/0"], m["lag/1"]) for m in log.metrics] == [(4.0, 0.0)] + [(0.0, 4.0)] * 4
    assert made.checked == [(0, False), (0, True), (1, True), (2, True), (3, True)]
    fresh, _ = run(tmp_path, train__staleness=0)
    assert log.groups[0] == fresh.groups[0] and not any(name.startswith("lag") for name in fresh.metrics[0])


@pytest.mark.parametrize("method", ["opd", "grpo"])
@pytest.mark.parametrize("stop_after", [3, 4])
def test_a_run_killed_while_rollouts_are_drawn_ahead_ends_with_the_same_weights(
    tmp_path: Path, method: str, stop_after: int
) -> None:
    """The checkpoint of step 2 holds rollouts of version 1, whose weights nobody has any more."""
    whole, made = run(tmp_path / "whole", method)
    with pytest.raises(Stopped):
        run(tmp_path, method, MemoryLog(tmp_path / "cut", stop_after=stop_after))
    rest, again = run(tmp_path, method, MemoryLog(tmp_path / "cut", committed=2))
    assert rest.steps == [2, 3, 4] and rest.groups == whole.groups[2:] and rest.metrics == whole.metrics[2:]
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, made.network.state_dict()[name])
    assert not (tmp_path / "whole" / "checkpoints" / "step-5" / "ahead.parquet").exists(), "nothing comes after it"


def test_a_finished_run_and_one_on_given_texts_have_nothing_to_take_up(tmp_path: Path) -> None:
    run(tmp_path, "opd", MemoryLog(tmp_path, committed=0))
    log, _ = run(tmp_path, "opd", MemoryLog(tmp_path, committed=5))
    assert log.steps == []
    with pytest.raises(Stopped):
        run(tmp_path, "sft", MemoryLog(tmp_path / "sft", stop_after=3))
    log, _ = run(tmp_path, "sft", MemoryLog(tmp_path / "sft", committed=2))
    assert log.steps == [2, 3, 4]


def test_a_checkpoint_with_rollouts_of_other_problems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, "opd", MemoryLog(tmp_path, stop_after=3))
    path = MemoryLog(tmp_path).checkpoints / "step-2" / "ahead.parquet"
    kept = MemoryLog(tmp_path).ahead(2)
    for wrong in (kept[:-1], [replace(kept[0], problem_id="p9"), *kept[1:]]):
        write_parquet(path, wrong, Rollout)
        with pytest.raises(Mismatch, match="checkpoint of step 2 keeps"):
            run(tmp_path, "opd", MemoryLog(tmp_path, committed=2))


def test_parts_of_a_step_may_be_of_rollouts_drawn_ahead(tmp_path: Path) -> None:
    (log, made), (whole, other) = (run(tmp_path, train__part_prompts=n) for n in (1, None))
    assert log.groups[:2] == whole.groups[:2] and log.metrics[4]["lag/1"] == 4.0
    for name, value in made.network.state_dict().items():
        torch.testing.assert_close(value, other.network.state_dict()[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["grpo", "negative"])
def test_a_ratio_that_could_not_be_right_is_refused(method: str) -> None:
    for changed, said in (
        ({"sampling__temperature": 0.7}, "sampling.temperature = 0.7"),
        ({"policy_gradient__kl_coefficient": 0.1}, "kl_coefficient = 0.1"),
    ):
        make(method, settings(**changed))
        with pytest.raises(ConfigError, match=said):
            make(method, settings(**STALE | changed))
    make("opd", settings(**STALE, sampling__temperature=0.7))


def test_the_mean_gradient_on_rollouts_of_another_policy_is_the_on_policy_one() -> None:
    """One token of three: E_{y~b}[∇ρ(y) A(y)] = Σ_y ∇p_S(y) A(y) = ∇J, by enumeration; without the ratio it is not."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    behaviour = torch.tensor([0.45, -0.3, 0.4], dtype=torch.float64).log_softmax(-1)
    advantage = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    [exact] = torch.autograd.grad((logits.softmax(-1) * advantage).sum(), logits)

    def mean_gradient(recorded: torch.Tensor) -> torch.Tensor:
        loss = grpo_token_loss(logits.log_softmax(-1), recorded, advantage, clip_low=0.99, clip_high=9.0).loss_T
        [found] = torch.autograd.grad((behaviour.exp() * -loss).sum(), logits)
        return found

    torch.testing.assert_close(mean_gradient(behaviour), exact, rtol=0, atol=1e-15)
    uncorrected = mean_gradient(logits.detach().log_softmax(-1))
    assert float((uncorrected - exact).abs().max()) > 0.02


def test_the_gradient_of_a_response_of_an_older_policy_is_the_printed_formula() -> None:
    """All responses of two tokens: Σ_y b(y) ∇loss(y) = −Σ_y b(y) A(y) ½ Σ_t ρ_t ∇ log p_S(y_t)."""
    s = settings(policy_gradient__clip_low=0.99, policy_gradient__clip_high=99.0)
    student, older = Network(seed=0, vocabulary=3), Network(seed=1, vocabulary=3)
    prompt, parameters = (1, 2), list(student.parameters())
    total, formula = torch.zeros(()), torch.zeros((), dtype=torch.float64)
    for y in itertools.product(range(3), repeat=2):
        advantage = 1.0 + y[0] - 2.0 * y[1]
        b = torch.tensor(token_logprobs(older, prompt, y), dtype=torch.float64)
        example = Reinforce("p", prompt, y, advantage, tuple(b.tolist()))
        batch = MicroBatch([example], [None], [None], 0, {"policy_gradient": 1.0}, {"policy_gradient": 1.0})
        loss = objective(student.model, student.lm_head.weight, batch, s.losses).loss
        total = total + float(b.sum().exp()) * loss
        hidden = student.model(input_ids=torch.tensor([[*prompt, *y]]), use_cache=False).last_hidden_state[0, 1:3]
        p = student.lm_head(hidden).log_softmax(-1)[torch.arange(2), torch.tensor(y)]
        ratio = (p.detach().double() - b).exp()
        formula = formula - float(b.sum().exp()) * advantage * (ratio * p.double()).mean()
        torch.testing.assert_close(b, rows(older, prompt, y)[torch.arange(2), torch.tensor(y)])
    for found, wanted in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(formula, parameters), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)

"""Layers that are computed again: the same loss and gradient to the bit, and only what they read is kept."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.train.test_student import COEFFICIENTS, EXAMPLES, KeptGradient
from tests.train.tiny import settings, tiny_qwen3
from torch.autograd.graph import saved_tensors_hooks

from artifact.errors import ConfigError
from artifact.train.objective import denominators, to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.student import Policy, Student
from artifact.train.workers import StepWork


def one_step(checkpointed: bool, norms: bool = False) -> tuple[dict[str, float], torch.Tensor, int]:
    """Metrics and gradient of a step on a two-layer Qwen3, and the bytes that autograd kept of each token's states."""
    s, network = settings(optimiser__micro_batch_tokens=500), tiny_qwen3(11)
    start, teacher = FrozenModel(copy.deepcopy(network)), FrozenModel(tiny_qwen3(11, seed=9))
    policy = Policy(network, s.losses, checkpointed)
    engine = KeptGradient(policy)
    student = Student(policy, engine, s.optimiser, s.losses, total_steps=5)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        metrics = student.step(
            StepWork(0, COEFFICIENTS, denominators(EXAMPLES, s.losses, 8), norms),
            EXAMPLES,
            teacher.teacher_scores(to_score(EXAMPLES), 4),
            start.reference_logprobs(to_reference(EXAMPLES, s.losses)),
        )
    assert engine.gradient is not None
    return metrics, engine.gradient, sum(kept.values())


@pytest.mark.parametrize("norms", [False, True])
def test_a_step_is_the_same_to_the_bit(norms: bool) -> None:
    plain, gradient, _ = one_step(False, norms)
    metrics, other, _ = one_step(True, norms)
    assert metrics == plain and torch.equal(other, gradient) and gradient.any()


def test_only_the_inputs_of_layers_are_kept() -> None:
    """Of two layers' attention and feed-forward states nothing is left: well under half of the bytes."""
    assert one_step(True)[2] < 0.5 * one_step(False)[2]


def test_a_network_that_cannot_is_refused() -> None:
    network = torch.nn.Module()
    network.lm_head = torch.nn.Linear(2, 2, bias=False)
    with pytest.raises(ConfigError, match=r"optimiser\.gradient_checkpointing: Module cannot compute its layers again"):
        Policy(network, settings().losses, True)

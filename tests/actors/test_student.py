"""A gradient that is not finite ends a step before the weights are touched, and is named."""

from __future__ import annotations

import pytest
import torch

from artifact.actors.student import StudentActor
from artifact.errors import NonFinite
from artifact.records import Example


@pytest.fixture
def student() -> StudentActor:
    """The part of the actor that looks at gradients: a network whose gradients are all finite, one of them absent."""
    actor = StudentActor.__new__(StudentActor)
    actor.network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    for p in actor.network.parameters():
        p.grad = torch.ones_like(p)
    actor.network[1].bias.grad = None
    return actor


EXAMPLES = [Example("b", (1,), (2,)), Example("a", (1,), (2,))]


def test_finite_gradients_pass(student: StudentActor) -> None:
    student._check_gradients(3, EXAMPLES)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_entry_that_is_not_finite_is_found_and_its_parameter_named(student: StudentActor, value: float) -> None:
    student.network[1].weight.grad[1, 2] = value
    with pytest.raises(NonFinite, match=r"gradient of 1\.weight \(and 0 more\) .* at step 3, problems \['a', 'b'\]"):
        student._check_gradients(3, EXAMPLES)

"""A gradient that is not finite ends a step before the weights are touched, and is named."""

from __future__ import annotations

import pytest
import torch

from artifact.errors import NonFinite
from artifact.train.examples import Imitate
from artifact.train.student import check_gradients


@pytest.fixture
def network() -> torch.nn.Sequential:
    """A network whose gradients are all finite, one of them absent."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    network[1].bias.grad = None
    return network


EXAMPLES = [Imitate("b", (1,), (2,)), Imitate("a", (1,), (2,))]


def test_finite_gradients_pass(network: torch.nn.Sequential) -> None:
    check_gradients(network, 3, EXAMPLES)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_entry_that_is_not_finite_is_found_and_its_parameter_named(
    network: torch.nn.Sequential, value: float
) -> None:
    network[1].weight.grad[1, 2] = value
    with pytest.raises(NonFinite, match=r"gradient of 1\.weight \(and 0 more\) .* at step 3, problems \['a', 'b'\]"):
        check_gradients(network, 3, EXAMPLES)

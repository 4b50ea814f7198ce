"""The learning-rate schedule at its corners, by hand, and beside PyTorch's own schedulers."""

from __future__ import annotations

import math

import pytest
import torch

from artifact.train.schedule import learning_rate
from artifact.train.settings import Optimiser


def _rates(steps: int, **settings: object) -> list[float]:
    optimiser = Optimiser(**{"lr": 2.0, **settings})
    return [learning_rate(optimiser, t, steps) for t in range(steps)]


def test_linear_by_hand() -> None:
    rates = _rates(6, schedule="linear", warmup_fraction=2 / 6, final_fraction=0.1)
    assert rates == pytest.approx([1.0, 2.0, 2.0, 1.4, 0.8, 0.2])


def test_cosine_by_hand() -> None:
    rates = _rates(5, schedule="cosine", warmup_fraction=0.0, final_fraction=0.0)
    assert rates == pytest.approx([2.0, 1 + math.cos(math.pi / 4), 1.0, 1 - math.cos(math.pi / 4), 0.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [2, 16, 40])
def test_ends_exactly_at_the_final_fraction(schedule: str, steps: int) -> None:
    assert _rates(steps, schedule=schedule, warmup_fraction=0.0, final_fraction=0.25)[-1] == pytest.approx(0.5)


def test_constant_after_warm_up_and_a_single_step() -> None:
    assert _rates(4, schedule="constant", warmup_fraction=0.25) == [2.0] * 4
    assert _rates(1, schedule="linear", warmup_fraction=0.0) == [2.0]


@pytest.mark.parametrize("steps", [8, 21])
def test_decay_is_that_of_pytorch(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    peers = {
        "linear": torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.1, total_iters=steps - 1),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps - 1, eta_min=0.2),
    }
    for name, peer in peers.items():
        optimiser.param_groups[0]["lr"] = 2.0
        expected = []
        for _ in range(steps):
            expected.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            peer.step()
        assert _rates(steps, schedule=name, warmup_fraction=0.0, final_fraction=0.1) == pytest.approx(expected), name

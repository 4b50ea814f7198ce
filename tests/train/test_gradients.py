"""Component gradients against a quadratic whose gradients are known, split over micro-batches."""

from __future__ import annotations

import math

import torch

from artifact.train.gradients import ComponentGradients


def test_norms_are_those_of_the_sum_over_micro_batches() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    unused = torch.tensor([1.0], requires_grad=True)
    separate = ComponentGradients([w, unused], ["contrast", "distil", "nll"], world_size=1)
    for scale in (0.25, 0.75):  # two micro-batches of one step: ∇ ½‖w‖² = w, ∇ (w₀ − w₁) = (1, −1)
        separate.add({"distil": scale * 0.5 * (w**2).sum(), "contrast": scale * (w[0] - w[1])})
    norms = separate.norms()
    assert math.isclose(norms["grad_norm/distil"], 5.0, rel_tol=1e-6)
    assert math.isclose(norms["grad_norm/contrast"], math.sqrt(2), rel_tol=1e-6)
    assert norms["grad_norm/nll"] == 0.0, "a component without examples on this rank adds zeros"
    assert w.grad is None, "measuring must not add to the gradient that is trained with"

"""Gradient norms of the loss components, each by itself: who pulls how hard on the shared clip.

‖coefficient_c · ∇L_c‖ over the whole optimiser step, all micro-batches and ranks, before clipping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor


class ComponentGradients:
    """Accumulates one flat gradient per component; an extra backward pass each, so it is measured now and then only.

    `names` are the components of the whole step, the same on every rank: a rank without examples of one adds zeros.
    """

    def __init__(self, parameters: Iterable[Tensor], names: Iterable[str], world_size: int) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.world_size = world_size
        size = sum(p.numel() for p in self.parameters)
        device = self.parameters[0].device
        self.sums = {name: torch.zeros(size, device=device) for name in sorted(names)}

    def add(self, weighted_losses: Mapping[str, Tensor]) -> None:
        """Add a micro-batch's weighted shares; the graph is kept for the real backward pass."""
        for name, value in weighted_losses.items():
            grads = torch.autograd.grad(value, self.parameters, retain_graph=True, allow_unused=True)
            flat = torch.cat(
                [
                    torch.zeros_like(p).flatten() if g is None else g.detach().flatten()
                    for p, g in zip(self.parameters, grads, strict=True)
                ]
            ).float()
            self.sums[name] += flat

    def norms(self) -> dict[str, float]:
        """`grad_norm/<component>`, summed over data-parallel ranks before the norm is taken."""
        out = {}
        for name in self.sums:
            if self.world_size > 1:
                dist.all_reduce(self.sums[name])
            out[f"grad_norm/{name}"] = float(self.sums[name].norm())
        return out

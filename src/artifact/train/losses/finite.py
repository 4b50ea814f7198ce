"""The guard against NaN and infinity: stop the run and say where, rather than skip a batch in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from artifact.errors import NonFinite

_SHOWN = 5


class NonFiniteLoss(NonFinite):
    """A loss or an input of it is NaN or infinite; `component`, `step` and `example_ids` say where."""

    def __init__(self, component: str, step: int, example_ids: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.component, self.step, self.example_ids = component, step, example_ids


@dataclass(frozen=True, slots=True)
class LossContext:
    """Where a tensor came from: the optimiser step, and the id of each sequence of the micro-batch in packing order."""

    step: int
    example_ids: Sequence[str]


def check_finite(name: str, tensor: Tensor, context: LossContext, *, segment_T: Tensor | None = None) -> None:
    """Raise NonFiniteLoss if `tensor` holds a NaN or an infinity; `name` is the loss component or the quantity.

    With `segment_T` (the sequence index of each row of `tensor`) only the sequences at fault are named, else all of the
    micro-batch. Costs one device synchronisation.
    """
    finite = tensor.detach().isfinite()
    if bool(finite.all()):
        return
    values = tensor.detach()[~finite].flatten()
    ids = tuple(context.example_ids)
    where = "micro-batch of"
    if segment_T is not None:
        rows = ~finite.reshape(finite.shape[0], -1).all(dim=1)
        ids = tuple(context.example_ids[i] for i in sorted(set(segment_T[rows].tolist())))
        where = "in"
    raise NonFiniteLoss(
        name,
        context.step,
        ids,
        f"{name} at step {context.step} has {values.numel()} non-finite of {tensor.numel()} values "
        f"(first: {values[:_SHOWN].tolist()}), {where} {list(ids)}; look at these rollouts and their teacher scores, "
        "then lower the learning rate or the component's coefficient",
    )

"""AdamW's two moments wait in host memory and come to the student's device for the update alone.

    update:  m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  w ← w − lr · m̂ / (√v̂ + ε)

Between updates the storage of a moment on the device is empty: 8 bytes a parameter, over the ranks that share the
optimiser's state out. What is computed, and where, stays as it is, so results are the same bits; an update takes as
much longer as 16 bytes a parameter need to cross. The tensors themselves stay, emptied and filled in place, because
DeepSpeed keeps views of them (`torch.Tensor.untyped_storage().resize_`, as FSDP does with its flat parameters).

Chosen over DeepSpeed's `offload_optimizer`, which adds gradients up in the dtype of the weights (0.19.8,
`async_accumulate_grad_in_cpu_via_gpu`): a bfloat16 policy would lose the sum in float32. Left out: float32 copies of
bfloat16 weights, which stay on the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of torch's AdamW for m and v."""


class HostMoments:
    """The moments of `adamw`: a step brings those it updates to the device, and those of the step before it away."""

    def __init__(self, adamw: torch.optim.Optimizer) -> None:
        self.adamw = adamw
        self._host: dict[tuple[Tensor, str], Tensor] = {}
        adamw.register_step_pre_hook(self._bring)

    def _bring(self, adamw: torch.optim.Optimizer, *_: Any) -> None:
        """Before `adamw.step`, which DeepSpeed calls for a share of the weights, or for one part of it after another.

        Its moments stay until `park` or the next part: the first time, DeepSpeed takes views of them then.
        """
        updated = [p for group in adamw.param_groups for p in group["params"] if p in adamw.state]
        of_part = {id(p) for p in updated}
        self._park([p for p in adamw.state if id(p) not in of_part])
        self._fetch(updated)

    def park(self) -> None:
        """Send to host memory what is on the device."""
        self._park(self.adamw.state)

    def _moments(self, parameters: Iterable[Tensor]) -> Iterator[tuple[tuple[Tensor, str], Tensor]]:
        for p in parameters:
            state: dict[str, Any] = self.adamw.state[p]
            yield from (((p, name), state[name]) for name in MOMENTS if name in state)

    def _fetch(self, parameters: Iterable[Tensor]) -> None:
        for key, moment in self._moments(parameters):
            storage = moment.untyped_storage()
            if storage.nbytes() == 0:
                storage.resize_(self._host[key].untyped_storage().nbytes())
                moment.copy_(self._host[key], non_blocking=True)

    def _park(self, parameters: Iterable[Tensor]) -> None:
        import torch

        on_device = []
        for (p, name), moment in list(self._moments(parameters)):
            if moment.untyped_storage().nbytes() == 0:
                continue
            if not moment.untyped_storage().resizable():  # read from a file, and mapped
                moment = self.adamw.state[p][name] = moment.clone()
            if (p, name) not in self._host:  # page-locked, so that a copy runs at the link's speed
                pinned = moment.device.type == "cuda"
                self._host[p, name] = torch.empty(moment.shape, dtype=moment.dtype, device="cpu", pin_memory=pinned)
            self._host[p, name].copy_(moment, non_blocking=True)
            on_device.append(moment)
        if any(moment.device.type == "cuda" for moment in on_device):
            torch.cuda.current_stream().synchronize()  # a copy still under way would read what was given back
        for moment in on_device:
            moment.untyped_storage().resize_(0)

    @contextmanager
    def in_state(self) -> Iterator[None]:
        """Inside, `adamw.state` holds the moments that wait, in host memory: to save and to load a checkpoint."""
        emptied = {key: moment for key, moment in self._moments(self.adamw.state) if key in self._host}
        for p, name in emptied:
            self.adamw.state[p][name] = self._host[p, name]
        try:
            yield
        finally:
            for key, found in list(self._moments(self.adamw.state)):
                if found is self._host.get(key):  # else loading has made another, which goes to host memory now
                    self.adamw.state[key[0]][key[1]] = emptied[key]
            self.park()

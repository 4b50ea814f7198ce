"""DeepSpeed in the form in which `train.student.Student` drives an engine, the same at every ZeRO stage.

| stage | what a rank holds a share of | where its gradient is between backward and step |
|---|---|---|
| 0 | nothing | `.grad`, not yet averaged over ranks |
| 1 | optimiser state | `.grad`, not yet averaged over ranks |
| 2 | and gradients | averaged and shared out in every backward pass |
| 3 | and weights | averaged and shared out in every backward pass; weights are whole around their use only |

What follows from it: at stages 2 and 3 ranks must make the same passes (`Student.step` sees to that), and whether a
gradient is finite is observed while it is made. DeepSpeed neither reports nor checks the norm of stage 0: here the
optimiser itself clips and measures, just before it moves anything. The gradient of a bfloat16 policy is summed over
passes in float32 at stages 2 and 3, in bfloat16 at 0 (DeepSpeed refuses the mix) and at 1 (its float32 sum counts the
first passes once more with every later one, because the number of passes is ours to choose). AdamW's moments may wait
in host memory (`offloading.py`). Left out: tensor and pipeline parallelism.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact.actors.offloading import HostMoments
from artifact.errors import NonFinite
from artifact.train.settings import Optimiser
from artifact.train.student import gradient_norms

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from artifact.train.objective import MicroBatch, Outcome
    from artifact.train.student import Policy

SMALL = 100_000
"""At stage 3 a weight of at most this many numbers stays whole once it was gathered (DeepSpeed's own default)."""


class ShardedEngine:
    """AdamW on `policy` under DeepSpeed at ZeRO `stage`, its moments in host memory if `offload`; the default process
    group must exist.
    """

    def __init__(self, policy: Policy, optimiser: Optimiser, stage: int, dtype: str, offload: bool = False) -> None:
        import deepspeed
        import torch

        self.policy, self.stage, self.clip = policy, stage, optimiser.clip
        adamw = torch.optim.AdamW(
            policy.parameters(),
            lr=optimiser.lr,
            betas=optimiser.betas,
            eps=optimiser.eps,
            weight_decay=optimiser.weight_decay,
            fused=True,  # one pass over the memory; the plain loop makes ten
        )
        settings = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "managed_gradient_accumulation": False,
            "gradient_clipping": 0.0 if stage == 0 else optimiser.clip,
            "zero_optimization": {"stage": stage, "overlap_comm": False, "stage3_param_persistence_threshold": SMALL},
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": dtype == "bfloat16"},
            "data_types": {"grad_accum_dtype": "fp32" if stage >= 2 else None},
            "steps_per_print": 10**9,
            "wall_clock_breakdown": False,
        }
        self._norm = 0.0
        self._observed: Tensor | None = None
        self._moments = HostMoments(adamw) if offload else None  # before DeepSpeed makes the moments
        self.engine, *_ = deepspeed.initialize(model=policy, optimizer=adamw, config=settings)
        if self._moments:
            self._moments.park()
        if stage == 0:
            adamw.register_step_pre_hook(self._clip)
        if stage >= 2:
            self._observe()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """DeepSpeed's, whose parameter groups carry the learning rate."""
        return self.engine.optimizer

    def __call__(self, batch: MicroBatch) -> Outcome:
        """The forward pass of a micro-batch."""
        return self.engine(batch)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of `loss`, averaged over ranks."""
        self.engine.backward(loss)

    def _observe(self) -> None:
        """Add up the norm of every gradient as it is made: the whole of it is gone when the backward pass is over."""
        import torch

        parameters = list(self.policy.parameters())
        observed = torch.zeros(len(parameters), device=self.engine.device)
        self._observed = observed
        for i, p in enumerate(parameters):

            def add(grad: Tensor, i: int = i) -> None:
                observed[i] += grad.detach().norm().float()

            p.register_hook(add)

    def local_norms(self) -> Tensor:
        """Of each parameter, a norm of what this rank added to the gradient since the last step."""
        return gradient_norms(self.policy) if self._observed is None else self._observed.clone()

    def _clip(self, adamw: torch.optim.Optimizer, *_: Any) -> None:
        """What DeepSpeed does at the other stages, on the averaged gradient of stage 0."""
        import torch

        held = [p for group in adamw.param_groups for p in group["params"] if p.grad is not None]
        self._norm = float(torch.nn.utils.clip_grad_norm_(held, self.clip))
        self._stop_where_not_finite()

    def step(self) -> None:
        """Average over ranks what is not yet averaged, clip, update, forget the gradient."""
        self.engine.step()
        if self._moments:
            self._moments.park()
        if self._observed is not None:
            self._observed.zero_()
        if self.stage:
            self._norm = float(self.engine.get_global_grad_norm())
            self._stop_where_not_finite()

    def _stop_where_not_finite(self) -> None:
        """DeepSpeed leaves out the step of a gradient that is not finite, and goes on."""
        if not math.isfinite(self._norm):
            raise NonFinite(
                "the gradient is finite on every rank, but its mean over ranks is not; weights were not changed: lower "
                "optimiser.lr or look at the step's rollouts"
            )

    def get_global_grad_norm(self) -> float:
        """The norm of the last step's gradient, averaged over ranks, before clipping."""
        return self._norm

    @contextmanager
    def whole(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Inside, `parameters` are whole on every rank; every rank must come here with the same ones."""
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(parameters), enabled=self.stage == 3):
            yield

    def save(self, folder: str, tag: str) -> None:
        """Write weights and optimiser state, each rank its share."""
        with self._moments.in_state() if self._moments else nullcontext():
            self.engine.save_checkpoint(folder, tag=tag)

    def load(self, folder: str, tag: str) -> None:
        """Take up what `save` wrote on as many ranks at the same stage; ArtifactError as `load_deepspeed`."""
        from artifact.actors.checkpoints import load_deepspeed

        with self._moments.in_state() if self._moments else nullcontext():
            load_deepspeed(self.engine, Path(folder), tag)

    def destroy(self) -> None:
        """Undo the hooks of this engine, and let go of its weights."""
        from deepspeed.runtime.zero import parameter_offload

        self.engine.destroy()
        # Stage 3 keeps a stack of the modules that run: its first is never removed, nor those of a pass broken off.
        parameter_offload.FWD_MODULE_STACK.clear()

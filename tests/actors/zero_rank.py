"""One of several student actors, a process of its own without Ray: every ZeRO stage, one after the other.

    python -m tests.actors.zero_rank RANK WORLD_SIZE FOLDER PORT

`FOLDER/MODEL` are the checkpoints to train. Writes what this rank saw to `FOLDER/rank-RANK-of-WORLD_SIZE.pt`;
`test_zero.py` compares it with plain torch.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tests.train.rank import COEFFICIENTS, STEPS
from tests.train.tiny import settings, tiny_qwen3
from torch import Tensor

from artifact.actors import sharding
from artifact.actors.offloading import MOMENTS
from artifact.actors.placement import Slot
from artifact.actors.student import StudentActor
from artifact.config import load
from artifact.errors import NonFinite
from artifact.train.examples import Distil, Example, Imitate, Prefer
from artifact.train.objective import denominators, to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.settings import RunSettings
from artifact.train.student import Student
from artifact.train.workers import StepWork

EXAMPLES: list[list[Example]] = [*STEPS, [Distil("z", (4, 8), (3, 3, 0))]]
"""Of two ranks: more passes on the first; nothing to learn for the second; no example at all for the second."""

PROBE = [((1, 8), (3, 4, 5)), ((2,), (6, 0))]

LONG: list[Example] = [e for _ in range(12) for e in STEPS[0]]
"""One step of many passes, whose gradients lose digits when they are added up in bfloat16."""

SHARED: list[Example] = [
    *(Distil("a", (1, 8, 2), (3 + i, 4, 5, 0), 0.5 + i) for i in range(4)),
    *(Prefer("c", (4, 8), (4, 4, i, 0), (5, 5 + i, 0)) for i in range(4)),
    Imitate("b", (2, 8), (2, 0)),
]
"""Several responses of a prompt, on either of two ranks, and of one more on the first alone."""

CASES = [(stage, model, 0) for stage in range(4) for model in ("tied", "untied")] + [(3, "tied", sharding.SMALL)]
"""(ZeRO stage, checkpoint, `sharding.SMALL`): at 0 even the smallest weight is shared out."""


OFFLOADED = [(stage, "untied", 0, "offloaded") for stage in range(4)]
"""As of `CASES` the one of the same stage and checkpoint, with the moments in host memory between updates."""


def run_settings() -> RunSettings:
    """Several passes a step, and a clip that some steps reach."""
    return settings(optimiser__micro_batch_tokens=20, optimiser__clip=30.0, train__steps=4)


def take_step(
    student: Student | StudentActor, model: Any, step: int, rank: int, world_size: int, examples: list[Example]
) -> dict[str, float]:
    """Step `step` on this rank's share of `examples`."""
    s = run_settings()
    teacher, reference = FrozenModel(tiny_qwen3(11, seed=9)), FrozenModel(model)
    shard = examples[rank::world_size]
    whole = denominators(examples, s.losses, 8)
    wanted, referred = to_score(shard), to_reference(shard, s.losses)
    work = StepWork(step, COEFFICIENTS, whole, component_norms=norms_are_asked(student))
    scores = teacher.teacher_scores(wanted, 4) if wanted else None
    logprobs = reference.reference_logprobs(referred) if referred else None
    if isinstance(student, StudentActor):  # an actor is given references of its own, not inside a list
        return student.step(work, shard, logprobs, *([] if scores is None else [scores]))
    return student.step(work, shard, scores, logprobs)


def norms_are_asked(student: Student | StudentActor) -> bool:
    """Stage 3 has no component norms: the configuration refuses them there."""
    return not (isinstance(student, StudentActor) and student.cluster.zero_stage == 3)


def first_moments(actor: StudentActor) -> dict[str, Tensor]:
    """AdamW's running mean of the gradient, whole, by parameter."""
    from deepspeed.utils import safe_get_full_optimizer_state

    assert actor.engine is not None
    named = dict(actor.network.named_parameters())
    state, waiting = actor.engine.engine.basic_optimizer.state, actor.engine._moments
    if waiting is not None:
        waiting._fetch(list(state))
    if actor.cluster.zero_stage == 0:  # of the weights, or of their float32 copies in their order
        found = {n: s["exp_avg"].clone() for n, s in zip(named, state.values(), strict=True)}
    else:
        found = {n: safe_get_full_optimizer_state(p, "exp_avg").clone() for n, p in named.items()}
    if waiting is not None:
        waiting.park()
    return found


def bytes_of_moments(actor: StudentActor) -> int:
    """Bytes that AdamW's moments take on the device at this moment."""
    assert actor.engine is not None
    optimizer = actor.engine.engine.basic_optimizer
    return sum(s[m].untyped_storage().nbytes() for s in optimizer.state.values() for m in MOMENTS if m in s)


class Kept:
    """A weight-sync channel that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Tensor] = []

    def send(self, flat: Tensor) -> None:
        self.sent.append(flat.clone())


class Rank:
    """The actor of this process, and what is asked of it."""

    def __init__(self, rank: int, world_size: int, folder: Path, port: int) -> None:
        slot = Slot("student", 1.0, 0.0, "cpu", 1, {"DS_ACCELERATOR": "cpu", "GLOO_SOCKET_IFNAME": "lo"})
        self.rank, self.world_size, self.folder = rank, world_size, folder
        self.actor = StudentActor(slot, rank, load("tiny").cluster, "float32")
        self.actor.init_distributed("127.0.0.1", port, world_size, "secret")

    def reset(self, model: str, **optimiser: Any) -> Any:
        s = run_settings()
        return self.actor.reset(str(self.folder / model), replace(s.optimiser, **optimiser), s.losses, 4, 0)

    def step(self, step: int, model: str, examples: list[Example] | None = None) -> dict[str, float]:
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(self.folder / model, dtype=torch.float32).requires_grad_(False)
        return take_step(self.actor, loaded, step, self.rank, self.world_size, examples or EXAMPLES[step])

    def _at(self, stage: int, offload: bool = False) -> None:
        update = {"zero_stage": stage, "offload_optimiser": offload}
        self.actor.cluster = self.actor.cluster.model_copy(update=update)

    def half(self, stage: int, offload: bool = False) -> dict[str, Any]:
        """A long step of a bfloat16 policy."""
        self.actor.dtype, sharding.SMALL = "bfloat16", 0
        self._at(stage, offload)
        self.reset("untied")
        metrics = self.step(0, "untied", LONG)
        saved = self.weights(f"half-{stage}-{offload}")
        self.actor.dtype = "float32"
        dtypes = sorted({str(t.dtype) for t in saved.values()})
        return {"metrics": metrics, "moments": first_moments(self.actor), "dtypes": dtypes}

    def shared(self, stage: int, checkpointed: bool) -> dict[str, Any]:
        """A step whose prompts are shared."""
        sharding.SMALL = 0
        self._at(stage)
        self.reset("untied", shared_prompts=True, gradient_checkpointing=checkpointed)
        return {"metrics": self.step(0, "untied", SHARED), "moments": first_moments(self.actor)}

    def weights(self, name: str) -> dict[str, Tensor]:
        """What the first rank saves; nothing elsewhere."""
        from safetensors.torch import load_file

        at = self.folder / f"weights-{name}-{self.world_size}"
        self.actor.save_weights(str(at))
        return load_file(at / "model.safetensors") if self.rank == 0 else {}

    def case(self, stage: int, model: str, small: int, offload: str = "") -> dict[str, Any]:
        """Three steps; then again from the checkpoint after the second; then a gradient of NaN on the last rank."""
        sharding.SMALL = small
        self._at(stage, bool(offload))
        self.actor._channel = Kept() if self.rank == 0 else None  # type: ignore[assignment]
        name = f"{stage}-{model}-{small}{offload}"
        out: dict[str, Any] = {"metrics": []}
        spec = self.reset(model)
        out["spec"] = {"names": spec.names, "shapes": spec.shapes}
        out["start"] = self.weights(name)
        for step in range(2):
            out["metrics"].append(self.step(step, model))
            out.setdefault("bytes of moments", []).append(bytes_of_moments(self.actor))
            if step == 0:
                out["moments"] = first_moments(self.actor)
                out["after one"] = self.weights(name)
        out["probe"] = [torch.from_numpy(values) for values in self.actor.logprobs(PROBE)]
        self.actor.save_checkpoint(str(self.folder / f"checkpoints-{name}-{self.world_size}"), "step-2")
        out["metrics"].append(self.step(2, model))
        out["uninterrupted"] = self.weights(name)
        self.actor.broadcast(spec)
        out["sent"] = [] if self.actor._channel is None else self.actor._channel.sent  # type: ignore[attr-defined]
        self.reset(model)
        self.actor.load_checkpoint(str(self.folder / f"checkpoints-{name}-{self.world_size}"), "step-2")
        out["resumed metrics"] = self.step(2, model)
        out["resumed"] = self.weights(name)
        if self.rank == self.world_size - 1:
            poisoned = self.actor.network.model.norm.register_forward_hook(
                lambda module, inputs, output: output.register_hook(lambda grad: grad * float("nan")) and None
            )
        try:
            self.step(0, model)
        except NonFinite as err:
            out["error"] = str(err)
        if self.rank == self.world_size - 1:
            poisoned.remove()
        out["after the error"] = self.weights(name)
        return out


def main(rank: int, world_size: int, folder: Path, port: int) -> None:
    """All cases, written down."""
    torch.set_num_threads(1)
    here = Rank(rank, world_size, folder, port)
    seen: dict[Any, Any] = {case: here.case(*case) for case in [*CASES, *OFFLOADED]}
    for stage in range(4):
        for offload in (False, True):
            seen[f"half {stage}{' offloaded' if offload else ''}"] = here.half(stage, offload)
        for checkpointed in (False, True):
            seen[f"shared {stage} {checkpointed}"] = here.shared(stage, checkpointed)
    torch.save(seen, folder / f"rank-{rank}-of-{world_size}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))

"""One of several data-parallel ranks, a process of its own: two steps of `Student`, whose engine averages over ranks.

    python -m tests.train.rank RANK WORLD_SIZE FOLDER

Writes the averaged gradients and the metrics of both steps to `FOLDER/rank-RANK.pt`, and what a third step says whose
gradient is spoilt on the last rank; `test_two_ranks.py` compares.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tests.train.tiny import Network, settings
from torch import Tensor

from artifact.errors import NonFinite
from artifact.train.examples import Distil, Example, Imitate, Prefer
from artifact.train.objective import denominators, to_reference, to_score
from artifact.train.scoring import FrozenModel
from artifact.train.student import Policy, Student, gradient_norms
from artifact.train.workers import StepWork

COEFFICIENTS = {"distil": 5.0, "nll": 0.5, "contrast": 2.0}
STEPS: list[list[Example]] = [
    # With two ranks: 5 examples in several passes on the first, 3 short ones on the second.
    [
        Distil("a", (1, 8), (3, 4, 5, 6, 7, 8, 9, 0)),
        Imitate("b", (2, 8), (2, 0), 0.5),
        Prefer("c", (4, 8), (4, 4, 4, 4, 0), (5, 5, 5, 5, 5, 0)),
        Distil("d", (3, 8), (1, 0), 0.25),
        Distil("e", (5, 8, 8), (7, 7, 7, 7, 7, 7, 0), 2.0),
        Distil("f", (1,), (9,), 0.0),
        Distil("g", (6, 8), (1, 2, 3, 4, 0)),
        Imitate("h", (6, 8), (1, 2, 3, 4, 0)),
    ],
    # All that has a weight is on the first rank.
    [Distil("a", (1, 8), (3, 4, 0)), Distil("b", (2, 8), (2, 0), 0.0), Imitate("c", (3, 8), (1, 0))],
]


class AveragingEngine:
    """Averages the gradients of all ranks before a plain step of gradient descent, as DeepSpeed does."""

    def __init__(self, policy: Policy, world_size: int) -> None:
        self.policy, self.world_size = policy, world_size
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
        self.gradients: list[Tensor] = []
        self.backward_calls = 0
        self.spoilt = False

    def __call__(self, batch: Any) -> Any:
        return self.policy(batch)

    def backward(self, loss: Tensor) -> None:
        self.backward_calls += 1
        loss.backward()
        if self.spoilt:
            next(self.policy.parameters()).grad[0, 0] = float("nan")  # type: ignore[index]

    def local_norms(self) -> Tensor:
        return gradient_norms(self.policy)

    def step(self) -> None:
        for p in self.policy.parameters():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            if self.world_size > 1:
                dist.all_reduce(p.grad)
                p.grad /= self.world_size
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.policy.parameters() if p.grad is not None]))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def get_global_grad_norm(self) -> float:
        return float(self.gradients[-1].norm())


def two_steps(rank: int, world_size: int) -> dict[str, Any]:
    """Gradients and metrics of both steps on this rank's share of the examples."""
    s = settings(optimiser__micro_batch_tokens=20, train__steps=4)
    network, teacher, reference = Network().double(), FrozenModel(Network(seed=9)), FrozenModel(Network())
    engine = AveragingEngine(Policy(network, s.losses), world_size)
    student = Student(engine.policy, engine, s.optimiser, s.losses, 4, world_size=world_size)
    metrics, backward_calls, error = [], [], ""

    def take(step: int, examples: list[Example]) -> dict[str, float]:
        whole = denominators(examples, s.losses, 8)
        shard = examples[rank::world_size]
        return student.step(
            StepWork(step, COEFFICIENTS, whole, component_norms=True),
            shard,
            teacher.teacher_scores(to_score(shard), 4) if to_score(shard) else None,
            reference.reference_logprobs(to_reference(shard, s.losses)) if to_reference(shard, s.losses) else None,
        )

    for step, examples in enumerate(STEPS):
        engine.backward_calls = 0
        metrics.append(take(step, examples))
        backward_calls.append(engine.backward_calls)
    engine.spoilt = rank == world_size - 1
    try:
        take(2, STEPS[0])
    except NonFinite as err:
        error = str(err)
    return {"gradients": engine.gradients, "metrics": metrics, "backward_calls": backward_calls, "error": error}


def main(rank: int, world_size: int, folder: Path) -> None:
    """Join the group, do both steps, write them down."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size)
    torch.save(two_steps(rank, world_size), folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""The student of one data-parallel rank: an optimiser step on examples, and the log-probabilities of the policy.

A step arrives as a list of examples with whole-step denominators; it is cut into micro-batches by padded tokens, whose
gradients the engine accumulates until `step()`, so the number of micro-batches may change from step to step and never
enters the loss. The engine is DeepSpeed's (`actors/student.py`) or plain torch (`local.py`). Left out: where the
weights come from and go to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from artifact.errors import NonFinite
from artifact.train.examples import Example, TokenPair
from artifact.train.gradients import ComponentGradients
from artifact.train.losses.diagnostics import merge_diagnostics
from artifact.train.losses.lm_head import project
from artifact.train.objective import Diagnostics, MicroBatch, Outcome, has_gradient, objective
from artifact.train.packing import micro_batches, pack, response_hidden
from artifact.train.schedule import learning_rate
from artifact.train.scoring import Network, TeacherScores
from artifact.train.settings import Losses, Optimiser
from artifact.train.workers import ReferenceLogprobs, StepWork


class Policy(torch.nn.Module):
    """Body, head and losses in one forward pass, so that an engine's hooks see every parameter's use."""

    def __init__(self, network: torch.nn.Module, losses: Losses) -> None:
        super().__init__()
        self.network, self.losses = network, losses

    def forward(self, batch: MicroBatch) -> Outcome:
        """The micro-batch's share of the step's loss."""
        return objective(self.network.model, self.network.lm_head.weight, batch, self.losses)  # type: ignore[arg-type, union-attr]


class TrainingEngine(Protocol):
    """What wraps a `Policy` to train it; DeepSpeed's engine has this form."""

    optimizer: torch.optim.Optimizer

    def __call__(self, batch: MicroBatch) -> Outcome: ...
    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of `loss`, averaged over ranks."""

    def step(self) -> None:
        """Clip, update the weights, forget the gradient."""

    def get_global_grad_norm(self) -> float | None:
        """The norm of the last step's gradient before clipping."""


class Student:
    """Trains `network` through `engine`; rank `rank` of `world_size`."""

    def __init__(
        self,
        network: torch.nn.Module,
        engine: TrainingEngine,
        optimiser: Optimiser,
        losses: Losses,
        total_steps: int,
        *,
        world_size: int = 1,
        device: str = "cpu",
    ) -> None:
        self.network, self.engine, self.optimiser, self.losses = network, engine, optimiser, losses
        self.total_steps, self.world_size, self.device = total_steps, world_size, device

    def step(
        self,
        work: StepWork,
        examples: Sequence[Example],
        scores: TeacherScores | None,
        reference: ReferenceLogprobs | None,
    ) -> dict[str, float]:
        """One optimiser step on this rank's `examples`.

        scores     teacher scores of the examples that are distilled with a weight other than 0, by their index
        reference  log p_ref of the sequences of preference and policy-gradient examples, by index of the example

        Returns the loss, its components, diagnostics, gradient norm (before clipping) and learning rate. Raises
        NonFinite before the weights are touched.
        """
        teacher = {} if scores is None else scores.by_example()
        live = [i for i, e in enumerate(examples) if has_gradient(e, self.losses)]
        lr = learning_rate(self.optimiser, work.step, self.total_steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        metrics: dict[str, float] = {"loss": 0.0}
        diagnostics: dict[str, list[Diagnostics]] = {}
        taking_part = [c for c, weight in work.coefficients.items() if weight and work.denominators.get(c)]
        separate = (
            ComponentGradients(self.network.parameters(), taking_part, self.world_size)
            if work.component_norms
            else None
        )
        passes = list(
            micro_batches([examples[i] for i in live], lambda e: e.sequences, self.optimiser.micro_batch_tokens)
        )
        for chosen in passes:
            members = [live[j] for j in chosen]
            outcome = self.engine(
                MicroBatch(
                    [examples[i] for i in members],
                    [teacher.get(i) for i in members],
                    [None if reference is None else reference.get(i) for i in members],
                    work.step,
                    work.coefficients,
                    work.denominators,
                    self.device,
                )
            )
            if separate is not None:
                separate.add(outcome.weighted_losses)
            # The engine averages over ranks; the shares of the ranks are to be summed.
            self.engine.backward(outcome.loss * self.world_size)
            metrics["loss"] += float(outcome.loss.detach())
            for name, value in outcome.components.items():
                metrics[f"loss/{name}"] = metrics.get(f"loss/{name}", 0.0) + value
                diagnostics.setdefault(name, []).append(outcome.diagnostics[name])
        if not live:  # nothing to learn from (every weight is 0): a step without gradient keeps all ranks in one order
            self.engine.backward(sum((p.sum() for p in self.network.parameters()), torch.zeros(())) * 0.0)
        check_gradients(self.network, work.step, examples)
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        for name, parts in diagnostics.items():
            metrics |= {f"{name}/{key}": value for key, value in merge_diagnostics(parts).items()}
        metrics |= {
            "lr": lr,
            "micro_batches": float(len(passes)),
            "grad_norm": float(norm if norm is not None else 0.0),
        }
        if separate is not None:
            metrics |= separate.norms()
        return metrics

    def logprobs(self, sequences: Sequence[TokenPair]) -> list[np.ndarray]:
        """log p_S of every response token under the current weights, float64, one array per sequence."""
        return policy_logprobs(self.network, sequences, self.device)  # type: ignore[arg-type]


def policy_logprobs(network: Network, sequences: Sequence[TokenPair], device: str = "cpu") -> list[np.ndarray]:
    """log p of every response token under `network`, float64, one array per sequence, in one forward pass."""
    packed = pack(sequences, device)
    with torch.no_grad():
        hidden_TH = response_hidden(network.model, packed)
        logits_TV = project(hidden_TH, network.lm_head.weight).float()
        flat = torch.log_softmax(logits_TV, -1).gather(1, packed.target_T[:, None])[:, 0].double().cpu().numpy()
    return np.split(flat, np.cumsum([len(r) for _, r in sequences])[:-1])


def check_gradients(network: torch.nn.Module, step: int, examples: Sequence[Example]) -> None:
    """Raise NonFinite, naming a parameter and the problems, when any gradient holds a NaN or an infinity."""
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    # One pass that only reads: a norm is finite where every entry is (and its square can be summed).
    if torch.nn.utils.get_total_norm(gradients.values()).isfinite():
        return
    bad = [n for n, g in gradients.items() if not g.norm().isfinite()] or ["all parameters together"]
    ids = sorted({e.problem_id for e in examples})
    raise NonFinite(
        f"gradient of {bad[0]} (and {len(bad) - 1} more) is not finite at step {step}, problems {ids[:5]}; "
        "weights were not changed: lower optimiser.lr or look at these rollouts"
    )

"""The student of one data-parallel rank: an optimiser step on examples, and the log-probabilities of the policy.

A step arrives as a list of examples with whole-step denominators; it is cut into micro-batches by padded tokens, whose
gradients the engine accumulates until `step()`, so the number of micro-batches may change from step to step and never
enters the loss. A step may come in parts, each with the denominators of the whole (`parts.py`). The engine is
DeepSpeed's (`actors/sharding.py`) or plain torch (`local.py`). Ranks that share a step make the same number of passes,
each through every weight: an engine that shards gradients or weights exchanges them in every pass. Left out: where the
weights come from and go to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from artifact.errors import ArtifactError, ConfigError, NonFinite
from artifact.train.examples import Example, Mask, TokenPair
from artifact.train.gradients import ComponentGradients
from artifact.train.losses.diagnostics import merge_diagnostics
from artifact.train.losses.lm_head import project
from artifact.train.objective import Diagnostics, MicroBatch, Outcome, has_gradient, pack_batch, share_of_step
from artifact.train.packing import Packed, micro_batches, pack, response_hidden
from artifact.train.schedule import learning_rate
from artifact.train.scoring import TeacherRows, TeacherScores
from artifact.train.settings import Losses, Optimiser
from artifact.train.token_reading import Question, Reading, SupportReading, paired, read_student, split
from artifact.train.workers import ReferenceLogprobs, StepWork

HeadComputation = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]
"""(hidden_TH, weight_VH) → what is wanted of them."""


class OutputHead(torch.nn.Linear):
    """An output head that gives its weight to a computation instead of multiplying by it.

    All that reads the weight in a pass happens in this one call. So an engine that shards weights (ZeRO stage 3) has
    them whole around it, in the backward pass as well, and gathers them once, on every rank alike. The parameter stays
    the one of `linear`, under the same name.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        if linear.bias is not None:
            raise ValueError("the output head has a bias, which the chunked head does not know")
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight

    def forward(self, hidden_TH: Tensor, compute: Any = None) -> Any:
        """`compute(hidden_TH, weight_VH)`; the logits where there is no `compute`."""
        return super().forward(hidden_TH) if compute is None else compute(hidden_TH, self.weight)


class Policy(torch.nn.Module):
    """Body, head and losses in one forward pass, so that an engine's hooks see every parameter's use.

    gradient_checkpointing  layers are computed again in the backward pass; ConfigError where the network cannot
    shared_prompts          each distinct prompt of a micro-batch is computed once
    """

    def __init__(
        self,
        network: torch.nn.Module,
        losses: Losses,
        gradient_checkpointing: bool = False,
        shared_prompts: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.losses, self.shared_prompts = network, losses, shared_prompts
        if gradient_checkpointing:
            checkpoint_layers(network)
        if not isinstance(network.lm_head, OutputHead):
            network.lm_head = OutputHead(network.lm_head)  # type: ignore[arg-type]

    def forward(self, batch: MicroBatch | Packed, compute: HeadComputation = project) -> Any:
        """The micro-batch's share of the step's loss, an `Outcome`; of packed sequences `compute(hidden_TH, weight_VH)`
        of their responses, by default the logits [T, V].
        """
        head: Any = self.network.lm_head
        packed = batch if isinstance(batch, Packed) else pack_batch(batch, self.shared_prompts)
        hidden_TH = response_hidden(self.network.model, packed)  # type: ignore[arg-type]
        if isinstance(batch, Packed):
            return head(hidden_TH, compute)

        def share(hidden_TH: Tensor, weight_VH: Tensor) -> tuple[Any, ...]:
            """A plain tuple: the hooks of an engine look for tensors in nothing else."""
            found = share_of_step(hidden_TH, weight_VH, packed, batch, self.losses)
            return found.loss, found.weighted_losses, found.components, found.diagnostics

        return Outcome(*head(hidden_TH, share))


def checkpoint_layers(network: Any) -> None:
    """Make a transformers model keep the inputs of its layers alone; it does so while it is in training mode."""
    if not getattr(network, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"optimiser.gradient_checkpointing: {type(network).__name__} cannot compute its layers again; set it "
            "to false"
        )
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    network.train()


class TrainingEngine(Protocol):
    """What wraps a `Policy` to train it; DeepSpeed's engine has this form."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its parameter groups carry the learning rate."""
        ...

    def __call__(self, batch: MicroBatch, /) -> Outcome: ...
    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of `loss`, averaged over ranks."""

    def local_norms(self) -> Tensor:
        """Of each parameter, in order, a norm of what this rank added to the gradient: finite where all of it is."""

    def step(self) -> None:
        """Clip, update the weights, forget the gradient."""

    def get_global_grad_norm(self) -> float:
        """The norm of the last step's gradient before clipping."""


@dataclass
class Gathered:
    """What the passes of a step have given so far; the gradient itself is the engine's.

    parts, passes  calls of `accumulate`, and forward passes with examples in them
    loss           of the step, by component as well, summed over its passes in their order
    """

    step: int
    separate: ComponentGradients | None
    parts: int = 0
    passes: int = 0
    loss: float = 0.0
    components: dict[str, float] = field(default_factory=dict)
    diagnostics: dict[str, list[Diagnostics]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more pass."""
        self.loss += float(outcome.loss.detach())
        for name, value in outcome.components.items():
            self.components[f"loss/{name}"] = self.components.get(f"loss/{name}", 0.0) + value
            self.diagnostics.setdefault(name, []).append(outcome.diagnostics[name])


class Student:
    """Trains `policy` through `engine`, one of `world_size` ranks."""

    def __init__(
        self,
        policy: Policy,
        engine: TrainingEngine,
        optimiser: Optimiser,
        losses: Losses,
        total_steps: int,
        *,
        world_size: int = 1,
        device: str = "cpu",
    ) -> None:
        self.policy, self.engine, self.optimiser, self.losses = policy, engine, optimiser, losses
        self.total_steps, self.world_size, self.device = total_steps, world_size, device
        self._gathered: Gathered | None = None

    def step(
        self,
        work: StepWork,
        examples: Sequence[Example],
        scores: TeacherScores | Sequence[TeacherScores] | None,
        reference: ReferenceLogprobs | None,
    ) -> dict[str, float]:
        """One optimiser step on this rank's `examples`: `accumulate` and `update`, whose results it has."""
        self.accumulate(work, examples, scores, reference)
        return self.update(work)

    def accumulate(
        self,
        work: StepWork,
        examples: Sequence[Example],
        scores: TeacherScores | Sequence[TeacherScores] | None,
        reference: ReferenceLogprobs | None,
    ) -> None:
        """Add the gradient of a part of the step: of `examples`, all of this rank's or some of them.

        scores     teacher scores of the examples that are distilled with a weight other than 0, by their index, in one
                   piece or several
        reference  log p_ref of the sequences of preference and policy-gradient examples, by index of the example
        """
        if self._gathered is None:
            self._gathered = self._nothing_yet(work)
        gathered = self._gathered
        teacher = rows_of([scores] if isinstance(scores, TeacherScores) else scores or [])
        live = [i for i, e in enumerate(examples) if has_gradient(e, self.losses)]
        tokens, shared = self.optimiser.micro_batch_tokens, self.policy.shared_prompts
        passes = list(micro_batches([examples[i] for i in live], lambda e: e.sequences, tokens, shared))
        for chosen in passes + [[]] * (self._passes_of_all(len(passes)) - len(passes)):
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
            if gathered.separate is not None:
                gathered.separate.add(outcome.weighted_losses)
            # The engine averages over ranks; the shares of the ranks are to be summed.
            self.engine.backward(outcome.loss * self.world_size)
            gathered.add(outcome)
        gathered.parts += 1
        gathered.passes += len(passes)
        gathered.examples += examples

    def _nothing_yet(self, work: StepWork) -> Gathered:
        taking_part = [c for c, weight in work.coefficients.items() if weight and work.denominators.get(c)]
        separate = (
            ComponentGradients(self.policy.parameters(), taking_part, self.world_size) if work.component_norms else None
        )
        return Gathered(work.step, separate)

    def update(self, work: StepWork, parts: int = 1) -> dict[str, float]:
        """Move the weights by the gradient of the step, which was gathered in so many `parts`.

        Returns the loss, its components, diagnostics, gradient norm (before clipping) and learning rate. Raises
        NonFinite before the weights are touched, on every rank, and ArtifactError where a part is missing.
        """
        gathered, self._gathered = self._gathered, None
        if gathered is None or (gathered.step, gathered.parts) != (work.step, parts):
            found = "nothing" if gathered is None else f"{gathered.parts} part(s) of step {gathered.step}"
            raise ArtifactError(
                f"step {work.step} has {parts} part(s), and the student has gathered {found}; weights were not "
                "changed: start the run again"
            )
        lr = learning_rate(self.optimiser, work.step, self.total_steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self._check_gradients(work.step, gathered.examples)
        self.engine.step()
        metrics = {"loss": gathered.loss, **gathered.components}
        for name, found_in in gathered.diagnostics.items():
            metrics |= {f"{name}/{key}": value for key, value in merge_diagnostics(found_in).items()}
        norm = self.engine.get_global_grad_norm()
        metrics |= {"lr": lr, "micro_batches": float(gathered.passes), "grad_norm": norm}
        if gathered.separate is not None:
            metrics |= gathered.separate.norms()
        return metrics

    def logprobs(self, sequences: Sequence[TokenPair]) -> list[np.ndarray]:
        """log p_S of every response token under the current weights, float64, one array per sequence."""
        return policy_logprobs(self.policy, sequences, self.device)

    def readings(
        self, questions: Sequence[Question], scores: Sequence[TeacherScores]
    ) -> list[tuple[Reading, SupportReading | None]]:
        """What the policy says of each response, and the loss where the teacher scored it (by index of the question).

        Ranks that share weights are asked the same, and so make the same passes. Either all questions are scored, or
        none.
        """
        teacher, found = rows_of(scores), {}
        for batch in micro_batches(questions, lambda q: [q.sequence], self.optimiser.micro_batch_tokens):
            packed = pack([questions[i].sequence for i in batch], self.device)
            masks = [questions[i].mask for i in batch]
            rows = [teacher[i] for i in batch] if teacher else None

            def columns(
                hidden_TH: Tensor,
                weight_VH: Tensor,
                packed: Packed = packed,
                masks: list[Mask] = masks,
                rows: list[TeacherRows] | None = rows,
            ) -> tuple[Tensor, ...]:
                return read_student(hidden_TH, weight_VH, packed, masks, rows, self.losses.distil)

            with torch.no_grad():
                for i, values in zip(batch, split(self.policy(packed, columns), packed), strict=True):
                    found[i] = paired(values)
        return [found[i] for i in range(len(questions))]

    def _passes_of_all(self, own: int) -> int:
        """How many passes the rank with the most has to make: at least one, so that a step is a step."""
        most = torch.tensor(max(own, 1), device=self.device)
        if self.world_size > 1:
            dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return int(most)

    def _check_gradients(self, step: int, examples: Sequence[Example]) -> None:
        """Raise NonFinite, on every rank alike, when the gradient of any rank holds a NaN or an infinity."""
        norms = self.engine.local_norms().float()
        if self.world_size > 1:
            dist.all_reduce(norms)
        check_norms([name for name, _ in self.policy.network.named_parameters()], norms, step, examples)


def rows_of(scores: Sequence[TeacherScores]) -> Mapping[int, TeacherRows]:
    """The teacher's rows by index of the example, from one piece or several."""
    return {i: rows for piece in scores for i, rows in piece.by_example().items()}


def policy_logprobs(policy: Policy, sequences: Sequence[TokenPair], device: str = "cpu") -> list[np.ndarray]:
    """log p of every response token under `policy`, float64, one array per sequence, in one forward pass."""
    packed = pack(sequences, device)
    with torch.no_grad():
        logits_TV = policy(packed).float()
        flat = torch.log_softmax(logits_TV, -1).gather(1, packed.target_T[:, None])[:, 0].double().cpu().numpy()
    return np.split(flat, np.cumsum([len(r) for _, r in sequences])[:-1])


def gradient_norms(module: torch.nn.Module) -> Tensor:
    """The norm of each parameter's accumulated gradient, 0 where it has none, [P]: finite where every entry is."""
    norms = [None if p.grad is None else p.grad.norm() for p in module.parameters()]
    return torch.stack(
        [
            torch.zeros((), device=p.device) if n is None else n.float()
            for n, p in zip(norms, module.parameters(), strict=True)
        ]
    )


def check_norms(names: Sequence[str], norms: Tensor, step: int, examples: Sequence[Example]) -> None:
    """Raise NonFinite, naming a parameter and the problems, when any parameter's norm is not finite."""
    bad = [name for name, fine in zip(names, norms.isfinite().tolist(), strict=True) if not fine]
    if not bad:
        return
    ids = sorted({e.problem_id for e in examples})
    raise NonFinite(
        f"gradient of {bad[0]} (and {len(bad) - 1} more) is not finite at step {step}, problems {ids[:5]}; "
        "weights were not changed: lower optimiser.lr or look at these rollouts"
    )

"""The student: the trained policy under DeepSpeed, and the sending end of weight sync.

One actor a data-parallel rank. An optimiser step arrives as a list of examples with whole-step denominators; it is cut
into micro-batches by padded tokens, and DeepSpeed accumulates their gradients locally until `step()`
(`managed_gradient_accumulation: false`), so the number of micro-batches may change from step to step and never enters
the loss. The actor outlives runs: `reset` gives it fresh weights and a fresh optimiser. The paper's name is
VtDStudentActor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifact.actors.placement import Slot, distributed_backend, prepare_process
from artifact.actors.teacher import Scores
from artifact.actors.weight_sync import Channel, Spec, send, spec_of, with_explicit_head
from artifact.config import Cluster, Losses, Optimiser
from artifact.errors import ArtifactError, NonFinite
from artifact.records import Example
from artifact.train.gradients import ComponentGradients
from artifact.train.objective import MicroBatch, has_gradient, objective, referenced, sequences_of
from artifact.train.packing import TokenPair, micro_batches, pack, response_hidden
from artifact.train.schedule import learning_rate


class StudentActor:
    """Rank `rank` of the student's data-parallel group."""

    def __init__(self, slot: Slot, rank: int, cluster: Cluster, dtype: str) -> None:
        prepare_process(slot)
        import deepspeed  # noqa: F401  # fifteen seconds with the next, spent while other actors start
        from transformers import AutoModelForCausalLM  # noqa: F401

        self.slot, self.rank, self.cluster, self.dtype = slot, rank, cluster, dtype
        self.world = 0
        self._channel: Channel | None = None
        self.channel_id: str | None = None
        self.engine: Any = None
        self.network: Any = None

    def ready(self) -> int:
        """The rank; answers once the actor is up."""
        return self.rank

    def address(self) -> tuple[str, int]:
        """This node's address and a port that was free a moment ago."""
        import socket

        import ray

        with socket.socket() as s:
            s.bind(("", 0))
            return ray.util.get_node_ip_address(), s.getsockname()[1]

    def init_distributed(self, host: str, port: int, world: int) -> None:
        """Form the data-parallel group; does nothing when it already has this size."""
        if self.world == world:
            return
        if self.world:
            raise ArtifactError(
                f"student actors are a group of {self.world}, {world} were asked for; run `artifact cluster stop`"
            )
        import os

        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            "RANK": str(self.rank),
            "WORLD_SIZE": str(world),
            "LOCAL_RANK": "0",
        }
        import deepspeed

        if self.slot.device == "cpu":
            # DeepSpeed would probe the compiler and build a shared-memory all-reduce (a minute or more of g++) for
            # tensor-parallel inference, which this actor does not do. An empty table says: no compiled operator.
            deepspeed.ops.__compatible_ops__ = {}
        deepspeed.init_distributed(
            distributed_backend(self.slot.device), rank=self.rank, world_size=world, verbose=False
        )
        self.world = world

    def join_sync(self, host: str, port: int, world: int, timeout_s: float, channel_id: str) -> None:
        """Become rank 0 of the weight-sync group (first student rank only)."""
        self._channel = Channel(host, port, 0, world, self.cluster.sync_backend, timeout_s)
        self.channel_id = channel_id

    def sync_channel(self) -> str | None:
        """The id of the weight-sync group this student belongs to."""
        return self.channel_id

    def reset(self, model: str, optimiser: Optimiser, losses: Losses, total_steps: int, seed: int) -> Spec:
        """Fresh weights from checkpoint `model`, a fresh optimiser, a schedule over `total_steps`; the sync spec."""
        import gc

        import deepspeed
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        if self.engine is not None:
            self.engine.destroy()
            self.engine = self.network = None
            gc.collect()  # DeepSpeed's engine and its hooks refer to one another; old weights go before new ones come
        self.optimiser, self.losses, self.total_steps = optimiser, losses, total_steps
        network = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, self.dtype))
        policy = _policy_class()(network, losses, self.cluster.zero_stage)
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
            "gradient_clipping": optimiser.clip,
            "zero_optimization": {"stage": self.cluster.zero_stage, "overlap_comm": False},
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": self.dtype == "bfloat16"},
            "steps_per_print": 10**9,
            "wall_clock_breakdown": False,
        }
        self.engine, *_ = deepspeed.initialize(model=policy, optimizer=adamw, config=settings)
        self.network = self.engine.module.network
        return spec_of(self._state())

    def _state(self) -> list[tuple[str, Any]]:
        tied = bool(self.network.config.tie_word_embeddings)
        return with_explicit_head(self.network.named_parameters(), tied)

    def step(
        self,
        index: int,
        examples: list[Example],
        scores: Scores | None,
        reference: list[np.ndarray] | None,
        coefficients: dict[str, float],
        denominators: dict[str, float],
        component_norms: bool = False,
    ) -> dict[str, float]:
        """One optimiser step on this rank's `examples`.

        scores     teacher scores of the examples that are distilled with a weight other than 0, in their order
        reference  log p_ref of the `referenced` sequences of all examples, in order; None when no reference is used
        component_norms  measure the gradient norm of each weighted loss component by itself (a backward pass each)

        Returns the loss, its components, diagnostics, gradient norm (before clipping) and learning rate. Raises
        NonFinite before the weights are touched.
        """
        import torch

        teacher: list[tuple[Scores, int] | None] = [None] * len(examples)
        if scores is not None:
            distilled = [i for i, e in enumerate(examples) if e.distil not in (None, 0.0)]
            if len(distilled) != len(scores.offsets) - 1:
                raise ArtifactError(
                    f"teacher scored {len(scores.offsets) - 1} sequences, {len(distilled)} examples are distilled"
                )
            for row, i in enumerate(distilled):
                teacher[i] = (scores, row)
        bounds = np.cumsum([0, *(len(referenced(e)) for e in examples)])
        live = [i for i, e in enumerate(examples) if has_gradient(e)]
        lr = learning_rate(self.optimiser, index, self.total_steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        totals: dict[str, float] = {"loss": 0.0}
        parts: dict[str, list[dict[str, float]]] = {}
        taking_part = [c for c, weight in coefficients.items() if weight and denominators.get(c)]
        separate = ComponentGradients(self.network.parameters(), taking_part, self.world) if component_norms else None
        passes = list(micro_batches([examples[i] for i in live], sequences_of, self.optimiser.micro_batch_tokens))
        for chosen in passes:
            members = [live[j] for j in chosen]
            batch = MicroBatch(
                [examples[i] for i in members],
                [teacher[i] for i in members],
                None if reference is None else [reference[bounds[i] : bounds[i + 1]] for i in members],
                index,
                coefficients,
                denominators,
                self.slot.device,
            )
            outcome = self.engine(batch)
            if separate is not None:
                separate.add(outcome.parts)
            # DeepSpeed averages over ranks; the shares of the ranks are to be summed.
            self.engine.backward(outcome.loss * self.world)
            totals["loss"] += float(outcome.loss.detach())
            for name, value in outcome.components.items():
                totals[f"loss/{name}"] = totals.get(f"loss/{name}", 0.0) + value
                parts.setdefault(name, []).append(outcome.diagnostics[name])
        if not live:  # nothing to learn from (every weight is 0): a step without gradient keeps all ranks in one order
            self.engine.backward(sum(p.sum() for p in self.network.parameters()) * 0.0)
        self._check_gradients(index, examples)
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        totals |= _merge(parts) | {
            "lr": lr,
            "micro_batches": float(len(passes)),
            "grad_norm": float(norm if norm is not None else 0.0),
        }
        if separate is not None:
            totals |= separate.norms()
        torch.set_num_threads(self.slot.threads)
        return totals

    def _check_gradients(self, index: int, examples: Sequence[Example]) -> None:
        import torch

        gradients = {n: p.grad for n, p in self.network.named_parameters() if p.grad is not None}
        # One pass that only reads: a norm is finite where every entry is (and its square can be summed).
        if not torch.nn.utils.get_total_norm(gradients.values()).isfinite():
            bad = [n for n, g in gradients.items() if not g.norm().isfinite()] or ["all parameters together"]
            ids = sorted({e.problem_id for e in examples})
            raise NonFinite(
                f"gradient of {bad[0]} (and {len(bad) - 1} more) is not finite at step {index}, problems {ids[:5]}; "
                "weights were not changed: lower optimiser.lr or look at these rollouts"
            )

    def broadcast(self, spec: Spec) -> None:
        """Send all weights to the engines; they must be receiving."""
        assert self._channel is not None, "join_sync comes first"
        send(self._channel, self._state(), spec)

    def logprobs(self, sequences: Sequence[TokenPair]) -> list[np.ndarray]:
        """log p_S of every response token under the current weights, float64, one array a sequence; the sync proof."""
        import torch

        packed = pack(sequences, self.slot.device)
        with torch.no_grad():
            hidden = response_hidden(self.network.model, packed)
            logits = (hidden @ self.network.lm_head.weight.T).float()
            flat = torch.log_softmax(logits, -1).gather(1, packed.target_T[:, None])[:, 0].double().cpu().numpy()
        return np.split(flat, np.cumsum([len(r) for _, r in sequences])[:-1])

    def save_weights(self, folder: str) -> None:
        """Write the current weights as a Hugging Face checkpoint (rank 0)."""
        if self.rank == 0:
            self.network.save_pretrained(folder, safe_serialization=True)

    def save_checkpoint(self, folder: str, tag: str) -> None:
        """Write weights and optimiser state for exact resumption."""
        self.engine.save_checkpoint(folder, tag=tag)

    def load_checkpoint(self, folder: str, tag: str) -> None:
        """Take up weights and optimiser state; ArtifactError when they cannot be read."""
        path, _ = self.engine.load_checkpoint(folder, tag=tag)
        if path is None:
            raise ArtifactError(
                f"checkpoint {Path(folder) / tag} cannot be loaded; run with --force to start the run again"
            )


def _merge(parts: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Token-weighted means of each component's diagnostics over micro-batches, as `component/quantity`."""
    from artifact.train.losses.diagnostics import merge_diagnostics

    return {f"{name}/{key}": value for name, items in parts.items() for key, value in merge_diagnostics(items).items()}


def _policy_class() -> type:
    """The module DeepSpeed wraps: body, head and losses in one forward, so that its hooks see every parameter's use."""
    import torch

    class Policy(torch.nn.Module):
        def __init__(self, network: Any, losses: Losses, zero_stage: int) -> None:
            super().__init__()
            self.network, self.losses = network, losses
            if zero_stage == 3:
                import deepspeed

                deepspeed.zero.register_external_parameter(self, network.lm_head.weight)

        def forward(self, batch: MicroBatch) -> Any:
            return objective(self.network.model, self.network.lm_head.weight, batch, self.losses)

    return Policy

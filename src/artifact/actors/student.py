"""The student as a Ray actor: DeepSpeed around `train.student.Student`, and the sending end of weight sync.

One actor per data-parallel rank. What reads or writes whole weights is asked of every rank, because at ZeRO stage 3
each holds a share of them (`sharding.py`); rank 0 alone saves, and who has engines sends (`sync_groups.py`). The actor
outlives runs: `reset` gives it fresh weights and a fresh optimiser. The paper's name is VtDStudentActor.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact.actors.checkpoints import load_network
from artifact.actors.lent_scores import LentScores
from artifact.actors.placement import Slot, distributed_backend, own_host, prepared_process
from artifact.actors.ports import free_ports
from artifact.actors.transfer import Channel, Seat, meeting_store, open_channel, seat_of
from artifact.actors.weight_sync import Spec, send, spec_of, with_explicit_head
from artifact.config import Cluster
from artifact.errors import ArtifactError
from artifact.train.examples import Example, TokenPair
from artifact.train.settings import Losses, Optimiser
from artifact.train.workers import ReferenceLogprobs, StepWork

if TYPE_CHECKING:
    from artifact.actors.sharding import ShardedEngine
    from artifact.train.scoring import TeacherScores
    from artifact.train.student import Student
    from artifact.train.token_reading import Question, Reading, SupportReading


class StudentActor:
    """Rank `rank` of the student's data-parallel group."""

    def __init__(self, slot: Slot, rank: int, cluster: Cluster, dtype: str) -> None:
        with prepared_process(slot):
            import deepspeed  # noqa: F401  # seconds, spent while other actors start
            from transformers import AutoModelForCausalLM  # noqa: F401

        self.slot, self.rank, self.cluster, self.dtype = slot, rank, cluster, dtype
        self.world_size = 0
        self._channel: Channel | None = None
        self.channel_id: str | None = None
        self.student: Student | None = None
        self.engine: ShardedEngine | None = None

    def ready(self) -> int:
        """The rank; answers once the actor is up."""
        return self.rank

    def address(self) -> tuple[str, int]:
        """This node's address and a port that was free a moment ago."""
        host = own_host()
        return host, free_ports(1, host)[0]

    def init_distributed(self, host: str, port: int, world_size: int, secret: str) -> None:
        """Form the data-parallel group; does nothing when it already has this size. `secret` is one for all ranks."""
        if self.world_size == world_size:
            return
        if self.world_size:
            raise ArtifactError(
                f"student actors are a group of {self.world_size}, {world_size} were asked for; run "
                "`artifact cluster stop`"
            )
        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            "RANK": str(self.rank),
            "WORLD_SIZE": str(world_size),
            "LOCAL_RANK": "0",
        }
        import deepspeed

        if self.slot.device == "cpu":
            # DeepSpeed would probe the compiler and build a shared-memory all-reduce (a minute or more of g++) for
            # tensor-parallel inference, which this actor does not do. An empty table says: no compiled operator.
            deepspeed.ops.__compatible_ops__ = {}
        import torch.distributed as dist

        backend = distributed_backend(self.slot.device)
        store = meeting_store(host, port, self.rank, world_size, dist.default_pg_timeout)
        dist.init_process_group(
            backend, store=dist.PrefixStore(f"student-{secret}", store), rank=self.rank, world_size=world_size
        )
        deepspeed.init_distributed(backend, rank=self.rank, world_size=world_size, verbose=False)
        self.world_size = world_size

    def seats(self) -> list[Seat]:
        """Where this rank's memory is."""
        return [seat_of(self.slot.device)]

    def join_sync(
        self, host: str, port: int, rank: int, world_size: int, way: str, timeout_s: float, channel_id: str
    ) -> None:
        """Become the sender, rank 0, of a weight-sync group."""
        self._channel = open_channel(way, host, port, rank, world_size, timeout_s, channel_id)
        self.channel_id = channel_id

    def sync_channel(self) -> str | None:
        """The id of the weight-sync group this rank sends in."""
        return self.channel_id

    def reset(self, model: str, optimiser: Optimiser, losses: Losses, total_steps: int, seed: int) -> Spec:
        """Fresh weights from checkpoint `model`, a fresh optimiser, a schedule over `total_steps`; the sync spec."""
        import torch

        from artifact.actors.sharding import ShardedEngine
        from artifact.actors.shared_prompts import share_prompts
        from artifact.train.student import Policy, Student

        torch.manual_seed(seed)
        if self.engine is not None:
            self.engine.destroy()
            self.engine = self.student = None
            gc.collect()  # DeepSpeed's engine and its hooks refer to one another; old weights go before new ones come
        network = load_network(model, self.dtype)
        if optimiser.shared_prompts:
            share_prompts(network)
        policy = Policy(network, losses, optimiser.gradient_checkpointing, optimiser.shared_prompts)
        spec = spec_of(with_explicit_head(network.named_parameters(), bool(network.config.tie_word_embeddings)))
        c = self.cluster
        self.engine = ShardedEngine(policy, optimiser, c.zero_stage, self.dtype, c.offload_optimiser)
        self.student = Student(
            policy, self.engine, optimiser, losses, total_steps, world_size=self.world_size, device=self.slot.device
        )
        return spec

    @property
    def network(self) -> Any:
        """The trained network, a transformers model; `reset` comes first."""
        assert self.student is not None, "reset comes first"
        return self.student.policy.network

    def _state(self) -> list[tuple[str, Any]]:
        return with_explicit_head(self.network.named_parameters(), bool(self.network.config.tie_word_embeddings))

    def step(
        self,
        work: StepWork,
        examples: Sequence[Example],
        reference: ReferenceLogprobs | None,
        *scores: TeacherScores | LentScores,
    ) -> dict[str, float]:
        """`Student.step` on this rank's examples."""
        import torch

        assert self.student is not None, "reset comes first"
        metrics = self.student.step(work, examples, self._opened(scores), reference) | _bytes_of(reference, scores)
        torch.set_num_threads(self.slot.threads)  # DeepSpeed's optimiser step may have changed it
        return metrics

    def accumulate(
        self,
        work: StepWork,
        examples: Sequence[Example],
        reference: ReferenceLogprobs | None,
        *scores: TeacherScores | LentScores,
    ) -> dict[str, float]:
        """`Student.accumulate` on this rank's examples of a part; the bytes that came with them."""
        assert self.student is not None, "reset comes first"
        self.student.accumulate(work, examples, self._opened(scores), reference)
        return _bytes_of(reference, scores)

    def _opened(self, scores: Sequence[TeacherScores | LentScores]) -> list[TeacherScores]:
        """The scores, those that are lent where they lie."""
        return [piece.open(self.slot.device) if isinstance(piece, LentScores) else piece for piece in scores]

    def update(self, work: StepWork, parts: int) -> dict[str, float]:
        """`Student.update` after so many parts."""
        import torch

        assert self.student is not None, "reset comes first"
        metrics = self.student.update(work, parts)
        torch.set_num_threads(self.slot.threads)  # DeepSpeed's optimiser step may have changed it
        return metrics

    def logprobs(self, sequences: Sequence[TokenPair]) -> list[np.ndarray]:
        """`Student.logprobs` under the current weights, the sync proof; every rank is asked."""
        assert self.student is not None, "reset comes first"
        return self.student.logprobs(sequences)

    def readings(
        self, questions: Sequence[Question], *scores: TeacherScores
    ) -> list[tuple[Reading, SupportReading | None]]:
        """`Student.readings` under the current weights; every rank is asked."""
        assert self.student is not None, "reset comes first"
        return self.student.readings(questions, scores)

    def broadcast(self, spec: Spec) -> list[int]:
        """Send all weights to this rank's engines, which must be receiving; every rank is asked, whoever has engines
        sends.

        Returns the fingerprints of what it sent, none on a rank without engines.
        """
        assert self.engine is not None, "reset comes first"
        assert self.rank or self._channel is not None, "join_sync comes first"
        return send(self._channel, self._state(), spec, self.engine.whole)

    def save_weights(self, folder: str) -> None:
        """Write the current weights as a Hugging Face checkpoint; every rank is asked, the first one writes."""
        assert self.engine is not None, "reset comes first"
        held: dict[str, Any] | None = None
        if self.engine.stage == 3:  # one tensor at a time is whole, and the first rank keeps a copy in host memory
            names: dict[Any, str] = {}  # a tied tensor is written once, under its first name
            for name, tensor in self.network.state_dict(keep_vars=True).items():
                names.setdefault(tensor, name)
            held = {}
            for tensor, name in names.items():
                with self.engine.whole([tensor]):
                    if self.rank == 0:
                        held[name] = tensor.detach().to("cpu", copy=True)
        if self.rank == 0:
            self.network.save_pretrained(folder, state_dict=held, safe_serialization=True)

    def save_checkpoint(self, folder: str, tag: str) -> None:
        """Write weights and optimiser state for exact resumption; every rank writes its share."""
        assert self.engine is not None, "reset comes first"
        self.engine.save(folder, tag)

    def load_checkpoint(self, folder: str, tag: str) -> None:
        """Take up weights and optimiser state; ArtifactError when they cannot be read."""
        assert self.engine is not None, "reset comes first"
        self.engine.load(folder, tag)


def _bytes_of(reference: ReferenceLogprobs | None, scores: Sequence[TeacherScores | LentScores]) -> dict[str, float]:
    """Bytes that came to this rank through the object store, by what they are."""
    return {
        "bytes/teacher": float(sum(piece.nbytes for piece in scores)),
        "bytes/reference": float(sum(a.nbytes for rows in (reference or {}).values() for a in rows)),
    }

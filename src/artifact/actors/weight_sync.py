"""Weight sync: the student's parameters, broadcast into every rollout engine after each optimiser step.

UOPD §3.3 and appendix A.3: the student is rank 0 of a process group *beside* the default one of each process, engines
are ranks 1…E. The group is a `ProcessGroupGloo` (works across Ray placement groups) or `ProcessGroupNCCL` made
directly from a TCP store, so neither DeepSpeed's nor vLLM's own groups are touched. Parameters travel in flat buckets.
The store listens on the address it is found under alone (loopback on one machine), and every key in it starts with a
secret that only the members were told, over Ray, which asks for a token.

Two facts decide the form of the payload (vLLM 0.32): on CPU the engine has repacked its linear layers, so weights must
go through `reload_weights`; and with tied embeddings the output head keeps *old* weights unless `lm_head.weight` is
sent explicitly. A version counter would not notice: hence `team.py` proves every sync, that what arrived is what was
sent by fingerprints of every tensor, exact in every dtype, and that the engine uses it by log-probabilities.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BUCKET_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Spec:
    """Names, shapes and dtypes (torch names, e.g. `float32`) of the parameters, in the order they are sent."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters: what a sync sends to each engine."""
        import torch

        return sum(math.prod(s) * getattr(torch, d).itemsize for s, d in zip(self.shapes, self.dtypes, strict=True))

    def buckets(self) -> Iterator[list[int]]:
        """Indices of parameters that travel together: same dtype, at most `BUCKET_BYTES`."""
        import torch

        bucket: list[int] = []
        size = 0
        for i, (shape, dtype) in enumerate(zip(self.shapes, self.dtypes, strict=True)):
            nbytes = math.prod(shape) * getattr(torch, dtype).itemsize
            if bucket and (size + nbytes > BUCKET_BYTES or dtype != self.dtypes[bucket[0]]):
                yield bucket
                bucket, size = [], 0
            bucket.append(i)
            size += nbytes
        if bucket:
            yield bucket


class Channel:
    """One end of the weight-sync group. Rank 0 sends, all others receive."""

    def __init__(
        self, host: str, port: int, rank: int, world_size: int, backend: str, timeout_s: float, secret: str
    ) -> None:
        import torch.distributed as dist

        limit = timedelta(seconds=timeout_s)
        self.rank, self.backend = rank, backend
        self.store = meeting_store(host, port, rank, world_size, limit)
        store = dist.PrefixStore(f"weight-sync-{secret}", self.store)
        self.group: Any
        if backend == "gloo":
            self.group = dist.ProcessGroupGloo(store, rank, world_size, limit)
        else:
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = limit
            self.group = dist.ProcessGroupNCCL(store, rank, world_size, options)

    def broadcast(self, flat: torch.Tensor) -> torch.Tensor:
        """Broadcast `flat` from rank 0, in place. Gloo moves host memory, NCCL device memory."""
        moved = flat.cpu() if self.backend == "gloo" else flat
        self.group.broadcast(moved, 0).wait()
        return moved


def meeting_store(host: str, port: int, rank: int, world_size: int, limit: timedelta) -> torch.distributed.TCPStore:
    """The TCP store of a process group: rank 0 serves it on `host`, and on no other address of its machine."""
    import torch.distributed as dist

    listening: int | None = None
    if rank == 0:
        server = socket.create_server((host, port))
        listening = server.detach()  # the store closes it
    return dist.TCPStore(
        host, port, world_size, is_master=rank == 0, timeout=limit, wait_for_workers=False, master_listen_fd=listening
    )


def not_finite(actor: Any) -> str | None:
    """Run in a student by `__ray_call__`, before weights are sent: the first parameter with a NaN or an infinity.

    At ZeRO stage 3 a rank sees the share of each weight that it holds, so every rank is asked.
    """
    import torch

    with torch.no_grad():
        for name, tensor in actor.network.named_parameters():
            if not bool(torch.isfinite(getattr(tensor, "ds_tensor", tensor)).all()):
                return str(name)
    return None


def spec_of(named: Iterable[tuple[str, torch.Tensor]]) -> Spec:
    """The `Spec` of named tensors."""
    items = [(n, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in named]
    names, shapes, dtypes = zip(*items, strict=True)
    return Spec(names, shapes, dtypes)


def send(
    channel: Channel | None,
    named: list[tuple[str, torch.Tensor]],
    spec: Spec,
    whole: Callable[[list[torch.Tensor]], AbstractContextManager[None]],
) -> list[int]:
    """Broadcast all parameters, bucket by bucket, each made whole by `whole`; without a channel take part in that.

    Returns the fingerprints of what was sent, in the order of `spec`; none without a channel.
    """
    import torch

    from artifact.train.fingerprint import fingerprint

    sent: list[int] = []
    for bucket in spec.buckets():
        tensors = [named[i][1] for i in bucket]
        with whole(tensors):
            if channel is not None:
                sent += map(fingerprint, tensors)
                channel.broadcast(torch.cat([t.detach().reshape(-1) for t in tensors]))
    return sent


def receive(
    channel: Channel, spec: Spec, device: str, arrived: list[int] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """All other ranks: the parameters in order, one bucket in memory at a time.

    arrived  takes up the fingerprint of each
    """
    import torch

    from artifact.train.fingerprint import fingerprint

    where = "cpu" if channel.backend == "gloo" else device
    for bucket in spec.buckets():
        sizes = [math.prod(spec.shapes[i]) for i in bucket]
        flat = torch.empty(sum(sizes), dtype=getattr(torch, spec.dtypes[bucket[0]]), device=where)
        flat = channel.broadcast(flat)
        for i, piece in zip(bucket, flat.split(sizes), strict=True):
            if arrived is not None:
                arrived.append(fingerprint(piece))
            yield spec.names[i], piece.view(spec.shapes[i])


def with_explicit_head(state: Iterable[tuple[str, torch.Tensor]], tied: bool) -> list[tuple[str, torch.Tensor]]:
    """Named parameters with `lm_head.weight` sent beside the embedding it is tied to (see the module's opening)."""
    named = [(n, t) for n, t in state if not (tied and n == "lm_head.weight")]
    if tied:
        named.append(("lm_head.weight", dict(named)["model.embed_tokens.weight"]))
    return named


class EngineExtension:
    """Mixed into vLLM's worker (`worker_extension_cls`): the receiving end, inside the worker process."""

    device: Any
    rank: int

    def join_sync(
        self, host: str, port: int, first_rank: int, world_size: int, backend: str, timeout_s: float, secret: str
    ) -> None:
        """Join the group as rank `first_rank` + the worker's own rank."""
        self._channel = Channel(host, port, first_rank + self.rank, world_size, backend, timeout_s, secret)

    def receive_weights(self, spec: Spec) -> list[int]:
        """Replace all weights by those rank 0 is broadcasting now; returns the fingerprints of what arrived."""
        arrived: list[int] = []
        self.reload_weights(weights_iterator=receive(self._channel, spec, str(self.device), arrived))  # type: ignore[attr-defined]
        return arrived

    def load_checkpoint_weights(self, path: str) -> None:
        """Replace all weights by those of a Hugging Face checkpoint of the same architecture; BrokenModel for none."""
        from artifact.actors.checkpoints import sound_tensors
        from artifact.actors.weight_sync import with_explicit_head

        tied = bool(self.model_runner.model_config.hf_config.tie_word_embeddings)  # type: ignore[attr-defined]
        self.reload_weights(weights_iterator=iter(with_explicit_head(sound_tensors(path), tied)))  # type: ignore[attr-defined]

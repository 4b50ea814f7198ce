"""How a bucket of weights gets from a rank of the student into engines: the ways, and which of them it is.

| `cluster.weight_transfer` | what moves | where |
|---|---|---|
| `ipc` | where they are: receivers copy from the sender's memory (`shared_memory.py`) | on one device |
| `nccl` | memory of devices, from one to the others | on GPUs, no two members on one |
| `gloo` | host memory, over TCP | everywhere |
| `auto` | by the first of these that can | |

The members of a group meet at a TCP store, so neither DeepSpeed's nor vLLM's own groups are touched. It listens on the
address it is found under alone (loopback on one machine), and every key in it starts with a secret that only the
members were told, over Ray, which asks for a token.

`gloo` and `ipc` are run on CPUs by tests; on GPUs no whole sync was (docs/gpu.md). Left out: vLLM's own weight
transfer, which loads what comes in before it could be compared with what was sent, and has no way without a GPU.
"""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from artifact.actors.shared_memory import Lent, Where, opened
from artifact.errors import ConfigError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Seat:
    """Whose memory a process computes in: the machine's name, and `cpu` or the identity of a GPU."""

    machine: str
    device: str


def seat_of(device: Any) -> Seat:
    """The seat of this process, which computes on the torch device `device`."""
    import torch

    at = torch.device(device)
    of = "cpu" if at.type == "cpu" else str(torch.cuda.get_device_properties(at).uuid)
    return Seat(platform.node(), of)


def choose(wanted: str, members: Sequence[Seat]) -> str:
    """The way by which weights pass between `members` where the configuration wants `wanted`.

    Raises ConfigError where that one cannot.
    """
    seats = set(members)
    can = {
        "ipc": len(seats) == 1,
        "nccl": len(seats) == len(members) and all(seat.device != "cpu" for seat in seats),
        "gloo": True,
    }
    if wanted == "auto":
        return next(way for way, possible in can.items() if possible)
    if not can[wanted]:
        needs = {"ipc": "all of them on one device", "nccl": "a GPU for each of them"}[wanted]
        raise ConfigError(
            f"cluster.weight_transfer = {wanted} needs {needs}, and student and engines are on "
            f"{', '.join(sorted(f'{s.device} of {s.machine}' for s in members))}: set it to auto, or change "
            "cluster.layout"
        )
    return wanted


class Channel(Protocol):
    """One end of a group in which rank 0 sends and all others take."""

    def send(self, flat: torch.Tensor) -> None:
        """Give the numbers of `flat` to all others; returns when `flat` may change."""
        ...

    def take(self, count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        """`count` numbers that rank 0 sends now, in memory of this process's own: of `device`, or the host's."""
        ...


def open_channel(
    way: str, host: str, port: int, rank: int, world_size: int, timeout_s: float, secret: str
) -> GroupChannel | MemoryChannel:
    """This process's end of a group of `world_size` whose weights pass by `way`."""
    import torch.distributed as dist

    limit = timedelta(seconds=timeout_s)
    store = dist.PrefixStore(f"weight-sync-{secret}", meeting_store(host, port, rank, world_size, limit))
    if way == "ipc":
        return MemoryChannel(store, rank, world_size)
    return GroupChannel(way, store, rank, world_size, limit)


class GroupChannel:
    """By a process group of torch: Gloo moves host memory, NCCL device memory."""

    def __init__(self, way: str, store: Any, rank: int, world_size: int, limit: timedelta) -> None:
        import torch.distributed as dist

        self.way = way
        self.group: Any
        if way == "gloo":
            self.group = dist.ProcessGroupGloo(store, rank, world_size, limit)
        else:
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = limit
            self.group = dist.ProcessGroupNCCL(store, rank, world_size, options)

    def send(self, flat: torch.Tensor) -> None:
        """Broadcast `flat`."""
        self.group.broadcast(flat.cpu() if self.way == "gloo" else flat, 0).wait()

    def take(self, count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        """What rank 0 broadcasts."""
        import torch

        flat = torch.empty(count, dtype=dtype, device="cpu" if self.way == "gloo" else device)
        self.group.broadcast(flat, 0).wait()
        return flat


class MemoryChannel:
    """By memory that all members can open: where a bucket is goes through the store, and all copy it from there."""

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self.store, self.rank, self.others = store, rank, range(1, world_size)
        self._count = 0

    def send(self, flat: torch.Tensor) -> None:
        """Say where `flat` is, and wait until every other member has copied it. DiskFull where it cannot be shared."""
        lent = Lent(flat)
        try:
            self._offer(lent.where)
        finally:
            lent.take_back()

    def _offer(self, where: Where) -> None:
        key = f"bucket-{self._count}"
        self.store.set(key, json.dumps(where))
        taken = [f"{key}-taken-by-{rank}" for rank in self.others]
        self.store.wait(taken)
        for name in (key, *taken):
            self.store.delete_key(name)
        self._count += 1

    def take(self, count: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        """A copy of what rank 0 shares."""
        import torch

        key = f"bucket-{self._count}"
        own = opened(json.loads(self.store.get(key)), count, dtype, device).clone()
        if own.is_cuda:
            torch.cuda.synchronize(own.device)
        self.store.set(f"{key}-taken-by-{self.rank}", "")
        self._count += 1
        return own


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

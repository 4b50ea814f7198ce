"""The ways of a weight sync, in processes of their own: what is taken is what was sent; and which way is chosen."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from artifact.actors import shared_memory
from artifact.actors.ports import free_ports
from artifact.actors.transfer import MemoryChannel, Seat, choose, open_channel, seat_of
from artifact.actors.weight_sync import Spec, receive, send
from artifact.disk import DiskFull
from artifact.errors import ConfigError
from artifact.train.fingerprint import fingerprint

NAMED = {
    "whole": torch.arange(12, dtype=torch.float32).reshape(3, 4).mul_(1.1),
    "zero with a sign": torch.tensor([-0.0, 1e-40, 3.0]),
    "half": torch.linspace(-2, 2, 35, dtype=torch.bfloat16).reshape(5, 7),
    "one": torch.tensor([7.0], dtype=torch.bfloat16),
}
SPEC = Spec(tuple(NAMED), tuple(tuple(t.shape) for t in NAMED.values()), ("float32", "float32", "bfloat16", "bfloat16"))


def changed(version: int) -> list[tuple[str, torch.Tensor]]:
    """The tensors of one of several syncs."""
    return [(name, tensor + version) for name, tensor in NAMED.items()]


def take(way: str, port: int, rank: int, world_size: int, told: Any) -> None:
    """A member that takes three syncs and says the bits of what came."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    channel = open_channel(way, "127.0.0.1", port, rank, world_size, 60.0, "secret")
    for version in range(3):
        arrived: list[int] = []
        came = dict(receive(channel, SPEC, "cpu", arrived))
        same = all(torch.equal(came[n].view(torch.uint8), t.view(torch.uint8)) for n, t in changed(version))
        told.put((rank, version, same, arrived))


@pytest.mark.parametrize("bucket", [256 * 2**20, 20])
@pytest.mark.parametrize("way", ["gloo", "ipc"])
def test_every_member_takes_what_was_sent_to_the_bit(
    way: str, bucket: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three syncs of two receivers, in buckets of everything of a dtype and of single tensors; nothing stays behind."""
    from contextlib import nullcontext

    monkeypatch.setattr("artifact.actors.weight_sync.BUCKET_BYTES", bucket)
    monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    [port] = free_ports(1)
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    others = [context.Process(target=take, args=(way, port, rank, 3, told)) for rank in (1, 2)]
    for other in others:
        other.start()
    try:
        channel = open_channel(way, "127.0.0.1", port, 0, 3, 60.0, "secret")
        sent = [send(channel, changed(version), SPEC, lambda tensors: nullcontext()) for version in range(3)]
        found = sorted(told.get(timeout=60) for _ in range(6))
    finally:
        for other in others:
            other.join(timeout=20)
            other.kill()
    assert found == [(rank, version, True, sent[version]) for rank in (1, 2) for version in range(3)]
    assert sent[1] == [fingerprint(t) for _, t in changed(1)]
    assert not list(tmp_path.iterdir()), "what was shared is removed"


def test_memory_that_is_full_says_so_and_nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mapping beyond what there is would end the process without a word."""

    def full(handle: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull, match=str(tmp_path)):
        MemoryChannel(None, 0, 2).send(torch.zeros(4))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_shared_has_no_name_and_can_be_read_by_its_owner_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    class Store:
        def set(self, key: str, value: str) -> None:
            path = Path(json.loads(value)["path"])
            seen.append((path, path.stat().st_mode & 0o777, list(tmp_path.iterdir())))

        def wait(self, keys: list[str]) -> None:
            pass

        delete_key = wait

    monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
    MemoryChannel(Store(), 0, 2).send(torch.zeros(4))
    [(path, mode, files)] = seen
    assert mode == 0o600 and not files and not path.exists(), "once it is taken it is gone"


ONE, OTHER, ELSEWHERE = Seat("a", "GPU-1"), Seat("a", "GPU-2"), Seat("b", "GPU-1")
HOST = Seat("a", "cpu")


@pytest.mark.parametrize(
    ("members", "possible"),
    [
        ([ONE, ONE], ["ipc", "gloo"]),  # colocated
        ([ONE, OTHER, ELSEWHERE], ["nccl", "gloo"]),  # the papers' layout, over two machines
        ([ONE, ONE, OTHER], ["gloo"]),  # NCCL refuses two members on one device
        ([HOST, HOST, HOST], ["ipc", "gloo"]),
        ([HOST, Seat("b", "cpu")], ["gloo"]),
        ([ONE, HOST], ["gloo"]),
    ],
)
def test_the_way_is_the_first_that_all_members_can(members: list[Seat], possible: list[str]) -> None:
    assert choose("auto", members) == possible[0]
    for wanted in ("ipc", "nccl", "gloo"):
        if wanted in possible:
            assert choose(wanted, members) == wanted
        else:
            with pytest.raises(ConfigError, match=rf"cluster.weight_transfer = {wanted} needs .* of a"):
                choose(wanted, members)


def test_a_seat_is_a_machine_and_a_device() -> None:
    assert seat_of("cpu") == seat_of(torch.device("cpu")) == Seat(os.uname().nodename, "cpu")

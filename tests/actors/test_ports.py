"""Ports for servers that start later: free, different, and none that the system gives away by itself meanwhile."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from artifact.actors import ports


def test_no_port_is_one_that_an_outgoing_connection_may_get() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    drawn = ports.free_ports(50)
    assert len(set(drawn)) == 50
    assert not set(drawn) & set(range(first, last + 1)), "the next connection that leaves may take it"
    assert not set(drawn) & set(range(10_002, 20_000)), "Ray's own workers may take it"


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = ports.free_ports(3)
    monkeypatch.setattr(ports, "candidates", lambda: [one, two, three])
    with contextlib.closing(socket.create_server(("127.0.0.1", one))):
        assert set(ports.free_ports(2)) == {two, three}
        with pytest.raises(OSError, match=r"has 2 free ports .* 3 are needed"):
            ports.free_ports(3)


@pytest.mark.parametrize(
    ("first", "expected"),
    [("32768\t60999", (20_000, 32_768)), ("25000 60999", (20_000, 25_000)), ("1024 65535", (20_000, 32_768))],
)
def test_the_range_follows_the_system(
    first: str, expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text(first, encoding="ascii")
    monkeypatch.setattr(ports, "RANGE", tmp_path / "range")
    found = ports.candidates()
    assert (found.start, found.stop) == expected
    monkeypatch.setattr(ports, "RANGE", tmp_path / "none")
    assert ports.candidates() == range(20_000, 32_768), "a system that does not say"

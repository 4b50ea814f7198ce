"""Ports for servers that start a moment later: free now, and such as nobody is given by chance.

A port that the system picks for `bind(0)` it also gives to the next connection that leaves this machine, so it may be
taken before the server that it was meant for listens. These lie below that range, and above the one that Ray gives its
workers.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

ABOVE_RAYS_WORKERS = 20_000
"""`ray start` gives its workers the ports 10,002 to 19,999."""

USUAL_FIRST = 32_768
"""The first port that Linux gives to outgoing connections, where nothing else is set."""

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

FEWEST = 1_000
"""So many ports must lie between the two; with fewer, those below `USUAL_FIRST` are taken all the same."""


def candidates() -> range:
    """The ports to choose from."""
    first = int(RANGE.read_text(encoding="ascii").split()[0]) if RANGE.is_file() else USUAL_FIRST
    end = min(first, USUAL_FIRST)
    return range(ABOVE_RAYS_WORKERS, end if end >= ABOVE_RAYS_WORKERS + FEWEST else USUAL_FIRST)


def free_ports(n: int, host: str = "127.0.0.1") -> list[int]:
    """n different ports of `host` that are free at this moment, drawn at random. OSError where there are fewer."""
    found: list[int] = []
    for port in random.SystemRandom().sample(ports := candidates(), len(ports)):
        with socket.socket() as s:
            try:
                s.bind((host, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == n:
            return found
    raise OSError(f"{host} has {len(found)} free ports from {ports[0]} to {ports[-1]}; {n} are needed")

"""Who sends weights to whom, by which way; and the forming of these groups.

`separate`: the first rank of the student sends to all engines. `colocated`: each rank sends to the engine on its own
device, since at every ZeRO stage a rank can have the whole of a tensor for the moment it is sent. All groups have one
way: that of `cluster.weight_transfer`, or what all of them can (`transfer.choose`).
"""

from __future__ import annotations

import uuid
from typing import Any

from artifact.actors.calls import call
from artifact.actors.session import Actors
from artifact.actors.transfer import choose
from artifact.config import Cluster


def groups_of(cluster: Cluster, students: int, engines: int) -> list[tuple[int, list[int]]]:
    """(rank that sends, engines that take) of each group."""
    if cluster.layout == "colocated":
        return [(rank, [rank]) for rank in range(students)]
    return [(0, list(range(engines)))]


def form(actors: Actors, cluster: Cluster) -> str:
    """Form the groups where they are not formed yet; the way they have. ConfigError where it is not possible."""
    limit = cluster.start_timeout_s
    made = [
        (actors.students[rank], [actors.engines[i] for i in engines])
        for rank, engines in groups_of(cluster, len(actors.students), len(actors.engines))
    ]
    way = _way(made, cluster)
    for sender, takers in made:
        asked = [actor.sync_channel.remote() for actor in (sender, *takers)]
        channels = set(call(asked, limit, "asking for the weight-sync group"))
        [channel] = channels if len(channels) == 1 else [None]
        if channel is None or not channel.startswith(f"{way}-"):
            _join(sender, takers, f"{way}-{uuid.uuid4().hex}", way, cluster)
    return way


def scores_are_lent(actors: Actors, cluster: Cluster, way: str) -> bool:
    """Whether each rank reads its teacher's scores where they are: one teacher a rank, on its device, in memory that
    weights pass through as well.
    """
    if cluster.layout != "colocated" or way != "ipc" or not actors.teachers:
        return False
    asked = [actor.seats.remote() for actor in (*actors.students, *actors.teachers)]
    seats = call(asked, cluster.start_timeout_s, "asking actors for their devices")
    return seats[: len(actors.students)] == seats[len(actors.students) :]


def _way(made: list[tuple[Any, list[Any]]], cluster: Cluster) -> str:
    """The one way that all groups can."""
    asked = [[actor.seats.remote() for actor in (sender, *takers)] for sender, takers in made]
    found = [
        choose(cluster.weight_transfer, [seat for of in seats for seat in of])
        for seats in (call(refs, cluster.start_timeout_s, "asking actors for their devices") for refs in asked)
    ]
    return found[0] if len(set(found)) == 1 else "gloo"


def _join(sender: Any, takers: list[Any], name: str, way: str, cluster: Cluster) -> None:
    limit, size = cluster.start_timeout_s, cluster.engine.tensor_parallel_size
    host, port = call(sender.address.remote(), limit, "asking the student for its address")
    world = 1 + size * len(takers)
    joins = [sender.join_sync.remote(host, port, 0, world, way, cluster.step_timeout_s, name)]
    joins += [
        engine.join_sync.remote(host, port, 1 + i * size, world, way, cluster.step_timeout_s, name)
        for i, engine in enumerate(takers)
    ]
    call(joins, limit, "forming the weight-sync group")

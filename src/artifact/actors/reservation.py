"""Placement groups of this project: what is reserved for which actors, and its end.

Actors that are started together share one detached placement group, and live and end with it. Its name is unique and
says what it is for (`Reservation`), so any later process can tell what is whole, what lost an actor, and what a killed
driver left behind. While a request waits for resources it belongs to its driver's job and ends with it.

Left out: which resources a role needs (`placement.py`), and when actors may be ended (`session.py`, `presence.py`).
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from artifact.actors.placement import Placement
from artifact.errors import ArtifactError
from artifact.paths import project_root
from artifact.provenance import text_hash

GONE = ("REMOVED",)
"""States of a placement group that holds nothing any more."""

END_SECONDS = 30.0
"""How long actors may take to end."""


def namespace() -> str:
    """The Ray namespace of this project's actors: of this user and clone, on this machine."""
    owner = f"{platform.node()}\0{os.getuid()}\0{project_root()}"
    return f"artifact-{text_hash(owner)[:12]}"


@dataclass(frozen=True)
class Reservation:
    """One placement group of this project. `members` are the full names of the actors it was made for; `gpus` it holds
    or asks for.
    """

    id: str
    state: str
    identity: str
    members: tuple[str, ...]
    gpus: float = 0.0

    @property
    def lane(self) -> int:
        """The lane whose actors it holds."""
        return int(self.identity.rpartition("lane")[2])


def reservations() -> list[Reservation]:
    """All placement groups of this project that hold or ask for resources."""
    from ray.util.placement_group import placement_group_table

    out = []
    for entry in placement_group_table().values():
        owner, _, rest = entry["name"].partition("|")
        if owner == namespace() and entry["state"] not in GONE:
            identity, members, _ = rest.split("|")
            gpus = sum(bundle.get("GPU", 0.0) for bundle in entry["bundles"].values())
            of = tuple(members.split("+"))
            out.append(Reservation(entry["placement_group_id"], entry["state"], identity, of, gpus))
    return out


def actor_names() -> set[str]:
    """Names of this project's living actors."""
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    return {a["name"] for a in named if a["namespace"] == namespace()}


def find_actor(name: str) -> Any | None:
    """The handle of the actor called `name`, busy or not; None where there is none."""
    import ray

    try:
        return ray.get_actor(name, namespace=namespace())
    except ValueError:
        return None


def reserve(placement: Placement, identity: str, members: Sequence[str], timeout_s: float) -> tuple[str, Any]:
    """(id, placement group): a detached one with the bundles of `placement`, granted.

    Raises ArtifactError when it is not granted within `timeout_s`; nothing stays reserved then, nor when the caller is
    killed while it waits.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    bundles, deadline = [dict(b) for b in placement.bundles], time.monotonic() + timeout_s

    @contextlib.contextmanager
    def asked(lifetime: str | None, seconds: float) -> Iterator[tuple[Any, bool]]:
        name = f"{namespace()}|{identity}|{'+'.join(members)}|{uuid.uuid4().hex}"
        group = placement_group(bundles, strategy="PACK", lifetime=lifetime, name=name)
        keep = False
        try:
            granted = group.wait(max(seconds, 0.1))
            yield group, granted
            keep = granted and lifetime == "detached"
        finally:
            if not keep:
                remove_placement_group(group)

    while True:
        with asked(None, deadline - time.monotonic()) as (_, granted):
            pass  # a request of the job's own: it ends with a driver that is killed while it waits
        if granted:
            with asked("detached", min(10.0, deadline - time.monotonic())) as (group, granted):
                pass
            if granted:
                return group.id.hex(), group
        if time.monotonic() > deadline:
            raise ArtifactError(
                f"Ray cannot place {sorted(placement.slots)}: it needs {bundles}, the cluster has "
                f"{ray.cluster_resources()} of which {ray.available_resources()} is free; end what holds the rest "
                "(this project's own actors: `artifact cluster stop`) or choose a smaller tier"
            )


def end(reservation: Reservation) -> None:
    """Remove a placement group, and with it its actors; returns when their names are free."""
    import ray
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    for name in set(reservation.members) & actor_names():
        end_actor(name)
    remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(reservation.id))))
    deadline = time.monotonic() + END_SECONDS
    while set(reservation.members) & actor_names():
        if time.monotonic() > deadline:
            raise ArtifactError(
                f"actors {sorted(reservation.members)} do not end; `artifact cluster stop`, then run again"
            )
        time.sleep(0.1)


def end_actor(name: str) -> None:
    """End the actor called `name`, if it is there."""
    import ray

    with contextlib.suppress(ValueError):  # it has just ended
        ray.kill(ray.get_actor(name, namespace=namespace()))


def end_all() -> bool:
    """End everything that this project has on the cluster; False where it had nothing."""
    found = reservations()
    for reservation in found:
        end(reservation)
    rest = actor_names()
    for name in rest:
        end_actor(name)
    return bool(found or rest)

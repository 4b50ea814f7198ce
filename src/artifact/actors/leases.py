"""Who has the devices. A lease is a placement group; a new one may end those of its lane that are in its way.

UOPD appendix A.1: phase 1 has the machine to itself, and so has phase 2. So training ends the engines that sampled
frozen models, sampling ends what trained, and engines of several frozen models (teacher, judge, generator) share the
devices for as long as there is room. What another living process holds is left alone. Where no device is counted an
idle actor costs memory only, and stays.

Left out: who gets how much (`placement.py`), and the request itself (`reservation.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from artifact.actors import presence, reservation
from artifact.actors.placement import Placement, counts_devices
from artifact.actors.reservation import Reservation, find_actor
from artifact.config import Cluster


def end_leftovers(lane: int, identity: str, training: bool) -> None:
    """End what of this lane can serve nobody: a group that is not granted or lost an actor, actors of other code.

    training  the same for training actors of other settings, which would pile up
    Whoever calls has the lane to itself; groups that a living job holds all the same stay.
    """
    alive = reservation.actor_names()
    for group in reservation.reservations():
        if group.lane != lane:
            continue
        broken = group.state != "CREATED" or not alive.issuperset(group.members)
        old = group.identity.split("-")[0] != identity.split("-")[0]
        piled = training and group.identity != identity and _trains(group.members)
        if broken or ((old or piled) and _holder(group) is None):
            reservation.end(group)


def make_room(names: Mapping[str, str], placement: Placement, lane: int) -> None:
    """End groups of this lane that are in the way of a lease for the actors `names` (by role), of which those in
    `placement` are missing.

    A group of which only a part is wanted goes last: that part is missing then, and starts anew with the rest.
    """
    import ray

    own = ray.get_runtime_context().get_job_id()
    wanted, frozen = set(names.values()), any(role.startswith("sampler") for role in names)
    free = ray.available_resources().get("GPU", 0.0) + 1e-6  # shares are fractions
    needed = sum(bundle.get("GPU", 0.0) for bundle in placement.bundles)
    for group in sorted(reservation.reservations(), key=lambda group: bool(wanted & set(group.members))):
        members = set(group.members)
        if group.lane != lane or members <= wanted:
            continue
        opposed = _trains(members) if frozen else _samples(members) and not wanted & members
        if (opposed or free < needed) and _holder(group) in (None, own):
            reservation.end(group)
            free += group.gpus


def release_samplers(cluster: Cluster) -> None:
    """End the leases of engines that serve another architecture than the student's, where devices are counted."""
    if not counts_devices(cluster):
        return
    for group in reservation.reservations():
        if _samples(group.members):
            reservation.end(group)


def _trains(members: Collection[str]) -> bool:
    return any(m.startswith("student") for m in members)


def _samples(members: Collection[str]) -> bool:
    return any(m.startswith("sampler") for m in members)


def _holder(group: Reservation) -> str | None:
    """The living job that holds the group, "busy" where it does not answer for its work; None where nobody does."""
    import ray

    actor = find_actor(group.members[0])
    if actor is None:
        return None
    try:
        held: str | None = ray.get(actor.__ray_call__.remote(presence.holder), timeout=5)
        return held
    except ray.exceptions.GetTimeoutError:
        return "busy"
    except ray.exceptions.RayError:
        return None

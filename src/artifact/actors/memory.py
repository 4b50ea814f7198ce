"""Peak resident memory of a stage's actors, as the operating system has counted it since each of them started.

Left out: memory of the devices, and of the driver.
"""

from __future__ import annotations

import resource

from artifact.actors.calls import call
from artifact.actors.session import Actors


def peak_memory(actor: object) -> float:
    """The most memory this actor's process has had resident since it started, GiB (weights, caches and libraries)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def give_back_cached(actor: object) -> None:
    """Memory of the device that torch keeps for later goes back to the device, for another process on it."""
    import torch

    torch.cuda.empty_cache()  # nothing on a CPU


def peak_memory_by_actor(actors: Actors, timeout_s: float) -> dict[str, float]:
    """`peak_memory` of every actor of `actors`, GiB, by name.

    Actors outlive runs, so a peak belongs to all an actor has done so far. Raises ActorTimeout past `timeout_s`.
    """
    named = actors.by_name
    peaks = call([a.__ray_call__.remote(peak_memory) for a in named.values()], timeout_s, "peak memory")
    return {name: round(gib, 2) for name, gib in zip(named, peaks, strict=True)}

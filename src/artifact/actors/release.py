"""What an evaluation gives back when it ends: the model that the reference held for it, and actors of its own.

An evaluation whose prompts need a longer engine than the tier's has engines and a reference that no training run will
ever ask for; beside the tier's own they would hold memory and devices until the cluster stops.
"""

from __future__ import annotations

from artifact.actors import reservation
from artifact.actors.calls import call
from artifact.actors.leases import release_samplers
from artifact.actors.placement import scorers
from artifact.actors.reservation import find_actor
from artifact.actors.session import actor_identity
from artifact.config import Config
from artifact.paths import resolve_model


def release_actors(config: Config, model: str, own: Config) -> None:
    """After `model` was measured under `config` on a tier whose own settings are `own`.

    Actors that were started for `config` alone end. Of the tier's own, the reference forgets the model, and engines of
    another architecture go where devices are scarce.
    """
    identity = actor_identity(config, lane=0)
    if identity != actor_identity(own, lane=0):
        for group in reservation.reservations():
            if group.identity == identity:
                reservation.end(group)
        return
    release_samplers(config.cluster)
    found = [find_actor(f"{role}@{identity}") for role in {"reference", *scorers("reference", config.cluster)}]
    asked = [reference.release.remote(resolve_model(model)) for reference in found if reference is not None]
    call(asked, config.cluster.step_timeout_s, f"releasing {model}")

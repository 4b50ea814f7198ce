"""One Ray cluster and its actors, shared by all runs and notebooks.

Starting two vLLM engines takes most of a minute, a tiny run less than that: so actors are *detached* and named after
what they are made of and hold (`actor_identity`), and whoever comes next (another run, another notebook kernel)
attaches to them. A run resets student, optimiser and engines to the base weights; nothing of a run survives in an
actor. After an error that may have left one in an unknown state, all actors of the lane end (`taking_lane`).

Left out: how this process joins the cluster (`connection.py`), and who holds an actor (`presence.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifact.actors import imported, leases, nodes, presence, ray_head, reservation
from artifact.actors.calls import call
from artifact.actors.checkpoints import check_model
from artifact.actors.connection import connect
from artifact.actors.placement import ON_LOOPBACK, Placement, Slot, counts_devices, one_machine, place, scorers
from artifact.actors.reservation import Reservation, find_actor, namespace
from artifact.actors.turns import Kind
from artifact.config import Config
from artifact.errors import ActorDied, ActorTimeout, ArtifactError, NonFinite, StaleEngine
from artifact.models import json_of
from artifact.paths import resolve_model
from artifact.provenance import digest, text_hash


def stop(*, only_if_unused: bool = False) -> bool:
    """End this project's actors and its local head; False when there was nothing, or another process uses it.

    Of a cluster at RAY_ADDRESS only what this project started there ends: its actors and their reservations.
    """
    import ray

    if os.environ.get("RAY_ADDRESS"):
        connect()
        ended = reservation.end_all()
        ray.shutdown()
        return ended
    with ray_head.in_turn():
        if only_if_unused and ray_head.users():
            return False
        if ray.is_initialized():
            ray.shutdown()
        ray_head.put_back()
        return ray_head.stop()


def status() -> list[dict[str, Any]]:
    """The named actors of this cluster. Empty when no cluster runs."""
    if "RAY_ADDRESS" not in os.environ and ray_head.read_state() is None:
        return []
    connect()
    return [{"name": name} for name in sorted(reservation.actor_names())]


def architecture(model: str) -> str:
    """A short hash of what decides an engine's shape: the config in folder `model` without its provenance fields."""
    config = json_of(Path(model) / "config.json")
    for volatile in ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"):
        config.pop(volatile, None)
    return digest(config)[:10]


def serving(config: Config, model: str) -> Kind:
    """The kind of engines that serve the checkpoint `model`: the student's, or others where it is built otherwise."""
    alike = architecture(resolve_model(model)) == architecture(resolve_model(config.models.student))
    return "engine" if alike else "sampler"


NOT_AN_ACTORS = (
    "start_timeout_s",
    "step_timeout_s",
    "idle_timeout_s",
    "object_store_gib",
    "engines",
    "weight_transfer",
)
"""Settings of the cluster that no actor is made with."""

PUT_BACK_S = 5.0
"""So long actors may take to hear that they are free: whoever takes the lane next asks them who holds them."""


@dataclass
class Actors:
    """Handles of the actors a stage uses."""

    engines: list[Any] = field(default_factory=list)
    students: list[Any] = field(default_factory=list)
    teachers: list[Any] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)

    @property
    def teacher(self) -> Any:
        """The first of the teachers; None where none was asked for."""
        return next(iter(self.teachers), None)

    @property
    def reference(self) -> Any:
        """The first of the references; None where none was asked for."""
        return next(iter(self.references), None)

    @property
    def by_name(self) -> dict[str, Any]:
        """`engine-0`, …, `student-0`, …, `teacher`, `reference`; of several, `teacher-0`, …, `reference-0`, …"""
        named = {f"engine-{i}": e for i, e in enumerate(self.engines)}
        named |= {f"student-{i}": s for i, s in enumerate(self.students)}
        for kind, found in (("teacher", self.teachers), ("reference", self.references)):
            named |= {kind if len(found) == 1 else f"{kind}-{i}": a for i, a in enumerate(found)}
        return named


def open_actors(
    config: Config,
    *,
    engines_for: str | None,
    student: bool = False,
    teacher: bool = False,
    reference: bool = False,
    lane: int = 0,
) -> Actors:
    """Attach to, or start, the actors that are asked for.

    engines_for  the checkpoint whose *architecture* the engines must have; None = no engines
    lane         which of `cluster.lanes` sets of actors; sampling a frozen model has the engines of all of them

    Raises BrokenModel before anything is started where a model that these actors are to hold is not sound.
    """
    wanted = [engines_for, config.models.student if student else None, config.teacher_path if teacher else None]
    for model in dict.fromkeys(filter(None, wanted)):
        check_model(resolve_model(model))
    cluster = config.cluster
    connect(cluster)
    if not one_machine():
        nodes.check_models([resolve_model(model) for model in dict.fromkeys(filter(None, wanted))])
    roles: list[str] = []
    if engines_for is not None:
        served_by = serving(config, engines_for)
        sets = cluster.lanes if served_by == "sampler" else 1
        roles += [f"{served_by}-{i}" for i in range(cluster.engine.count * sets)]
    if student:
        roles += [f"student-{i}" for i in range(cluster.student_workers)]
    sampling = any(role.startswith("sampler") for role in roles)
    for kind in ["teacher"] * teacher + ["reference"] * reference:
        roles += scorers(kind, cluster, sampling=sampling)
    identity = actor_identity(config, lane)
    names = {role: _actor_name(role, identity, engines_for) for role in roles}
    try:
        handles = _attach(names, identity, lane, config)
    except ActorDied:  # it ended between the look and the call
        handles = _attach(names, identity, lane, config)
    missing = tuple(role for role in roles if role not in handles)
    if missing:
        handles |= _start_all(missing, names, identity, config, engines_for)
    actors = Actors()
    for role in roles:
        of = {"engine": actors.engines, "sampler": actors.engines, "student": actors.students}
        of |= {"teacher": actors.teachers, "reference": actors.references}
        of[role.split("-")[0]].append(handles[role])
    return actors


def _attach(names: dict[str, str], identity: str, lane: int, config: Config) -> dict[str, Any]:
    """By role, those of the actors that are there, held; what of the lane is in the way of the others has ended."""
    leases.end_leftovers(lane, identity, training="student-0" in names)
    missing = tuple(role for role, name in names.items() if find_actor(name) is None)
    if missing and counts_devices(config.cluster):
        leases.make_room(names, place(config.cluster, missing), lane)
    handles = {role: handle for role, name in names.items() if (handle := find_actor(name)) is not None}
    _hold(set(names.values()), config)
    return handles


def _start_all(
    missing: tuple[str, ...], names: dict[str, str], identity: str, config: Config, engines_for: str | None
) -> dict[str, Any]:
    """Start the `missing` roles in a placement group of their own; on any failure nothing of it stays."""
    cluster = config.cluster
    placement, members = place(cluster, missing), [names[role] for role in missing]
    reserved, group = reservation.reserve(placement, identity, members, min(cluster.start_timeout_s, 120))
    what = f"starting {', '.join(missing)}"
    try:
        handles: dict[str, Any] = {
            role: _start(role, names[role], placement, group, config, engines_for) for role in missing
        }
        call([actor.ready.remote() for actor in handles.values()], cluster.start_timeout_s, what)
        _hold(set(members), config)
        reports = call(
            [actor.__ray_call__.remote(imported.report) for actor in handles.values()], cluster.start_timeout_s, what
        )
        for role, found in zip(handles, reports, strict=True):
            if found != imported.mine():
                raise ArtifactError(
                    f"actor {role} imported other code or libraries than this process has: {found} there, "
                    f"{imported.mine()} here; bring all nodes of the cluster to the same version, and start again"
                )
    except BaseException:
        reservation.end(Reservation(reserved, "CREATED", identity, tuple(members)))
        raise
    return handles


def _hold(names: set[str], config: Config) -> None:
    """Wait for the actors called `names` and all that share a placement group with them, and hold them.

    One that is busy with what an interrupted driver had asked for is waited for, never killed.
    """
    import ray

    groups = [r for r in reservation.reservations() if names & set(r.members)]
    found = [find_actor(name) for r in groups for name in r.members]
    job, idle_s = ray.get_runtime_context().get_job_id(), config.cluster.idle_timeout_s
    call(
        [actor.__ray_call__.remote(presence.hold, job, idle_s) for actor in found if actor is not None],
        config.cluster.start_timeout_s,
        "waiting for actors that are busy",
    )


@contextlib.contextmanager
def taking_lane(lane: int) -> Iterator[None]:
    """Around the use of a lane's actors by one user: put back afterwards, ended where their state is not known.

    That is after a non-finite value, a stale engine, a deadline that passed and the death of one of them: the next run
    starts with new ones. Whoever takes a lane holds its lock.
    """
    try:
        yield
    except (NonFinite, StaleEngine, ActorTimeout, ActorDied):
        with contextlib.suppress(Exception):  # the first error is the one to be told
            end_lane(lane)
        raise
    finally:
        with contextlib.suppress(Exception):  # the cluster may be gone
            _put_back(lane)


def end_lane(lane: int) -> None:
    """End all actors of a lane, whatever their settings, where this process is connected to a cluster."""
    for group in _of_lane(lane):
        reservation.end(group)


def _put_back(lane: int) -> None:
    import ray

    groups = _of_lane(lane)
    if groups:
        job, alive = ray.get_runtime_context().get_job_id(), reservation.actor_names()
        found = [find_actor(name) for name in {m for group in groups for m in group.members} & alive]
        told = [actor.__ray_call__.remote(presence.put_back, job) for actor in found if actor is not None]
        if told:
            ray.wait(told, num_returns=len(told), timeout=PUT_BACK_S)


def _of_lane(lane: int) -> list[Reservation]:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return []
    return [group for group in reservation.reservations() if group.lane == lane]


def actor_identity(config: Config, lane: int) -> str:
    """What actors may be shared by: code, environment, the cluster section without `NOT_AN_ACTORS`, dtype, lane.

    Also whether the cluster is one machine, for its actors then listen on loopback only.
    """
    cluster = config.cluster.model_dump_json(exclude={*NOT_AN_ACTORS})
    settings = text_hash(f"{cluster}{config.models.dtype}{one_machine()}")[:8]
    return f"{imported.made_of(config.cluster.device)[:8]}-{settings}-lane{lane}"


def _actor_name(role: str, identity: str, engines_for: str | None) -> str:
    if role.startswith(("engine", "sampler")):
        assert engines_for is not None
        return f"{role}@{architecture(resolve_model(engines_for))}-{identity}"
    return f"{role}@{identity}"


def _start(role: str, name: str, placement: Placement, group: Any, config: Config, engines_for: str | None) -> Any:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    slot = placement.slots[role]
    options = {
        "name": name,
        "namespace": namespace(),
        "lifetime": "detached",
        "num_cpus": slot.num_cpus,
        "num_gpus": slot.num_gpus,
        "runtime_env": {"env_vars": slot.env | (ON_LOOPBACK if one_machine() else {})},
        "scheduling_strategy": PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=placement.bundle_of[role]
        ),
    }
    made, arguments = _class_of(role, slot, config, engines_for)
    return ray.remote(made).options(**options).remote(*arguments)


def _class_of(role: str, slot: Slot, config: Config, engines_for: str | None) -> tuple[type, tuple[Any, ...]]:
    """The class of an actor and what it is made with."""
    if role.startswith(("engine", "sampler")):
        from artifact.actors.engine import RolloutEngine

        model = resolve_model(str(engines_for))
        return RolloutEngine, (slot, model, config.models.dtype, config.cluster.engine.model_dump())
    if role.startswith("student"):
        from artifact.actors.student import StudentActor

        return StudentActor, (slot, int(role.split("-")[1]), config.cluster, config.models.dtype)
    from artifact.actors.scoring import ScoringActor

    return ScoringActor, (slot, config.models.dtype)

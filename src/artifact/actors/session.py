"""One Ray cluster and its actors, shared by all runs and notebooks.

Starting two vLLM engines takes most of a minute, a tiny run less than that: so actors are *detached* and named after
what they hold, and whoever comes next (another run, another notebook kernel) attaches to them. A run resets student,
optimiser and engines to the base weights; nothing of a run survives in an actor.

The cluster at `RAY_ADDRESS` is joined where that is set; otherwise a local one is found or started (`ray_head.py`).
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifact.actors import ray_head
from artifact.actors.checkpoints import check_model
from artifact.actors.placement import Placement, keeps_idle_engines, place
from artifact.config import Config
from artifact.errors import ActorTimeout, ArtifactError
from artifact.models import json_of
from artifact.paths import resolve_model
from artifact.provenance import digest, text_hash

NAMESPACE = "artifact"


def call(refs: Any, timeout_s: float, what: str) -> Any:
    """`ray.get` with a deadline and an error that says what was being waited for.

    Raises ActorTimeout past the deadline, ArtifactError when an actor died; an error raised *in* an actor that the
    user can act on arrives as itself.
    """
    import ray

    try:
        return ray.get(refs, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as err:
        raise ActorTimeout(
            f"{what} did not finish within {timeout_s:.0f} s; raise cluster.step_timeout_s (or start_timeout_s), or "
            "run `artifact cluster stop` and start again if an actor hangs"
        ) from err
    except ray.exceptions.RayTaskError as err:
        if isinstance(err.cause, ArtifactError):
            raise err.cause from err
        raise
    except ray.exceptions.RayActorError as err:
        raise ArtifactError(
            f"{what} failed because an actor died: {err}; `artifact cluster stop`, then run again"
        ) from err


def connect(num_cpus: int = 16) -> None:
    """Join `RAY_ADDRESS` where it is set, else this project's local head, started if it does not run. Idempotent."""
    given = os.environ.get("RAY_ADDRESS")
    imported_before = "ray" in sys.modules
    if not given:
        os.environ.update(ray_head.environment())
    logging.getLogger("ray.widgets.util").setLevel(logging.ERROR)  # importing ray asks for ipywidgets in a notebook
    import ray

    if ray.is_initialized():
        return
    if imported_before:
        _read_settings_again()
    options: Any = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
    if given:
        try:
            ray.init(address=given, **options)
        except ConnectionError as err:
            raise ArtifactError(
                f"no Ray cluster answers at RAY_ADDRESS={given!r}; start one with `ray start --head` or unset the "
                "variable to use a local one"
            ) from err
        return
    state = ray_head.read_state()
    ray.init(address=state["address"] if state else ray_head.start(num_cpus), **options)


def _read_settings_again() -> None:
    """Ray reads its authentication settings when it is imported, here before they were set: in a notebook, say."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def stop() -> bool:
    """Stop this project's local cluster and its actors; False when none ran. A cluster at RAY_ADDRESS is left alone."""
    import ray

    if ray.is_initialized():
        ray.shutdown()
    return ray_head.stop()


def status() -> list[dict[str, Any]]:
    """The named actors of this cluster. Empty when no cluster runs."""
    if "RAY_ADDRESS" not in os.environ and ray_head.read_state() is None:
        return []
    connect()
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    return [{"name": n} for n in sorted(a["name"] for a in named if a["namespace"] == NAMESPACE)]


def architecture(model: str) -> str:
    """A short hash of what decides an engine's shape: the config in folder `model` without its provenance fields."""
    config = json_of(Path(model) / "config.json")
    for volatile in ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"):
        config.pop(volatile, None)
    return digest(config)[:10]


@dataclass
class Actors:
    """Handles of the actors a stage uses."""

    engines: list[Any] = field(default_factory=list)
    students: list[Any] = field(default_factory=list)
    teacher: Any = None
    reference: Any = None


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
    connect()
    cluster = config.cluster
    roles: list[str] = []
    if engines_for is not None:
        kind = (
            "engine"
            if architecture(resolve_model(engines_for)) == architecture(resolve_model(config.models.student))
            else "sampler"
        )
        roles += [f"{kind}-{i}" for i in range(cluster.engine.count * (cluster.lanes if kind == "sampler" else 1))]
    if student:
        roles += [f"student-{i}" for i in range(cluster.student_workers)]
    roles += ["teacher"] * teacher + ["reference"] * reference
    identity = actor_identity(config, lane)
    names = {role: _actor_name(role, identity, engines_for) for role in roles}
    handles = {role: find_actor(name) for role, name in names.items()}
    missing = tuple(role for role, handle in handles.items() if handle is None)
    placement = place(cluster, missing)
    group = _reserve(placement, f"{'+'.join(missing)}@{identity}", cluster.start_timeout_s) if missing else None
    for role in missing:
        handles[role] = _start(role, names[role], placement, group, config, engines_for)
    if missing:
        started: list[Any] = [handles[role] for role in missing]
        call([actor.ready.remote() for actor in started], cluster.start_timeout_s, f"starting {', '.join(missing)}")
    actors = Actors()
    for role, handle in handles.items():
        if role.startswith(("engine", "sampler")):
            actors.engines.append(handle)
        elif role.startswith("student"):
            actors.students.append(handle)
        else:
            setattr(actors, role, handle)
    return actors


def actor_identity(config: Config, lane: int) -> str:
    """What actors may be shared by: the cluster section, without its deadlines, the number type, and the lane."""
    text = config.cluster.model_dump_json(exclude={"start_timeout_s", "step_timeout_s"}) + config.models.dtype
    return f"{text_hash(text)[:8]}-lane{lane}"


def _actor_name(role: str, identity: str, engines_for: str | None) -> str:
    if role.startswith(("engine", "sampler")):
        assert engines_for is not None
        return f"{role}@{architecture(resolve_model(engines_for))}-{identity}"
    return f"{role}@{identity}"


def find_actor(name: str) -> Any | None:
    """The live actor called `name`, or None."""
    import ray

    try:
        handle = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None
    try:
        ray.get(handle.__ray_ready__.remote(), timeout=600)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        ray.kill(handle)
        return None
    return handle


def release_samplers(config: Config) -> None:
    """Give back the devices of engines that serve another architecture than the student's, where devices are scarce.

    UOPD appendix A.1: phase 1 has the machine to itself, and so has phase 2. Where idle engines cost nothing they stay.
    """
    import ray
    from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group

    if keeps_idle_engines(config.cluster):
        return
    for entry in placement_group_table().values():
        if entry["name"].startswith("sampler") and entry["state"] == "CREATED":
            remove_placement_group(get_placement_group(entry["name"]))
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == NAMESPACE and actor["name"].startswith("sampler"):
            ray.kill(ray.get_actor(actor["name"], namespace=NAMESPACE))


def _reserve(placement: Placement, name: str, timeout_s: float) -> Any:
    """A detached placement group with a bundle for every role that has to be started."""
    import ray
    from ray.util.placement_group import placement_group

    group = placement_group([dict(b) for b in placement.bundles], strategy="PACK", lifetime="detached", name=name)
    try:
        ray.get(group.ready(), timeout=min(timeout_s, 120))
    except ray.exceptions.GetTimeoutError as err:
        raise ArtifactError(
            f"Ray cannot place {sorted(placement.slots)}: it needs {[dict(b) for b in placement.bundles]}, the cluster "
            f"has {ray.cluster_resources()} of which {ray.available_resources()} is free; stop other actors with "
            "`artifact cluster stop` or choose a smaller tier"
        ) from err
    return group


def _start(role: str, name: str, placement: Placement, group: Any, config: Config, engines_for: str | None) -> Any:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    slot = placement.slots[role]
    options = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": slot.num_cpus,
        "num_gpus": slot.num_gpus,
        "runtime_env": {"env_vars": slot.env},
        "scheduling_strategy": PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=placement.bundle_of[role]
        ),
    }
    if role.startswith(("engine", "sampler")):
        from artifact.actors.engine import RolloutEngine

        model = resolve_model(str(engines_for))
        return (
            ray.remote(RolloutEngine)
            .options(**options)
            .remote(slot, model, config.models.dtype, config.cluster.engine.model_dump())
        )
    if role.startswith("student"):
        from artifact.actors.student import StudentActor

        return (
            ray.remote(StudentActor)
            .options(**options)
            .remote(slot, int(role.split("-")[1]), config.cluster, config.models.dtype)
        )
    from artifact.actors.scoring import ScoringActor

    return ray.remote(ScoringActor).options(**options).remote(slot, config.models.dtype)

"""Who runs where: the only file that knows whether a device is a CPU or a GPU.

A *role* is an actor of the loop. `place` turns the cluster section of a configuration into one Ray bundle and one
environment a role. The layout on four GPUs is that of UOPD appendix A.1: student and reference share GPU 0 by
fractional allocation, the teacher has GPU 1, one engine each has the others. With fewer GPUs than that all roles share
what there is. Colocated, each device has one role of each kind: rank i of the student, and the engine, teacher and
reference that work for it.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifact.config import Cluster
from artifact.errors import ConfigError

SINGLE_GPU_SHARE = {"engine": 0.3, "student": 0.35, "teacher": 0.25, "reference": 0.1, "sampler": 0.3}
"""Fractions of one GPU when all roles share it; Ray counts them, `gpu_memory_utilization` enforces the engine's."""


ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "VLLM_HOST_IP": "127.0.0.1"}
"""Environment of actors on a cluster of one machine: their process groups meet where no other machine can join."""


@dataclass(frozen=True)
class Slot:
    """What one actor gets: Ray resources, the torch device name inside it, and its process environment.

    one_model  a scoring actor holds one checkpoint at a time, for its device has no room for a second
    sleeps     an engine gives its device's memory up while others work on it
    """

    role: str
    num_cpus: float
    num_gpus: float
    device: str
    threads: int
    env: dict[str, str] = field(default_factory=dict)
    one_model: bool = False
    sleeps: bool = False


@dataclass(frozen=True)
class Placement:
    """Slots by role name (`engine-0`, `student-0`, `teacher`, …) and the Ray bundles that hold them."""

    slots: dict[str, Slot]
    bundles: tuple[dict[str, float], ...]
    bundle_of: dict[str, int]


def _environment(cluster: Cluster, role: str, threads: int) -> dict[str, str]:
    env = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONHASHSEED": "0",
    }
    if role.startswith(("engine", "sampler")):
        env |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in-process engine: reproducible, and ten times faster to load
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_CONFIGURE_LOGGING": "1",
        }
        if cluster.device == "cpu":
            # Ahead-of-time compilation is not stored on CPU: without it an engine starts with about a third less work,
            # the first like later ones.
            env |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_USE_AOT_COMPILE": "0"}
    if role.startswith("student"):
        env |= {"DS_ACCELERATOR": cluster.device, "DS_SKIP_CUDA_CHECK": "1"}
    return env


def _whole_devices(cluster: Cluster, *, frozen: bool) -> float:
    """GPUs with which no two roles share one, but for the reference: of engines of a frozen model, or of all lanes."""
    each = cluster.engine.gpus or cluster.engine.tensor_parallel_size
    engines = cluster.engine.count * each
    if frozen:
        return engines * cluster.lanes + cluster.engine.prove_weights
    return (cluster.student_workers + 1 + engines) * cluster.lanes


def _share_of_a_sampler(cluster: Cluster) -> float:
    """What an engine of a frozen model takes of a GPU, beside the reference: so those of two share one if both fit."""
    most = 1.0 - SINGLE_GPU_SHARE["reference"] * cluster.engine.prove_weights
    return min(max(SINGLE_GPU_SHARE["sampler"], cluster.engine.gpu_memory_utilization), most)


def scorers(kind: str, cluster: Cluster, *, sampling: bool = False) -> tuple[str, ...]:
    """The roles of the `teacher` or the `reference`: one, and where all is colocated one for each rank of the student.

    sampling  beside engines of a frozen model, which nobody trains on
    """
    if cluster.layout == "separate" or sampling:
        return (kind,)
    return tuple(f"{kind}-{rank}" for rank in range(cluster.student_workers))


def place(cluster: Cluster, roles: tuple[str, ...]) -> Placement:
    """The placement of `roles` (`engine-i`, `sampler-i`, `student-i`, `teacher`, `reference`) under `cluster`.

    ConfigError where an engine over several GPUs would have to share them.
    """
    slots: dict[str, Slot] = {}
    bundles: list[dict[str, float]] = []
    bundle_of: dict[str, int] = {}
    sampling = any(role.startswith("sampler") for role in roles)
    together = cluster.layout == "colocated" and not sampling
    whole = _whole_devices(cluster, frozen=sampling)
    enough, width = cluster.gpus >= whole and not together, cluster.engine.tensor_parallel_size
    if counts_devices(cluster) and width > 1 and not enough:
        raise ConfigError(
            f"engine.tensor_parallel_size = {width} needs whole GPUs: {whole:g} for all roles at once, and "
            f"cluster.gpus = {cluster.gpus}: lower engine.count or the width, or raise cluster.gpus"
        )
    for role in roles:
        kind = role.split("-")[0]
        threads = {"student": cluster.student_threads, "teacher": cluster.teacher_threads}.get(
            kind, cluster.engine.threads
        )
        env = _environment(cluster, role, threads)
        if not counts_devices(cluster):
            gpus = 0.0
        elif kind in ("engine", "sampler") and cluster.engine.gpus is not None:
            gpus = cluster.engine.gpus
        elif not enough and kind == "sampler":
            gpus = _share_of_a_sampler(cluster)
        elif not enough:
            gpus = SINGLE_GPU_SHARE[kind]
        elif kind in ("engine", "sampler"):
            gpus = float(width)
        elif kind == "student":
            gpus = 1.0 - cluster.colocate_reference  # the rest of the first rank's GPU is the reference's
        else:
            gpus = cluster.colocate_reference if kind == "reference" else 1.0
        sleeps = together and kind == "engine"
        slots[role] = Slot(role, 1.0, gpus, cluster.device, threads, env, counts_devices(cluster), sleeps)
        beside = "student-0" if kind == "reference" else None  # the frozen copy sits beside the first student rank
        if together:
            beside = next((other for other in bundle_of if other.split("-")[1:] == role.split("-")[1:]), None)
        if beside in bundle_of:
            index = bundle_of[beside]
            bundles[index]["CPU"] += 1.0
            if gpus:
                bundles[index]["GPU"] = round(bundles[index]["GPU"] + gpus, 6)
        else:
            index = len(bundles)
            bundles.append({"CPU": 1.0} | ({"GPU": gpus} if gpus else {}))
        bundle_of[role] = index
    return Placement(slots, tuple(bundles), bundle_of)


@contextmanager
def prepared_process(slot: Slot) -> Iterator[None]:
    """Set this process up as `slot` says; inside, the actor imports its heavy libraries.

    Meanwhile nothing is collected, and never what was imported: looking at all of it again and again was a fifth of
    the time that importing took.
    """
    os.environ.update(slot.env)
    gc.disable()
    try:
        import torch

        torch.set_num_threads(slot.threads)
        try:
            torch.set_num_interop_threads(1)
        except RuntimeError:
            pass  # already set by an earlier actor of this process; one value for the process's life is enough
        yield
    finally:
        gc.freeze()
        gc.enable()


def start_in_turn(device: str) -> AbstractContextManager[Any]:
    """Held while an engine starts: on CPU one at a time, so that the next finds in the cache what this one compiled."""
    if device != "cpu":
        return nullcontext()
    from filelock import FileLock

    return FileLock(Path(tempfile.gettempdir()) / f"artifact-{os.getuid()}-engine-start.lock")


def one_machine() -> bool:
    """Whether the cluster is a single node (True where this process is connected to none)."""
    import ray

    return not ray.is_initialized() or sum(node["Alive"] for node in ray.nodes()) == 1


def own_host() -> str:
    """The address under which this process's servers are found by the other actors: loopback on a single node."""
    import ray

    return "127.0.0.1" if one_machine() else ray.util.get_node_ip_address()


def counts_devices(cluster: Cluster) -> bool:
    """Whether actors reserve GPUs of the cluster: where there are some, or where Ray is told to count them on a CPU.

    Where they do not, an actor that waits for its next use costs memory only, and may stay.
    """
    return cluster.device != "cpu" or cluster.gpus > 0


def logical_gpus(cluster: Cluster) -> int | None:
    """The GPUs that a local head is told to count; None: those it finds."""
    return cluster.gpus if cluster.device == "cpu" and cluster.gpus else None


def distributed_backend(device: str) -> str:
    """torch.distributed back end of the student's data-parallel ranks."""
    return "gloo" if device == "cpu" else "nccl"

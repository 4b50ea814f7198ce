"""Is this machine set up? Versions against the lock, cores, memory, disk, compiler, GPUs, models, writable folders.

Each check says what it found and, where something is wrong, the remedy. Left out: whether the libraries work together,
which the integration tests show.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.console import Console

from artifact.config import Config
from artifact.errors import BrokenModel, ModelAbsent
from artifact.models import hub_says
from artifact.paths import figures_dir, results_dir
from artifact.provenance import lock_path, lock_pins, package_name
from artifact.studies import keys
from artifact.studies.memory_model import bytes_of, short_of
from artifact.studies.model_shape import shape_of_model
from artifact.studies.suremath import generator_of

CORES_WANTED, MEMORY_WANTED_GIB, DISK_WANTED_GIB = 2, 17, 5
"""Of a tier of the embedded models; a tier of larger ones needs disk for them besides (`disk_gib`)."""


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it is satisfied, what was found, what to do. `fatal` = nothing can run like this."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    fatal: bool = False


def check_python() -> Finding:
    """The interpreter is the one the lock was made for."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info[:2] == (3, 11), version, "use Python 3.11: the lock was resolved for it")


def compare_with_lock(pins: dict[str, str], installed: dict[str, str]) -> tuple[list[str], list[str]]:
    """Packages of the lock that are missing, and those of another version (a local part such as `+cpu` is ignored)."""
    missing = [name for name in pins if name not in installed]
    other = [
        f"{name} {installed[name]} instead of {pin}"
        for name, pin in pins.items()
        if name in installed and installed[name].split("+")[0] != pin.split("+")[0]
    ]
    return missing, other


def check_lock(device: str) -> Finding:
    """Every package of the lock is installed in its version."""
    path = lock_path(device)
    if not path.is_file():
        return Finding("packages", False, f"{path} does not exist", "restore it from the repository")
    installed = {package_name(d.metadata["Name"] or ""): d.version for d in metadata.distributions()}
    pins = lock_pins(path)
    missing, other = compare_with_lock(pins, installed)
    if not missing and not other:
        return Finding("packages", True, f"all {len(pins)} as in {path.name}")
    shown = [f"missing {name}" for name in missing] + other
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return Finding("packages", False, "; ".join(shown[:5]) + more, "remove .venv and start ./run_all.sh again")


def check_machine(config: Config) -> Iterator[Finding]:
    """Cores, memory, disk, compiler."""
    import psutil

    cores = len(os.sched_getaffinity(0))
    yield Finding("cores", cores >= CORES_WANTED, str(cores), f"with fewer than {CORES_WANTED} everything takes longer")
    memory = psutil.virtual_memory().available / 2**30
    remedy = (
        f"about {MEMORY_WANTED_GIB} GiB are used; close other programs or lower cluster.engine.kv_cache_gib and count"
    )
    yield Finding("free memory", memory >= MEMORY_WANTED_GIB, f"{memory:.1f} GiB", remedy)
    yield from check_disks(config)
    compiler = os.environ.get("CXX", "g++")
    yield Finding(
        "compiler",
        shutil.which(compiler) is not None,
        compiler,
        "install g++ or set CXX: extensions are compiled at first use",
    )
    if config.cluster.device == "cuda":
        yield from check_gpus(config)


def check_disks(config: Config) -> Iterator[Finding]:
    """Free space of every disk that takes models of the hub, results, or both, and what comes there."""
    from huggingface_hub import constants

    places = ((Path(constants.HF_HUB_CACHE), "models", "HF_HOME"), (results_dir(), "results", "ARTIFACT_RESULTS"))
    disks: dict[int, list[tuple[Path, float, str, str]]] = {}
    for (folder, what, variable), wanted in zip(places, disk_gib(config), strict=True):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        disks.setdefault(there.stat().st_dev, []).append((there, wanted, what, variable))
    for parts in disks.values():
        names, variables = (" and ".join(dict.fromkeys(of)) for of in ([p[2] for p in parts], [p[3] for p in parts]))
        free, wanted = shutil.disk_usage(parts[0][0]).free / 2**30, sum(part[1] for part in parts)
        remedy = f"free some space, or set {variables} ({names}) to another disk"
        yield Finding(f"free disk for {names}", free >= wanted, f"{free:.0f} GiB, {wanted:.0f} wanted", remedy)


def disk_gib(config: Config) -> tuple[float, float]:
    """GiB of disk that the tier needs: (models of the hub that are to be fetched, a run with its two checkpoints).

    A checkpoint holds weights and, in float32, master weights and both moments; the weights of every run stay.
    """
    each, models, results = bytes_of(config.models.dtype), 0.0, DISK_WANTED_GIB * 2**30
    for _, model in named_models(config):
        try:
            keys.model_state(model)
        except ModelAbsent:
            models += each * shape_of_model(model).parameters
        except (FileNotFoundError, BrokenModel):
            pass  # `check_models` tells it
    try:
        results += (each + 2 * (each + 12)) * shape_of_model(config.models.student).parameters
    except (FileNotFoundError, BrokenModel):
        pass
    return models / 2**30, results / 2**30


QUERY = "name,memory.total,driver_version"

ON_A_GPU = """
import json, torch
twice = int((torch.ones(8, device="cuda") * 2).sum())
gib = [torch.cuda.get_device_properties(i).total_memory / 2**30 for i in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "twice": twice, "gib": gib}))
"""


def check_gpus(config: Config) -> Iterator[Finding]:
    """Driver and names of the GPUs by `nvidia-smi`; that torch computes on one; how many it sees, and their memory."""
    tool, wanted = shutil.which("nvidia-smi"), config.cluster.gpus
    if tool is None:
        yield Finding("GPU driver", False, "no nvidia-smi", "this tier needs an NVIDIA GPU", fatal=True)
        return
    asked = [tool, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    rows = [[field.strip() for field in line.split(",")] for line in said.stdout.splitlines() if line.count(",") == 2]
    if said.returncode or not rows:
        words = (said.stdout + said.stderr).strip().splitlines() or ["it says nothing"]
        yield Finding("GPU driver", False, f"{tool}: {words[0]}", "install or repair NVIDIA's driver", fatal=True)
        return
    yield Finding("GPU driver", True, rows[0][2])
    computes, memory = check_torch()
    yield computes
    if not computes.ok:
        return
    hidden = len(rows) - len(memory)
    why = f"CUDA_VISIBLE_DEVICES or the machine hides {hidden} of them from torch" if hidden > 0 else ""
    yield Finding(
        "GPUs",
        len(memory) >= wanted,
        f"{len(memory)} x {rows[0][0]}, {wanted} wanted",
        f"cluster.gpus = {wanted} of this tier are not all on this machine{why and ': ' + why}: join a cluster "
        "(RAY_ADDRESS) or choose a smaller tier",
    )
    short = short_of(config, min(memory))
    yield Finding(
        "GPU memory", short is None, f"{min(memory):.1f} GiB", f"{short}: see `artifact plan --tier {config.tier}`"
    )


def check_torch() -> tuple[Finding, list[float]]:
    """(that torch computes on a GPU, GiB of each that it sees): a driver that is too old for it shows only there."""
    done = subprocess.run([sys.executable, "-c", ON_A_GPU], capture_output=True, text=True, check=False, timeout=300)
    told = json.loads(done.stdout) if done.returncode == 0 else {}
    if told.get("twice") == 16:
        return Finding("torch on a GPU", True, f"CUDA {told['cuda']}"), told["gib"]
    words = done.stderr.strip().splitlines()[-1:] or ["it computes wrongly"]
    remedy = "update the driver, or install torch for it"
    return Finding("torch on a GPU", False, words[0], remedy, fatal=True), []


def named_models(config: Config) -> list[tuple[str, str]]:
    """(what for, name) of every model of the tier."""
    judge = [("judge", config.models.judge)] if config.models.judge else []
    generator = generator_of(config)
    return [
        ("student", config.models.student),
        *((f"teacher {name}", model) for name, model in config.models.teachers.items()),
        *judge,
        *([("SURE-Math's generator", generator)] if generator else []),
    ]


def check_models(config: Config) -> Iterator[Finding]:
    """Every model of the tier is there and its files are whole: commit and content of each, without the network."""
    for role, model in named_models(config):
        try:
            yield Finding(role, True, f"{model} ({keys.model_state(model)})")
        except ModelAbsent as err:
            yield Finding(role, False, f"{model} (hub id, not in the cache: {hub_says(model)})", str(err))
        except (FileNotFoundError, BrokenModel) as err:
            yield Finding(role, False, model, str(err), fatal=True)


def check_folders() -> Iterator[Finding]:
    """Results and figures can be written."""
    for name, folder, variable in (
        ("results", results_dir(), "ARTIFACT_RESULTS"),
        ("figures", figures_dir(), "ARTIFACT_FIGURES"),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as err:
            yield Finding(name, False, f"{folder}: {err.strerror}", f"make it writable or set {variable}", fatal=True)
        else:
            yield Finding(name, True, str(folder))


def examine(config: Config) -> list[Finding]:
    """All checks for the tier of `config`."""
    return [
        check_python(),
        check_lock(config.cluster.device),
        *check_machine(config),
        *check_models(config),
        *check_folders(),
    ]


def print_findings(findings: list[Finding], console: Console) -> None:
    """One line per finding, the remedy below those that are not satisfied."""
    for finding in findings:
        mark = "[green]ok[/green]  " if finding.ok else "[red]FAIL[/red]" if finding.fatal else "[yellow]warn[/yellow]"
        console.print(f"{mark} {finding.name}: {finding.found}", highlight=False)
        if not finding.ok and finding.remedy:
            console.print(f"       {finding.remedy}", highlight=False)

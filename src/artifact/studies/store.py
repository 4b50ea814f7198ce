"""Where results lie and how they become final: written under another name, renamed when complete.

`result` is the only way to a stored result. It holds the lock of the key, so that one process at a time works on it and
a second one waits and then finds it; it gives a folder to work in, and writes two files beside what the caller made:
`manifest.json`, what the result is and was made with, the same bytes when it is made again on the same machine, and
`run_info.json`, which is of one making: when, how long, on which machine and commit. A folder without `manifest.json`
under its final name cannot exist, so a half-written result never counts.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifact.actors.ray_head import state_folder
from artifact.actors.session import taking_lane
from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.files import read_json, settle, unfinished, write_json
from artifact.paths import results_dir
from artifact.provenance import git_state, hardware, versions

MANIFEST, RUN_INFO = "manifest.json", "run_info.json"


def folder_of(kind: str, key: str) -> Path:
    """Final folder of a result: `results/<kind>/<key>`."""
    return results_dir() / kind / key


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished result, None when it is not finished. Raises DamagedFile."""
    path = folder / MANIFEST
    return read_json(path, f"delete {folder} and run its stage again") if path.is_file() else None


def finished(folder: Path) -> dict[str, Any]:
    """The manifest of a result that must be there; ArtifactError when it is not finished."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder} holds no finished result (no {MANIFEST}); run its stage again")
    return manifest


def run_info(folder: Path) -> dict[str, Any]:
    """What is of one making of a finished result: `seconds` by part and in `total`, `finished`, `git`, `hardware`, …"""
    path, remedy = folder / RUN_INFO, f"delete {folder} and run its stage again"
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: what the result cost is not known; {remedy}")
    return dict(read_json(path, remedy))


@dataclass
class Result:
    """A result that is there (`finished`), or is to be made in `folder`.

    Who makes it puts what it is into `manifest` and what is of this making alone into `run_info`; `seconds` there may
    name parts, and a `total` other than the time since the folder was handed out. When the block ends, `folder` is the
    final one, and `manifest` and `run_info` are complete.
    """

    folder: Path
    finished: bool
    manifest: dict[str, Any]
    run_info: dict[str, Any] = field(default_factory=lambda: {"seconds": {}})


@contextmanager
def result(
    kind: str, key: str, config: Config, *, force: bool = False, settings: dict[str, Any] | None = None
) -> Iterator[Result]:
    """The stored result `results/<kind>/<key>`, or an unfinished one that is final when the block ends well.

    settings  what the key depends on where that is not all of `config`: stored in its place, for two configurations
              may share the result
    An unfinished folder holds what an interrupted attempt left (that is what resumption reads); `force` begins anew.
    When the block raises, it stays. Raises ArtifactError when the results folder cannot be written.
    """
    final = folder_of(kind, key)
    partial = unfinished(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = (final.parent / f".{key}.lock").open("w")
    except OSError as err:
        raise ArtifactError(
            f"cannot write to {final.parent} ({err.strerror}); make it writable or set ARTIFACT_RESULTS to another "
            "folder"
        ) from err
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if force:
            shutil.rmtree(final, ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)
        manifest = read_manifest(final)
        if manifest is not None:
            yield Result(final, True, manifest, run_info(final))
            return
        partial.mkdir(exist_ok=True)
        stated = {"config": config.model_dump(mode="json")} if settings is None else {"settings": settings}
        out, watch = Result(partial, False, {"kind": kind, "key": key, "tier": config.tier, **stated}), Stopwatch()
        yield out
        out.manifest["versions"] = versions()
        out.run_info |= {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {"total": watch(), **out.run_info["seconds"]},
            "git": git_state(),
            "hardware": hardware(),
        }
        write_json(partial / RUN_INFO, out.run_info)
        write_json(partial / MANIFEST, out.manifest)
        settle(final)
        out.folder, out.finished, out.manifest = final, True, finished(final)
        (final.parent / f".{key}.lock").unlink(missing_ok=True)


@contextmanager
def actors_of(lane: int) -> Iterator[None]:
    """The actors of a lane for one user at a time, over threads and processes.

    Taken after the lock of a result's key, never the other way round.
    """
    with (state_folder() / f"lane-{lane}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with taking_lane(lane):
            yield


class Stopwatch:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def __call__(self) -> float:
        return round(time.perf_counter() - self._begin, 2)

"""Where results lie and how they become final: written under another name, renamed when complete.

A folder without `manifest.json` under its final name cannot exist, so a half-written result never counts. One process
at a time works on a key; a second one waits for the first and then finds the result.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifact.actors.ray_head import state_folder
from artifact.errors import ArtifactError
from artifact.paths import results_dir


def folder_of(kind: str, key: str) -> Path:
    """Final folder of a result: `results/<kind>/<key>`."""
    return results_dir() / kind / key


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished result, None when it is not finished."""
    path = folder / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def finished(folder: Path) -> dict[str, Any]:
    """The manifest of a result that must be there; ArtifactError when it is not finished."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder} holds no finished result (no manifest.json); run its stage again")
    return manifest


@contextmanager
def working_folder(kind: str, key: str, force: bool) -> Iterator[Path | None]:
    """The unfinished folder of a result to work in, or None when the result is finished already.

    Keeps what an interrupted attempt left (that is what resumption reads), unless `force`. Raises ArtifactError when
    the results folder cannot be written.
    """
    final = folder_of(kind, key)
    partial = final.with_name(final.name + ".partial")
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
        if read_manifest(final) is not None:
            yield None
            return
        partial.mkdir(exist_ok=True)
        yield partial


@contextmanager
def actors_of(lane: int) -> Iterator[None]:
    """The actors of a lane for one user at a time, over threads and processes.

    Actors are shared by name; a second user would replace the weights under the first. Taken after the lock of a
    result's key, never the other way round.
    """
    with (state_folder() / f"lane-{lane}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finish(kind: str, key: str, manifest: dict[str, Any]) -> Path:
    """Write the manifest into the working folder of `key` and give it its final name."""
    final = folder_of(kind, key)
    partial = final.with_name(final.name + ".partial")
    text = json.dumps(
        {"key": key, "finished": datetime.now(UTC).isoformat(timespec="seconds"), **manifest}, indent=1, sort_keys=True
    )
    (partial / "manifest.json").write_text(text + "\n", encoding="utf-8")
    partial.replace(final)
    (final.parent / f".{key}.lock").unlink(missing_ok=True)
    return final


class Stopwatch:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def __call__(self) -> float:
        return round(time.perf_counter() - self._begin, 2)

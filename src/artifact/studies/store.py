"""Where results lie and how they become final: written under another name, flushed, renamed when complete.

`result` is the only way to a stored result. It holds the lock of the key, so that one process at a time works on it and
a second one waits and then finds it; it gives a folder to work in, and writes two files beside what the caller made:
`manifest.json`, what the result is and was made with, the same bytes when it is made again on the same machine, and
`run_info.json`, which is of one making: when, how long, on which machine and commit. A folder without `manifest.json`
is no result, so a half-written one never counts.

A result is its files. `manifest.json` holds SHA-256, size and rows of each, `run_info.json` those of the files that are
of one making (`OF_ONE_MAKING`), and both a checksum of themselves. Who reads a result asks `finished` for its manifest
and `file`, `files` for its files; they raise DamagedFile where something is missing, too much, or altered.

What a name ends in says what it is: `.partial` is being made; `.old.partial` is what `--force` replaces, until the new
result has its name; `.gone.partial` is being deleted; `.aside-1` was found without a manifest and moved out of the way.
"""

from __future__ import annotations

import copy
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from artifact.actors.placement import counts_devices
from artifact.actors.ray_head import state_folder
from artifact.actors.session import serving, taking_lane
from artifact.actors.turns import taking_turn
from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.files import (
    PARTIAL,
    DamagedFile,
    discard,
    old,
    read_json,
    recover,
    rename,
    settle,
    unfinished,
    write_json,
)
from artifact.paths import results_dir
from artifact.provenance import git_state, hardware, seal, versions
from artifact.report.output_manifest import say
from artifact.studies.inventory import Account, account_of, altered, misplaced

MANIFEST, RUN_INFO = "manifest.json", "run_info.json"

ASIDE = ".aside-"
"""In the name of a folder that lay where a result belongs and was none."""

OF_ONE_MAKING = ("metrics.jsonl", "tensorboard/*", "*.seconds")
"""Files of a result that hold times: they differ when it is made again. Their account is in `run_info.json`."""


def folder_of(kind: str, key: str) -> Path:
    """Final folder of a result: `results/<kind>/<key>`."""
    return results_dir() / kind / key


def remedy(folder: Path) -> str:
    """How to make one stored result again, and it alone."""
    return f"run its stage with --force, or delete {folder} and run it again: only this result is made anew"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished result, None when it is not finished.

    Raises DamagedFile when it cannot be read, or when files are missing, cut, or not of the result.
    """
    if not (folder / MANIFEST).is_file():
        return None
    if wrong := misplaced(folder, account_in(folder), besides=(MANIFEST, RUN_INFO)):
        raise _damaged(folder, wrong)
    return copy.deepcopy(sealed(folder / MANIFEST))


def finished(folder: Path) -> dict[str, Any]:
    """The manifest of a result that must be there; ArtifactError when it is not finished, DamagedFile as above."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder} holds no finished result (no {MANIFEST}); run its stage again")
    return manifest


def run_info(folder: Path) -> dict[str, Any]:
    """What is of one making of a finished result: `seconds` by part and in `total`, `finished`, `git`, `hardware`, …"""
    return copy.deepcopy(sealed(folder / RUN_INFO))


def account_in(folder: Path) -> Account:
    """The files of a finished result as they were stored: SHA-256, bytes and rows, by name."""
    return {**sealed(folder / MANIFEST)["files"], **sealed(folder / RUN_INFO)["files"]}


def file(folder: Path, name: str) -> Path:
    """A file of a finished result, checked; DamagedFile when it is not there or not as it was stored."""
    finished(folder)
    stated = account_in(folder)
    if name not in stated:
        raise DamagedFile(f"{folder} holds no {name}; {remedy(folder)}")
    return _checked(folder, {name: stated[name]})[0]


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a finished result that match `pattern` (`evaluation/*.parquet`), checked, in order of their names.

    `*` does not reach into a folder. None may match. Raises DamagedFile as `file`.
    """
    finished(folder)
    stated = account_in(folder)
    fits = sorted(n for n in stated if n.count("/") == pattern.count("/") and fnmatchcase(n, pattern))
    return _checked(folder, {name: stated[name] for name in fits})


def checked(path: Path) -> Path:
    """`path`, a file or a folder of files, checked where it lies in a finished result.

    What is still being made, and what is no result, has no account and comes back as it is. Raises DamagedFile as
    `file`.
    """
    for folder in path.parents:
        if (folder / MANIFEST).is_file() and (folder / RUN_INFO).is_file():
            finished(folder)
            name = path.relative_to(folder).as_posix()
            stated = {n: of for n, of in account_in(folder).items() if n == name or n.startswith(f"{name}/")}
            if not stated:
                raise DamagedFile(f"{folder} holds no {name}; {remedy(folder)}")
            _checked(folder, stated)
            break
    return path


def _checked(folder: Path, account: Account) -> list[Path]:
    if wrong := altered(folder, account):
        raise _damaged(folder, wrong)
    return [folder / name for name in account]


def _damaged(folder: Path, wrong: list[str]) -> DamagedFile:
    more = f" (and {len(wrong) - 1} more: `artifact verify {folder.name}`)" if wrong[1:] else ""
    return DamagedFile(f"{folder} is damaged: {wrong[0]}{more}; {remedy(folder)}")


_READ: dict[Path, tuple[tuple[int, int, int], dict[str, Any]]] = {}


def sealed(path: Path) -> dict[str, Any]:
    """The facts in a manifest or run_info, not to be changed; DamagedFile when they are not those that were stored."""
    what_to_do = remedy(path.parent)
    try:
        stat = path.stat()
    except OSError as err:
        raise DamagedFile(f"{path} is missing; {what_to_do}") from err
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if path not in _READ or _READ[path][0] != state:
        facts = read_json(path, what_to_do)
        if not isinstance(facts, dict) or "checksum" not in facts or "files" not in facts:
            raise DamagedFile(f"{path} holds no checksums: another version wrote it; {what_to_do}")
        if seal(facts) != facts:
            raise DamagedFile(f"{path} was altered: it does not agree with its own checksum; {what_to_do}")
        _READ[path] = (state, facts)
    return _READ[path][1]


@dataclass
class Result:
    """A result that is there (`finished`), or is to be made in `folder`.

    Who makes it puts what it is into `manifest` and what is of this making alone into `run_info`; `seconds` there may
    name parts, and a `total` other than the time since the folder was handed out. What is needed only until the result
    is final goes below `scratch`. When the block ends, `folder` is the final one, and `manifest` and `run_info` are
    complete.
    """

    folder: Path
    finished: bool
    manifest: dict[str, Any]
    run_info: dict[str, Any] = field(default_factory=lambda: {"seconds": {}})

    def scratch(self, name: str) -> Path:
        """A folder beside the files of the result that is deleted once the result is final."""
        return unfinished(self.folder / name)


@contextmanager
def result(
    kind: str, key: str, config: Config, *, force: bool = False, settings: dict[str, Any] | None = None
) -> Iterator[Result]:
    """The stored result `results/<kind>/<key>`, or an unfinished one that is final when the block ends well.

    settings  what the key depends on where that is not all of `config`: stored in its place, for two configurations
              may share the result
    An unfinished folder holds what an interrupted attempt left (that is what resumption reads); `force` begins anew,
    and what it replaces stays on disk, renamed, until the new result is final. When the block raises, the unfinished
    folder stays. Raises ArtifactError when the results folder cannot be written, DamagedFile when what is there is
    damaged.
    """
    final = folder_of(kind, key)
    partial = unfinished(final)
    with _locked(final):
        if force:
            discard(partial)
            if final.is_dir():
                discard(old(final))
                rename(final, old(final))
        elif not partial.is_dir():
            recover(final)
        if final.is_dir() and not (final / MANIFEST).is_file():
            _move_aside(final)
        manifest = read_manifest(final)
        if manifest is not None:
            _tidy(final)
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
        out.manifest, out.run_info = with_files(partial, out.manifest, out.run_info)
        write_json(partial / RUN_INFO, out.run_info)
        write_json(partial / MANIFEST, out.manifest)
        settle(final)
        _tidy(final)
        out.folder, out.finished, out.manifest = final, True, finished(final)


def with_files(folder: Path, manifest: dict[str, Any], info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(manifest, run_info) of the files that lie in `folder` now, each with its part of the account and sealed."""
    account = account_of(folder)
    for name in (MANIFEST, RUN_INFO):
        account.pop(name, None)
    passing = {n for n in account if any(fnmatchcase(n, p) for p in OF_ONE_MAKING)}
    lasting = {n: stated for n, stated in account.items() if n not in passing}
    return seal(manifest | {"files": lasting}), seal(info | {"files": {n: account[n] for n in sorted(passing)}})


@contextmanager
def _locked(final: Path) -> Iterator[None]:
    """The key of `final` for one user at a time, over threads and processes; the lock's file goes with the last."""
    path = final.parent / f".{final.name}.lock"
    while True:
        lock = _open_lock(path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            break
        lock.close()  # whoever had it before removed its name: a third process would lock another file
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as err:
        raise ArtifactError(
            f"cannot write to {path.parent} ({err.strerror}); make it writable or set ARTIFACT_RESULTS to another "
            "folder"
        ) from err


def _move_aside(final: Path) -> None:
    """Give a folder that is no result another name, and say so: its files may be somebody's."""
    number = 1
    while (aside := final.with_name(f"{final.name}{ASIDE}{number}")).exists():
        number += 1
    rename(final, aside)
    say(f"{final} holds no {MANIFEST}, so it is no finished result; moved to {aside}, delete it if nobody needs it")


def _tidy(final: Path) -> None:
    """Remove what killed attempts left, and what was needed only until `final` had its name."""
    leftovers = [unfinished(final), old(final), *final.parent.glob(f"{final.name}.*.gone{PARTIAL}")]
    for path in (*leftovers, *sorted(final.rglob(f"*{PARTIAL}"))):
        discard(path)


@contextmanager
def actors_of(config: Config, model: str, lane: int = 0) -> Iterator[None]:
    """The actors of a lane for one user at a time, over threads and processes, who needs the engines of `model`.

    Where devices are counted, users of one kind of engines follow each other (`actors/turns.py`).

    Taken after the lock of a result's key, never the other way round; but for a result that is made only by who has a
    lane already, and never waits for one (`untrained.py`).
    """
    kind = serving(config, model) if counts_devices(config.cluster) else None
    with taking_turn(state_folder() / f"lane-{lane}.lock", kind), taking_lane(lane):
        yield


class Stopwatch:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def __call__(self) -> float:
        return round(time.perf_counter() - self._begin, 2)

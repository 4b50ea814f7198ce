"""Files and folders that are whole or not there: written under another name, synced, renamed.

A reader never sees half a file: `write_text`, `write_json` and `atomically` write `<name>.partial` beside the target,
flush it to the disk, rename it, and flush the folder; `folder_atomically` does the same for a folder. What goes is
renamed before it is emptied. `read_json` says what to do about a file that is damaged all the same. Left out: what a
stored result is and when it is final (`studies/store.py`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifact.disk import told_when_full
from artifact.errors import ArtifactError

PARTIAL = ".partial"
"""The ending of the name of everything that is not finished."""


class DamagedFile(ArtifactError):
    """A file that this project wrote cannot be read back; the message names it and the remedy."""


def unfinished(path: Path) -> Path:
    """Where `path` is written until it is whole: beside it, so that renaming is one step."""
    return path.with_name(path.name + PARTIAL)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk: a power cut after this does not undo it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, and itself, whoever wrote them."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place) / name)
        sync(Path(place))


def rename(path: Path, to: Path) -> None:
    """Give `path` the name `to`, in place of a file there, for good: the folder is flushed too."""
    path.replace(to)
    sync(to.parent)


def old(path: Path) -> Path:
    """Where what lies at `path` waits until what takes its place has its name."""
    return path.with_name(f"{path.name}.old{PARTIAL}")


def discard(path: Path) -> None:
    """Remove a file or folder, if it is there. A folder loses its name first: none is ever seen half empty."""
    if path.is_dir() and not path.is_symlink():
        gone = path.with_name(f"{path.name}.gone{PARTIAL}")
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone)
    else:
        path.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Give what lies at `unfinished(path)` its name, flushed. An older folder there is renamed first, removed last."""
    partial = unfinished(path)
    if not partial.is_dir():
        sync(partial)
        rename(partial, path)
        return
    sync_tree(partial)
    if path.is_dir():
        discard(old(path))
        rename(path, old(path))
    rename(partial, path)
    discard(old(path))


def recover(path: Path) -> None:
    """Undo a `settle` that was killed between its renames: the old folder gets its name back where none has it."""
    if not path.exists() and old(path).is_dir():
        rename(old(path), path)


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield the temporary path to write; when the block ends well it is flushed to disk and becomes `path`.

    When the block raises, the temporary file goes and whatever was at `path` stays. Raises DiskFull.
    """
    partial = unfinished(path)
    try:
        with told_when_full(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            settle(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `path`, in place of what was there.

    When the block raises, the folder goes and whatever was at `path` stays.
    """
    partial = unfinished(path)
    recover(path)
    discard(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        discard(partial)
        raise
    settle(path)


def write_text(path: Path, text: str) -> Path:
    """Write `text` (UTF-8, `\\n` line ends) to `path`, atomically; returns `path`."""
    with atomically(path) as partial, told_when_full(path.parent, len(text.encode())):
        partial.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON with sorted keys and a final newline, atomically; returns `path`."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The JSON value in `path`. Raises DamagedFile, naming the file and the `remedy`, when it is missing or none."""
    with _readable(path, remedy):
        return json.loads(path.read_text(encoding="utf-8"))


def read_json_lines(path: Path, remedy: str) -> list[Any]:
    """The JSON values in `path`, one per line. Raises DamagedFile, naming the file and the `remedy`, as `read_json`."""
    with _readable(path, remedy):
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def _readable(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as err:
        raise DamagedFile(f"{path} is missing; {remedy}") from err
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise DamagedFile(f"{path} is damaged ({err}); {remedy}") from err

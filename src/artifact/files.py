"""Files that are whole or not there: written under another name, synced, renamed; reading one says what to do.


A reader never sees half a file: `write_text`, `write_json` and `atomically` write `<name>.partial` beside the target,
flush it to the disk, and rename it. Left out: what a folder of results is and when it is final (`studies/store.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError


class DamagedFile(ArtifactError):
    """A file that this project wrote cannot be read back; the message names it and the remedy."""


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield the temporary path to write; when the block ends well it is flushed to disk and becomes `path`.

    When the block raises, the temporary file goes and whatever was at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def write_text(path: Path, text: str) -> Path:
    """Write `text` (UTF-8, `\\n` line ends) to `path`, atomically; returns `path`."""
    with atomically(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON with sorted keys and a final newline, atomically; returns `path`."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The JSON value in `path`. Raises DamagedFile, naming the file and the `remedy`, when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise DamagedFile(f"{path} is damaged ({err}); {remedy}") from err

"""A full disk says so: which folder, how much is needed there, how much is free, and what to do.

The error of the system reaches a caller in many forms: an OSError, or a message of torch, safetensors or an actor in
which it is a line. Left out: checks before anything is written (`studies/doctor.py`).
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artifact.errors import ArtifactError

FULL = {errno.ENOSPC, errno.EDQUOT}
SAID = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing", "unexpected pos ")
"""How libraries word it; the last two are torch's, whose writer stops at the first byte that was not taken."""


class DiskFull(ArtifactError):
    """A file could not be written for want of space; the message names the folder and the megabytes."""


def is_full(err: BaseException | None) -> bool:
    """Whether `err`, or an error behind it, comes from a full disk or a quota."""
    seen: set[int] = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        if (isinstance(err, OSError) and err.errno in FULL) or any(words in str(err) for words in SAID):
            return True
        err = err.__cause__ or err.__context__
    return False


@contextmanager
def told_when_full(folder: Path, needed: int = 0) -> Iterator[None]:
    """Turn the error of a full disk inside the block into DiskFull; `needed` bytes are written there, 0 = unknown."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as err:
        if not is_full(err):
            raise
        place = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(place).free / 1e6
        wanted = f"{max(needed / 1e6, 0.1):,.1f} MB are needed and " if needed else ""
        raise DiskFull(
            f"{folder} cannot be written to, its disk or quota is full: {wanted}{free:,.1f} MB are free. Remove what "
            "is not needed or set ARTIFACT_RESULTS (ARTIFACT_FIGURES for figures) to a folder with more room, and "
            "start again: finished results stay, and a run goes on from its last checkpoint"
        ) from err

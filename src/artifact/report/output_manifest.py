"""What a notebook made: every figure, table and page it writes is announced here, and the runner collects the list.

The runner sets `ARTIFACT_MADE` to a file in the kernel's environment; `record_made` appends one JSON line to it.
Without the variable (a notebook opened by hand, a script) the announcement goes nowhere, which is right: nobody asked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "ARTIFACT_MADE"


def record_made(path: Path, *, title: str = "", output: str = "", runs: tuple[str, ...] = ()) -> Path:
    """Announce that `path` was written and return it.

    `output` is the id of the figure or table in the papers' list (`U-T2`), `runs` the keys of the runs it shows.
    Raises FileNotFoundError when `path` does not exist: only what is there can be announced.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path} was announced as made but does not exist; announce it after writing it")
    target = os.environ.get(VARIABLE)
    if target:
        entry = {"path": str(path), "title": title, "output": output, "runs": list(runs)}
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
    return path


def read_made(path: Path) -> list[dict[str, Any]]:
    """The announcements in `path`, the last one for each file, in the order they were first made."""
    if not path.is_file():
        return []
    entries: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        entries[entry["path"]] = entry
    return list(entries.values())

"""What a notebook made, and what it wants to say while it works: the runner collects the list and says the words.

The runner sets `ARTIFACT_MADE` to a file in the kernel's environment; `record_made` and `say` append one JSON line to
it. So a page holds results only, and a terminal still tells how far a run has come.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from artifact.escape import visible
from artifact.paths import project_root

VARIABLE = "ARTIFACT_MADE"


def _append(entry: dict[str, Any]) -> bool:
    """Append `entry` to the runner's file; False when there is no runner."""
    target = os.environ.get(VARIABLE)
    if target:
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")  # one short write: lines of several threads stay whole
    return bool(target)


def say(text: str) -> None:
    """Tell a person how far things are: on the runner's terminal and log, never in the page; else on stdout."""
    if not _append({"said": text}):
        print(visible(text), flush=True)


def record_made(path: Path, *, title: str = "", output: str = "", runs: tuple[str, ...] = ()) -> Path:
    """Announce that `path` was written and return it.

    `output` is the id of the figure or table in the papers' list (`U-T2`), `runs` the keys of the runs it shows.
    Raises FileNotFoundError when `path` does not exist: only what is there can be announced.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path} was announced as made but does not exist; announce it after writing it")
    _append({"path": str(path), "title": title, "output": output, "runs": list(runs)})
    return path


def record_wait(seconds: float) -> None:
    """Announce that so much of a notebook's time was training, or waiting for who trains."""
    _append({"waited": seconds})


def read_wait(path: Path) -> float:
    """The sum of what `record_wait` announced in `path`."""
    return float(sum(entry.get("waited", 0.0) for entry in read_entries(path)))


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Every whole line of `path` so far, in order; none when there is no such file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def read_made(path: Path) -> list[dict[str, Any]]:
    """The announcements of files in `path`, the last one for each file, in the order they were first made."""
    entries: dict[str, dict[str, Any]] = {}
    for entry in read_entries(path):
        if "path" in entry:
            entries[entry["path"]] = entry
    return list(entries.values())


def in_words(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines for the terminal: what was said, and what was made, one line for the files of one output."""
    root, told = project_root(), [e for e in entries if "path" in e or "said" in e]
    for stem, group in groupby(told, key=lambda e: Path(e["path"]).with_suffix("") if "path" in e else None):
        if stem is None:
            yield from (str(e["said"]) for e in group)
        else:
            suffixes = ", ".join(Path(e["path"]).suffix for e in group)
            yield f"made: {stem.relative_to(root) if stem.is_relative_to(root) else stem} ({suffixes})"

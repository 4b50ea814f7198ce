"""A split may be a slice of one, written as in `datasets`: `train[:-500]`, `train[200:400]`.

The slice is parsed and cut here, for every task alike; a task knows its splits by their plain names only.
"""

from __future__ import annotations

import re

from artifact.records import Problem
from artifact.tasks.base import Task

_SLICE = re.compile(r"(?P<split>[^\[\]]+)\[(?P<start>-?[0-9]*):(?P<stop>-?[0-9]*)\]")


def name_and_slice(split: str) -> tuple[str, slice]:
    """`train[:-500]` as ("train", slice(None, -500)); what is no slice is a name, which the task knows or refuses."""
    match = _SLICE.fullmatch(split)
    if match is None:
        return split, slice(None)
    start, stop = (int(x) if x else None for x in (match["start"], match["stop"]))
    return match["split"], slice(start, stop)


def load_problems(task: Task, split: str, limit: int | None = None) -> list[Problem]:
    """The problems of `split`, a name or a slice of one, at most `limit` of them; the task says which names it has."""
    name, part = name_and_slice(split)
    return task.load(name)[part][:limit]

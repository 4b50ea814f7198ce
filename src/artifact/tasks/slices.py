"""A split may be a slice of one, written as in `datasets`: `train[:-500]`, `train[200:400]`."""

from __future__ import annotations

import re

_SLICE = re.compile(r"(?P<split>[^\[\]]+)\[(?P<start>-?[0-9]*):(?P<stop>-?[0-9]*)\]")


def name_and_slice(split: str) -> tuple[str, slice]:
    """`train[:-500]` as ("train", slice(None, -500)); what is no slice is a name, which the task knows or refuses."""
    match = _SLICE.fullmatch(split)
    if match is None:
        return split, slice(None)
    start, stop = (int(x) if x else None for x in (match["start"], match["stop"]))
    return match["split"], slice(start, stop)

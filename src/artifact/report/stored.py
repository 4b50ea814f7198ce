"""Figures and tables read back as they were saved: whole, of the tier they say, or not at all.

A saved output is its files and their stamp (`report/outputs.py`): the stamp holds the SHA-256 of each file and a
checksum of itself, so that a number, a caption or a tier that was changed by hand is found whichever of the files it
stands in. `read` gives an output to whoever judges by it; `faults` says what is wrong with one. Left out: results of
runs (`studies/store.py`), and whether an output is of this code (`book/notebooks.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from artifact.config import load_tier, tier_names
from artifact.errors import ArtifactError
from artifact.files import PARTIAL, DamagedFile, read_json
from artifact.paths import figures_dir, results_dir
from artifact.provenance import file_sha256, seal

Kind = Literal["table", "figure"]

_BARS = re.compile(r" \| ")
_UNESCAPED = re.compile(r"\\(.)")
"""How `text.markdown_table` sets cells apart, and what it puts before a sign that would be markup (a bar, for one)."""

REMEDY = "run its notebook again (--force)"


class DamagedOutput(ArtifactError):
    """A stored figure or table is not what was saved; the message names it, what is wrong, and the remedy."""


@dataclass(frozen=True)
class StoredOutput:
    """A figure or table whose files are those that its stamp says."""

    kind: Kind
    name: str
    path: Path
    stamp: dict[str, Any]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The numbers, with the ids of cells: its CSV."""
        return pd.read_csv(self.path.with_suffix(".csv"))

    @cached_property
    def printed(self) -> pd.DataFrame:
        """A table as a reader sees it, every cell text: its Markdown, read back."""
        lines = self.path.with_suffix(".md").read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
        head, _, *rows = [[_UNESCAPED.sub(r"\1", c) for c in _BARS.split(line[2:-2])] for line in lines]
        return pd.DataFrame(rows, columns=head)

    @property
    def keys(self) -> list[str]:
        """The runs and annotations it shows."""
        return list(self.stamp["keys"])


def folder_of(kind: Kind, tier: str) -> Path:
    """Where the figures or tables of a tier lie."""
    return figures_dir() / tier if kind == "figure" else results_dir() / "tables" / tier


def read(kind: Kind, name: str, tier: str) -> StoredOutput | None:
    """The output `name` of `tier`; None where it was never made. Raises DamagedOutput."""
    stem = folder_of(kind, tier) / name
    stamp = stem.with_name(f"{name}.json")
    if not stamp.is_file() and not beside(stem):
        return None
    if wrong := faults(stem):
        raise DamagedOutput(f"{kind} {name} ({tier}): {'; '.join(wrong)}; {REMEDY}")
    return StoredOutput(kind, name, stamp, read_json(stamp, REMEDY))


def stored(tier: str) -> Iterator[tuple[Kind, Path]]:
    """Kind and stem (path without suffix) of all there is of a tier, tables first, each by name."""
    kinds: tuple[Kind, ...] = ("table", "figure")
    for kind in kinds:
        yield from ((kind, stem) for stem in stems(folder_of(kind, tier)))


def stems(folder: Path) -> list[Path]:
    """The stems (paths without suffix) of the outputs in a folder, by name."""
    return sorted({p.with_suffix("") for p in folder.iterdir() if _counts(p)}) if folder.is_dir() else []


def beside(stem: Path) -> list[str]:
    """The names of the files of an output besides its stamp."""
    found = stem.parent.iterdir() if stem.parent.is_dir() else ()
    return sorted(p.name for p in found if p.stem == stem.name and p.suffix != ".json" and _counts(p))


def faults(stem: Path) -> list[str]:
    """What is wrong with the output at `stem` (`…/tables/tiny/uopd_accuracy`): nothing where it is as it was saved."""
    stamp = stem.with_name(f"{stem.name}.json")
    if not stamp.is_file():
        return [f"{stamp.name} is missing: nothing vouches for it"]
    try:
        facts = read_json(stamp, REMEDY)
    except DamagedFile as err:
        return [str(err)]
    if not isinstance(facts, dict) or not {"checksum", "sha256", "tier", "name", "note", "keys"} <= facts.keys():
        return [f"{stamp.name} holds no checksum of itself: another version wrote it"]
    wrong = [f"{stamp.name} was altered"] if seal(facts) != facts else []
    if (facts["name"], facts["tier"]) != (stem.name, stem.parent.name):
        wrong.append(f"{stamp.name} is the stamp of {facts['name']} of tier {facts['tier']}")
    elif facts["tier"] not in tier_names() or facts["note"] != load_tier(facts["tier"]).note:
        wrong.append(f"{stamp.name} says of its tier {facts['note']!r}, which configs/tiers does not")
    sums, there = facts["sha256"], beside(stem)
    wrong += [f"{name} is missing" for name in sums if name not in there]
    wrong += [f"{name} is in no stamp" for name in there if name not in sums]
    return wrong + [
        f"{name} was altered" for name in sums if name in there and file_sha256(stem.with_name(name)) != sums[name]
    ]


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != PARTIAL

"""Reads a published SURE-Math folder, and checks it: files, checksums, schema, ids.

`load` gives the rows of a split as `Published` records, `problems` as the `Problem`s that tasks and training use.
`check` is what a receiver runs once: every error names the file and the remedy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artifact.provenance import file_sha256
from artifact.records import Problem, RecordError, read_parquet, write_parquet
from artifact.suremath.lineage import Evolved

SPLITS = ("train", "validation", "test")
"""The splits in order; one that was not held out has no file."""

SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Published(Evolved):
    """A row of the dataset: a problem with its lineage, then the teacher's semantic entropy.

    teacher            name of the annotating teacher; this and everything below is null where there is no annotation
    samples            N, the teacher's samples; entropy in nats; normalised = H / log N; weight = 1 − H / log N
    clusters           number of answer classes; cluster_ids and teacher_answers are per sample ("" = no answer found)
    majority_answer, majority_share   of the largest class
    majority_correct   1, 0, or −1 where the problem has no ground truth
    """

    teacher: str | None = None
    samples: int | None = None
    entropy: float | None = None
    normalised: float | None = None
    weight: float | None = None
    clusters: int | None = None
    cluster_ids: tuple[int, ...] | None = None
    teacher_answers: tuple[str, ...] | None = None
    majority_answer: str | None = None
    majority_share: float | None = None
    majority_correct: int | None = None

    COLUMNS: ClassVar[dict[str, str]] = Evolved.COLUMNS | {
        "teacher": "str",
        "samples": "int",
        "entropy": "float",
        "normalised": "float",
        "weight": "float",
        "clusters": "int",
        "cluster_ids": "[int]",
        "teacher_answers": "[str]",
        "majority_answer": "str",
        "majority_share": "float",
        "majority_correct": "int",
    }

    @property
    def evolved(self) -> Evolved:
        """The problem with its lineage, without the entropy."""
        return Evolved(**{name: getattr(self, name) for name in Evolved.COLUMNS})


def splits_in(folder: Path) -> tuple[str, ...]:
    """The splits that a published folder holds; train and test are in every one."""
    return tuple(s for s in SPLITS if s != "validation" or any((folder / "data").glob(f"{s}-*.parquet")))


def shards(folder: Path, split: str) -> list[Path]:
    """The Parquet files of a split, in order. RecordError where the numbering says that one is missing."""
    if split not in SPLITS:
        raise RecordError(f"unknown split {split!r} of SURE-Math; the splits are {', '.join(SPLITS)}")
    found = sorted((folder / "data").glob(f"{split}-*.parquet"))
    if not found:
        raise RecordError(
            f"{folder} holds no data/{split}-*.parquet: it is no published SURE-Math folder, or not all of it; publish "
            "or download it again"
        )
    total = int(found[0].stem.rsplit("-", 1)[1])
    expected = [f"{split}-{i:05d}-of-{total:05d}.parquet" for i in range(total)]
    missing = sorted(set(expected) - {p.name for p in found})
    if missing or len(found) != total:
        raise RecordError(
            f"{folder / 'data'} lacks {', '.join(missing) or 'no file but has too many'}; publish it again"
        )
    return found


def load_published(folder: Path, split: str = "train") -> list[Published]:
    """The rows of a split, in order. RecordError, naming the file, on damage, a wrong column or a repeated id."""
    rows: list[Published] = []
    for path in shards(folder, split):
        check_schema(path)
        rows += read_parquet(path, Published)
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise RecordError(f"{folder}: problem id {row.id!r} stands twice in split {split!r}; publish it again")
        seen.add(row.id)
    return rows


def export(folder: Path, target: Path) -> None:
    """Write each split of a published folder as one file `target/<split>.parquet`: what tasks read."""
    for split in splits_in(folder):
        write_parquet(target / f"{split}.parquet", load_published(folder, split), Published)


def problems(folder: Path, split: str = "train") -> list[Problem]:
    """The problems of a split as tasks and training read them."""
    return [row.evolved.problem for row in load_published(folder, split)]


def check_schema(path: Path) -> None:
    """RecordError unless the file has exactly the columns of `Published`, with their types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as err:
        raise RecordError(
            f"{path} cannot be read as Parquet ({err}): it is cut off or damaged; fetch it again"
        ) from err
    expected = Published.schema()
    for name in expected.names:
        if name not in found.names:
            raise RecordError(
                f"{path} lacks the column {name!r}; it was published by another version, publish it again"
            )
        if found.field(name).type != expected.field(name).type:
            raise RecordError(
                f"{path}: column {name!r} has type {found.field(name).type}, expected {expected.field(name).type}; "
                "publish it again"
            )
    if extra := sorted(set(found.names) - set(expected.names)):
        raise RecordError(f"{path} has unknown column(s) {', '.join(extra)}; it was published by another version")


def verify_sums(folder: Path) -> int:
    """Compare every file with `SHA256SUMS`; returns their number. RecordError names the first that differs or lacks."""
    listing = folder / SUMS
    if not listing.is_file():
        raise RecordError(f"{listing} is missing: the folder was not published whole; publish or download it again")
    lines = [line.split("  ", 1) for line in listing.read_text(encoding="utf-8").splitlines()]
    for digest, name in lines:
        path = folder / name
        if not path.is_file():
            raise RecordError(f"{path} is listed in {SUMS} but missing; publish or download it again")
        if file_sha256(path) != digest:
            raise RecordError(f"{path} does not have the checksum of {SUMS}: it was changed or cut off; fetch it again")
    listed = {name for _, name in lines}
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {SUMS}
    if unlisted := sorted(f for f in files - listed if not any(part.startswith(".") for part in Path(f).parts)):
        raise RecordError(
            f"{folder / unlisted[0]} is not listed in {SUMS}: it is not part of the publication; remove it"
        )
    return len(lines)


def check_published(folder: Path) -> dict[str, int]:
    """Everything: checksums, schema, ids, that no problem stands in two splits. Rows by split."""
    verify_sums(folder)
    rows = {split: load_published(folder, split) for split in splits_in(folder)}
    counts = Counter(r.id for of_split in rows.values() for r in of_split)
    if twice := [i for i, n in counts.items() if n > 1]:
        raise RecordError(f"{folder}: problem {min(twice)!r} stands in two splits; publish it again")
    return {split: len(r) for split, r in rows.items()}

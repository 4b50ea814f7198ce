"""What files a stored result consists of: SHA-256, size and rows of each, and whether they are still those.

An *account* maps the name of each file, relative to its folder, to `{"bytes", "sha256"}`, and `"rows"` where it is a
table. What ends in `.partial` is needed only while a result is made and belongs to none; neither do hidden files.

Names and sizes are compared at every reading, which costs one look at the folder. A file's bytes are hashed when it is
read, once per process and state of the file (size, time of change, inode). Left out: where the account of a result lies
(`store.py`), and of a checkpoint (`runlog.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from artifact.files import PARTIAL, DamagedFile
from artifact.provenance import file_sha256

Account = dict[str, dict[str, Any]]

_HASHED: dict[tuple[str, int, int, int], str] = {}


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below `folder` that belongs to it, by relative name, sorted. Empty where there is none."""
    found: dict[str, int] = {}
    _look(str(folder), "", found)
    return dict(sorted(found.items()))


def _look(folder: str, prefix: str, found: dict[str, int]) -> None:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith(PARTIAL):
            continue
        if entry.is_dir():
            _look(entry.path, f"{prefix}{entry.name}/", found)
        else:
            found[prefix + entry.name] = entry.stat(follow_symlinks=entry.is_file()).st_size


def sha256_once(path: Path) -> str:
    """The SHA-256 of a file, computed once per process as long as it does not change."""
    stat = path.stat()
    state = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if state not in _HASHED:
        _HASHED[state] = file_sha256(path)
    return _HASHED[state]


def rows_in(path: Path) -> int | None:
    """The rows of a `.parquet`, `.jsonl` or `.csv` file (without its header), None for others.

    Raises DamagedFile when a Parquet file cannot be opened.
    """
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(path).num_rows)
        except (pa.ArrowInvalid, OSError) as err:
            raise DamagedFile(f"{path} cannot be read as Parquet ({err}); delete it and run the stage again") from err
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            return sum(1 for _ in lines)
    if path.suffix == ".csv":
        import csv

        with path.open(encoding="utf-8", newline="") as stream:
            return max(0, sum(1 for _ in csv.reader(stream)) - 1)
    return None


def account_of(folder: Path, names: Iterable[str] | None = None) -> Account:
    """The account of `names` below `folder`; default: all files that belong to it. Raises DamagedFile."""
    out: Account = {}
    for name in file_sizes(folder) if names is None else names:
        path = folder / name
        rows = rows_in(path)
        out[name] = {"bytes": path.stat().st_size, "sha256": sha256_once(path)}
        out[name] |= {} if rows is None else {"rows": rows}
    return out


def misplaced(folder: Path, account: Mapping[str, Mapping[str, Any]], besides: Iterable[str] = ()) -> list[str]:
    """What is wrong with names and sizes, in words: files missing, cut, grown, or not in the account.

    besides  names that may lie there and are in no account
    """
    found = file_sizes(folder)
    wrong = [f"{name} is missing" for name in account if name not in found]
    for name, size in found.items():
        if name in account and size != account[name]["bytes"]:
            wrong.append(f"{name} has {size} bytes, not {account[name]['bytes']}")
        elif name not in account and name not in besides:
            wrong.append(f"{name} does not belong to it")
    return wrong


def faults(folder: Path, account: Mapping[str, Mapping[str, Any]], besides: Iterable[str] = ()) -> list[str]:
    """Everything that is wrong, in words: `misplaced`, and `altered` of the files that have the right size."""
    sizes = file_sizes(folder)
    right = {name: of for name, of in account.items() if sizes.get(name) == of["bytes"]}
    return misplaced(folder, account, besides) + altered(folder, right, afresh=True)


def altered(folder: Path, account: Mapping[str, Mapping[str, Any]], *, afresh: bool = False) -> list[str]:
    """The names in `account` whose file has other bytes, in words; those that are missing are `misplaced`'s.

    afresh  read every byte now, also of files that this process has hashed already
    """
    wrong = []
    for name, stated in account.items():
        path = folder / name
        if path.is_file() and (file_sha256(path) if afresh else sha256_once(path)) != stated["sha256"]:
            wrong.append(f"{name} was altered (its SHA-256 is not the one it was stored with)")
    return wrong

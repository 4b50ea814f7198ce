"""The files of a folder: what counts, what each holds, and every way in which one can be another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from artifact.files import DamagedFile
from artifact.records import Problem, write_parquet
from artifact.studies import inventory
from artifact.studies.inventory import account_of, altered, faults, file_sizes, misplaced, rows_in

CONTENT = {
    "a.txt": b"alpha",
    "deep/b.jsonl": b'{"x": 1}\n{"x": 2}\n',
    "deep/er/c.csv": b'n,text\n1,"two\nlines"\n2,b\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files that count, and three that do not."""
    for name, content in (CONTENT | {".hidden": b"", "x.partial": b"", "checkpoints.partial/y": b""}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_an_account_by_hand(folder: Path) -> None:
    assert file_sizes(folder) == {name: len(content) for name, content in CONTENT.items()}
    account = account_of(folder)
    assert {n: (of["bytes"], of["sha256"]) for n, of in account.items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()
    }
    assert [of.get("rows") for of in account.values()] == [None, 2, 2]
    assert file_sizes(folder / "nothing") == {} and misplaced(folder, account) == altered(folder, account) == []


def test_rows_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [Problem(f"p{i}", "q", "1", None, "t", "easy") for i in range(5)], Problem)
    assert rows_in(path) == 5
    (tmp_path / "empty.csv").touch()
    assert rows_in(tmp_path / "empty.csv") == 0
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match=r"a\.parquet cannot be read as Parquet"):
        rows_in(path)


def test_every_difference_is_named(folder: Path) -> None:
    account = account_of(folder)
    (folder / "a.txt").write_bytes(b"alphx")
    (folder / "deep/b.jsonl").write_bytes(b'{"x": 1}\n')
    (folder / "deep/er/c.csv").unlink()
    (folder / "more.txt").touch()
    assert misplaced(folder, account) == [
        "deep/er/c.csv is missing",
        "deep/b.jsonl has 9 bytes, not 18",
        "more.txt does not belong to it",
    ]
    assert misplaced(folder, account, besides=["more.txt"])[-1] == "deep/b.jsonl has 9 bytes, not 18"
    [one] = [w for w in altered(folder, account) if w.startswith("a.txt")]
    assert "was altered" in one
    assert faults(folder, account) == [*misplaced(folder, account), one], "one fault is named once"


def test_a_file_is_hashed_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account, read = account_of(folder), []
    monkeypatch.setattr(
        inventory, "file_sha256", lambda p: read.append(p.name) or hashlib.sha256(p.read_bytes()).hexdigest()
    )
    assert altered(folder, account) == [] and read == []
    assert altered(folder, account, afresh=True) == [] and len(read) == 3
    stat = (folder / "a.txt").stat()
    (folder / "a.txt").write_bytes(b"alphx")
    os.utime(folder / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert len(altered(folder, account)) == 1 and read[3:] == ["a.txt"]

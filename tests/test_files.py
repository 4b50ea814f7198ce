"""Whole files: a crash while writing leaves the old one, the temporary goes, a damaged one is named with its remedy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifact import files
from artifact.files import (
    DamagedFile,
    atomically,
    folder_atomically,
    read_json,
    read_json_lines,
    write_json,
    write_text,
)
from artifact.records import Problem, RecordError, concat_parquet, read_parquet, write_parquet

KILLED = """
import os, sys
from pathlib import Path
from artifact.files import atomically
with atomically(Path(sys.argv[1])) as partial:
    partial.write_text("half of the n")
    os._exit(9)
"""


def test_what_was_there_survives_a_block_that_raises_and_the_temporary_goes(tmp_path: Path) -> None:
    path = write_text(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(RuntimeError, match="crash"), atomically(path) as partial:
        partial.write_text("half of the n")
        raise RuntimeError("crash")
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_what_was_there_survives_a_killed_process_and_the_next_write_is_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, check=False)
    assert done.returncode == 9 and path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a", "½\n").read_bytes() == b"\xc2\xbd\n"
    one, other = write_json(tmp_path / "b", {"x": 1, "a": 2}), write_json(tmp_path / "c", {"a": 2, "x": 1})
    assert one.read_bytes() == other.read_bytes() and json.loads(one.read_text()) == {"a": 2, "x": 1}


def test_a_folder_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with folder_atomically(target) as partial:
        (partial / "old").touch()
    with pytest.raises(RuntimeError), folder_atomically(target) as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "left behind by a killed attempt").touch()
    with folder_atomically(target) as partial:
        (partial / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [target]


def test_a_replacement_that_fails_half_way_is_undone_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the old folder has lost its name and the new one has not got it."""
    target, real = tmp_path / "made", files.rename
    with folder_atomically(target) as partial:
        (partial / "old").touch()

    def killed(path: Path, to: Path) -> None:
        if to == target:
            raise KeyboardInterrupt
        real(path, to)

    monkeypatch.setattr(files, "rename", killed)
    with pytest.raises(KeyboardInterrupt), folder_atomically(target) as partial:
        (partial / "new").touch()
    monkeypatch.setattr(files, "rename", real)
    assert not target.exists()
    with pytest.raises(RuntimeError), folder_atomically(target):
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]


def test_a_folder_that_goes_is_never_seen_half_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen, real = tmp_path / "run", [], shutil.rmtree
    folder.mkdir()
    (folder / "manifest.json").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda path, **how: seen.append(folder.exists()) or real(path, **how))
    files.discard(folder)
    assert seen[-1] is False and list(tmp_path.iterdir()) == []
    files.discard(folder)  # what is not there is gone


def test_what_is_written_is_flushed_before_it_has_its_name_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace
    shown = lambda handle: os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(f"flush {shown(handle)}") or sync(handle))
    monkeypatch.setattr(Path, "replace", lambda path, to: done.append(f"rename {path.name}") or replace(path, to))
    write_text(tmp_path / "a.txt", "x")
    assert done == ["flush a.txt.partial", "rename a.txt.partial", f"flush {tmp_path.name}"]
    done.clear()
    with folder_atomically(tmp_path / "made") as partial:
        (partial / "b").touch()
    assert done == ["flush b", "flush made.partial", "rename made.partial", f"flush {tmp_path.name}"]


@pytest.mark.parametrize("content", [b"", b'{"step": ', b"\xff\xfe{}"], ids=["empty", "cut off", "no UTF-8"])
def test_damaged_json_names_the_file_and_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "commit.json"
    with pytest.raises(DamagedFile, match=r"commit\.json is missing; delete it and run again"):
        read_json(path, "delete it and run again")
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"commit\.json is damaged .*; delete it and run again"):
        read_json(path, "delete it and run again")


def test_one_damaged_line_is_enough(tmp_path: Path) -> None:
    path = write_text(tmp_path / "metrics.jsonl", '{"step": 0}\n{"step": 1}\n')
    assert read_json_lines(path, "") == [{"step": 0}, {"step": 1}]
    write_text(path, '{"step": 0}\n{"st')
    with pytest.raises(DamagedFile, match=r"metrics\.jsonl is damaged .*; run it again"):
        read_json_lines(path, "run it again")


def test_parquet_that_cannot_be_finished_leaves_the_old_table(tmp_path: Path) -> None:
    old = [Problem("p0", "1 + 1?", "2", None, "t", "easy")]
    path, broken = tmp_path / "a.parquet", tmp_path / "broken.parquet"
    write_parquet(path, old, Problem)
    broken.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecordError, match=r"broken\.parquet cannot be read"):
        concat_parquet([path, broken], path, Problem)
    assert read_parquet(path, Problem) == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "broken.parquet"]

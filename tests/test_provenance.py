"""Hashes of values, files and folders, and the state of the clone: what changes them, and what does not."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from artifact import provenance


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert (
        provenance.file_hash(tmp_path / "a") == provenance.text_hash("abc") == hashlib.sha256(b"abc").hexdigest()[:16]
    )
    assert provenance.digest({"a": 1, "b": 2}) == provenance.digest({"b": 2, "a": 1}) != provenance.digest({"a": 1})


@pytest.mark.parametrize("values", [[], [{"b": 1, "a": "é"}], [1, "two", None, {"c": [1.5, '"', True]}]])
def test_the_digest_of_a_list_needs_no_list(values: list[object]) -> None:
    assert provenance.digest_of_list(iter(values)) == provenance.digest(values)


def test_a_folder_is_its_names_and_contents(tmp_path: Path) -> None:
    def made(name: str, files: dict[str, str]) -> str:
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return provenance.tree_hash(tmp_path / name)

    plain = made("plain", {"a": "1", "b/c": "2"})
    assert made("copy", {"b/c": "2", "a": "1"}) == plain
    assert made("cruft", {"a": "1", "b/c": "2", ".hidden": "x", "b/d.partial": "x", "__pycache__/e": "x"}) == plain
    others = [made("content", {"a": "1", "b/c": "3"}), made("name", {"a": "1", "b/d": "2"}), made("less", {"a": "1"})]
    assert len({plain, *others}) == 4
    assert made("empty", {}) == provenance.tree_hash(tmp_path / "nowhere")


def test_the_clone_is_clean_or_says_what_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == {"commit": None, "dirty": None}
    who = ["-c", "user.name=n", "-c", "user.email=e"]
    (tmp_path / "code.py").write_text("1\n")
    for command in (["init", "-q"], ["add", "code.py"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    state = provenance.git_state()
    assert state["commit"] is not None and len(state["commit"]) == 40 and state["dirty"] is None
    dirty = []
    for text in ("2\n", "3\n"):
        (tmp_path / "code.py").write_text(text)
        dirty.append(provenance.git_state()["dirty"])
    assert None not in dirty and dirty[0] != dirty[1]

"""What an actor is made of: any file it can import, nothing it cannot."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifact.actors import imported
from artifact.errors import ArtifactError


def test_any_edit_below_the_actors_counts_and_none_above(tmp_path: Path) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(imported.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = imported.code_hash(copy)
    assert before == imported.code_hash(), "whoever hashes it, wherever it lies"
    for name in ("train/schedule.py", "tasks/verifier.py", "actors/engine.py", "errors.py"):
        text = (copy / name).read_text()
        (copy / name).write_text(text + "\n")
        assert imported.code_hash(copy) != before, name
        (copy / name).write_text(text)
    (copy / "report" / "new.py").write_text("x = 1")
    assert imported.code_hash(copy) == before
    (copy / "train" / "new.py").write_text("x = 1")
    assert imported.code_hash(copy) != before


def test_a_process_whose_source_was_edited_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    imported.check_unchanged()
    monkeypatch.setattr(imported, "code_hash", lambda: "edited")
    with pytest.raises(ArtifactError, match="restart the notebook's kernel"):
        imported.check_unchanged()


def test_lock_and_versions_are_part_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = imported.made_of("cpu")
    assert imported.made_of("cpu") == before
    (tmp_path / "cpu.lock").write_text("torch==0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imported, "lock_path", lambda device: tmp_path / "cpu.lock")
        assert imported.made_of("cpu") != before
    monkeypatch.setattr(imported, "versions", lambda: {"torch": "0"})
    assert imported.made_of("cpu") != before


def test_an_actor_of_this_code_reports_what_is_expected() -> None:
    assert imported.report(None) == imported.mine()


def test_only_an_engine_imports_vllm() -> None:
    """A teacher, a reference or a student that imported it would start with four more seconds of work, each."""
    code = (
        "import sys\n"
        "from artifact.actors import imported\n"
        "assert imported.report(None) == imported.mine()\n"
        "print([name for name in ('vllm', 'deepspeed') if name in sys.modules])\n"
    )
    assert last_line_of(code) == "[]"


def test_an_engine_reports_what_only_it_imports() -> None:
    """Where vLLM is imported, so are the modules that take the place of its parts: none may come late."""
    importers = {
        f"artifact.{room}.{path.stem}"
        for room in ("train", "actors", "tasks")
        for path in (imported.PACKAGE / room).glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom | ast.Import)
        and any(name.split(".")[0] == "vllm" for name in [getattr(node, "module", None) or node.names[0].name])
    }
    assert importers == imported.ENGINES_ALONE
    code = (
        "import sys, vllm\n"
        "from artifact.actors import imported\n"
        "imported.report(None)\n"
        "print(imported.ENGINES_ALONE <= sys.modules.keys())\n"
    )
    assert last_line_of(code) == "True"


def last_line_of(code: str) -> str:
    """What a process of its own prints last."""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    return said.stdout.splitlines()[-1]

"""A notebook executed where nothing of the project lies: it finds configurations, models and results all the same."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
CHEAPEST = "02_tiny_world"
"""Seconds: it trains nothing and starts no engine."""


def test_it_runs_in_another_folder(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    kernel = tmp_path / "jupyter" / "kernels" / "here"
    kernel.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "here", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / f"{CHEAPEST}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import os; print(os.getcwd())"))
    client = NotebookClient(notebook, kernel_name="here", resources={"metadata": {"path": str(elsewhere)}})
    done = client.execute()
    assert done.cells[-1].outputs[0]["text"].strip() == os.path.realpath(elsewhere)
    assert list(elsewhere.iterdir()) == [], "it writes nothing beside itself"
    made = {p.stem for p in (results / "tables" / "tiny").glob("*.csv")}
    committed = {p.stem for p in (ROOT / "results" / "tables" / "tiny").glob("*.csv")}
    assert made and made <= committed

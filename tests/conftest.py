"""What all tests share: the package is importable in child processes too, and results never go into the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Child processes (kernels, subprocess tests, Ray workers) see the source of this clone, installed or not.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "src"), *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).is_absolute())]
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of the test's own; figures go below it."""
    folder = tmp_path / "results"
    monkeypatch.setenv("ARTIFACT_RESULTS", str(folder))
    monkeypatch.setenv("ARTIFACT_FIGURES", str(folder / "figures"))
    return folder


settings.register_profile("house", deadline=None)  # a busy machine is no failure; pytest's own time limit holds
settings.load_profile("house")

"""What all tests share: the package is importable in child processes too, and results never go into the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

ROOT = Path(__file__).resolve().parents[1]

# Child processes (kernels, subprocess tests, Ray workers) see the source of this clone, installed or not.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "src"), *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).is_absolute())]
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """A method or a task that a test registers, in a class or a notebook's cell, is gone when the test ends.

    The package's own stay: their modules are imported once and would not register them again.
    """
    yield
    for module, registry in (("artifact.train.methods.base", "_REGISTRY"), ("artifact.tasks.base", "_TASKS")):
        if module in sys.modules:
            known = getattr(sys.modules[module], registry)
            for name in [n for n, made in known.items() if not made.__module__.startswith("artifact.")]:
                del known[name]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of the test's own; figures go below it."""
    folder = tmp_path / "results"
    monkeypatch.setenv("ARTIFACT_RESULTS", str(folder))
    monkeypatch.setenv("ARTIFACT_FIGURES", str(folder / "figures"))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants
    from tests.fake_hub import FakeHub

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return FakeHub(tmp_path / "hub")


settings.register_profile("house", deadline=None)  # a busy machine is no failure; pytest's own time limit holds
settings.load_profile("house")

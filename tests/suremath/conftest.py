"""Makes `world.py` importable under importlib mode, and builds the small dataset once a session."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("suremath_world", Path(__file__).with_name("world.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["suremath_world"] = module
    spec.loader.exec_module(module)
    return module


_load()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small build; tests must not change it."""
    from suremath_world import labeller, small

    from artifact.suremath.build import build, make_generator
    from artifact.suremath.seeds import load_benchmarks

    settings, folder = small(), tmp_path_factory.mktemp("suremath") / "build"
    build(settings, make_generator(settings), labeller, load_benchmarks(settings.benchmarks), folder, progress=False)
    return folder

"""The benchmark of a whole step goes through the product's own loop, on the actors that are up."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from artifact.config import Config

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "onpolicy_step.py"


def test_a_step_is_measured_by_phase(workers, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("onpolicy_step", BENCHMARK)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    monkeypatch.setattr("artifact.config.load", lambda tier, overrides: config)
    monkeypatch.setattr(module, "WARM_UP", 1)
    found = module.ours(2)
    assert {"rollout", "verify", "method", "teacher", "student", "sync", "total", "response tokens"} == set(found)
    assert found["total"] > 0 and found["response tokens"] > 0

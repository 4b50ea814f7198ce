"""Peak memory of a process against psutil, and of a stage's actors by name, with actors that need no cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from artifact.actors import memory
from artifact.actors.session import Actors


def test_peak_memory_is_that_of_a_python_process_with_torch() -> None:
    import psutil
    import torch  # noqa: F401  # what every actor holds

    assert psutil.Process().memory_info().rss / 2**30 * 0.5 < memory.peak_memory(None) < 64


def test_every_actor_is_asked_and_absent_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Actor:
        """Answers `__ray_call__.remote(f)` with a peak of its own, whatever is asked."""

        def __init__(self, gib: float) -> None:
            self.__ray_call__ = SimpleNamespace(remote=lambda f: (f, gib))

    def answer(refs: list[tuple[Any, float]], timeout_s: float, what: str) -> list[float]:
        assert all(f is memory.peak_memory for f, _ in refs) and timeout_s == 5
        return [gib for _, gib in refs]

    monkeypatch.setattr(memory, "call", answer)
    workers = Actors(engines=[Actor(3.0), Actor(3.256)], students=[Actor(4.0)], teachers=[Actor(1.5)])
    assert memory.peak_memory_by_actor(workers, 5) == {
        "engine-0": 3.0,
        "engine-1": 3.26,
        "student-0": 4.0,
        "teacher": 1.5,
    }

"""Engines of one machine start in turn on CPU: a second one waits for the first; on GPUs none waits."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from artifact.actors.placement import start_in_turn


def _try(device: str, told: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    with start_in_turn(device):
        told.put("in")


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("cuda", False)])
def test_who_waits(device: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    with start_in_turn(device):
        other = context.Process(target=_try, args=(device, told))
        other.start()
        other.join(timeout=0.5)
        assert other.is_alive() is waits
    other.join(timeout=20)
    assert not other.is_alive() and told.get(timeout=5) == "in"

"""A question of the reader's own goes to the engines of each model's role, and to the judge while the lane is held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.config import load
from artifact.inspect import live
from artifact.paths import resolve_model


def test_each_model_has_the_engines_of_its_role_and_all_of_it_one_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load("tiny", {"cluster.engine.count": 2, "cluster.engines.teacher": {"count": 1}})
    happened: list[tuple[Any, ...]] = []
    held: list[int] = []

    @contextmanager
    def lane(of: Any, model: str) -> Iterator[None]:
        assert model == resolve_model(config.teacher_path), "whose engines are not the student's takes the turn"
        held.append(0)
        yield
        held.clear()

    def opened(of: Any, *, engines_for: str, reference: bool) -> Any:
        happened.append(("opened", engines_for, of.cluster.engine.count, *held))
        return SimpleNamespace(reference=None, engines=[0] * of.cluster.engine.count)

    def loaded(of: Any, actors: Any, model: str, inputs: Any) -> None:
        assert len(actors.engines) == of.cluster.engine.count
        happened.append(("loaded", model, of.cluster.engine.count, *held))

    def sampler(of: Any, actors: Any, model: str) -> Any:
        return SimpleNamespace(sample=lambda *a, **k: [(model, of.cluster.engine.count)])

    def judge(of: Any) -> tuple[str, dict[str, Any]]:
        happened.append(("judge", *held))
        return "judge", {}

    inputs = SimpleNamespace(encode=lambda problem, context: (1, 2), verify=None, vocabulary=78)
    found = SimpleNamespace(config=config, folder=tmp_path / "run", key="run")
    drawn: list[Any] = []
    for name, stands_in in {
        "opened": lambda run: found,
        "build_inputs": lambda of: inputs,
        "open_actors": opened,
        "load_checkpoint": loaded,
        "sampler_for": sampler,
        "verify_groups": lambda problems, groups, verify: groups,
        "parts_of": lambda ids, groups, batch: drawn.extend(groups),
        "token_records": lambda *a: [],
        "make_judge": judge,
        "annotate": lambda problem, responses, how, normaliser: (responses, how, *held),
    }.items():
        monkeypatch.setattr(live, name, stands_in)
    monkeypatch.setattr(live.store, "actors_of", lane)

    poked = live.poke("run", "How many?", "3")

    teacher, student = resolve_model(config.teacher_path), str(tmp_path / "run" / "weights")
    assert happened == [
        ("opened", student, 2, 0),  # first, for its engines may be there
        ("loaded", student, 2, 0),
        ("opened", teacher, 1, 0),
        ("loaded", teacher, 1, 0),
        ("judge", 0),
    ]
    assert drawn == [(student, 2)] and poked.responses == (student, 2)
    assert poked.cluster.annotation == ((teacher, 1), "judge", 0)

"""Engines shared by several checkpoints hold the right one whenever something is sampled from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from artifact.actors import frozen
from artifact.config import load
from artifact.paths import resolve_model
from artifact.studies import suremath
from artifact.studies.suremath import BoundSampler

TEACHER, STUDENT = "models/tiny/teacher-a", "models/tiny/student"


class Engine:
    """What an engine tells about itself; a remote call answers at once."""

    def __init__(self) -> None:
        self.held = "(nothing)"
        self.ready = SimpleNamespace(remote=lambda: self.held)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Two engines behind every sampler of the room; a sample is the checkpoints they held when it was drawn."""
    both = [Engine(), Engine()]

    def put(config: Any, workers: Any, model: str, world: Any) -> float:
        for engine in workers.engines:
            engine.held = resolve_model(model)
        return 0.0

    def sample(*arguments: Any, **options: Any) -> list[Any]:
        return [arguments, options, *(e.held for e in both)]

    monkeypatch.setattr(frozen, "open_actors", lambda *a, **k: SimpleNamespace(engines=list(both)))
    monkeypatch.setattr(suremath, "sampler_for", lambda *a: SimpleNamespace(sample=sample))
    monkeypatch.setattr(frozen, "call", lambda refs, limit, what: refs)
    monkeypatch.setattr(suremath, "load_checkpoint", put)
    return both


def bound(model: str) -> BoundSampler:
    return BoundSampler(load("tiny"), model, inputs=None)  # type: ignore[arg-type]


def held(sampler: BoundSampler) -> set[str]:
    return set(sampler.sample("prompts", 2, seed=1)[2:])


def test_each_samples_from_its_own_checkpoint_whoever_came_before(engines: list[Engine]) -> None:
    teacher, student = bound(TEACHER), bound(STUDENT)
    for sampler, model in [(teacher, TEACHER), (student, STUDENT), (teacher, TEACHER), (teacher, TEACHER)]:
        assert held(sampler) == {resolve_model(model)}
    engines[1].held = resolve_model(STUDENT)  # another took the place on one engine alone
    assert held(teacher) == {resolve_model(TEACHER)}


def test_the_weights_are_given_once_and_proven_at_the_start(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    plain = suremath.load_checkpoint
    monkeypatch.setattr(suremath, "load_checkpoint", lambda *a: (given.append(a[2]), plain(*a))[1])
    for engine in engines:
        engine.held = resolve_model(TEACHER)  # the right name, by an engine nobody has proven
    sampler = bound(TEACHER)
    for _ in range(3):
        held(sampler)
    assert given == [TEACHER]


def test_engines_whose_lease_ended_are_opened_again_and_given_the_weights(engines: list[Engine]) -> None:
    """A new engine has the right name from its start, and is proven all the same."""
    sampler = bound(TEACHER)
    held(sampler)
    engines[0] = Engine()
    engines[0].held = resolve_model(TEACHER)
    loads: list[Any] = []
    plain = sampler.engines.load
    sampler.engines.load = lambda actors: (loads.append(actors.engines), plain(actors))[1]
    for _ in range(2):
        held(sampler)
    assert loads == [engines]


def test_arguments_reach_the_sampler(engines: list[Engine]) -> None:
    arguments, options, *_ = bound(TEACHER).sample("prompts", 4, temperature=0.7)
    assert (arguments, options) == (("prompts", 4), {"temperature": 0.7})

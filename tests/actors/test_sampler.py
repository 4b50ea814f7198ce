"""Sampling over several engines: which request goes where, with which seed, and how answers come back as rollouts.

The engines are stand-ins that answer each request with its own seed; real ones are in tests/integration.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from artifact.actors import sampler as module
from artifact.actors.engine import Decoding, Request
from artifact.actors.sampler import EngineSampler
from artifact.errors import Mismatch, StaleEngine
from artifact.train.rollouts import Completion, first_samples


class Engine:
    """Answers a request with one token, its seed modulo 1,000, and says which policy version it holds."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.asked: list[Request] = []
        self.generate = SimpleNamespace(remote=self._generate)

    def _generate(self, requests: list[Request], decoding: Decoding) -> tuple[int, list[Completion]]:
        self.asked += requests
        one = np.zeros(1, dtype=np.float32)
        return self.version, [Completion(np.array([r.seed % 1000]), one, "stop") for r in requests]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    monkeypatch.setattr(module, "call", lambda refs, timeout_s, what: refs)
    return [Engine(3), Engine(3)]


def draw(engines: list[Engine], names: str, n: int = 2, **options: Any) -> list[tuple[Any, ...]]:
    tokenizer = SimpleNamespace(batch_decode=lambda ids, skip_special_tokens: [str(i) for i in ids])
    prompts = [(name, (1, 2)) for name in names]
    settings = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 4, "seed": "s"} | options
    return EngineSampler(engines, tokenizer, (0,), 16, 5.0).sample(prompts, n, **settings)


def test_problems_take_turns_and_answers_come_back_in_order(engines: list[Engine]) -> None:
    groups = draw(engines, "abc")
    assert [len(e.asked) for e in engines] == [4, 2]  # a and c; b
    assert [[(r.problem_id, r.sample) for r in g] for g in groups] == [
        [("a", 0), ("a", 1)],
        [("b", 0), ("b", 1)],
        [("c", 0), ("c", 1)],
    ]
    assert [r.response_ids[0] for r in groups[1]] == [q.seed % 1000 for q in engines[1].asked]


def test_a_problem_drawn_again_gets_other_samples(engines: list[Engine]) -> None:
    assert first_samples(["a", "b", "a", "a"], 4) == [0, 0, 4, 8]
    groups = draw(engines, "aba")
    assert [[r.sample for r in g] for g in groups] == [[0, 1], [0, 1], [2, 3]]
    seeds = [q.seed for e in engines for q in e.asked]
    assert len(set(seeds)) == 6, "every response has a seed of its own"
    alone = draw(engines, "a", n=4)
    assert [r.response_ids for g in (groups[0], groups[2]) for r in g] == [r.response_ids for r in alone[0]]


def test_a_stale_engine_and_a_prompt_without_room_are_refused(engines: list[Engine]) -> None:
    with pytest.raises(StaleEngine, match="student is at 4"):
        draw(engines, "ab", expect_version=4)
    with pytest.raises(Mismatch, match="max_model_len"):
        draw(engines, "a", max_new_tokens=15)

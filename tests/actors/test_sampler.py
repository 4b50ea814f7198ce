"""Sampling over several engines: which request goes where, with which seed, and how answers come back as rollouts.

The engines are stand-ins that answer each request with its own seed; real ones are in tests/integration.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from artifact.actors import sampler as module
from artifact.actors.engine import Decoding, Request, RolloutEngine, _completion
from artifact.actors.sampler import EngineSampler
from artifact.actors.weight_sync import Received
from artifact.errors import ArtifactError, EmptyDataset, Mismatch, StaleEngine
from artifact.train.rollouts import Completion, first_samples, request_seed


class Engine:
    """Answers a request with one token, its seed modulo 1,000, and says which policy version it holds."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.asked: list[Request] = []
        self.decoding: list[Decoding] = []
        self.generate = SimpleNamespace(remote=self._generate)

    def _generate(self, requests: list[Request], decoding: Decoding) -> tuple[int, list[Completion]]:
        self.asked += requests
        self.decoding.append(decoding)
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


def test_a_stream_gives_the_same_rollouts_by_length(engines: list[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that answer a request with seed mod 7 tokens and say so one after the other, the second engine first."""

    def stream(self: Engine, requests: list[Request], decoding: Decoding) -> list[Any]:
        self.asked += requests
        lengths = [1 + r.seed % 7 for r in requests]
        made = [Completion(np.arange(m), np.zeros(m, dtype=np.float32), "stop") for m in lengths]
        said = sorted((m, i) for i, m in enumerate(lengths))
        return [(self.version, m, [(i, made[i])]) for m, i in said]

    for engine in engines:
        engine.stream = SimpleNamespace(remote=lambda *a, engine=engine: stream(engine, *a))  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "said", lambda asked, timeout_s: [(k, one) for k in (1, 0) for one in asked[k]])
    tokenizer = SimpleNamespace(batch_decode=lambda ids, skip_special_tokens: [str(i) for i in ids])
    sampler = EngineSampler(engines, tokenizer, (0,), 16, 5.0)
    prompts = [(name, (1, 2)) for name in "abcab"]
    asked: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 9, "seed": "s", "expect_version": 3}
    found = list(sampler.stream(prompts, 2, **asked))
    length = {
        i: max(1 + request_seed("s", p, first + j) % 7 for j in range(2))
        for i, (p, first) in enumerate([("a", 0), ("b", 0), ("c", 0), ("a", 2), ("b", 2)])
    }
    assert [i for i, _ in found] == sorted(length, key=lambda i: (length[i], i))
    for i, group in found:
        assert [(r.problem_id, r.sample) for r in group] == [(prompts[i][0], j + 2 * (i > 2)) for j in range(2)]
        assert [len(r.response_ids) for r in group] == [
            1 + request_seed("s", r.problem_id, r.sample) % 7 for r in group
        ]
    engines[0].version = 2
    with pytest.raises(StaleEngine, match="student is at 3"):
        list(sampler.stream(prompts, 2, **asked))


def test_what_is_begun_is_asked_at_once_and_waited_for_later(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = SimpleNamespace(batch_decode=lambda ids, skip_special_tokens: [str(i) for i in ids])
    sampler = EngineSampler(engines, tokenizer, (0,), 16, 5.0)
    waited: list[str] = []
    monkeypatch.setattr(module, "call", lambda refs, timeout_s, what: waited.append(what) or refs)
    rollouts = sampler.begin(
        [("a", (1, 2)), ("b", (1,))], 2, temperature=1.0, top_p=1.0, max_new_tokens=4, seed="s", expect_version=3
    )
    assert [len(e.asked) for e in engines] == [2, 2] and not waited
    assert [[(r.problem_id, r.sample) for r in g] for g in rollouts()] == [[("a", 0), ("a", 1)], [("b", 0), ("b", 1)]]
    assert waited == ["sampling rollouts"]


def test_a_stale_engine_and_a_prompt_without_room_are_refused(engines: list[Engine]) -> None:
    with pytest.raises(StaleEngine, match="student is at 4"):
        draw(engines, "ab", expect_version=4)
    with pytest.raises(Mismatch, match="max_model_len"):
        draw(engines, "a", max_new_tokens=15)


def test_a_seed_names_run_problem_and_sample_and_nothing_else(engines: list[Engine]) -> None:
    """So a run that is resumed, or has one engine more, draws the same."""
    both = draw(engines, "abc", n=3)
    one = draw(engines[:1], "abc", n=3)
    assert [[r.response_ids for r in g] for g in both] == [[r.response_ids for r in g] for g in one]
    assert [r.response_ids for r in draw(engines, "b", n=3)[0]] == [r.response_ids for r in both[1]]
    assert [r.response_ids for r in draw(engines, "b", n=3, seed="t")[0]] != [r.response_ids for r in both[1]]


def test_engines_are_told_how_to_decode(engines: list[Engine]) -> None:
    draw(engines, "ab", temperature=0.6, top_p=0.9, logprobs=False)
    for engine in engines:
        assert engine.decoding == [Decoding(0.6, 0.9, 4, (0,), False, False)]
        assert {q.prompt_ids for q in engine.asked} == {(1, 2)}


def test_a_version_is_checked_when_it_is_expected_and_always_recorded(engines: list[Engine]) -> None:
    assert {r.policy_version for g in draw(engines, "ab", expect_version=3) for r in g} == {3}
    engines[1].version = 5
    assert [[r.policy_version for r in g] for g in draw(engines, "ab")] == [[3, 3], [5, 5]]
    for expected in (3, 4, 5):
        with pytest.raises(StaleEngine, match=f"student is at {expected}"):
            draw(engines, "ab", expect_version=expected)


def test_a_prompt_that_just_fits_is_sampled_and_none_at_all_is_refused(engines: list[Engine]) -> None:
    assert len(draw(engines, "a", max_new_tokens=14)) == 1
    with pytest.raises(EmptyDataset, match="no prompts"):
        draw(engines, "")


def test_a_completion_says_why_it_ended() -> None:
    """The sampled token's log-probability comes first at each position of vLLM's flat lists."""
    flat = SimpleNamespace(logprobs=[-0.5, -9.0, -0.25, -9.5], start_indices=[0, 2])
    for reason in ("stop", "length"):
        made = _completion(SimpleNamespace(token_ids=[4, 5], logprobs=flat, finish_reason=reason), True)
        assert (made.ids.tolist(), made.logprobs.tolist(), made.finish_reason) == ([4, 5], [-0.5, -0.25], reason)
    bare = _completion(SimpleNamespace(token_ids=[4, 5], logprobs=None, finish_reason="stop"), False)
    assert bare.logprobs.tolist() == []
    with pytest.raises(ArtifactError, match="ended a response with 'abort'"):
        _completion(SimpleNamespace(token_ids=[4], logprobs=flat, finish_reason="abort"), True)


def test_an_engine_that_keeps_its_prefixes_after_a_sync_is_stale() -> None:
    """vLLM says so by returning False, and the proof by scored prompts would not notice."""
    for emptied in (True, False):
        engine = RolloutEngine.__new__(RolloutEngine)
        engine.llm = SimpleNamespace(  # type: ignore[assignment]
            collective_rpc=lambda name, args: [Received([], [], {})],
            reset_prefix_cache=lambda emptied=emptied: emptied,  # type: ignore[misc]
        )
        engine.policy_version, engine.asleep = 1, False
        for given in (lambda e: e.receive_weights(None, 2), lambda e: e.load_checkpoint("m")):  # type: ignore[arg-type]
            if emptied:
                given(engine)
            else:
                with pytest.raises(StaleEngine, match="prefix cache"):
                    given(engine)
                assert engine.policy_version == 1

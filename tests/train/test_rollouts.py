"""Rollouts from what an engine drew: seeds, samples, versions, masks, verdicts; by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from artifact.errors import EmptyDataset
from artifact.records import Problem, Status, Verdict
from artifact.train.rollouts import Completion, build_rollouts, evaluate, first_samples, request_seed, verify_groups

NOTHING = np.zeros(0, np.float32)


def letters(responses: Any) -> list[str]:
    return ["".join(chr(96 + t) for t in ids) for ids in responses]


def completion(*ids: int, logprobs: Any = NOTHING, finish: str = "stop", mask: Any = None) -> Completion:
    return Completion(np.array(ids, np.int32), np.asarray(logprobs, np.float32), finish, mask)


def test_a_rollout_holds_what_was_drawn_for_its_prompt() -> None:
    drawn = [
        [completion(1, 2, logprobs=[-0.5, -0.25]), completion(3, finish="length")],
        [completion(4, 5, mask=np.array([True, False])), completion(6)],
    ]
    groups = build_rollouts([("p", (7,)), ("q", (8, 9))], drawn, letters, first_sample=[4, 0], policy_versions=[3, 5])
    (a, b), (c, d) = groups
    assert [(r.problem_id, r.sample, r.prompt_ids) for r in (a, b, c, d)] == [
        ("p", 4, (7,)),
        ("p", 5, (7,)),
        ("q", 0, (8, 9)),
        ("q", 1, (8, 9)),
    ]
    assert [r.response_ids for r in (a, b, c, d)] == [(1, 2), (3,), (4, 5), (6,)]
    assert [r.text for r in (a, b, c, d)] == ["ab", "c", "de", "f"]
    assert [r.finish_reason for r in (a, b, c, d)] == ["stop", "length", "stop", "stop"]
    assert [r.policy_version for r in (a, b, c, d)] == [3, 3, 5, 5]
    assert [r.logprobs for r in (a, b, c)] == [(-0.5, -0.25), (0.0,), (0.0, 0.0)], "0 where none were asked for"
    assert [r.response_mask for r in (a, c)] == [None, (True, False)]
    assert all(r.verdict is None for r in (a, b, c, d))


def test_a_frozen_model_has_no_version_and_samples_count_from_0() -> None:
    [(a, b)] = build_rollouts([("p", (1,))], [[completion(1), completion(2)]], letters)
    assert (a.policy_version, a.sample, b.sample) == (-1, 0, 1)


def test_a_problem_asked_again_gets_the_samples_that_follow() -> None:
    assert first_samples(["a", "b", "a", "c", "a", "b"], 3) == [0, 0, 3, 0, 6, 3]


def test_a_seed_names_its_request_and_fits_31_bits() -> None:
    names = [(s, p, j) for s in (0, 1) for p in ("p1", "p11") for j in range(40)]
    seeds = [request_seed(*name) for name in names]
    assert len(set(seeds)) == len(seeds) and all(0 <= s < 2**31 for s in seeds)
    assert seeds == [request_seed(*name) for name in names]


PROBLEMS = [Problem(name, "q", gold, None, "t", "easy") for name, gold in (("p", "a"), ("q", "b"))]


def judge(texts: list[str], problems: list[Problem]) -> list[Verdict]:
    return [Verdict(Status.CORRECT if t == p.answer else Status.WRONG, t) for t, p in zip(texts, problems, strict=True)]


def test_every_rollout_is_judged_by_the_answer_of_its_own_problem() -> None:
    groups = build_rollouts(
        [("p", (7,)), ("q", (8,))], [[completion(1), completion(2), completion(1)], [completion(1)]], letters
    )
    judged = verify_groups(PROBLEMS, groups, judge)
    assert [[r.correct for r in g] for g in judged] == [[True, False, True], [False]]
    assert [[r.verdict.extracted for r in g if r.verdict] for g in judged] == [["a", "b", "a"], ["a"]]


def test_an_evaluation_is_greedy_with_one_sample_unless_it_is_told() -> None:
    asked: list[Any] = []

    class Sampler:
        def sample(self, prompts: Any, n: int, **options: Any) -> Any:
            asked.append((n, options))
            return build_rollouts(prompts, [[completion(1)] * n for _ in prompts], letters)

    prompts = [(p.id, (1,)) for p in PROBLEMS]
    [[first], [second]] = evaluate(Sampler(), PROBLEMS, prompts, judge, max_new_tokens=9)
    assert (first.correct, second.correct) == (True, False)
    assert [
        len(g)
        for g in evaluate(
            Sampler(), PROBLEMS, prompts, judge, max_new_tokens=9, k=3, temperature=0.6, top_p=0.9, seed=4
        )
    ] == [3, 3]
    (n, greedy), (k, drawn) = asked
    assert (n, greedy["temperature"], greedy["top_p"], greedy["max_new_tokens"]) == (1, 0.0, 1.0, 9)
    assert (k, drawn["temperature"], drawn["top_p"]) == (3, 0.6, 0.9)
    assert request_seed(greedy["seed"]) != request_seed(drawn["seed"])
    with pytest.raises(EmptyDataset, match="cannot be measured on nothing"):
        evaluate(Sampler(), [], [], judge, max_new_tokens=9)

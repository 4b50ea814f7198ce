"""Steps in parts: the same step whether it is streamed or not, to the last bit, and whole steps to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import STOP, MemoryLog, Network, decode, inputs, settings

from artifact.errors import ConfigError, StaleEngine
from artifact.records import Group, Rollout, Verdict
from artifact.train.inputs import TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import Batch, Method, Needs, StepContext, make
from artifact.train.parts import announced, cut, ordered
from artifact.train.settings import RunSettings
from artifact.train.workers import StepWork

STEP = {
    "train__prompts_per_step": 6,
    "train__steps": 3,
    "sampling__samples_per_prompt": 3,
    "train__with_replacement": True,
}
WEIGHTS = TeacherAnnotations({f"p{i}": i / 5 for i in range(6)})


class Watched(LocalWorkers):
    """The plain workers, and the order in which they and the sampler do what they do."""

    def __init__(self, s: RunSettings) -> None:
        super().__init__(Network(), Network(seed=9), s, decode, [STOP])
        self.said: list[str] = []

    def stream(self, *arguments: Any, **asked: Any) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        for i, group in super().stream(*arguments, **asked):
            self.said.append("drawn")
            yield i, group

    def teacher_scores(self, shards: Any, *, wait: bool = True) -> Any:
        self.said.append("scored")
        return super().teacher_scores(shards, wait=wait)

    def accumulate(self, *arguments: Any) -> None:
        self.said.append("trained")
        super().accumulate(*arguments)

    def update(self, work: StepWork) -> list[dict[str, float]]:
        self.said.append("moved")
        return super().update(work)


def run(
    folder: Path, method: str | Callable[[RunSettings], Method] = "opd", train_on: int = 6, **changed: Any
) -> tuple[MemoryLog, Watched]:
    s = settings(**STEP | changed)
    log, made = MemoryLog(folder), Watched(s)
    train(s, make(method, s) if isinstance(method, str) else method(s), inputs(train_on), made, made, log, WEIGHTS)
    return log, made


@pytest.mark.parametrize("shared", [False, True], ids=["", "shared prompts"])
@pytest.mark.parametrize("method", ["opd", "uopd", "opsd", "grpo", "core", "negative", "opposite"])
def test_a_streamed_step_is_the_same_to_the_last_bit(tmp_path: Path, method: str, shared: bool) -> None:
    parts: dict[str, Any] = {
        "train__part_prompts": 2,
        "optimiser__shared_prompts": shared,
        "train__component_norms_every": 2,
        "optimiser__micro_batch_tokens": 80,
        "records__every": 2,
    }
    (log, made), (again, streamed) = (run(tmp_path, method, **parts, train__stream=s) for s in (False, True))
    assert again.metrics == log.metrics and again.groups == log.groups and again.records == log.records
    for name, found in streamed.network.state_dict().items():
        assert torch.equal(found, made.network.state_dict()[name]), name
    whole, plain = run(tmp_path, method, **parts | {"train__part_prompts": None})
    assert [[r.response_ids for g in groups for r in g] for groups in whole.groups] == [
        [r.response_ids for g in groups for r in g] for groups in log.groups
    ]
    for name, found in made.network.state_dict().items():
        torch.testing.assert_close(found, plain.network.state_dict()[name], rtol=0, atol=2e-5)
    assert log.metrics[0]["loss"] == pytest.approx(whole.metrics[0]["loss"], rel=1e-5, abs=1e-7)
    assert log.metrics[0]["micro_batches"] != whole.metrics[0]["micro_batches"], "the case that it is meant to be"


def test_a_part_is_trained_on_before_the_next_is_drawn_where_the_counts_are_known(tmp_path: Path) -> None:
    ahead = ["drawn", "drawn", "scored", "trained"] * 3 + ["moved"]
    _, made = run(tmp_path, "opd", train__part_prompts=2, train__stream=True, train__steps=1)
    assert made.said == ahead
    _, made = run(tmp_path, "core", train__part_prompts=2, train__stream=True, train__steps=1)
    assert made.said == ["drawn", "drawn", "scored"] * 3 + ["trained"] * 3 + ["moved"], "how many are right is not"


def rollout(i: int, length: int) -> Rollout:
    return Rollout(f"p{i}", 0, (1,), (2,) * length, (-1.0,) * length, "", "stop", 0)


def test_parts_are_whole_prompts_the_short_ones_first() -> None:
    groups = [(rollout(0, 4), rollout(0, 1)), (rollout(1, 2), rollout(1, 2)), (rollout(2, 4),), (rollout(3, 1),)]
    assert [i for i, _ in ordered(groups)] == [3, 1, 0, 2]
    assert [list(part) for part in cut(ordered(groups), 3)] == [[3, 1, 0], [2]]
    assert [list(part) for part in cut(ordered(groups), 2)] == [[3, 1], [0, 2]]


@pytest.mark.parametrize(
    ("method", "changed", "expected"),
    [
        ("opd", {}, 18.0),
        ("uopd", {}, 18.0),
        ("grpo", {"policy_gradient__reduction": "constant"}, 18.0 * 5),
        ("grpo", {"policy_gradient__reduction": "token_mean"}, None),
        ("grpo", {"distil__reduction": "token_mean"}, 18.0),
        ("opd", {"distil__reduction": "token_mean"}, None),
        ("opd", {"losses__mask_truncated_completions": True}, None),
        ("core", {}, None),
    ],
)
def test_denominators_are_known_ahead_where_they_count_what_is_asked_for(
    method: str, changed: dict[str, Any], expected: float | None
) -> None:
    s = settings(**STEP | changed)
    found = announced(s, made := make(method, s), 18, False, 4)
    if expected is None:
        assert found is None
        return
    component = made.every_rollout
    assert found is not None and (found.step, found.coefficients) == (4, {component: 1.0})
    assert {name: n for name, n in found.denominators.items() if n} == {component: expected}


class Together(Method):
    """Makes an example of a group only where it is given no other: no function of the prompt alone."""

    needs = Needs(teacher=True)

    def batch(self, groups: Any, context: StepContext) -> Batch:
        return make("opd", self.settings).batch(groups[: 1 + context.step], context)


def test_a_method_whose_examples_depend_on_other_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depend on more than their own prompt"):
        run(tmp_path, Together, train__part_prompts=2)


class Boastful(Together):
    """Says that every rollout takes part, and leaves half of them out."""

    every_rollout = "distil"

    def batch(self, groups: Any, context: StepContext) -> Batch:
        halves = [Group(g.problem, g.prompt_ids, g.rollouts[:1]) for g in groups]
        return make("opd", self.settings).batch(halves, context)


def test_what_was_announced_is_compared_before_the_weights_are_moved(tmp_path: Path) -> None:
    s = settings(**STEP | {"train__part_prompts": 2, "train__stream": True})
    made = Watched(s)
    with pytest.raises(ConfigError, match="not the same ones"):
        train(s, Boastful(s), inputs(6), made, made, MemoryLog(tmp_path), WEIGHTS)
    assert "trained" in made.said and "moved" not in made.said
    for name, value in Network().state_dict().items():
        assert torch.equal(made.network.state_dict()[name], value)


def test_a_teacher_that_answers_for_the_whole_step_is_refused_and_given_texts_are_not_cut(tmp_path: Path) -> None:
    s = settings(**STEP | {"train__part_prompts": 2})
    core = make("core", s, fallback="generate", chosen_order=("own",))
    made = Watched(s)
    with pytest.raises(ConfigError, match=r"train\.part_prompts with method 'core'"):
        train(s, core, inputs(6), made, made, MemoryLog(tmp_path), WEIGHTS)
    (one, _), (other, _) = (run(tmp_path, "sft", train__part_prompts=n) for n in (None, 2))
    assert one.metrics == other.metrics


def test_accidents_of_the_verifier_are_judged_over_the_whole_step(tmp_path: Path) -> None:
    """Three of 36 stop the run, and would not within any part; the weights stay."""
    from artifact.records import Status
    from artifact.train.rollouts import TooManyAccidents

    s = settings(**STEP | {"train__prompts_per_step": 12, "train__part_prompts": 2, "train__stream": True})
    given: list[str] = []

    def verify(texts: Any, problems: Any) -> list[Verdict]:
        given.extend(texts)
        return [Verdict(Status.ERROR if i == 0 and len(given) <= 18 else Status.WRONG) for i, _ in enumerate(texts)]

    made = Watched(s)
    with pytest.raises(TooManyAccidents, match="3 of 36"):
        train(s, make("opd", s), replace(inputs(6), verify=verify), made, made, MemoryLog(tmp_path), WEIGHTS)
    assert "moved" not in made.said


def test_stale_engines_are_found_before_the_weights_are_moved(tmp_path: Path) -> None:
    s = settings(**STEP | {"train__part_prompts": 2, "train__stream": True})

    class Stale(Watched):
        def check_rollouts(self, groups: Any, *, trained_since: bool = False) -> None:
            assert len(groups) == 6 and not trained_since
            raise StaleEngine("old")

    made = Stale(s)
    with pytest.raises(StaleEngine):
        train(s, make("opd", s), inputs(6), made, made, MemoryLog(tmp_path), WEIGHTS)
    assert "moved" not in made.said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train__stream": True}, "set part_prompts"),
        ({"train__stream": True, "train__part_prompts": 2, "train__staleness": 1}, "nothing to stream"),
        ({"train__staleness": 2}, "must be one of 0, 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**changed)

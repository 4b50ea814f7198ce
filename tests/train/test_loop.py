"""The loop with nothing but torch: order of prompts, cadence, what each phase is given, and exact resumption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import STOP, MemoryLog, Network, Stopped, decode, inputs, settings

from artifact.errors import ConfigError, EmptyDataset
from artifact.records import Group, Rollout
from artifact.train.examples import Distil, Example, Imitate
from artifact.train.inputs import TeacherAnnotations, prompt_order
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import Batch, Method, Needs, StepContext, make
from artifact.train.settings import RunSettings
from artifact.train.workers import StepWork


def order(n: int, steps: int, **changed: Any) -> list[int]:
    s = settings(**changed)
    return [i for step in range(steps) for i in prompt_order(n, s, step)]


def test_every_pass_takes_each_problem_once_in_an_order_of_its_own() -> None:
    """Three passes over 10 problems, 4 per step, so that passes end within a step."""
    seen = order(10, 15, train__prompts_per_step=4)
    passes = [tuple(seen[i : i + 10]) for i in range(0, 60, 10)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert len(set(passes)) == 6, "passes are shuffled anew"
    assert seen == order(10, 15, train__prompts_per_step=4)
    assert seen != order(10, 15, train__prompts_per_step=4, seed=4)
    assert seen == order(10, 30, train__prompts_per_step=2), "the order does not depend on the size of a step"


def test_draws_with_replacement_are_uniform_and_differ_from_step_to_step() -> None:
    seen = order(5, 500, train__with_replacement=True)
    counts = Counter(seen)
    assert sorted(counts) == list(range(5)) and all(
        abs(c - 200) < 5 * (1000 * 0.2 * 0.8) ** 0.5 for c in counts.values()
    )
    steps = [tuple(seen[i : i + 2]) for i in range(0, 1000, 2)]
    assert len(set(steps)) == 25 and any(a == b for a, b in steps), "a problem may come twice in one step"
    assert any(len(set(seen[i : i + 5])) < 5 for i in range(0, 1000, 5)), "these are no passes"
    assert seen != order(5, 500, train__with_replacement=True, seed=4)


class Recording(LocalWorkers):
    """The plain workers, and what they were told."""

    def __init__(self, s: RunSettings, teacher: Network | None = None) -> None:
        super().__init__(Network(), teacher or Network(seed=9), s, decode, [STOP])
        self.asked: list[str] = []
        self.work: list[StepWork] = []
        self.shards: list[Sequence[Sequence[Example]]] = []
        self.loaded: list[str] = []
        self.scores: list[Any] = []
        self.references: list[Any] = []

    def reference_logprobs(self, shards: Any) -> Any:
        self.asked.append("reference")
        return super().reference_logprobs(shards)

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        self.loaded.append(tag)
        super().load_checkpoint(folder, tag)

    def step(self, work: StepWork, shards: Any, scores: Any, reference: Any) -> Any:
        self.work.append(work)
        self.shards.append(shards)
        return super().step(work, shards, scores, reference)


def run(s: RunSettings, log: MemoryLog, method: str | Method = "opd", made: Recording | None = None) -> Recording:
    made = made or Recording(s)
    method = make(method, s) if isinstance(method, str) else method
    train(s, method, inputs(), made, made, log, TeacherAnnotations())
    return made


def test_a_run_killed_between_checkpoints_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Stopped after 3 of 5 steps, with a checkpoint after 2: the third step is done again, and nothing differs."""
    s = settings(train__curve_every=2)
    whole = MemoryLog(tmp_path / "whole")
    expected = run(s, whole).network.state_dict()
    cut = MemoryLog(tmp_path / "cut", stop_after=3)
    with pytest.raises(Stopped):
        run(s, cut)
    assert cut.commits == [2]
    rest = MemoryLog(tmp_path / "cut", committed=2)
    again = run(s, rest)
    assert again.loaded == ["step-2"] and rest.steps == [2, 3, 4]
    assert all(torch.equal(p, expected[name]) for name, p in again.network.state_dict().items())
    assert rest.groups == whole.groups[2:] and cut.groups[:2] == whole.groups[:2]
    assert rest.metrics == whole.metrics[2:]
    assert [c for c, _ in rest.curves] == [4], "the curve before the checkpoint is there already"


def padded(network: Network, rows: int) -> Network:
    """The same network with `rows` more rows in its head, whose logits are huge: padding that was never trained."""
    out = Network(vocabulary=len(network.lm_head.weight) + rows)
    out.model = network.model
    with torch.no_grad():
        out.lm_head.weight[:-rows] = network.lm_head.weight
        out.lm_head.weight[-rows:] = 1e4 * torch.sign(torch.arange(rows)[:, None] % 2 - 0.5)
    return out


@pytest.mark.parametrize("support", ["renorm", "tail", "raw"])
@pytest.mark.parametrize("top_k", [4, 100])
def test_padded_rows_of_the_teachers_head_teach_nothing(tmp_path: Path, support: str, top_k: int) -> None:
    """A teacher whose head has 5 rows more than the tokenizer has tokens trains the student as one without them.

    Old: its top-k held ids that the student's head does not have, and the first step died.
    """
    s = settings(distil__support=support, distil__top_k=top_k)
    logs = MemoryLog(tmp_path / "plain"), MemoryLog(tmp_path / "padded")
    plain = run(s, logs[0], made=Recording(s, Network(9)))
    fat = run(s, logs[1], made=Recording(s, padded(Network(9), 5)))
    assert len(logs[0].metrics) == 5 and logs[0].groups == logs[1].groups
    weights = plain.network.state_dict()
    for name, found in fat.network.state_dict().items():
        torch.testing.assert_close(found, weights[name], rtol=0, atol=1e-6)
    for one, other in zip(logs[0].metrics, logs[1].metrics, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


def test_checkpoints_come_as_often_as_asked_and_at_the_end(tmp_path: Path) -> None:
    for every, expected in ((2, [2, 4, 5]), (5, [5]), (20, [5]), (1, [1, 2, 3, 4, 5])):
        log = MemoryLog(tmp_path / str(every))
        run(settings(train__checkpoint_every=every), log)
        assert log.commits == expected
        assert sorted(p.name for p in log.checkpoints.iterdir()) == [f"step-{step}" for step in expected]
        assert (log.weights / "weights.pt").is_file()


def test_the_curve_is_measured_when_asked_only(tmp_path: Path) -> None:
    every_other, never = MemoryLog(tmp_path), MemoryLog(tmp_path)
    run(settings(train__curve_every=2), every_other)
    run(settings(), never)
    assert every_other.curves == [(0, ["p0", "p1"]), (2, ["p0", "p1"]), (4, ["p0", "p1"])]
    assert never.curves == []


def test_the_point_before_the_first_step_may_be_known_and_no_other(tmp_path: Path) -> None:
    s, asked = settings(train__curve_every=2), []
    measured, given = MemoryLog(tmp_path / "a"), MemoryLog(tmp_path / "b")
    run(s, measured)

    def known(measure: Any) -> list[tuple[Rollout, ...]]:
        asked.append(measure())
        return [asked[0][1]]

    made = Recording(s)
    train(s, make("opd", s), replace(inputs(), untrained=known), made, made, given, TeacherAnnotations())
    assert given.curves == [(0, ["p1"]), *measured.curves[1:]], "what it hands over is what is recorded"
    assert len(asked) == 1 and [g[0].problem_id for g in asked[0]] == ["p0", "p1"]


def test_each_step_trains_on_fresh_rollouts_of_its_own_prompts_and_policy(tmp_path: Path) -> None:
    s, log = settings(), MemoryLog(tmp_path)
    made = run(s, log)
    assert log.steps == [0, 1, 2, 3, 4]
    for step, groups in enumerate(log.groups):
        assert [g[0].problem_id for g in groups] == [f"p{i}" for i in prompt_order(5, s, step)]
        assert {r.policy_version for g in groups for r in g} == {step}
        assert all(r.verdict is not None for g in groups for r in g), "verdicts are recorded for every method"
        assert [e.response_ids for e in made.shards[step][0]] == [r.response_ids for g in groups for r in g]  # type: ignore[union-attr]
    assert [m["episode"] for m in log.metrics] == [0.0, 0.0, 0.0, 1.0, 1.0], "5 problems, 2 per step"
    assert all(m["sync/max_logprob_diff"] == 0.0 for m in log.metrics)
    assert [w.step for w in made.work] == log.steps


def test_an_unchanged_policy_asked_the_same_again_answers_anew(tmp_path: Path) -> None:
    """One problem, and steps too small to change a draw: only the step in the seed can."""
    s, log = settings(optimiser__lr=1e-12, train__prompts_per_step=1), MemoryLog(tmp_path)
    made = Recording(s)
    train(s, make("opd", s), inputs(train=1), made, made, log, TeacherAnnotations())
    drawn = [tuple(r.response_ids for r in groups[0]) for groups in log.groups]
    assert len(set(drawn)) == 5


class Imitating(Method):
    """Imitates two texts of three and one tokens, one of them with weight 0, and says what it was given."""

    needs = Needs(rollouts=False)

    def __init__(self, s: RunSettings) -> None:
        super().__init__(s)
        self.seen: list[tuple[Sequence[Group], StepContext]] = []

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        self.seen.append((groups, context))
        examples: list[Example] = [
            Imitate("a", (1, 8), (3, 4, 0)),
            Imitate("b", (2, 8), (5,), 0.0),
            Imitate("c", (2, 8), (5, 6), response_mask=(True, False)),
            Distil("d", (3, 8), (5, 6)),
            Imitate("e", (2, 8), (5, 6, 7)),
        ]
        return Batch(tuple(examples), {"nll": 0.5, "distil": 2.0}, {"mine": 7.0})


def test_a_method_without_rollouts_gets_prompts_and_annotations_and_no_teacher_that_answers(tmp_path: Path) -> None:
    s, log = settings(train__steps=2), MemoryLog(tmp_path)
    method, made = Imitating(s), Recording(s)
    annotations = TeacherAnnotations({"p0": 0.5}, {"p1": ()})
    train(s, method, inputs(), made, made, log, annotations)
    for step, (groups, context) in enumerate(method.seen):
        assert [g.problem.id for g in groups] == [f"p{i}" for i in prompt_order(5, s, step)]
        assert [g.prompt_ids for g in groups] == [(1 + i, 8) for i in prompt_order(5, s, step)]
        assert all(g.rollouts == () for g in groups)
        assert (context.step, context.weights, context.teacher_samples) == (step, {"p0": 0.5}, {"p1": ()})
        with pytest.raises(ConfigError, match="declared no such need"):
            context.ask_teacher([], "generate", "none")
    assert log.metrics[0]["mine"] == 7.0 and log.metrics[0]["examples"] == 5.0
    assert "reference" not in made.asked


def test_denominators_and_coefficients_are_those_of_the_whole_step(tmp_path: Path) -> None:
    """Weight 0 counts; by tokens only those that the policy chose do."""
    for reduction, nll, distil in (("sequence_mean", 4.0, 1.0), ("token_mean", 3 + 1 + 1 + 3, 2.0)):
        s = settings(train__steps=2, train__component_norms_every=2, distil__reduction=reduction)
        made = run(s, MemoryLog(tmp_path), Imitating(s))
        assert [w.denominators["nll"] for w in made.work] == [nll] * 2
        assert [w.denominators["distil"] for w in made.work] == [distil] * 2
        assert made.work[0].coefficients == {"nll": 0.5, "distil": 2.0}
        assert [w.component_norms for w in made.work] == [True, False]


class TwoRanks(Recording):
    """Says that it has two ranks, and reports for each what it was given."""

    ranks = 2

    def step(self, work: StepWork, shards: Any, scores: Any, reference: Any) -> Any:
        self.work.append(work)
        self.shards.append(shards)
        self.scores.append(scores)
        self.references.append(reference)
        return [{"loss": 0.25 * (1 + rank), "loss/nll": 0.5, "lr": 0.1} for rank in range(2)]


def test_ranks_share_the_examples_and_the_denominators(tmp_path: Path) -> None:
    s, log = settings(train__steps=1), MemoryLog(tmp_path)
    method = Imitating(s)
    made = run(s, log, method, TwoRanks(s))
    [(first, second)] = made.shards
    assert [e.problem_id for e in first] == ["a", "c", "e"] and [e.problem_id for e in second] == ["b", "d"]
    assert made.work[0].denominators["nll"] == 4.0
    [(nothing, rows)] = made.scores
    assert nothing is None and list(rows.by_example()) == [1], "by the index within the shard"
    assert made.references == [[None, None]]
    assert log.metrics[0]["loss"] == 0.75


@pytest.mark.parametrize(("form", "asked"), [("dpo", True), ("simpo", False)])
def test_the_reference_is_asked_where_the_method_needs_it(form: str, asked: bool, tmp_path: Path) -> None:
    s = settings(train__steps=1, contrast__form=form)
    made = run(s, MemoryLog(tmp_path), "core")
    assert ("reference" in made.asked) is asked


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    s = settings()
    made = Recording(s)
    with pytest.raises(EmptyDataset, match="holds no problem"):
        train(s, make("opd", s), replace(inputs(), train=[]), made, made, MemoryLog(tmp_path), TeacherAnnotations())

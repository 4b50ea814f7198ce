"""`RayWorkers` on actors that only write down what they are asked: who is asked what, and about which examples."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.train.tiny import inputs

from artifact.actors import object_store, team
from artifact.actors.session import Actors
from artifact.actors.team import RayWorkers, probe_sequences, sync_weights
from artifact.actors.weight_sync import Spec
from artifact.config import load
from artifact.errors import NonFinite, StaleEngine
from artifact.paths import resolve_model
from artifact.records import Rollout
from artifact.train.examples import Distil, Example, Imitate, Prefer
from artifact.train.token_reading import Question
from artifact.train.workers import StepWork

CONFIG = load(
    "tiny",
    {
        "losses.distil.temperature": 1.5,
        "losses.distil.top_k": 7,
        "optimiser.micro_batch_tokens": 99,
        "optimiser.shared_prompts": True,
    },
)


class Actor:
    """Any method's `remote(…)` answers with what `answers` has for it, and is written down."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote(*arguments: Any, **options: Any) -> Any:
            self.asked.append((name, arguments, options))
            return self.answers.get(name, f"{name} of {len(self.asked)}")

        return SimpleNamespace(remote=remote)


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    monkeypatch.setattr(team, "call", lambda refs, timeout_s, what: refs)
    monkeypatch.setattr(RayWorkers, "_wait", lambda self, ref, what: None)
    return Actors(engines=[Actor(), Actor()], students=[Actor(), Actor()], teachers=[Actor()], references=[Actor()])


def workers(actors: Actors, *, self_teacher: bool = False) -> RayWorkers:
    return RayWorkers(CONFIG, actors, replace(inputs(), vocabulary=11), [0], self_teacher=self_teacher)


SHARDS: list[list[Example]] = [
    [Imitate("a", (1,), (2,)), Distil("b", (1,), (2, 3), teacher_prompt_ids=(9, 1)), Distil("c", (4,), (5,), 0.0)],
    [Prefer("d", (1,), (2,), (3, 4)), Imitate("e", (1,), (2,))],
]


@pytest.mark.parametrize("own", [False, True])
def test_the_teacher_scores_what_is_distilled_under_its_own_prompt(actors: Actors, own: bool) -> None:
    found = workers(actors, self_teacher=own).teacher_scores(SHARDS)
    path = resolve_model(CONFIG.models.student) if own else resolve_model(CONFIG.teacher_path)
    assert actors.teacher.asked == [("teacher_scores", (path, {1: ((9, 1), (2, 3))}, 7, 1.5, 99, False, 11, True), {})]
    assert found == [("teacher_scores of 1",), None]


def test_scores_are_cut_into_objects_of_a_bounded_size(actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 7 of 11 tokens a row is 7 x 8 + 4 = 60 bytes: responses of 2, 1, 1 and 5 tokens, 180 bytes an object."""
    monkeypatch.setattr(object_store, "PIECE_BYTES", 180)
    shard: list[Example] = [Distil("a", (1,), (2,) * n) for n in (2, 1, 1, 5)]
    assert workers(actors).teacher_scores([shard]) == [tuple(f"teacher_scores of {i}" for i in (1, 2, 3))]
    lengths = [{i: len(y) for i, (_, y) in arguments[1].items()} for _, arguments, _ in actors.teacher.asked]
    assert lengths == [{0: 2, 1: 1}, {2: 1}, {3: 5}]


def test_the_reference_is_the_initial_student_and_scores_both_responses_of_a_pair(actors: Actors) -> None:
    found = workers(actors).reference_logprobs(SHARDS)
    wanted = {0: ((((1,), (2,)), ((1,), (3, 4))), 1.0)}
    path = resolve_model(CONFIG.models.student)
    assert actors.reference.asked == [("reference_logprobs", (path, wanted, 99, True), {})]
    assert found == [None, "reference_logprobs of 1"]


def test_each_rank_steps_on_its_own_shard_scores_and_reference(actors: Actors) -> None:
    work = StepWork(3, {"nll": 1.0}, {"nll": 2.0})
    made = workers(actors)
    assert made.ranks == 2
    made._spec = Spec(("w",), ((2, 3),), ("float32",))
    actors.students[0].answers["step"] = actors.students[1].answers["step"] = {}
    metrics = made.step(work, SHARDS, [("s0", "more"), None], [None, "r1"])
    assert metrics[0] == {"bytes/weights": 2 * 6 * 4.0}, "six numbers of four bytes to each of two engines"
    assert actors.students[0].asked == [("step", (work, SHARDS[0], None, "s0", "more"), {})]
    assert actors.students[1].asked == [("step", (work, SHARDS[1], "r1"), {})]


def test_parts_are_handed_out_unwaited_and_their_errors_come_before_the_update(actors: Actors) -> None:
    work, made = StepWork(3, {"nll": 1.0}, {"nll": 2.0}), workers(actors)
    made._spec = Spec(("w",), ((2, 3),), ("float32",))
    for student, came in zip(actors.students, (1.0, 10.0), strict=True):
        student.answers |= {"accumulate": {"bytes/teacher": came}, "update": {"loss": came}}
    asked: list[Any] = []
    made._call = lambda refs, what: asked.append(refs) or refs  # type: ignore[method-assign]
    made.accumulate(work, SHARDS, [("s0", "more"), None], [None, "r1"])
    made.accumulate(work, SHARDS[::-1], [None, ("s1",)], [None, None])
    assert not asked
    metrics = made.update(work)
    assert ["loss" in ref for ref in asked[0]] == [False] * 4 + [True] * 2, "parts first"
    assert [m["bytes/teacher"] for m in metrics] == [2.0, 20.0] and [m["loss"] for m in metrics] == [1.0, 10.0]
    assert actors.students[0].asked == [
        ("accumulate", (work, SHARDS[0], None, "s0", "more"), {}),
        ("accumulate", (work, SHARDS[1], None), {}),
        ("update", (work, 2), {}),
    ]
    assert actors.students[1].asked[1] == ("accumulate", (work, SHARDS[0], None, "s1"), {})
    made.accumulate(work, SHARDS, [None, None], [None, None])
    made.update(work)
    assert actors.students[0].asked[-1] == ("update", (work, 1), {}), "the parts of the last step are gone"


def test_scores_of_a_part_are_not_waited_for(actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(RayWorkers, "_wait", lambda self, ref, what: waited.append(what))
    made = workers(actors)
    early = made.teacher_scores(SHARDS, wait=False), made.reference_logprobs(SHARDS, wait=False)
    assert not waited
    assert (made.teacher_scores(SHARDS), made.reference_logprobs(SHARDS)) != early and len(waited) == 2


def test_rollouts_drawn_before_the_last_step_are_compared_with_the_engines_own_scores(actors: Actors) -> None:
    """Problem i was drawn by engine i mod 2; the student has other weights by now, and is not asked."""
    group = [(Rollout(str(i), 0, (1,), (i, 0), (-1.0 - i, -2.0), "", "stop", 3),) for i in range(3)]
    scores = [[np.array([-1.0 - i, -2.0]) for i in mine] for mine in ((0, 2), (1,))]
    for engine, known in zip(actors.engines, scores, strict=True):
        engine.answers["score"] = known
    workers(actors).check_rollouts(group, trained_since=True)
    assert [e.asked for e in actors.engines] == [
        [("score", ([((1,), (0, 0)), ((1,), (2, 0))],), {})],
        [("score", ([((1,), (1, 0))],), {})],
    ]
    assert not actors.students[0].asked
    actors.engines[0].answers["score"] = [scores[0][0], scores[0][1] - 1.0]
    with pytest.raises(StaleEngine, match="problem '2'"):
        workers(actors).check_rollouts(group, trained_since=True)


def test_a_teacher_answers_with_the_runs_top_k_and_stops(actors: Actors) -> None:
    workers(actors).teacher_answers([(1, 2)], "autoregress", temperature=0.6, max_new_tokens=4, seed=8)
    [(name, arguments, options)] = actors.teacher.asked
    assert (name, arguments) == ("answer", (resolve_model(CONFIG.teacher_path), [(1, 2)], "autoregress"))
    assert options == {
        "top_k": 7,
        "temperature": 0.6,
        "max_new_tokens": 4,
        "stop_token_ids": (0,),
        "seed": 8,
        "vocabulary": 11,
    }


def test_the_probe_scores_all_tokens_but_the_first_of_two_prompts() -> None:
    assert probe_sequences(inputs()) == [((1,), (8,)), ((2,), (8,))]


@pytest.mark.parametrize("stale", [None, 0, 1])
def test_every_engine_receives_the_weights_and_proves_it(
    stale: int | None, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [[np.array([-1.0])] for _ in range(2)]
    if stale is not None:
        scores[stale] = [np.array([-1.5])]
    spec, probe = Spec(("a", "b"), ((1,), (2,)), ("float32",) * 2), [((1,), (8,))]
    actors = Actors(
        engines=[Actor(score=s, receive_weights=[[5, 6]]) for s in scores],
        students=[
            Actor(logprobs=[np.array([-1.0])], __ray_call__=None, broadcast=[5, 6]),
            Actor(logprobs=[np.array([-7.0])], __ray_call__=None, broadcast=[]),
        ],
    )
    if stale is None:
        assert sync_weights(actors, spec, probe, 4, CONFIG) == 0.0
        for student in actors.students:  # a rank may hold the share of a weight that the first one needs
            assert [name for name, _, _ in student.asked] == ["__ray_call__", "broadcast", "logprobs"]
        assert all(e.asked[0] == ("receive_weights", (spec, 4), {}) for e in actors.engines)
        assert all(e.asked[1] == ("score", (probe,), {}) for e in actors.engines)
    else:
        with pytest.raises(StaleEngine, match=f"after weight sync 4: engine {stale} differs"):
            sync_weights(actors, spec, probe, 4, CONFIG)
        actors.engines[stale].answers |= {"receive_weights": [[5, 6], [5, 7]], "score": [np.array([-1.0])]}
        said = rf"weight sync 4: 1 of 2 tensors arrived at engine worker {stale + 1} .*first 'b'"
        with pytest.raises(StaleEngine, match=said):  # in any dtype, and whatever the engine says of its probe
            sync_weights(actors, spec, probe, 4, CONFIG)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_in_half_precision_one_token_of_the_probe_may_differ_by_more(dtype: str, actors: Actors) -> None:
    """Three times the tolerance at one of four tokens: its mean is within, and single precision is not."""
    config = load("tiny", {"models.dtype": dtype, "cluster.sync_tolerance": 0.2})
    spec, probe = Spec(("a",), ((1,),), (dtype,)), [((1,), (8, 3, 4, 5))]
    ours, theirs = [np.zeros(4) - 1.0], [np.array([-1.0, -1.6, -1.0, -1.0])]
    student = Actor(logprobs=ours, __ray_call__=None, broadcast=[5])
    actors = Actors(engines=[Actor(score=theirs, receive_weights=[[5]])], students=[student])
    if dtype == "bfloat16":
        assert sync_weights(actors, spec, probe, 4, config) == pytest.approx(0.6)
    else:
        with pytest.raises(StaleEngine, match="after weight sync 4: engine 0 differs"):
            sync_weights(actors, spec, probe, 4, config)


def test_weights_that_are_not_finite_are_never_sent_and_the_step_is_named(actors: Actors) -> None:
    student = Actor(__ray_call__="lm_head.weight", step={"lr": 1000.0})
    actors = Actors(engines=[Actor()], students=[student])
    made = RayWorkers(CONFIG, actors, inputs(), [0], self_teacher=False)
    made._spec = Spec((), (), ())
    with pytest.raises(NonFinite, match=r"lm_head.weight is not finite before weight sync 0; no step was made"):
        made.sync_weights(0)
    made.step(StepWork(6, {"nll": 1.0}, {"nll": 2.0}), [[]], [None], [None])
    with pytest.raises(NonFinite, match=r"sync 7; it came with optimiser step 6, learning rate 1000\."):
        made.sync_weights(7)
    assert not any(name == "broadcast" for name, _, _ in student.asked) and not actors.engines[0].asked


def test_a_weight_that_is_not_finite_on_another_rank_stops_the_sync(actors: Actors) -> None:
    actors.students[0].answers["__ray_call__"], actors.students[1].answers["__ray_call__"] = None, "embed"
    with pytest.raises(NonFinite, match="embed is not finite before weight sync 2"):
        sync_weights(actors, "spec", [((1,), (8,))], 2, CONFIG)  # type: ignore[arg-type]
    assert not any(name == "broadcast" for s in actors.students for name, _, _ in s.asked)


def test_the_first_rollouts_of_every_engine_are_compared_with_the_student(actors: Actors) -> None:
    def group(i: int, gap: float) -> tuple[Rollout, ...]:
        return tuple(Rollout(str(i), j, (1,), (i, 0), (-1.0 - gap - j, -2.0), "", "stop", 3) for j in range(2))

    actors.students[0].answers["logprobs"] = [np.array([-1.0, -2.0])] * 8
    made = workers(actors)
    made.check_rollouts([group(i, 0.0) for i in range(20)])
    [(name, (pairs,), _)] = actors.students[0].asked
    assert name == "logprobs" and pairs == [((1,), (i, 0)) for i in range(8)]
    assert [n for n, _, _ in actors.students[1].asked] == ["logprobs"], "it may hold a share of the weights"
    gap = 1.5 * CONFIG.cluster.sync_tolerance  # the mean over both tokens is within it
    with pytest.raises(StaleEngine, match="problem '3'"):
        made.check_rollouts([group(i, gap if i == 3 else 0.0) for i in range(20)])


def test_a_method_without_rollouts_has_nothing_to_compare(actors: Actors) -> None:
    workers(actors).check_rollouts([(), ()])
    assert actors.students[0].asked == []


COLOCATED = load(
    "tiny", {"cluster.layout": "colocated", "cluster.student_workers": 2, "cluster.engine.count": 2, "cluster.lanes": 1}
)


@pytest.fixture
def colocated(actors: Actors) -> RayWorkers:
    actors.teachers.append(Actor())
    actors.references.append(Actor())
    return RayWorkers(COLOCATED, actors, replace(inputs(), vocabulary=11), [0], self_teacher=False)


def names(actor: Actor) -> list[str]:
    return [name for name, _, _ in actor.asked]


def test_colocated_each_rank_is_scored_beside_it(colocated: RayWorkers) -> None:
    shards: list[list[Example]] = [[Distil(x, (1,), (2,))] for x in "ab"]
    assert colocated.teacher_scores(shards) == [("teacher_scores of 1",)] * 2
    pairs: list[list[Example]] = [[Prefer(x, (1,), (2,), (3,))] for x in "ab"]
    assert colocated.reference_logprobs(pairs) == ["reference_logprobs of 1"] * 2
    for of in (colocated.actors.teachers, colocated.actors.references):
        assert [len(actor.asked) for actor in of] == [1, 1]


def test_scores_are_lent_from_the_start_of_a_run_to_the_end_of_each_step(
    colocated: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, teachers = colocated, colocated.actors.teachers
    monkeypatch.setattr(team, "start_student", lambda *_: Spec(("w",), ((2, 3),), ("float32",)))
    monkeypatch.setattr(team, "form", lambda *_: "ipc")
    monkeypatch.setattr(team, "answers", lambda *found: found)
    monkeypatch.setattr(team, "scores_are_lent", lambda actors, cluster, way: way == "ipc")
    made.start(3)
    assert [names(t) for t in teachers] == [["take_back_scores"]] * 2, "what a run that failed has left"
    shards: list[list[Example]] = [[Distil(x, (1,), (2,))] for x in "ab"]
    work = StepWork(0, {"distil": 1.0}, {"distil": 2.0})
    for student in made.actors.students:
        student.answers |= {"step": {}, "accumulate": {}, "update": {}}
    assert made.teacher_scores(shards) == [("lend_scores of 2",)] * 2
    made.token_readings([Question(((1,), (2,)), ((1,), (2,)))], scorer=True, reference=False)
    assert names(teachers[0]) == ["take_back_scores", "lend_scores", "teacher_scores", "readings"], "for all ranks"
    made.step(work, shards, [("a",), ("b",)], [None, None])
    assert names(teachers[1]) == ["take_back_scores", "lend_scores", "take_back_scores"]
    made.accumulate(work, shards, made.teacher_scores(shards, wait=False), [None, None])
    made.accumulate(work, shards, made.teacher_scores(shards, wait=False), [None, None])
    assert names(teachers[1])[-2:] == ["lend_scores"] * 2, "the first part is read by then, or not"
    made._call = lambda refs, what: [{}] * len(refs)  # type: ignore[method-assign]
    made.update(work)
    assert names(teachers[1])[-1] == "take_back_scores"


@pytest.mark.parametrize("first", ["teacher_scores", "reference_logprobs", "step", "token_readings"])
def test_colocated_engines_sleep_from_the_first_use_of_their_devices_to_the_sync(
    first: str, colocated: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, actors = colocated, colocated.actors
    made._spec = Spec(("w",), ((2, 3),), ("float32",))
    for student in actors.students:
        student.answers |= {"step": {}, "readings": []}
    monkeypatch.setattr(team, "answers", lambda *found: found)
    work = StepWork(0, {}, {})
    calls = {
        "teacher_scores": lambda: made.teacher_scores([[], []]),
        "reference_logprobs": lambda: made.reference_logprobs([[], []]),
        "step": lambda: made.step(work, [[], []], [None, None], [None, None]),
        "token_readings": lambda: made.token_readings([], scorer=False, reference=False),
    }
    calls[first]()
    assert [names(e) for e in actors.engines] == [["sleep"]] * 2
    calls["step"]()
    assert [names(e) for e in actors.engines] == [["sleep"]] * 2, "once"
    synced: list[Any] = []
    monkeypatch.setattr(team, "sync_weights", lambda *arguments: synced.append([names(a) for a in actors.teachers]))
    made.sync_weights(1)
    assert synced == [[["__ray_call__"]] * 2], "the others give back what they kept before the engines wake"
    calls[first]()
    assert [names(e) for e in actors.engines] == [["sleep", "sleep"]] * 2, "at the next step again"


def test_separate_engines_never_sleep(actors: Actors) -> None:
    made = workers(actors)
    made.teacher_scores(SHARDS)
    made.reference_logprobs(SHARDS)
    assert not any(e.asked for e in actors.engines)


@pytest.mark.parametrize("differs", [None, "ranks", "arrived"])
def test_colocated_each_rank_sends_and_all_must_hold_the_same(differs: str | None, actors: Actors) -> None:
    """Two pairs of a rank and its engine."""
    spec, probe = Spec(("a", "b"), ((1,), (2,)), ("float32",) * 2), [((1,), (8,))]
    sent = [5, 7] if differs == "ranks" else [5, 6]
    arrived = [5, 7] if differs == "arrived" else sent
    one = [np.array([-1.0])]
    made = Actors(
        engines=[Actor(score=one, receive_weights=[[5, 6]]), Actor(score=one, receive_weights=[arrived])],
        students=[
            Actor(logprobs=one, __ray_call__=None, broadcast=[5, 6]),
            Actor(logprobs=one, __ray_call__=None, broadcast=sent),
        ],
    )
    if differs is None:
        assert sync_weights(made, spec, probe, 4, COLOCATED) == 0.0
        return
    said = {
        "ranks": "sync 4: rank 1 of the student holds other weights than rank 0 in 1 of 2 tensors, first 'b'",
        "arrived": "sync 4: 1 of 2 tensors arrived at engine worker 0 other than they were sent, first 'b'",
    }[differs]
    with pytest.raises(StaleEngine, match=said):
        sync_weights(made, spec, probe, 4, COLOCATED)

"""The phases of a step that need no actor: teacher answers, the curve, what is logged, ranks as one account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.train.tiny import inputs, problems, settings

from artifact.records import Rollout, Status, Verdict
from artifact.train.calls import Clock, TeacherAnswers, merge_ranks, norms_are_due, rollout_metrics
from artifact.train.examples import Distil
from artifact.train.methods.base import Batch
from artifact.train.rollouts import Completion


def test_component_norms_are_due_at_the_first_step_and_every_so_many() -> None:
    def due(every: int) -> list[int]:
        return [i for i in range(7) if norms_are_due(settings(train__component_norms_every=every), i)]

    assert (due(0), due(1), due(3)) == ([], [0, 1, 2, 3, 4, 5, 6], [0, 3, 6])


def test_ranks_are_merged_by_what_a_number_means() -> None:
    first = {
        "loss": 0.25,
        "loss/distil": 0.25,
        "distil/tokens": 30.0,
        "distil/divergence": 1.0,
        "lr": 0.1,
        "micro_batches": 2.0,
    }
    second = {
        "loss": 0.5,
        "loss/distil": 0.5,
        "distil/tokens": 10.0,
        "distil/divergence": 3.0,
        "lr": 0.1,
        "micro_batches": 1.0,
        "bytes/teacher": 10.0,
    }
    merged = merge_ranks([first | {"bytes/teacher": 30.0}, second])
    assert merged["bytes/teacher"] == 40.0
    assert merged["loss"] == merged["loss/distil"] == 0.75  # shares of one loss
    assert merged["distil/tokens"] == 40.0
    assert merged["distil/divergence"] == pytest.approx((30 * 1.0 + 10 * 3.0) / 40)  # 1.5, not the plain mean 2
    assert merged["lr"] == pytest.approx(0.1) and merged["micro_batches"] == 3.0


def test_a_rank_without_a_component_does_not_count_in_it() -> None:
    merged = merge_ranks([{"loss": 0.5, "contrast/tokens": 4.0, "contrast/margin": 2.0}, {"loss": 0.0}])
    assert merged["contrast/margin"] == 2.0 and merged["contrast/tokens"] == 4.0
    assert merge_ranks([{"nll/tokens": 0.0, "nll/nll": 0.0}])["nll/nll"] == 0.0


class Teacher:
    """Answers its i-th prompt with the token i + 1 and the end; what it was asked is kept."""

    def __init__(self) -> None:
        self.prompts: list[tuple[int, ...]] = []
        self.options: list[dict[str, Any]] = []

    def teacher_answers(self, prompts: Sequence[tuple[int, ...]], how: str, **options: Any) -> list[Completion]:
        self.prompts = list(prompts)
        self.options.append({"how": how} | options)
        return [Completion(np.array([i + 1, 0]), np.zeros(2, np.float32), "stop") for i in range(len(prompts))]


def test_a_teacher_answers_each_problem_k_times_under_its_context_and_is_judged() -> None:
    """Problems p0 (gold a) and p3 (gold d), 3 answers each: a b c, then d e f."""
    s, teacher = settings(sampling__samples_per_prompt=3, sampling__temperature=0.6), Teacher()
    answers = TeacherAnswers(s, inputs(), teacher, 2)  # type: ignore[arg-type]
    asked = [problems(4)[0], problems(4)[3]]
    groups = answers(asked, "generate", "answer")
    assert teacher.prompts == [(9, 1, 8)] * 3 + [(9, 4, 8)] * 3
    assert [[r.text for r in g] for g in groups] == [["a", "b", "c"], ["d", "e", "f"]]
    assert [[r.correct for r in g] for g in groups] == [[True, False, False], [True, False, False]]
    assert [r.problem_id for g in groups for r in g] == ["p0"] * 3 + ["p3"] * 3
    assert answers.metrics == {"fallback_tokens": 12.0}
    TeacherAnswers(s, inputs(), teacher, 3)(asked, "autoregress", "none")  # type: ignore[arg-type]
    first, second = teacher.options
    assert (first["how"], first["temperature"], first["max_new_tokens"]) == ("generate", 0.6, 5)
    assert second["how"] == "autoregress" and first["seed"] != second["seed"], "fresh at each step"
    assert teacher.prompts == [(1, 8)] * 3 + [(4, 8)] * 3


def drawn(n: int, status: Status | None, finish: str = "stop", mask: tuple[bool, ...] | None = None) -> Rollout:
    verdict = None if status is None else Verdict(status)
    return Rollout("p", 0, (1,), (2,) * n, (0.0,) * n, "", finish, 0, verdict, mask)


def test_what_is_logged_about_the_rollouts_of_a_step() -> None:
    groups = [
        (drawn(3, Status.CORRECT), drawn(5, Status.WRONG, "length")),
        (drawn(2, Status.CORRECT, mask=(True, False)), drawn(4, Status.UNPARSED, mask=(True, False, False, False))),
        (drawn(1, Status.WRONG, "length"), drawn(1, None)),
    ]
    batch = Batch((Distil("p", (1,), (2, 2, 2)), Distil("p", (1,), (2,), 0.0)), {"distil": 1.0})
    found = rollout_metrics(groups, batch)
    assert found == {
        "rollouts": 6.0,
        "examples": 2.0,
        "response_tokens": 16.0,
        "teacher_tokens": 3.0,
        "truncated": 2.0,
        "tool_tokens": 4.0,
        "verdict/correct": 2.0,
        "verdict/wrong": 2.0,
        "verdict/unparsed": 1.0,
        "verdict/unverified": 1.0,
        "rollout_accuracy": pytest.approx(1 / 3),
    }
    assert "rollout_accuracy" not in rollout_metrics([(), ()], batch), "an accuracy over nothing is not 0"


def test_a_phase_that_comes_twice_adds_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 3.0, 10.0, 10.5, 20.0, 24.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    clock = Clock()
    for phase in ("rollout", "verify", "rollout"):
        with clock(phase):
            pass
    assert clock.seconds == {"rollout": 6.0, "verify": 0.5}

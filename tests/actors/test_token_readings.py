"""Tokens are read through the actors' own classes as one plain forward pass of each model says, to 1e-5.

The classes run in this process; `tests/integration/test_inspect.py` does the same through Ray.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.tiny import inputs

from artifact.actors import object_store, team
from artifact.actors.checkpoints import load_frozen, load_network
from artifact.actors.placement import Slot
from artifact.actors.scoring import ScoringActor
from artifact.actors.session import Actors
from artifact.actors.student import StudentActor
from artifact.actors.team import RayWorkers
from artifact.config import load
from artifact.paths import resolve_model
from artifact.train.student import Policy, Student
from artifact.train.token_reading import Answer, Question

CONFIG = load("tiny", {"teacher": "B", "losses.distil.temperature": 1.5, "optimiser.micro_batch_tokens": 40})
QUESTIONS = [
    Question(((5, 6, 7), (8, 9, 10, 11, 2)), ((3, 5, 6, 7), (8, 9, 10, 11, 2))),
    Question(((5, 6, 7), (30, 2)), ((5, 6, 7), (30, 2)), (True, False)),
    Question(((20,), (21, 22, 23)), ((20,), (21, 22, 23))),
]


class Here:
    """An actor whose methods answer at once, in this process."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self.of, name))


def rows(model: Any, sequence: Any, temperature: float = 1.0) -> np.ndarray:
    """log softmax before each response token, [T, V]."""
    prompt, response = sequence
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
    return (logits[len(prompt) - 1 : -1] / temperature).log_softmax(-1).numpy()


@pytest.fixture(scope="module")
def workers() -> RayWorkers:
    slot = Slot("teacher", 1.0, 0.0, "cpu", 1)
    student = StudentActor.__new__(StudentActor)
    policy = Policy(load_network(resolve_model(CONFIG.models.teachers["A"]), "float32"), CONFIG.losses)
    student.student = Student(policy, None, CONFIG.optimiser, CONFIG.losses, 1)  # type: ignore[arg-type]
    actors = Actors([], [Here(student)], [Here(ScoringActor(slot, "float32"))], [Here(ScoringActor(slot, "float32"))])
    return RayWorkers(CONFIG, actors, inputs(), [0], self_teacher=False)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "call", lambda refs, timeout_s, what: refs)
    monkeypatch.setattr(RayWorkers, "_wait", lambda self, ref, what: None)


def check(answers: list[Answer]) -> None:
    student, teacher = (load_frozen(resolve_model(CONFIG.models.teachers[name]), "float32") for name in "AB")
    base = load_frozen(resolve_model(CONFIG.models.student), "float32")
    for q, a in zip(QUESTIONS, answers, strict=True):
        own = np.arange(len(q.sequence[1])), list(q.sequence[1])
        assert a.teacher is not None and a.support is not None and a.reference is not None
        for reading, expected in ((a.student, rows(student, q.sequence)), (a.teacher, rows(teacher, q.scored))):
            np.testing.assert_allclose(reading.logprobs, expected[own], atol=1e-5)
            np.testing.assert_allclose(reading.top_logprobs, -np.sort(-expected)[:, :5], atol=1e-5)
            np.testing.assert_allclose(reading.entropy, -(np.exp(expected) * expected).sum(-1), atol=1e-5)
        np.testing.assert_allclose(a.reference, rows(base, q.sequence)[own], atol=1e-5)
        p, s = rows(teacher, q.scored, 1.5), rows(student, q.sequence, 1.5)
        support = np.argsort(-p)[:, : CONFIG.losses.distil.top_k]
        p, s = np.take_along_axis(p, support, 1), np.take_along_axis(s, support, 1)
        np.testing.assert_allclose(a.support.teacher_mass, np.exp(p).sum(-1), atol=1e-5)
        tilde = np.exp(p) / np.exp(p).sum(-1, keepdims=True)
        np.testing.assert_allclose(a.support.divergence, (tilde * (np.log(tilde) - s)).sum(-1), atol=1e-5)
        np.testing.assert_allclose(a.support.loss, 1.5**2 * -(tilde * s).sum(-1), atol=1e-4)


def test_all_three_models_are_read(workers: RayWorkers) -> None:
    check(workers.token_readings(QUESTIONS, scorer=True, reference=True))


def test_scores_may_come_in_several_objects(workers: RayWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "PIECE_BYTES", 1)
    check(workers.token_readings(QUESTIONS, scorer=True, reference=True))


def test_who_is_not_asked_says_nothing(workers: RayWorkers) -> None:
    for a in workers.token_readings(QUESTIONS, scorer=False, reference=False):
        assert a.teacher is None and a.support is None and a.reference is None and len(a.student.logprobs)


def test_a_frozen_student_is_read_as_one_that_is_trained(workers: RayWorkers) -> None:
    frozen, d = ScoringActor(Slot("reference", 1.0, 0.0, "cpu", 1), "float32"), CONFIG.losses.distil
    teacher, student = (resolve_model(CONFIG.models.teachers[name]) for name in "BA")
    scores = frozen.teacher_scores(teacher, dict(enumerate(q.scored for q in QUESTIONS)), d.top_k, d.temperature)
    found = frozen.student_readings(student, QUESTIONS, d, scores)
    expected = workers.token_readings(QUESTIONS, scorer=True, reference=False)
    for (own, support), a in zip(found, expected, strict=True):
        np.testing.assert_allclose(own.logprobs, a.student.logprobs, atol=1e-5)
        assert support is not None and a.support is not None
        np.testing.assert_allclose(support.divergence, a.support.divergence, atol=1e-5)

"""Teacher scores in memory that two processes have: what a student opens there is what the teacher would have sent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import Network

from artifact.actors import shared_memory
from artifact.actors.lent_scores import LentScores
from artifact.actors.scoring import ScoringActor
from artifact.actors.shared_memory import Lent, opened
from artifact.errors import NonFinite
from artifact.train.scoring import FrozenModel, TeacherScores

SEQUENCES = {9: ((1, 2, 3), (4, 5)), 2: ((6,), (7, 8, 9, 10, 1, 2)), 5: ((3, 3, 3, 3), (1,))}
COLUMNS = ("ids", "logprobs", "entropy", "tail", "offsets", "example")


def same(found: TeacherScores, sent: TeacherScores) -> bool:
    """To the bit, and of the same types."""

    def bits(scores: TeacherScores) -> list[Any]:
        arrays = [getattr(scores, name) for name in COLUMNS]
        return [None if a is None else (type(a), a.dtype, a.shape, a.tobytes()) for a in arrays]

    return bits(found) == bits(sent)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScoringActor:
    """A scoring actor of this process with a small network, whose shared files lie in `tmp_path`."""
    monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
    made = object.__new__(ScoringActor)
    made.device, made._lent = "cpu", []  # type: ignore[misc]
    made.load = lambda path, shared_prompts=False: FrozenModel(Network(seed=1))  # type: ignore[method-assign]
    return made


def read(sent: bytes, driver: Any) -> None:
    """A student: opens what came, and reads it once it is taken back."""
    scores = pickle.loads(sent).open("cpu")
    driver.send("opened")
    driver.recv()
    driver.send(scores)


@pytest.mark.parametrize("with_tail", [False, True])
def test_another_process_reads_what_would_have_been_sent(
    teacher: ScoringActor, with_tail: bool, tmp_path: Path
) -> None:
    asked = "path", SEQUENCES, 4, 0.7, 4096, with_tail, 10
    sent, lent = teacher.teacher_scores(*asked), teacher.lend_scores(*asked)
    assert isinstance(lent, LentScores) and lent.nbytes == 0 < sent.nbytes
    travels = pickle.dumps(lent)
    assert all(getattr(sent, name).tobytes() not in travels for name in COLUMNS[:3])
    context = multiprocessing.get_context("fork")
    driver, end = context.Pipe()
    student = context.Process(target=read, args=(travels, end))
    student.start()
    try:
        assert driver.recv() == "opened"
        teacher.take_back_scores()
        driver.send("taken back")
        assert same(driver.recv(), sent)
    finally:
        student.join(timeout=20)
        student.kill()
    assert not list(tmp_path.iterdir())


def test_pieces_of_a_step_stay_apart_until_all_are_taken_back(teacher: ScoringActor) -> None:
    one, two = (teacher.lend_scores("path", {i: SEQUENCES[i]}, 4) for i in (9, 2))
    assert same(two.open("cpu"), teacher.teacher_scores("path", {2: SEQUENCES[2]}, 4))
    assert same(one.open("cpu"), teacher.teacher_scores("path", {9: SEQUENCES[9]}, 4))
    files = len(os.listdir("/proc/self/fd"))
    teacher.take_back_scores()
    assert len(os.listdir("/proc/self/fd")) == files - 2
    teacher.take_back_scores()


def test_scores_left_on_the_device_are_tensors_of_the_same_bits() -> None:
    frozen = FrozenModel(Network(seed=1))
    sent = frozen.teacher_scores(SEQUENCES, 4, with_tail=True)
    left = frozen.teacher_scores(SEQUENCES, 4, with_tail=True, on_device=True)
    for name in COLUMNS[:4]:
        kept = getattr(left, name)
        assert isinstance(kept, torch.Tensor) and kept.numpy().tobytes() == getattr(sent, name).tobytes()
    assert left.nbytes == sent.nbytes


def test_lent_scores_that_are_not_finite_are_refused_as_others_are(
    teacher: ScoringActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(seed=1)
    with torch.no_grad():
        network.lm_head.weight[3] = torch.nan
    teacher.load = lambda path, shared_prompts=False: FrozenModel(network)  # type: ignore[method-assign]
    for ask in (teacher.teacher_scores, teacher.lend_scores):
        with pytest.raises(NonFinite, match="scoring model path are not finite at 9 of 9 positions"):
            ask("path", SEQUENCES, 4)
    assert not teacher._lent


def test_what_is_lent_is_a_copy_and_all_who_open_it_have_the_same(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(shared_memory, "SHARED", tmp_path)
    flat = torch.arange(5)
    lent = Lent(flat)
    flat += 1
    first, second = (opened(lent.where, 5, torch.int64, "cpu") for _ in range(2))
    assert first.tolist() == [0, 1, 2, 3, 4]
    first[0] = 7
    assert second[0] == 7
    lent.take_back()
    assert second.tolist() == [7, 1, 2, 3, 4]

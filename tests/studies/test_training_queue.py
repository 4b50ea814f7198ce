"""One queue over many studies: their union once, phase 1 where it does not stand in the way, and errors told."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.config import Config, load
from artifact.studies import store
from artifact.studies import training_queue as module
from artifact.studies.runner import RunInfo, key_of
from artifact.studies.study import Cell, Study, load_study
from artifact.studies.training_queue import planned, train_all, union

MAIN = ["uopd", "uopd_methods", "core"]
ONE_TEACHER = {"task.train_limit": 20, "evaluation.limit": 5}


def test_the_union_holds_each_run_once() -> None:
    """Its size, and its identity, are those of the keys under which runs are stored."""
    runs = union(MAIN, "tiny", ONE_TEACHER)
    every = [config for name in MAIN for _, config in load_study(name).runs("tiny", ONE_TEACHER)]
    keys = [key_of(config) for _, config in runs]
    assert len(runs) == len(set(keys)) < 0.7 * len(every)
    assert set(keys) == {key_of(config) for config in every}
    assert list(dict.fromkeys(cell.id for cell, _ in runs))[:4] == ["opd", "uopd-soft", "uopd-binary-0.5", "grpo"]


ROWS = load_study("uopd").cells
STUDIES = {
    "three": ROWS[:3],
    "four": (*ROWS[:2], *(c for c in load_study("uopd_controls").cells if c.id in ("uopd-shuffled", "uopd-gold"))),
}
"""Two studies of teachers A and B and three seeds: opd and uopd-soft stand in both, which is 6 runs of each row."""


def small(name: str) -> Study:
    return Study(study=name, title="t", outputs=(), teachers=("A", "B"), seeds=(0, 1, 2), cells=STUDIES[name])


class Hall:
    """Stands in for phase 1 and training: keeps the order of what is asked for; `fails` is a run that cannot be.

    Phase 1 takes until `beside` runs were trained.
    """

    def __init__(self, fails: str = "", stored: tuple[str, ...] = ()) -> None:
        self.order: list[tuple[str, int]] = []
        self.fails, self.stored, self.annotated = fails, stored, set[str]()
        self.enough, self.trained, self.beside = threading.Event(), 0, 1
        self.references: list[Any] = []
        self.retests: list[Config] = []

    def name(self, config: Config) -> str:
        weighting = config.method_options.get("weighting", "")
        return f"{config.method}{weighting}{config.method_options.get('tau', '')}-{config.teacher}-{config.seed}"

    def annotate(self, config: Config) -> Path:
        self.order.append((f"annotate {config.teacher}", 0))
        assert self.enough.wait(20), "the other lane trains meanwhile"
        self.annotated.add(config.teacher)
        return Path(config.teacher)

    def run(self, number: Any, cell: Cell, config: Config, *, lane: int, progress: bool) -> RunInfo:
        if config.make_method().needs.annotation:
            assert config.teacher in self.annotated, "a run began before what it reads was there"
        self.order.append((self.name(config), lane))
        self.trained += 1
        if self.trained == self.beside:
            self.enough.set()
        if self.name(config) == self.fails:
            raise RuntimeError(f"{self.fails}: the loss is not finite")
        return RunInfo(cell.label, config.method, config.teacher, config.seed, "k", Path("."), {}, cell.id, True)


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    out = Hall()
    monkeypatch.setattr(module, "load_study", small)
    monkeypatch.setattr(module, "references_of", lambda *a: out.references)
    monkeypatch.setattr(module, "retests_of", lambda *a: out.retests)
    monkeypatch.setattr(module, "annotate", lambda config: out.annotate(config))
    monkeypatch.setattr(module, "run_told", lambda *a, **k: out.run(*a, **k))
    monkeypatch.setattr(module, "connect", lambda *a, **k: None)
    monkeypatch.setattr(module, "build_inputs", lambda config: None)
    monkeypatch.setattr(module, "key_of", lambda config: out.name(config))
    monkeypatch.setattr(module, "annotation_key", lambda config, inputs: f"annotation-{config.teacher}")
    monkeypatch.setattr(
        store, "read_manifest", lambda folder: {} if folder.name in {*out.stored, *out.annotated} else None
    )
    return out


def test_each_is_trained_once_and_phase_one_stands_in_nobodys_way(hall: Hall) -> None:
    hall.beside = 6  # phase 1 takes as long as all runs that do not need it
    runs = train_all(["three", "four"], "tiny")
    names = [name for name, _ in hall.order if not name.startswith("annotate")]
    assert len(names) == len(runs) == len(set(names)) == 2 * 3 * 5
    assert sorted(name for name, _ in hall.order[:2]) == ["annotate A", "opd-A-0"]
    assert {name[:3] for name, _ in hall.order[:7]} == {"ann", "opd"}
    assert {lane for name, lane in hall.order if name.startswith("annotate")} == {0}
    assert [name for name, _ in hall.order].count("annotate A") == 1


def test_what_is_stored_is_passed_over(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    hall.stored = tuple(f"opd-{t}-{s}" for t in "AB" for s in (0, 1))
    hall.annotated = {"annotation-A", "annotation-B", "A", "B"}
    runs = train_all(["three"], "tiny")
    assert len(runs) == 14 and not any(name.startswith("annotate") for name, _ in hall.order)
    assert "training queue: 4 runs are stored, 14 to train\n" in capsys.readouterr().out


def test_nothing_to_do_needs_no_cluster(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "connect", lambda *a, **k: pytest.fail("a cluster was started"))
    monkeypatch.setattr(store, "read_manifest", lambda folder: {})
    assert train_all(["three"], "tiny") == [] and hall.order == []


def test_the_first_error_ends_it_in_its_own_words(hall: Hall) -> None:
    hall.fails = "opd-A-1"
    with pytest.raises(RuntimeError, match="opd-A-1: the loss is not finite"):
        train_all(["three"], "tiny")
    assert len(hall.order) < 8


def test_one_lane_makes_phase_one_first(hall: Hall) -> None:
    hall.enough.set()
    train_all(["three"], "tiny", {"cluster.lanes": 1})
    assert [name for name, _ in hall.order[:3]] == ["annotate A", "annotate B", "opd-A-0"]


def test_a_second_annotation_is_made_with_the_first_ones(hall: Hall) -> None:
    hall.enough.set()
    hall.retests = [load("tiny", {"teacher": "C", "models.teachers": {"C": "c"}})]
    train_all(["three"], "tiny", {"cluster.lanes": 1})
    assert [name for name, _ in hall.order[:4]] == ["annotate A", "annotate B", "annotate C", "opd-A-0"]


def test_references_come_between_phase_one_and_the_runs(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    hall.enough.set()

    def measure() -> list[Any]:
        hall.order.append(("reference", 0))
        return [SimpleNamespace(key="greedy"), SimpleNamespace(key="sampled")]

    hall.references = [SimpleNamespace(label="Teacher", model="m", measure=measure)]
    train_all(["three"], "tiny", {"cluster.lanes": 1})
    assert [name for name, _ in hall.order[:4]] == ["annotate A", "annotate B", "reference", "opd-A-0"]
    said = capsys.readouterr().out
    assert "18 to train and 2 annotations of phase 1 to make and 1 references to measure\n" in said
    assert "Teacher, m: 0 s, greedy, sampled\n" in said


def test_a_plan_says_how_much_it_is(hall: Hall) -> None:
    *studies, together, queue = planned(["three", "four"], "tiny")
    assert studies == ["three: 18 runs", "four: 24 runs"] and together == "all together: 30 different runs"
    assert queue == "training queue: 0 runs are stored, 30 to train and 2 annotations of phase 1 to make"
    assert not hall.order


def test_a_run_that_another_process_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ask for one key at the same time: one makes it, the other waits, finds it, and says nothing of it."""
    from artifact.config import load
    from artifact.studies import runner

    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path))
    begun, go = threading.Event(), threading.Event()

    def trained(config: Config, *a: Any) -> dict[str, Any]:
        begun.set()
        assert go.wait(20)
        return {"seconds": {"train": 1.0}}

    said: list[str] = []
    monkeypatch.setattr(runner, "say", said.append)
    monkeypatch.setattr(runner, "_train_and_evaluate", trained)
    monkeypatch.setattr(runner, "check_model", lambda folder: None)
    config, cell = load("tiny", {"task.train_limit": 20}), SimpleNamespace(label="OPD", id="opd")
    made: list[RunInfo] = []

    def ask(lane: int) -> None:
        made.append(runner.run_told((lane, 2), cell, config, lane=lane))  # type: ignore[arg-type]

    first = threading.Thread(target=ask, args=(1,))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=ask, args=(2,))
    second.start()
    second.join(1)
    assert second.is_alive() and not made, "it waits"
    go.set()
    first.join()
    second.join()
    assert sorted(info.made for info in made) == [False, True] and made[0] == made[1]
    assert len(said) == 1 and said[0].endswith(f"run {made[0].key}")

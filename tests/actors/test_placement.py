"""Who runs where, on how much of which GPU; and engines of one machine start in turn on CPU."""

from __future__ import annotations

import gc
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from artifact.actors.placement import Slot, logical_gpus, place, prepared_process, scorers, start_in_turn
from artifact.config import ConfigError, load


def _try(device: str, told: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    with start_in_turn(device):
        told.put("in")


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("cuda", False)])
def test_who_waits(device: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    with start_in_turn(device):
        other = context.Process(target=_try, args=(device, told))
        other.start()
        other.join(timeout=0.5)
        assert other.is_alive() is waits
    other.join(timeout=20)
    assert not other.is_alive() and told.get(timeout=5) == "in"


ROLES = ("student-0", "reference", "teacher", "engine-0", "engine-1")


def cluster(**changed: object) -> Any:
    """The embedded tier's cluster with one lane and one student rank, unless `changed` says otherwise."""
    values = {"lanes": 1, "student_workers": 1, "engine__scheduler": "vllm"} | changed
    own = {f"cluster.{name.replace('__', '.')}": value for name, value in values.items()}
    return load("tiny", own | {"optimiser.shared_prompts": False}).cluster  # which a GPU has not


def test_four_gpus_are_laid_out_as_in_the_paper() -> None:
    """UOPD appendix A.1: student and reference share one, the teacher has one, each engine has one."""
    placed = place(cluster(device="cuda", gpus=4, engine__count=2, colocate_reference=0.25), ROLES)
    assert {role: slot.num_gpus for role, slot in placed.slots.items()} == {
        "student-0": 0.75,
        "reference": 0.25,
        "teacher": 1.0,
        "engine-0": 1.0,
        "engine-1": 1.0,
    }
    assert placed.bundle_of["reference"] == placed.bundle_of["student-0"]
    assert len(placed.bundles) == 4 and all(b["GPU"] == 1.0 for b in placed.bundles)
    assert placed.bundles[placed.bundle_of["student-0"]]["CPU"] == 2.0


def test_on_too_few_gpus_all_share_and_fit_on_one() -> None:
    roles = ("student-0", "reference", "teacher", "engine-0")
    placed = place(cluster(device="cuda", gpus=1, engine__count=1), roles)
    assert sum(slot.num_gpus for slot in placed.slots.values()) == pytest.approx(1.0)
    assert all(0 < slot.num_gpus < 1 for slot in placed.slots.values())
    two_lanes = place(cluster(device="cuda", gpus=3, engine__count=1, lanes=2), roles)
    assert two_lanes.slots["teacher"].num_gpus < 1, "three GPUs are enough for one lane and not for two"
    assert place(cluster(device="cuda", gpus=3, engine__count=1), roles).slots["teacher"].num_gpus == 1.0


def test_on_cpu_each_role_has_its_own_threads_and_no_gpu() -> None:
    placed = place(cluster(student_threads=3, teacher_threads=2, engine__threads=1), ROLES)
    assert [placed.slots[r].threads for r in ROLES] == [3, 1, 2, 1, 1]
    assert all(s.num_gpus == 0 and s.env["OMP_NUM_THREADS"] == str(s.threads) for s in placed.slots.values())
    assert all("GPU" not in b for b in placed.bundles)


def test_gpus_that_are_counted_and_not_there_are_laid_out_alike() -> None:
    real, logical = (cluster(device=d, gpus=4, engine__count=2) for d in ("cuda", "cpu"))
    placed = place(logical, ROLES)
    assert placed.bundles == place(real, ROLES).bundles and {s.device for s in placed.slots.values()} == {"cpu"}
    assert (logical_gpus(logical), logical_gpus(real), logical_gpus(cluster())) == (4, None, None)


def test_engines_of_a_frozen_model_have_devices_by_their_own_number() -> None:
    """A generator over all four; a teacher and a reference on one GPU for all."""
    wide = cluster(device="cuda", gpus=4, engine__count=1, engine__tensor_parallel_size=4, engine__prove_weights=False)
    assert place(wide, ("sampler-0",)).bundles == ({"CPU": 1.0, "GPU": 4.0},)
    with pytest.raises(ConfigError, match=r"tensor_parallel_size = 4 needs whole GPUs: 6 for all roles.*gpus = 4"):
        place(wide, ("student-0", "teacher", "engine-0"))
    one = place(cluster(device="cuda", gpus=1, engine__count=1), ("sampler-0", "reference"))
    assert sum(slot.num_gpus for slot in one.slots.values()) < 1
    shared = cluster(device="cuda", gpus=4, engine__count=2, engine__gpus=0.65)
    assert place(shared, ("sampler-0",)).slots["sampler-0"].num_gpus == 0.65


def test_colocated_every_device_has_one_of_each() -> None:
    """Rank i of all kinds is in the bundle of device i, on a GPU that they fill; engines sleep."""
    roles = tuple(f"{kind}-{i}" for kind in ("engine", "student", "teacher", "reference") for i in range(4))
    own = cluster(device="cuda", gpus=4, layout="colocated", student_workers=4, engine__count=4)
    placed = place(own, roles)
    assert placed.bundles == ({"CPU": 4.0, "GPU": 1.0},) * 4
    assert {role: int(role[-1]) for role in roles} == placed.bundle_of
    assert {role for role, slot in placed.slots.items() if slot.sleeps} == {f"engine-{i}" for i in range(4)}
    assert not any(slot.sleeps for slot in place(cluster(device="cuda", gpus=4, engine__count=2), ROLES).slots.values())
    later = place(own, roles[8:12])
    assert later.bundles == ({"CPU": 1.0, "GPU": 0.25},) * 4, "teachers that are asked for later fit beside the others"


def test_colocated_on_processors_counts_no_device() -> None:
    own = cluster(layout="colocated", student_workers=2, engine__count=2)
    placed = place(own, ("engine-0", "engine-1", "student-0", "student-1"))
    assert placed.bundles == ({"CPU": 2.0},) * 2 and placed.slots["engine-1"].sleeps


def test_every_rank_has_a_scorer_where_all_is_colocated() -> None:
    own = cluster(layout="colocated", student_workers=2, engine__count=2)
    assert scorers("teacher", own) == ("teacher-0", "teacher-1")
    assert scorers("reference", own, sampling=True) == ("reference",), "nobody trains beside engines of a frozen model"
    assert scorers("teacher", cluster(student_workers=2)) == ("teacher",)
    frozen = place(own, ("sampler-0", "sampler-1", "reference"))
    assert len(frozen.bundles) == 3 and not any(slot.sleeps for slot in frozen.slots.values())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"student_workers": 1}, "student_workers = 1"),
        ({"gpus": 4, "device": "cuda"}, "gpus = 4"),
        ({"gpus": 2, "lanes": 2}, "lanes = 2"),
        ({"engine__tensor_parallel_size": 2}, "tensor_parallel_size = 2"),
        ({"engine__gpus": 0.5}, "engine.gpus = 0.5"),
    ],
)
def test_what_cannot_be_colocated_is_refused(changed: dict[str, object], said: str) -> None:
    whole = {"layout": "colocated", "student_workers": 2, "engine__count": 2}
    assert cluster(**whole).layout == "colocated"
    with pytest.raises(ConfigError, match=rf"layout = colocated puts one engine and one rank.*{said}"):
        cluster(**whole | changed)


@pytest.mark.parametrize("ahead", [{"train.stream": True, "train.part_prompts": 8}, {"train.staleness": 1}])
def test_colocated_engines_cannot_sample_while_others_train(ahead: dict[str, object]) -> None:
    own = {"cluster.layout": "colocated", "cluster.student_workers": 2, "cluster.engine.count": 2}
    assert load("tiny", own).cluster.layout == "colocated"
    with pytest.raises(ConfigError, match=r"cluster\.layout = colocated has engines sleep while others train"):
        load("tiny", own | ahead)


def test_memory_of_gpus_does_not_pass_between_processors() -> None:
    assert cluster(weight_transfer="ipc").weight_transfer == "ipc" and cluster(device="cuda", weight_transfer="nccl")
    with pytest.raises(ConfigError, match=r"weight_transfer = nccl moves memory of GPUs, and device = cpu"):
        cluster(weight_transfer="nccl")


@pytest.mark.parametrize(
    ("share", "proven", "expected"), [(0.25, True, 0.3), (0.6, True, 0.6), (0.95, True, 0.9), (0.6, False, 1.0)]
)
def test_engines_of_frozen_models_share_a_gpu_only_where_their_memory_does(
    share: float, proven: bool, expected: float
) -> None:
    """An engine takes as much of a GPU as of its memory; a tenth is left to the reference that proves it, if any."""
    engine = {"gpu_memory_utilization": share, "prove_weights": proven}
    cluster = load("single-gpu", {f"cluster.engine.{name}": value for name, value in engine.items()}).cluster
    slots = place(cluster, ("sampler-0", "reference") if proven else ("sampler-0",)).slots
    assert slots["sampler-0"].num_gpus == pytest.approx(expected)
    assert sum(slot.num_gpus for slot in slots.values()) <= 1.0


def test_a_process_is_prepared_for_its_slot_and_collects_garbage_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    slot, threads = Slot("teacher", 1, 0, "cpu", 3, {"OMP_NUM_THREADS": "3"}), torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        with pytest.raises(ImportError), prepared_process(slot):
            assert os.environ["OMP_NUM_THREADS"] == "3" and torch.get_num_threads() == 3 and not gc.isenabled()
            raise ImportError("of a library")
        assert gc.isenabled() and gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)

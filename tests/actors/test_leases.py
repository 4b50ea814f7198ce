"""Who has to give up devices for whom, on a cluster that only writes down what ends."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.actors import leases, reservation
from artifact.actors.placement import place
from artifact.actors.reservation import Reservation
from artifact.config import Cluster, load

PAPER = load("paper").cluster
TRAINING = Reservation("t", "CREATED", "x-1-lane0", ("student-0@a", "teacher@a", "reference@a", "engine-0@a"), 3.0)
SAMPLING = Reservation("s", "CREATED", "x-2-lane0", ("sampler-0@b", "reference@b"), 1.2)
JUDGING = Reservation("j", "CREATED", "x-3-lane0", ("sampler-0@c", "reference@c"), 1.2)
OTHER_LANE = Reservation("o", "CREATED", "x-1-lane1", ("student-0@o", "teacher@o"), 1.8)


class Devices:
    """Four GPUs; `ended` are the ids of the groups that ended, in order."""

    def __init__(self, *groups: Reservation, holders: dict[str, str | None] | None = None) -> None:
        self.groups, self.ended, self.holders = list(groups), [], holders or {}

    def end(self, group: Reservation) -> None:
        self.groups.remove(group)
        self.ended.append(group.id)


def lease(
    monkeypatch: pytest.MonkeyPatch, devices: Devices, names: dict[str, str], cluster: Cluster = PAPER, gpus: float = 4
) -> list[str]:
    """What ends where the actors `names`, none of them there, are asked for on lane 0."""
    ray = SimpleNamespace(
        get_runtime_context=lambda: SimpleNamespace(get_job_id=lambda: "own"),
        available_resources=lambda: {"GPU": gpus - sum(g.gpus for g in devices.groups)},
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(reservation, "reservations", lambda: list(devices.groups))
    monkeypatch.setattr(reservation, "end", devices.end)
    monkeypatch.setattr(leases, "_holder", lambda group: devices.holders.get(group.id))
    leases.make_room(names, place(cluster, tuple(names)), 0)
    return devices.ended


def named(identity: str, *roles: str) -> dict[str, str]:
    return {role: f"{role}@{identity}" for role in roles}


TRAIN = named("n", "student-0", "teacher", "reference", "engine-0", "engine-1")
SAMPLE = named("n", "sampler-0", "sampler-1", "reference")


def test_sampling_ends_what_trained_and_training_what_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lease(monkeypatch, Devices(TRAINING), SAMPLE) == ["t"]
    alone = replace(TRAINING, gpus=1.8)
    assert lease(monkeypatch, Devices(alone), SAMPLE) == ["t"], "though the 2.2 that are wanted are free"
    assert lease(monkeypatch, Devices(SAMPLING, JUDGING), TRAIN) == ["s", "j"]
    assert lease(monkeypatch, Devices(SAMPLING), named("n", "student-0", "teacher")) == ["s"], "though 2.8 are free"


def test_frozen_models_share_the_devices_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """1.2 of four GPUs are taken: 2.2 fit, a generator over all four does not, nor do 2.2 beside two such."""
    assert lease(monkeypatch, Devices(SAMPLING), SAMPLE) == []
    assert lease(monkeypatch, Devices(SAMPLING, JUDGING), SAMPLE) == ["s"]
    wide = load("paper").as_role("generator").cluster
    assert lease(monkeypatch, Devices(SAMPLING, JUDGING), named("g", "sampler-0"), wide) == ["s", "j"]


def test_a_training_group_ends_though_its_reference_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Reservation("t", "CREATED", "x-n-lane0", tuple(TRAIN.values()), 4.0)
    assert lease(monkeypatch, Devices(own), SAMPLE) == ["t"]
    base = Reservation("b", "CREATED", "x-n-lane0", ("engine-0@n", "engine-1@n", "reference@n"), 2.2)
    assert lease(monkeypatch, Devices(base), named("n", "student-0", "teacher")) == [], "the engines are its own"


def test_a_group_of_which_a_part_is_wanted_ends_where_the_rest_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The untrained student was measured, and the teacher is next: two engines and a reference, of four GPUs 2.2."""
    base = Reservation("b", "CREATED", "x-n-lane0", ("engine-0@n", "engine-1@n", "reference@n"), 2.2)
    assert lease(monkeypatch, Devices(base), SAMPLE) == ["b"], "the reference is its own, and starts again"
    assert lease(monkeypatch, Devices(base, holders={"b": "another"}), SAMPLE) == []
    assert lease(monkeypatch, Devices(base), named("n", "teacher", "reference")) == [], "there is room"
    whole = replace(base, members=("sampler-0@n", "reference@n"), gpus=3.0)
    assert lease(monkeypatch, Devices(whole), SAMPLE) == [], "all of it is wanted"
    crowded = Devices(replace(base, gpus=1.2), replace(JUDGING, gpus=2.8))
    assert lease(monkeypatch, crowded, SAMPLE) == ["j"], "what nobody wants goes first"


def test_what_others_hold_and_other_lanes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lease(monkeypatch, Devices(TRAINING, holders={"t": "another"}), SAMPLE) == []
    assert lease(monkeypatch, Devices(TRAINING, holders={"t": "own"}), SAMPLE) == ["t"]
    assert lease(monkeypatch, Devices(OTHER_LANE), SAMPLE) == []


def test_only_where_devices_are_counted_do_idle_samplers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(TRAINING, SAMPLING)
    monkeypatch.setattr(reservation, "reservations", lambda: list(devices.groups))
    monkeypatch.setattr(reservation, "end", devices.end)
    leases.release_samplers(load("tiny").cluster)
    assert devices.ended == []
    leases.release_samplers(PAPER)
    assert devices.ended == ["s"]


def test_a_scoring_actor_on_a_device_holds_one_model_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from artifact.actors.scoring import ScoringActor

    counted = load("tiny", {"cluster.gpus": 4, "cluster.lanes": 1}).cluster
    held: dict[str, list[str]] = {}
    for name, cluster in (("counted", counted), ("free", load("tiny").cluster)):
        actor: Any = ScoringActor(place(cluster, ("reference",)).slots["reference"], "float32")
        for model in ("student", "teacher-a", "student"):
            actor.load(f"models/tiny/{model}")
        held[name] = actor.ready()
    assert held == {"counted": ["models/tiny/student"], "free": ["models/tiny/student", "models/tiny/teacher-a"]}

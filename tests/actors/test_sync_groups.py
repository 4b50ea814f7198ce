"""Who sends to whom: groups of each layout, on actors that only write down what they are asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from artifact.actors import sync_groups
from artifact.actors.session import Actors
from artifact.actors.sync_groups import form, groups_of, scores_are_lent
from artifact.actors.transfer import Seat
from artifact.config import ConfigError, load


class Member:
    """Has a seat and joins what it is told to."""

    def __init__(self, name: str, seat: Seat) -> None:
        self.name, self.seat, self.channel = name, seat, None
        self.joined: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ("seats", "sync_channel", "address", "join_sync"):
            raise AttributeError(name)
        return SimpleNamespace(remote=getattr(self, f"_{name}"))

    def _seats(self) -> list[Seat]:
        return [self.seat]

    def _sync_channel(self) -> Any:
        return self.channel

    def _address(self) -> tuple[str, int]:
        return f"host of {self.name}", 1

    def _join_sync(self, *arguments: Any) -> None:
        self.joined.append(arguments[:5])
        self.channel = arguments[-1]


def actors(*seats: str) -> Actors:
    """Two students and two engines on these devices."""
    names = ("student-0", "student-1", "engine-0", "engine-1")
    made = [Member(name, Seat("a", seat)) for name, seat in zip(names, seats, strict=True)]
    return Actors(engines=made[2:], students=made[:2])


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_groups, "call", lambda found, timeout_s, what: found)


def cluster(layout: str, transfer: str = "auto", device: str = "cpu") -> Any:
    values = {"layout": layout, "weight_transfer": transfer, "engine.count": 2, "student_workers": 2, "lanes": 1}
    values |= {"device": device, "engine.scheduler": "vllm"}
    own = {f"cluster.{name}": value for name, value in values.items()}
    return load("tiny", own | {"optimiser.shared_prompts": False}).cluster  # which a GPU has not


def test_the_first_rank_sends_to_all_or_each_to_its_own() -> None:
    assert groups_of(cluster("separate"), 2, 3) == [(0, [0, 1, 2])]
    assert groups_of(cluster("colocated"), 2, 2) == [(0, [0]), (1, [1])]


def test_separate_engines_are_one_group_of_the_first_rank() -> None:
    found = actors("GPU-0", "GPU-0", "GPU-1", "GPU-2")
    assert form(found, cluster("separate", device="cuda")) == "nccl"
    assert found.students[0].joined == [("host of student-0", 1, 0, 3, "nccl")] and not found.students[1].joined
    assert [e.joined for e in found.engines] == [[("host of student-0", 1, r, 3, "nccl")] for r in (1, 2)]


def test_colocated_engines_have_a_group_with_the_rank_on_their_device() -> None:
    found = actors("GPU-0", "GPU-1", "GPU-0", "GPU-1")
    assert form(found, cluster("colocated", device="cuda")) == "ipc"
    for student, engine in zip(found.students, found.engines, strict=True):
        host = f"host of {student.name}"
        assert student.joined == [(host, 1, 0, 2, "ipc")] and engine.joined == [(host, 1, 1, 2, "ipc")]
        assert student.channel == engine.channel
    assert found.students[0].channel != found.students[1].channel, "a secret of its own"


def test_a_group_is_formed_once_and_again_where_the_way_is_another() -> None:
    found = actors("cpu", "cpu", "cpu", "cpu")
    for transfer, times in (("gloo", 1), ("gloo", 1), ("ipc", 2), ("auto", 2)):
        form(found, cluster("separate", transfer))
        assert len(found.students[0].joined) == len(found.engines[1].joined) == times
    found.engines[0].channel = None  # it was started again
    form(found, cluster("separate"))
    assert len(found.engines[1].joined) == 3


def test_groups_that_can_not_all_do_the_same_have_what_everybody_can() -> None:
    found = actors("GPU-0", "GPU-1", "GPU-0", "GPU-2")
    assert form(found, cluster("colocated", device="cuda")) == "gloo"
    with pytest.raises(ConfigError, match="ipc needs all of them on one device"):
        form(found, cluster("colocated", "ipc", device="cuda"))


@pytest.mark.parametrize(
    ("layout", "way", "teachers", "lent"),
    [
        ("colocated", "ipc", ("GPU-0", "GPU-1"), True),
        ("colocated", "gloo", ("GPU-0", "GPU-1"), False),  # as weights, which the user may have wanted
        ("colocated", "ipc", ("GPU-1", "GPU-0"), False),
        ("colocated", "ipc", (), False),  # a method without scores
        ("separate", "ipc", ("GPU-0",), False),
    ],
)
def test_scores_are_lent_where_every_rank_has_a_teacher_on_its_device(
    layout: str, way: str, teachers: tuple[str, ...], lent: bool
) -> None:
    found = actors("GPU-0", "GPU-1", "GPU-0", "GPU-1")
    found.teachers = [Member("teacher", Seat("a", seat)) for seat in teachers]
    assert scores_are_lent(found, cluster(layout, device="cuda"), way) is lent

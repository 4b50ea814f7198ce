"""What is asked of a cluster that grants nothing is taken back, whatever it was asked for."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from artifact.actors import reservation
from artifact.actors.placement import place
from artifact.config import load
from artifact.errors import ArtifactError


class Cluster:
    """`granted` says what becomes of each request in turn; `held` are those that nobody has taken back."""

    def __init__(self, *granted: bool) -> None:
        self.granted, self.asked = list(granted), list[str | None]()
        self.held: list[Any] = []

    def ask(self, bundles: Any, *, strategy: str, lifetime: str | None, name: str) -> Any:
        answer = self.granted.pop(0)
        group = SimpleNamespace(wait=lambda seconds: answer, id=SimpleNamespace(hex=lambda: "g"))
        self.asked.append(lifetime)
        self.held.append(group)
        return group


def reserved(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> str:
    module = import_module("ray.util.placement_group")  # `ray.util` has a function of this name
    monkeypatch.setattr(module, "placement_group", cluster.ask)
    monkeypatch.setattr(module, "remove_placement_group", cluster.held.remove)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 4.0})
    monkeypatch.setattr(ray, "available_resources", dict)
    placement = place(load("paper").cluster, ("student-0", "teacher"))
    return reservation.reserve(placement, "x-1-lane0", ["student-0@a", "teacher@a"], 0.0)[0]


def test_a_request_that_is_granted_is_asked_again_as_one_that_outlives_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(True, True)
    assert reserved(monkeypatch, cluster) == "g"
    assert cluster.asked == [None, "detached"] and len(cluster.held) == 1


@pytest.mark.parametrize("granted", [(False,), (True, False)], ids=["never", "not the second time"])
def test_a_request_that_is_not_granted_is_taken_back(
    granted: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stayed would be granted later, and hold devices for nobody."""
    cluster = Cluster(*granted)
    with pytest.raises(ArtifactError, match=r"Ray cannot place .*end what holds the rest"):
        reserved(monkeypatch, cluster)
    assert not cluster.held

"""What an evaluation gives back, on a cluster that only writes down what happens to it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from artifact.actors import release as retire
from artifact.actors import reservation, session
from artifact.actors.reservation import Reservation
from artifact.config import load

OWN, GROWN = load("tiny"), load("tiny", {"cluster.engine.max_model_len": 512})


class Cluster:
    """Reservations of two settings; what is ended or released is written down."""

    def __init__(self) -> None:
        ids = [session.actor_identity(c, 0) for c in (OWN, GROWN)]
        assert len(set(ids)) == 2
        self.groups = [Reservation(i, "CREATED", i, (f"engine-0@abc-{i}", f"reference@{i}")) for i in ids]
        self.released: list[str] = []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    c = Cluster()
    monkeypatch.setattr(reservation, "reservations", lambda: list(c.groups))
    monkeypatch.setattr(reservation, "end", c.groups.remove)
    reference = SimpleNamespace(release=SimpleNamespace(remote=lambda path: path))
    held = lambda name: any(name in g.members for g in c.groups)  # noqa: E731
    monkeypatch.setattr(retire, "find_actor", lambda name: reference if held(name) else None)
    monkeypatch.setattr(retire, "call", lambda refs, timeout, what: c.released.extend(refs))
    return c


def test_actors_of_a_longer_engine_end(cluster: Cluster) -> None:
    retire.release_actors(GROWN, "models/tiny/teacher-a", OWN)
    assert [g.identity for g in cluster.groups] == [session.actor_identity(OWN, 0)] and not cluster.released


def test_of_the_tiers_own_actors_the_reference_forgets_the_model(cluster: Cluster) -> None:
    retire.release_actors(OWN, "models/tiny/teacher-a", OWN)
    [path] = cluster.released
    assert path.endswith("models/tiny/teacher-a") and len(cluster.groups) == 2
    cluster.groups = []
    retire.release_actors(OWN, "models/tiny/teacher-a", OWN)  # nobody holds it
    assert len(cluster.released) == 1

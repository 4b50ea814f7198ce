"""What an evaluation gives back, on a cluster that only writes down what happens to it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from artifact.actors import release as retire
from artifact.actors import session
from artifact.config import load

OWN, GROWN = load("tiny"), load("tiny", {"cluster.engine.max_model_len": 512})


class Cluster:
    """Named actors and placement groups of two settings; what is ended or released is written down."""

    def __init__(self) -> None:
        ids = [session.actor_identity(c, 0) for c in (OWN, GROWN)]
        assert len(set(ids)) == 2
        self.actors = [f"{role}{i}" for i in ids for role in ("engine-0@abc-", "reference@")] + ["teacher@" + ids[0]]
        self.groups = [f"engine-0+reference@{i}" for i in ids]
        self.released: list[str] = []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    import ray
    import ray.util.placement_group

    placement_group = sys.modules["ray.util.placement_group"]  # as an attribute, the name is a function
    c = Cluster()
    monkeypatch.setattr(
        ray.util,
        "list_named_actors",
        lambda all_namespaces: [{"name": name, "namespace": session.NAMESPACE} for name in c.actors],
    )
    monkeypatch.setattr(ray, "get_actor", lambda name, namespace: name)
    monkeypatch.setattr(ray, "kill", lambda name: c.actors.remove(name))
    table = lambda: {name: {"name": name, "state": "CREATED"} for name in c.groups}  # noqa: E731
    monkeypatch.setattr(placement_group, "placement_group_table", table)
    monkeypatch.setattr(placement_group, "get_placement_group", lambda name: name)
    monkeypatch.setattr(placement_group, "remove_placement_group", lambda name: c.groups.remove(name))
    reference = SimpleNamespace(release=SimpleNamespace(remote=lambda path: path))
    monkeypatch.setattr(retire, "find_actor", lambda name: reference if name in c.actors else None)
    monkeypatch.setattr(retire, "call", lambda ref, timeout, what: c.released.append(ref))
    return c


def test_actors_of_a_longer_engine_end(cluster: Cluster) -> None:
    before = list(cluster.actors)
    retire.release_actors(GROWN, "models/tiny/teacher-a", OWN)
    grown = session.actor_identity(GROWN, 0)
    assert cluster.actors == [a for a in before if not a.endswith(grown)] and len(cluster.actors) == 3
    assert len(cluster.groups) == 1 and not cluster.released


def test_of_the_tiers_own_actors_the_reference_forgets_the_model(cluster: Cluster) -> None:
    before = list(cluster.actors)
    retire.release_actors(OWN, "models/tiny/teacher-a", OWN)
    [path] = cluster.released
    assert path.endswith("models/tiny/teacher-a") and cluster.actors == before and len(cluster.groups) == 2
    cluster.actors = [a for a in before if not a.startswith("reference")]
    retire.release_actors(OWN, "models/tiny/teacher-a", OWN)  # nobody holds it
    assert len(cluster.released) == 1

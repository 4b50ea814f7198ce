"""What a node is asked, and what is said of the nodes that do not see what they must."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.actors import nodes
from artifact.actors.nodes import look, nodes_of, own_node, require_seen
from artifact.actors.session import Actors
from artifact.errors import ArtifactError


def test_what_a_node_sees_is_read_there_and_told_by_node(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    assert look({str(path): "abc"})[0] and look({str(path): None})[0]
    assert not look({str(path): "abd"})[0] and not look({str(path): "abc", str(tmp_path / "none"): None})[0]
    require_seen(tmp_path, {"a": True, "b": True}, "")
    with pytest.raises(ArtifactError, match=r"1 of 3 nodes do not see .*\(b\).* set X"):
        require_seen(tmp_path, {"a": True, "b": False, "c": True}, "set X")


def test_the_node_of_each_actor_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def on(node: str) -> Any:
        return SimpleNamespace(__ray_call__=SimpleNamespace(remote=lambda f: (f, node)))

    def answer(refs: list[tuple[Any, str]], timeout_s: float, what: str) -> list[str]:
        assert timeout_s == 5 and all(f is own_node for f, _ in refs)
        return [node for _, node in refs]

    monkeypatch.setattr(nodes, "call", answer)
    alone = Actors(engines=[on("a"), on("b")], students=[on("a")], teachers=[on("b")], references=[on("c")])
    assert nodes_of(alone.by_name, 5) == {
        "engine-0": "a",
        "engine-1": "b",
        "student-0": "a",
        "teacher": "b",
        "reference": "c",
    }
    both = Actors(students=[on("a"), on("b")], teachers=[on("a"), on("b")])
    assert nodes_of(both.by_name, 5) == {"student-0": "a", "student-1": "b", "teacher-0": "a", "teacher-1": "b"}

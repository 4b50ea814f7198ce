"""What a node is asked, and what is said of the nodes that do not see what they must."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact.actors.nodes import look, require_seen
from artifact.errors import ArtifactError


def test_what_a_node_sees_is_read_there_and_told_by_node(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    assert look({str(path): "abc"})[0] and look({str(path): None})[0]
    assert not look({str(path): "abd"})[0] and not look({str(path): "abc", str(tmp_path / "none"): None})[0]
    require_seen(tmp_path, {"a": True, "b": True}, "")
    with pytest.raises(ArtifactError, match=r"1 of 3 nodes do not see .*\(b\).* set X"):
        require_seen(tmp_path, {"a": True, "b": False, "c": True}, "set X")

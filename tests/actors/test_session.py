"""Which checkpoints an engine can hold in turn: those of one architecture, whatever else their configuration says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifact.actors.calls import call
from artifact.actors.session import architecture
from artifact.errors import ActorDied
from artifact.paths import resolve_model


def test_an_architecture_is_what_decides_an_engines_shape(tmp_path: Path) -> None:
    base = resolve_model("models/tiny/student")
    config = json.loads((Path(base) / "config.json").read_text())

    def changed(**values: object) -> str:
        (tmp_path / "config.json").write_text(json.dumps(config | values))
        return architecture(str(tmp_path))

    same = [changed(use_cache=False), changed(dtype="bfloat16"), changed(_name_or_path="elsewhere")]
    assert set(same) == {architecture(base)}
    other = [
        changed(hidden_size=2 * config["hidden_size"]),
        changed(tie_word_embeddings=False),
        changed(rope_theta=1.0),
    ]
    assert len({architecture(base), *other}) == 4


def test_a_full_memory_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own text is a page of processes and settings."""
    import ray

    def full(refs: object, timeout: float) -> None:
        raise ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.\n" * 30)

    monkeypatch.setattr(ray, "get", full)
    with pytest.raises(ActorDied) as found:
        call([], 1.0, "optimiser step 3")
    said = str(found.value)
    assert said.startswith("optimiser step 3 failed because Ray ended a process: this machine's memory was full")
    assert "cluster.lanes" in said and "\n" not in said

"""Which checkpoints an engine can hold in turn: those of one architecture, whatever else their configuration says."""

from __future__ import annotations

import json
from pathlib import Path

from artifact.actors.session import architecture
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

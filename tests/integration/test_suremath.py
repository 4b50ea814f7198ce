"""SURE-Math through real engines: built, annotated and published by the teacher, and read back by a stranger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.integration.conftest import SMALL

from artifact.paths import project_root


@pytest.fixture(scope="module")
def small_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded tier's settings at a fortieth of their size."""
    data = yaml.safe_load((project_root() / "configs" / "suremath" / "tiny.yaml").read_text())
    data["curated"] |= {"size": 24, "test": 6}
    data["evolution"]["size"] = 20
    data["seeds"] = [s | {"limit": 8} for s in data["seeds"]]
    path = tmp_path_factory.mktemp("settings") / "small.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_it_is_built_annotated_and_published(workers, small_settings: Path) -> None:
    import datasets

    from artifact.studies.suremath import build_suremath, lineage_of
    from artifact.suremath.load import check_published, load_published, problems
    from artifact.suremath.weights import import_weights

    overrides = {k: v for k, v in SMALL.items() if not k.startswith("task.")}
    folder = build_suremath("tiny", str(small_settings), overrides)
    published = folder / "dataset"
    rows = load_published(published)
    assert check_published(published) == {"train": len(rows), "test": 6}
    assert all(r.samples == SMALL["annotation.samples"] and 0 <= (r.weight or 0) <= 1 for r in rows)
    assert {r.strategy for r in rows} > {"curated"}, "no evolved problem passed the filters"
    items = lineage_of(folder)
    assert all(parent in items for r in rows for parent in r.parent_ids)
    weights = import_weights(next(published.rglob("weights*")), problems(published))
    assert {i: w.weight for i, w in weights.items()} == pytest.approx({r.id: r.weight for r in rows})
    loaded = datasets.load_dataset(str(published), split="train", cache_dir=str(small_settings.parent / "cache"))
    assert list(loaded["id"]) == [r.id for r in rows]
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert build_suremath("tiny", str(small_settings), overrides) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert json.loads((folder / "manifest.json").read_text())["train"] == len(rows)

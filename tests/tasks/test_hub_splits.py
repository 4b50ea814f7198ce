"""Two splits of a dataset read as one, which is how SVAMP's whole set comes from the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifact.errors import Mismatch
from artifact.tasks.benchmark import known_benchmarks
from artifact.tasks.catalogue.benchmarks import TABLE
from artifact.tasks.hub import Source, load_rows


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of three and two rows on this machine, which `datasets` loads like one of the hub."""
    import datasets

    folder = tmp_path / "set"
    folder.mkdir()
    for split, ids in (("train", (1, 2, 3)), ("test", (4, 5))):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps({"ID": f"c{i}", "extra": i}) + "\n" for i in ids))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return folder


def test_both_splits_in_order_and_counted_together(dataset: Path) -> None:
    found = load_rows(Source("nowhere/all", hub=str(dataset), hub_split="train+test", hub_rows=5), columns=("ID",))
    assert [row["ID"] for row in found.rows] == ["c1", "c2", "c3", "c4", "c5"]
    assert set(found.rows[0]) == {"ID"} and found.checked == ("rows",)
    with pytest.raises(Mismatch, match="has 5 rows, expected 6"):
        load_rows(Source("nowhere/all", hub=str(dataset), hub_split="train+test", hub_rows=6))


def test_svamp_has_one_way_to_its_thousand_problems_from_either_place() -> None:
    source = next(b for b in TABLE if b.name == "svamp").sources["all"]
    assert (source.rows, source.hub_rows) == (1000, 1000) and source.hub_split == "train+test"
    assert known_benchmarks()["svamp"].main == "all"

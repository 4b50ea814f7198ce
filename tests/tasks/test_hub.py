"""Loading offline first: order of places, checks of rows and checksums, the cache of `datasets`, clear absence."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from artifact.errors import Mismatch
from artifact.tasks.hub import DataAbsent, Source, at_hand, data_dirs, load_rows, read_file

ROWS = [{"question": f"{n} + 1 \u2028?", "answer": str(n + 1)} for n in range(5)]


@pytest.fixture(autouse=True)
def _no_other_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder but the test's own, and no network."""
    root = tmp_path / "clone"
    (root / "configs" / "tiers").mkdir(parents=True)
    monkeypatch.setenv("ARTIFACT_ROOT", str(root))
    monkeypatch.delenv("ARTIFACT_DATA", raising=False)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(folder: Path, name: str = "set/test.jsonl", rows: list[dict] = ROWS) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n", encoding="utf-8")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_local_file_with_its_checks(tmp_path: Path) -> None:
    digest = write(tmp_path / "d")
    loaded = load_rows(Source("set/test", 5, digest), tmp_path / "d")
    assert list(loaded.rows) == ROWS
    assert (loaded.place, loaded.sha256, loaded.checked) == ("local", digest, ("rows", "sha256"))
    assert loaded.origin == str(tmp_path / "d" / "set" / "test.jsonl")
    assert load_rows(Source("set/test"), tmp_path / "d").checked == ()


def test_wrong_rows_and_wrong_bytes_are_refused(tmp_path: Path) -> None:
    digest = write(tmp_path)
    with pytest.raises(Mismatch, match=r"test\.jsonl has 5 rows, expected 6"):
        load_rows(Source("set/test", 6, digest), tmp_path)
    path = tmp_path / "set" / "test.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("4 + 1", "4 + 2"), encoding="utf-8")
    with pytest.raises(Mismatch, match=f"expected {digest}"):
        load_rows(Source("set/test", 5, digest), tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"question": ')
    with pytest.raises(Mismatch, match=r"test\.jsonl, line 6, is not valid JSON"):
        load_rows(Source("set/test", 5), tmp_path)


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "clone"
    places = [tmp_path / "given", tmp_path / "named", clone / "data", tmp_path / "shared" / "data"]
    for number, place in enumerate(places):
        write(place, rows=[{"place": number}])
    monkeypatch.setenv("ARTIFACT_DATA", str(places[1]))
    for number, place in enumerate(places):
        assert data_dirs(places[0] if number == 0 else None)[0] == (
            places[0] if number == 0 else places[max(1, number)]
        )
        assert load_rows(Source("set/test"), places[0] if number == 0 else None).rows[0]["place"] == number
        shutil.rmtree(place)
        if number == 1:
            monkeypatch.delenv("ARTIFACT_DATA")


def test_a_named_folder_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataAbsent, match=r"nowhere given by the option data_dir"):
        load_rows(Source("set/test"), tmp_path / "nowhere")
    monkeypatch.setenv("ARTIFACT_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataAbsent, match=r"gone given by \$ARTIFACT_DATA"):
        load_rows(Source("set/test"))


def test_formats(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "b.json").write_text(json.dumps(ROWS), encoding="utf-8")
    assert read_file(tmp_path / "a.parquet") == read_file(tmp_path / "b.json") == ROWS
    (tmp_path / "c.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Mismatch, match="holds a dict"):
        read_file(tmp_path / "c.json")
    (tmp_path / "d.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(Mismatch, match="cannot be read as Parquet"):
        read_file(tmp_path / "d.parquet")


def test_absence_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(DataAbsent) as caught:
        load_rows(Source("set/test", hub="org/name", configs=("main",)), tmp_path / "d")
    message = str(caught.value)
    assert str(tmp_path / "d" / "set" / "test") in message
    assert "Not in the cache" in message and "HF_HUB_OFFLINE=1" in message
    assert "d.load_dataset('org/name', c) for c in ['main']" in message and "ARTIFACT_DATA" in message
    with pytest.raises(DataAbsent, match="on no hub"):
        load_rows(Source("set/test"), tmp_path / "d")


def test_the_cache_of_datasets_is_read_without_a_network(tmp_path: Path) -> None:
    """A cache entry as `datasets` itself writes it, under the name it gives to a dataset of the hub."""
    import datasets

    made = tmp_path / "made"
    for config, rows in (("main", ROWS), ("other", ROWS[:2])):
        write(tmp_path / config, "rows.jsonl", rows)
        datasets.load_dataset(
            "json", data_files={"test": str(tmp_path / config / "rows.jsonl")}, cache_dir=str(made / config)
        )
        (info,) = (made / config).rglob("dataset_info.json")
        target = tmp_path / "cache" / "org___some_name" / config / "0.0.0" / "abc"
        shutil.copytree(info.parent, target)
        for file in target.glob("json-*.arrow"):
            file.rename(target / file.name.replace("json-", "some_name-"))
        data = json.loads((target / "dataset_info.json").read_text())
        (target / "dataset_info.json").write_text(
            json.dumps(data | {"config_name": config, "dataset_name": "some_name"})
        )
    source = Source("set/test", hub="org/some_name", configs=("main", "other"), hub_rows=7)
    loaded = load_rows(source)
    assert (loaded.place, loaded.origin, loaded.checked) == ("cache", "org/some_name", ("rows",))
    assert list(loaded.rows) == ROWS + ROWS[:2] and len(loaded.sha256) == 64
    assert load_rows(source, columns=("answer", "absent")).rows[0] == {"answer": "1"}
    assert at_hand(source) and not at_hand(replace(source, configs=("main", "third")))
    assert not at_hand(replace(source, hub="org/another")) and not at_hand(replace(source, hub=""))
    write(tmp_path / "d")
    assert at_hand(replace(source, hub=""), tmp_path / "d")
    with pytest.raises(Mismatch, match="has 7 rows, expected 8"):
        load_rows(Source("set/test", hub="org/some_name", configs=("main", "other"), hub_rows=8))
    with pytest.raises(DataAbsent, match="Not in the cache"):
        load_rows(Source("set/test", hub="org/some_name", configs=("third",)))

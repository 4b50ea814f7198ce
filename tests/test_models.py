"""A hub id becomes one folder and one commit, from the cache or in seconds from the network; contents have one hash."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from tests.fake_hub import TINY, FakeHub, copy_of
from tests.poison import POISONS, pickled, sharded, with_config

from artifact import models, provenance
from artifact.errors import BrokenModel, ModelAbsent
from artifact.models import ANSWER_S, check_files, hub_origin, snapshot, tensor_names, weight_files
from artifact.paths import resolve_model
from artifact.provenance import model_hash, tree_hash


def test_a_hub_id_is_its_snapshot_folder_and_commit(hub: FakeHub) -> None:
    commit = hub.put("lab/small", TINY / "student")
    folder = hub.place("lab/small") / "snapshots" / commit
    assert snapshot("lab/small") == models.Snapshot(folder, commit)
    assert resolve_model("lab/small") == str(folder)
    assert hub_origin(folder) == ("lab/small", commit)
    assert hub_origin(TINY / "student") is None


def test_a_revision_is_pinned_in_the_name(hub: FakeHub) -> None:
    first = hub.put("lab/small", TINY / "student", "v1")
    second = hub.put("lab/small", TINY / "teacher-a")
    assert [snapshot(f"lab/small{r}").commit for r in ("", "@main", "@v1", f"@{first}")] == [
        second,
        second,
        first,
        first,
    ]
    with pytest.raises(ModelAbsent, match=r"hf download lab/small --revision v2`"):
        snapshot("lab/small@v2")


def test_a_hub_id_is_resolved_once_in_a_process(hub: FakeHub) -> None:
    """What a run has begun with, it ends with; a new process sees where the reference moved."""
    first = hub.put("lab/small", TINY / "student")
    assert snapshot("lab/small").commit == first
    second = hub.put("lab/small", TINY / "teacher-a")
    assert snapshot("lab/small").commit == first
    models._resolved.clear()
    assert snapshot("lab/small").commit == second


@pytest.mark.parametrize("name", ["a shard missing", "pickled", "two sets of weights", "an adapter"])
def test_a_snapshot_without_its_weights_is_not_used(name: str, hub: FakeHub, tmp_path: Path) -> None:
    poison, words = POISONS[name]
    hub.put("lab/small", copy_of("student", tmp_path / "model", poison))
    with pytest.raises(ModelAbsent, match=words) as refused:
        snapshot("lab/small")
    assert "HF_HUB_OFFLINE is set" in str(refused.value) and str(hub.cache) in str(refused.value)


def test_what_is_absent_says_where_and_what_to_do(hub: FakeHub) -> None:
    with pytest.raises(ModelAbsent, match="absent") as refused:
        resolve_model("lab/small")
    message = str(refused.value)
    for part in ("lab/small", str(hub.cache), "hf download lab/small", "HF_HOME", "local folder"):
        assert part in message
    assert isinstance(refused.value, FileNotFoundError)
    with pytest.raises(ModelAbsent, match="neither a folder nor a hub id"):
        resolve_model("no such: name/at/all")


def test_a_hub_that_does_not_answer_costs_seconds(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and stays silent, and a port where nobody listens."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models, "ANSWER_S", 0.3)
    assert ANSWER_S <= 10
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        with pytest.raises(ModelAbsent, match="Timeout"):
            snapshot("lab/small")
        assert time.monotonic() - begin < 10
    begin = time.monotonic()
    with pytest.raises(ModelAbsent, match=r"could not be fetched \(Connect"):
        snapshot("lab/small")
    assert time.monotonic() - begin < 10
    with pytest.raises(ModelAbsent, match="the hub was not asked"):
        snapshot("lab/small", download=False)


def test_a_whole_snapshot_asks_no_network(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "socket", None)
    commit = hub.put("lab/small", TINY / "student")
    assert snapshot("lab/small").commit == commit


def test_errors_name_the_hub_id_and_commit(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.put("lab/small", copy_of("student", tmp_path / "model", POISONS["truncated"][0]))
    with pytest.raises(BrokenModel, match=rf"model lab/small \(commit {commit}.*hf download lab/small --revision"):
        check_files(Path(resolve_model("lab/small")))


def test_weight_files_are_those_that_count(tmp_path: Path) -> None:
    assert weight_files(TINY / "student") == [TINY / "student" / "model.safetensors"]
    folder = copy_of("student", tmp_path / "model", sharded)
    parts = weight_files(folder)
    assert [p.name for p in parts] == [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    whole = tensor_names(TINY / "student" / "model.safetensors")
    assert tensor_names(parts[0]) | tensor_names(parts[1]) == whole
    assert not tensor_names(parts[0]) & tensor_names(parts[1])
    shutil.copy(parts[0], folder / "old.safetensors")  # no index names it, and an index there is
    assert weight_files(folder) == parts
    check_files(folder)


def test_pickled_weights_beside_safetensors_are_not_read(tmp_path: Path) -> None:
    folder = copy_of("student", tmp_path / "model", pickled)
    shutil.copy(TINY / "student" / "model.safetensors", folder)
    check_files(folder)


@pytest.mark.parametrize("name", ["student", "teacher-a", "teacher-b"])
def test_the_shipped_models_are_known_by_the_rule_of_trees(name: str) -> None:
    assert model_hash(TINY / name) == tree_hash(TINY / name)


def test_a_models_hash_is_its_content(hub: FakeHub, tmp_path: Path) -> None:
    """The same wherever it lies and whatever lies beside it; another for other weights, settings, or tokens."""
    base = model_hash(TINY / "student")
    hub.put("lab/small", TINY / "student")
    assert model_hash(Path(resolve_model("lab/small"))) == base
    folder = copy_of("student", tmp_path / "model")
    for name in ("README.md", "flax_model.msgpack", "pytorch_model.bin", ".gitattributes", "consolidated.safetensors"):
        (folder / name).write_text("as some downloads have it and others do not")
    assert model_hash(folder) == base
    seen = {base}
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja", "model.safetensors"):
        with (folder / name).open("ab") as stream:
            stream.write(b" ")
        seen.add(model_hash(folder))
    with_config(rms_norm_eps=0.5)(folder)
    assert len(seen | {model_hash(folder)}) == 6


def test_large_files_count_by_content_and_are_read_once(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    plain = provenance.file_hash
    monkeypatch.setattr(provenance, "LARGE", 100_000)

    def counted(path: Path) -> str:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(provenance, "file_hash", counted)
    folder = copy_of("student", tmp_path / "model")
    weights = folder / "model.safetensors"
    first = model_hash(folder)
    assert weights in read
    read.clear()
    assert model_hash(folder) == first and weights not in read
    copied = copy_of("student", tmp_path / "copy")
    os.utime(copied / "model.safetensors", ns=(1, 1))
    assert model_hash(copied) == first, "the time of writing is no content"
    stat = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert model_hash(folder) != first, "other weights of the same size and time"
    monkeypatch.setattr(provenance, "LARGE", 10**9)
    assert model_hash(copied) == first, "how often it is read is no content"

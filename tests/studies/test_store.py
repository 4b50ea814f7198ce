"""A result is made once, whole, and says what it is; the actors of a lane belong to one user at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from artifact.actors.turns import GAP_S
from artifact.config import Config, load
from artifact.errors import ArtifactError
from artifact.files import DamagedFile
from artifact.studies import store

HOLDER = """
import sys
from pathlib import Path
from artifact.config import load
from artifact.studies import store
store.state_folder = lambda: Path(sys.argv[1])
with store.actors_of(load("tiny"), "models/tiny/student"):
    print("held", flush=True)
    sys.stdin.readline()
"""

CONFIG = load("tiny")


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of this test's own, not those of runs that may be going on."""
    monkeypatch.setattr(store, "state_folder", lambda: tmp_path)
    return tmp_path


def in_a_thread(lane: int) -> tuple[threading.Event, threading.Event, threading.Thread]:
    """A thread that takes the actors of `lane`: (it has them, it may give them back, the thread)."""
    taken, release = threading.Event(), threading.Event()

    def use() -> None:
        with store.actors_of(CONFIG, CONFIG.models.student, lane):
            taken.set()
            release.wait(30)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    return taken, release, thread


def test_a_second_thread_waits_and_another_lane_does_not(locks: Path) -> None:
    with store.actors_of(CONFIG, CONFIG.models.student):
        waiting, release, thread = in_a_thread(0)
        other, release_other, _ = in_a_thread(1)
        assert other.wait(10), "another lane has actors of its own"
        assert not waiting.wait(0.3), "two users share the actors of a lane"
        release_other.set()
    assert waiting.wait(10)
    release.set()
    thread.join(10)
    with store.actors_of(CONFIG, CONFIG.models.student):  # given back
        pass


def test_another_process_is_waited_for_and_a_killed_one_holds_nothing(locks: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(locks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    taken, release, thread = in_a_thread(0)
    assert not taken.wait(0.3), "two processes share the actors of a lane"
    process.kill()
    process.wait()
    assert taken.wait(10)
    release.set()
    thread.join(10)


def test_where_devices_are_counted_kinds_of_engines_take_turns(locks: Path) -> None:
    """The student's engines and a frozen model's cannot be there at once; where nothing is counted both stay."""
    counted = load("tiny", {"cluster.gpus": 4, "cluster.lanes": 1})
    teacher = counted.teacher_path
    with store.actors_of(counted, counted.models.student):
        pass
    began = time.monotonic()
    with store.actors_of(CONFIG, teacher):
        pass
    assert time.monotonic() - began < 0.5 * GAP_S
    with store.actors_of(counted, counted.models.student):
        began = time.monotonic()
    with store.actors_of(counted, teacher):
        assert time.monotonic() - began > 0.9 * GAP_S


def test_an_error_gives_the_actors_back(locks: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"), store.actors_of(CONFIG, CONFIG.models.student):
        raise RuntimeError("broke")
    taken, release, thread = in_a_thread(0)
    assert taken.wait(10)
    release.set()
    thread.join(10)


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_result_made_again_has_the_same_manifest_and_its_own_run_info(results: Path) -> None:
    config, made = load("tiny"), []
    for sampling in (1.0, 2.0):
        with store.result("samples", "k", config, force=True) as out:
            assert out.folder.parent == results / "samples" and out.folder.name == "k.partial"
            (out.folder / "data").write_text("x")
            out.manifest["gap"] = 0.5
            out.run_info["seconds"]["sampling"] = sampling
        made.append(files_in(out.folder))
    assert out.folder == results / "samples" / "k" and set(made[0]) == {"data", "manifest.json", "run_info.json"}
    assert made[0]["manifest.json"] == made[1]["manifest.json"] and made[0]["data"] == made[1]["data"]
    assert made[0]["run_info.json"] != made[1]["run_info.json"]
    manifest, info = store.finished(out.folder), store.run_info(out.folder)
    assert manifest == out.manifest and info == out.run_info
    assert (manifest["kind"], manifest["key"], manifest["tier"], manifest["gap"]) == ("samples", "k", "tiny", 0.5)
    assert Config.model_validate(manifest["config"]) == config
    assert info["seconds"]["sampling"] == 2.0 and info["seconds"]["total"] >= 0 and info["hardware"]["cores"] >= 1
    assert not {"seconds", "finished", "git", "hardware"} & set(manifest)


def test_an_interrupted_result_is_unfinished_and_gone_on_with(results: Path) -> None:
    config = load("tiny")
    with pytest.raises(RuntimeError, match="killed"), store.result("samples", "k", config) as out:
        (out.folder / "shard").touch()
        raise RuntimeError("killed")
    assert store.read_manifest(store.folder_of("samples", "k")) is None
    with store.result("samples", "k", config, settings={"n": 4}) as out:
        assert not out.finished and [p.name for p in out.folder.iterdir()] == ["shard"]
    with store.result("samples", "k", config) as out:
        assert out.finished and out.manifest["settings"] == {"n": 4} and "config" not in out.manifest
    with store.result("samples", "k", config, force=True) as out:
        assert not out.finished and not list(out.folder.iterdir())


def test_a_damaged_or_missing_file_of_a_result_says_what_to_do(results: Path) -> None:
    with store.result("samples", "k", load("tiny")) as out:
        pass
    (out.folder / "run_info.json").unlink()
    with pytest.raises(DamagedFile, match=r"run_info\.json is missing; run its stage with --force, or delete .*k and"):
        store.run_info(out.folder)
    (out.folder / "manifest.json").write_text('{"kind": ')
    with pytest.raises(
        DamagedFile, match=r"k/manifest\.json is damaged .*; run its stage with --force, or delete .*k and"
    ):
        store.finished(out.folder)
    with pytest.raises(ArtifactError, match=r"elsewhere holds no finished result"):
        store.finished(results / "elsewhere")


def test_a_second_thread_waits_for_the_result_and_finds_it(results: Path) -> None:
    config, found = load("tiny"), []

    def ask() -> None:
        with store.result("samples", "k", config) as out:
            found.append(out.finished)

    with store.result("samples", "k", config):
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(0.3)
        assert not found, "two threads make one result"
    thread.join(10)
    assert found == [True]


def test_a_manifest_that_was_altered_is_refused(results: Path) -> None:
    for name, there, other in (("manifest.json", '"tiny"', '"core"'), ("run_info.json", '"total": ', '"total": 1')):
        with store.result("samples", "k", load("tiny"), force=True) as out:
            pass
        text = (out.folder / name).read_text()
        assert text.count(there) >= 1
        (out.folder / name).write_text(text.replace(there, other))
        with pytest.raises(DamagedFile, match=rf"{name} was altered: it does not agree with its own checksum; run its"):
            store.finished(out.folder)
        (out.folder / name).write_text('{"kind": "samples"}')
        with pytest.raises(DamagedFile, match=rf"{name} holds no checksums: another version wrote it; run its stage"):
            store.finished(out.folder)


def test_files_that_hold_times_are_accounted_for_where_times_are(results: Path) -> None:
    with store.result("runs", "k", load("tiny")) as out:
        for name in (
            "metrics.jsonl",
            "tensorboard/events",
            "shards/0.seconds",
            "weights/w",
            "shards/0.parquet.partial",
        ):
            (out.folder / name).parent.mkdir(exist_ok=True)
            (out.folder / name).write_text("{}\n")
    lasting, passing = store.finished(out.folder)["files"], store.run_info(out.folder)["files"]
    assert [*lasting] == ["weights/w"]
    assert [*passing] == ["metrics.jsonl", "shards/0.seconds", "tensorboard/events"]
    assert passing["metrics.jsonl"] == {
        "bytes": 3,
        "rows": 1,
        "sha256": "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
    }


def test_what_resumption_needs_stays_until_the_result_is_final(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError("no space left on device")

    real = store.settle
    monkeypatch.setattr(store, "settle", full)
    with pytest.raises(OSError, match="no space"), store.result("runs", "k", load("tiny")) as out:
        out.scratch("checkpoints").mkdir()
        (out.scratch("checkpoints") / "state").touch()
    monkeypatch.setattr(store, "settle", real)
    with store.result("runs", "k", load("tiny")) as out:
        assert [p.name for p in out.scratch("checkpoints").iterdir()] == ["state"]
    assert sorted(files_in(out.folder)) == ["manifest.json", "run_info.json"]
    assert [p.name for p in out.folder.parent.iterdir()] == ["k"]


def test_what_force_replaces_stays_until_the_new_result_is_final(results: Path) -> None:
    config = load("tiny")
    with store.result("samples", "k", config) as out:
        (out.folder / "data").write_text("old")
    with pytest.raises(RuntimeError, match="killed"), store.result("samples", "k", config, force=True) as out:
        raise RuntimeError("killed")
    assert (results / "samples" / "k.old.partial" / "data").read_text() == "old"
    with store.result("samples", "k", config) as out:
        assert not out.finished, "what --force began is gone on with"
        (out.folder / "data").write_text("new")
    assert (out.folder / "data").read_text() == "new" and [p.name for p in out.folder.parent.iterdir()] == ["k"]


def test_a_kill_right_after_force_renamed_the_old_result_brings_it_back(results: Path) -> None:
    with store.result("samples", "k", load("tiny")) as out:
        pass
    out.folder.rename(out.folder.with_name("k.old.partial"))
    with store.result("samples", "k", load("tiny")) as out:
        assert out.finished


def test_a_folder_without_its_manifest_is_moved_aside_and_made(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        folder = store.folder_of("samples", "k")
        folder.mkdir(parents=True)
        (folder / "data").write_text("somebody's")
        with store.result("samples", "k", load("tiny")) as out:
            assert not out.finished and not list(out.folder.iterdir())
        assert (results / "samples" / f"k.aside-{number}" / "data").read_text() == "somebody's"
        assert f"moved to {results}/samples/k.aside-{number}, delete it if nobody needs it" in capsys.readouterr().out
        shutil.rmtree(out.folder)


def test_whoever_waited_for_a_lock_that_is_gone_takes_the_new_one(results: Path) -> None:
    """The first to finish removes the lock's file: who waited for that file and who comes later must not both go on."""
    config, inside, most = load("tiny"), [0], [0]
    waiting = threading.Barrier(3)

    def make() -> None:
        waiting.wait(10)
        for _ in range(10):
            with store.result("samples", "k", config, force=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.005)
                inside[0] -= 1

    threads = [threading.Thread(target=make, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] and not any(t.is_alive() for t in threads)


def test_a_folder_without_its_manifest_is_no_result(results: Path) -> None:
    folder = store.folder_of("samples", "k")
    folder.mkdir(parents=True)
    (folder / "data").write_text("from another program")
    assert store.read_manifest(folder) is None
    with pytest.raises(ArtifactError, match=r"holds no finished result \(no manifest\.json\)"):
        store.finished(folder)


def test_a_result_whose_manifest_cannot_be_written_is_not_there(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"), store.result("samples", "k", load("tiny")) as out:
        out.manifest["gap"] = object()
    assert not store.folder_of("samples", "k").exists() and out.folder.name == "k.partial"

    def full(path: Path, value: object) -> None:
        if path.name == "manifest.json":
            raise OSError("no space left on device")

    monkeypatch.setattr(store, "write_json", full)
    with pytest.raises(OSError, match="no space"), store.result("samples", "k", load("tiny")):
        pass
    assert not store.folder_of("samples", "k").exists()


def test_a_finished_result_is_made_anew_on_demand_only(results: Path) -> None:
    for force, there in ((False, False), (False, True), (True, False)):
        with store.result("samples", "k", load("tiny"), force=force) as out:
            assert out.finished == there


def test_force_begins_anew_after_an_interrupted_attempt_too(results: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"), store.result("samples", "k", load("tiny")) as out:
        (out.folder / "shard").touch()
        raise RuntimeError("killed")
    with store.result("samples", "k", load("tiny"), force=True) as out:
        assert not list(out.folder.iterdir())

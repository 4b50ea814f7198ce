"""The private folder, who uses the cluster, and what is taken for a head of ours; nothing is started."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifact.actors import ray_head
from artifact.errors import ArtifactError


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="af", dir="/tmp") as made:
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made)


def test_only_this_user_enters_and_what_lay_in_an_open_folder_is_not_trusted(folder: Path) -> None:
    private = ray_head.state_folder()
    assert private.parent == folder and private.stat().st_mode & 0o777 == 0o700
    token = Path(ray_head.environment()["RAY_AUTH_TOKEN_PATH"])
    first = token.read_text()
    assert len(first) == 64 and token.stat().st_mode & 0o777 == 0o600 and token.parent == private
    assert Path(ray_head.environment()["RAY_AUTH_TOKEN_PATH"]).read_text() == first
    private.chmod(0o777)
    (private / "state.json").write_text("{}")
    assert ray_head.state_folder().stat().st_mode & 0o777 == 0o700
    assert not token.exists() and not (private / "state.json").exists()


def test_a_link_in_its_place_is_refused(folder: Path) -> None:
    private = ray_head.state_folder()
    private.rmdir()
    private.symlink_to(folder)
    with pytest.raises(ArtifactError, match="is a link"):
        ray_head.state_folder()


def test_a_token_of_no_length_is_written_again(folder: Path) -> None:
    token = ray_head.state_folder() / "token"
    token.touch()
    ray_head.environment()
    assert len(token.read_text()) == 64


def test_a_folder_too_long_for_rays_sockets_is_refused_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_head.ray_folder().parent == ray_head.state_folder()
    spare = ray_head.LONGEST_SOCKET - ray_head.RAY_BELOW - len(str(ray_head.ray_folder())) - 1
    for longer, fits in ((spare, True), (spare + 1, False)):
        deep = folder / ("x" * longer)
        deep.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(deep))
        if fits:
            ray_head.ray_folder()
        else:
            with pytest.raises(ArtifactError, match="set TMPDIR to a folder whose path is at least 1 char"):
                ray_head.ray_folder()


def test_a_process_uses_the_cluster_until_it_says_so_or_dies(folder: Path) -> None:
    code = (
        f"import tempfile; tempfile.tempdir = {str(folder)!r}\n"
        "from artifact.actors import ray_head; ray_head.use(); print(ray_head.users(), flush=True); input()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    one, two = (
        subprocess.Popen([sys.executable, "-c", code], env=env, stdin=-1, stdout=-1, text=True) for _ in range(2)
    )
    for process in (one, two):
        assert process.stdout is not None and process.stdout.readline().startswith("[")
    assert set(ray_head.users()) == {one.pid, two.pid}
    one.kill()
    one.wait()
    assert ray_head.users() == [two.pid]
    two.communicate("\n")
    assert ray_head.users() == []


@pytest.mark.parametrize("damage", ["", "{", '{"pid": 1, "address": "x"}'])
def test_a_state_that_says_nothing_true_is_as_none(folder: Path, damage: str) -> None:
    (ray_head.state_folder() / "state.json").write_text(damage)
    assert ray_head.read_state() is None
    assert not ray_head.stop(), "and no process is ended for it"


def test_a_process_that_only_names_the_folder_is_no_head(folder: Path) -> None:
    name = f"--temp-dir={ray_head.state_folder()}/ray"
    with subprocess.Popen([sys.executable, "-c", "input()", name, "head.log"], stdin=-1) as process:
        try:
            assert process.pid not in ray_head._heads()
        finally:
            process.kill()

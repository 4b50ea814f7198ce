"""Two users of one machine, one clone and one folder of temporary files. Needs root, which alone can be two users."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.conftest import SMALL

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
OTHER = 65534
"""The user `nobody`, without a home and without rights."""

USES_THE_CLUSTER = """
import json, ray
from artifact.actors import ray_head, session
session.connect()
print(json.dumps([ray.get_runtime_context().gcs_address, str(ray_head.state_folder())]), flush=True)
input()
"""
STOPS_IT = "from artifact.actors import session\nprint(session.stop())"
JOINS_IT = "from artifact.actors import session\nsession.connect()"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder as /tmp: everybody writes, nobody removes what is another's. Its clusters are stopped at the end."""
    if os.getuid() != 0:
        pytest.skip("only root can start processes of another user")
    if run_as(OTHER, Path("/tmp"), "print(1)").communicate()[0] != "1\n":
        pytest.skip(f"user {OTHER} cannot run {sys.executable}")
    with tempfile.TemporaryDirectory(prefix="af", dir="/tmp") as made:
        Path(made).chmod(0o1777)
        yield Path(made)
        for user in (0, OTHER):
            run_as(user, Path(made), STOPS_IT).communicate(timeout=120)


def run_as(user: int, temporary: Path, code: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """`python -c code` (or, without code, `python arguments`) of the project by `user`."""
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    set_user = [] if user == os.getuid() else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "TMPDIR": str(temporary),
        "HOME": str(temporary / f"home-{user}"),
        "ARTIFACT_RESULTS": str(temporary / f"results-{user}"),
        **env,
    }
    if not env:
        environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        opened(set_user + command) if set_user else command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def opened(command: list[str]) -> list[str]:
    """`command` where every user can reach this Python: one in a closed home is shown to this process at its place."""
    base = Path(sys.base_prefix).resolve()
    closed = [p for p in base.parents if p.is_dir() and not p.stat().st_mode & 0o001]
    if not closed:
        return command
    home, aside = shlex.quote(str(closed[-1])), shlex.quote(tempfile.mkdtemp(prefix="af", dir="/tmp"))
    place = shlex.quote(str(base))
    steps = [
        f"mount --bind {place} {aside}",
        f"mount -t tmpfs -o mode=755 tmpfs {home}",
        f"mkdir -p {place}",
        f"mount --bind {aside} {place}",
        f"exec {shlex.join(command)}",
    ]
    return ["unshare", "--mount", "sh", "-ec", "\n".join(steps)]


def answer(process: subprocess.Popen[str]) -> tuple[str, Path]:
    """The address of the cluster that a process uses, and its private folder."""
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()[-3000:]
    address, folder = json.loads(line)
    return str(address), Path(folder)


def test_each_has_a_cluster_which_the_other_can_neither_enter_nor_stop(temporary: Path) -> None:
    mine, theirs = (run_as(user, temporary, USES_THE_CLUSTER) for user in (0, OTHER))
    (address, folder), (other_address, other_folder) = answer(mine), answer(theirs)
    assert address != other_address
    for user, path in ((0, folder), (OTHER, other_folder)):
        assert path.parent == temporary and path.stat().st_uid == user and path.stat().st_mode & 0o777 == 0o700
    head = psutil.Process(json.loads((folder / "state.json").read_text())["pid"])
    other_head = psutil.Process(json.loads((other_folder / "state.json").read_text())["pid"])
    assert (head.uids().real, other_head.uids().real) == (0, OTHER)

    looks = run_as(OTHER, temporary, f"open({str(folder / 'token')!r})")
    assert "PermissionError" in looks.communicate(timeout=60)[1]
    joins = run_as(OTHER, temporary, JOINS_IT, RAY_ADDRESS=address)
    assert f"no Ray cluster answers at RAY_ADDRESS='{address}'" in joins.communicate(timeout=120)[1]
    assert joins.returncode != 0, "without the token"

    theirs.communicate("\n", timeout=60)
    assert run_as(OTHER, temporary, STOPS_IT).communicate(timeout=120)[0] == "True\n"
    assert not psutil.pid_exists(other_head.pid) and head.is_running()
    assert run_as(OTHER, temporary, STOPS_IT).communicate(timeout=120)[0] == "False\n"
    assert head.is_running() and mine.poll() is None
    mine.communicate("\n", timeout=60)


def test_a_folder_that_another_user_put_in_our_place_is_refused(temporary: Path) -> None:
    asks = "from artifact.actors import ray_head; print(ray_head.state_folder())"
    name = run_as(0, temporary, asks).communicate(timeout=60)[0].strip()
    Path(name).rmdir()
    run_as(OTHER, temporary, f"import os; os.mkdir({name!r})").communicate(timeout=60)
    err = run_as(0, temporary, asks).communicate(timeout=60)[1]
    assert f"{name} belongs to another user or is a link; remove it or set TMPDIR" in err


def test_a_user_without_rights_trains_in_a_clone_that_belongs_to_another(temporary: Path) -> None:
    """The clone is read alone; beside it runs the owner's cluster. Results of another user are told to be so."""
    owner = run_as(0, temporary, USES_THE_CLUSTER)
    answer(owner)
    sets = [f"--set={name}={value}" for name, value in (SMALL | {"train.steps": 2}).items()]
    arguments = ("-m", "artifact.cli.main", "train", "--method=opd", "--seed=1", *sets)
    done = run_as(OTHER, temporary, "", *arguments)
    err = done.communicate(timeout=800)[1]
    assert done.returncode == 0, err[-3000:]
    assert len(list((temporary / f"results-{OTHER}" / "runs").glob("*/manifest.json"))) == 1
    owner.communicate("\n", timeout=60)
    (temporary / "results-0").mkdir(mode=0o755, exist_ok=True)
    refused = run_as(OTHER, temporary, "", *arguments, ARTIFACT_RESULTS=str(temporary / "results-0"))
    err = refused.communicate(timeout=200)[1]
    assert refused.returncode == 2 and "make it writable or set ARTIFACT_RESULTS" in err, err[-3000:]

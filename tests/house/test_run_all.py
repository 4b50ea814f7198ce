"""run_all.sh: wrong arguments are refused before anything is installed, and it never touches what it did not make."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A bare copy of what run_all.sh reads, with two notebooks; nothing is installed in it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("run_all.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("requirements", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "notebooks").mkdir()
    for name in ("01_first", "02_second"):
        (folder / "notebooks" / f"{name}.ipynb").write_text("{}")
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ARTIFACT_")}
    return subprocess.run(
        [str(folder / "run_all.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean | environment,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--tier", "tny"], ["tny", "cpu-llm", "paper", "single-gpu", "tiny"]),
        (["--tier", "paper,single-gpu"], ["unknown tier 'paper,single-gpu'"]),
        (["rehearse", "--tier", "paper,tny"], ["unknown tier 'tny'", "single-gpu"]),
        (["--tier"], ["--tier needs a value"]),
        (["--only", "07"], ["07", "01_first", "02_second"]),
        (["--only", "first,third"], ["third", "01_first"]),
        (["--set", "train.steps"], ["train.steps", "key.subkey=value"]),
        (["--fast"], ["--fast", "--tier", "--only", "--set", "--force", "--dry-run", "--help", "lab", "test"]),
    ],
)
def test_wrong_argument(clone: Path, arguments: list[str], named: list[str]) -> None:
    done = run(clone, *arguments)
    assert done.returncode == 2
    assert all(name in done.stderr for name in named), done.stderr
    assert not (clone / ".venv").exists()


def test_help_names_every_option() -> None:
    done = run(ROOT, "--help")
    assert done.returncode == 0
    assert all(
        option in done.stdout
        for option in ("--tier", "--only", "--set", "--force", "--dry-run", "lab", "test", "ARTIFACT_VENV")
    )


def test_a_notebook_that_the_tier_leaves_out_is_refused(clone: Path) -> None:
    said = "leaves_out:\n  02_second: it is about another world\nteacher: A\nmodels:\n  01_first: not a reason\n"
    (clone / "configs" / "tiers" / "cpu-llm.yaml").write_text(said)
    refused = run(clone, "--only", "1,second", "--tier", "cpu-llm")
    assert refused.returncode == 2
    assert "02_second does not belong to tier cpu-llm: it is about another world" in refused.stderr
    assert not (clone / ".venv").exists()
    assert run(clone, "--only", "1", "--tier", "cpu-llm", "--dry-run").returncode == 0
    assert run(clone, "--only", "1,second", "--dry-run").returncode == 0
    (clone / "configs" / "tiers" / "cpu-llm-quick.yaml").write_text("extends: cpu-llm\n")
    quick = run(clone, "--only", "second", "--tier", "cpu-llm", "--quick")
    assert quick.returncode == 2 and "does not belong to tier cpu-llm-quick: it is about" in quick.stderr


def test_dry_run_makes_nothing(clone: Path) -> None:
    done = run(clone, "--dry-run", "--only", "2,first", "--set", "train.steps=3", "--force")
    assert done.returncode == 0, done.stderr
    assert "would be made" in done.stdout
    assert "run-all --tier tiny --only 2,first --set train.steps=3 --force" in done.stdout
    assert sorted(p.name for p in clone.iterdir()) == [
        "configs",
        "notebooks",
        "pyproject.toml",
        "requirements",
        "run_all.sh",
    ]


def test_a_quick_look_is_a_tier_of_its_own(clone: Path) -> None:
    done = run(clone, "--quick", "--dry-run")
    assert done.returncode == 0 and "--tier tiny-quick" in done.stdout
    refused = run(clone, "--tier", "paper", "--quick")
    assert refused.returncode == 2 and "tier 'paper' has no quick look" in refused.stderr


def test_gpu_tiers_have_their_own_environment(clone: Path) -> None:
    done = run(clone, "--dry-run", "--tier", "paper")
    assert ".venv-cuda from requirements/cuda.lock" in done.stdout


def test_tiers_of_gpus_are_rehearsed_by_one_command(tmp_path: Path, clone: Path) -> None:
    """In the environment of a processor, whatever device the tiers name."""
    stub = tmp_path / "venv" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/sh\necho "args: $*"\n')
    stub.chmod(0o755)
    done = run(clone, "rehearse", "--tier", "paper,single-gpu", "--only", "01", ARTIFACT_VENV=str(tmp_path / "venv"))
    assert "args: -m artifact.cli.main rehearse --tier paper,single-gpu --only 01" in done.stdout, done.stderr
    assert ".venv from requirements/cpu.lock" in run(clone, "rehearse", "--tier", "paper", "--dry-run").stdout


def test_existing_environment_is_used(clone: Path) -> None:
    """With ARTIFACT_VENV nothing is installed, and the command line takes over (here: it refuses a misspelt key)."""
    done = run(ROOT, "--dry-run", "--set", "optimizer.lr=1", ARTIFACT_VENV=sys.prefix)
    assert "used as it is" in done.stdout
    assert done.returncode == 2
    assert "did you mean 'optimiser'?" in done.stderr
    refused = run(clone, ARTIFACT_VENV=str(clone / "nowhere"))
    assert refused.returncode == 2 and "has no bin/python" in refused.stderr


def test_second_run_in_one_clone_is_refused(clone: Path) -> None:
    with (clone / ".run_all.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(clone, ARTIFACT_VENV=sys.prefix)
    assert done.returncode == 2
    assert "another run_all.sh" in done.stderr and "4711" in done.stderr


def test_foreign_environment_is_not_removed(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "precious").write_text("x")
    done = run(clone)
    assert done.returncode == 2 and "was not made by run_all.sh" in done.stderr
    assert (clone / ".venv" / "precious").read_text() == "x"


def test_unwritable_results_are_told(clone: Path) -> None:
    (clone / "results").write_text("a file, not a folder")
    done = run(clone, ARTIFACT_VENV=sys.prefix)
    assert done.returncode == 2 and "ARTIFACT_RESULTS" in done.stderr


def test_missing_compiler_is_told(clone: Path) -> None:
    done = run(clone, ARTIFACT_VENV=sys.prefix, CXX="no-such-compiler")
    assert done.returncode == 2 and "no C++ compiler" in done.stderr


def test_exit_code_is_that_of_the_command(tmp_path: Path, clone: Path) -> None:
    """An environment whose Python is a stub shows which command is run and that its exit code comes through."""
    stub = tmp_path / "venv" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/sh\necho "args: $*"\nexit 7\n')
    stub.chmod(0o755)
    done = run(clone, "test", "-q", "tests/x.py", ARTIFACT_VENV=str(tmp_path / "venv"))
    assert done.returncode == 7
    assert "args: -m pytest -q tests/x.py" in done.stdout


def test_byte_code_is_kept_whatever_the_shell_was_told(tmp_path: Path, clone: Path) -> None:
    """Without it each process compiles vLLM from source again."""
    stub = tmp_path / "venv" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/sh\necho "told: ${PYTHONDONTWRITEBYTECODE-nothing}"\n')
    stub.chmod(0o755)
    done = run(clone, "test", ARTIFACT_VENV=str(tmp_path / "venv"), PYTHONDONTWRITEBYTECODE="1")
    assert "told: nothing" in done.stdout, done.stderr


def test_ci_runs_both_commands_and_fails_when_one_does(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    script = tmp_path / "run_all.sh"
    for body, code in (("exit 0", 0), ('[ "${1:-}" != test ]', 1), ('[ "${1:-}" != --quick ]', 1)):
        script.write_text(f"#!/usr/bin/env bash\n{body}\n")
        script.chmod(0o755)
        done = subprocess.run([str(tmp_path / ".ci" / "run")], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, body
        assert "./run_all.sh --quick:" in done.stdout and "./run_all.sh test:" in done.stdout


def test_stale_compiler_lock_is_removed(tmp_path: Path, clone: Path) -> None:
    """torch waits for ever for the lock of a killed compilation; a start in the same clone takes it away."""
    lock = clone / ".torch_extensions" / "venv" / "some_op" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    stub = tmp_path / "venv" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/sh\necho "extensions: $TORCH_EXTENSIONS_DIR"\n')
    stub.chmod(0o755)
    done = run(clone, ARTIFACT_VENV=str(tmp_path / "venv"), TORCH_EXTENSIONS_DIR="")
    assert done.returncode == 0, done.stderr
    assert f"extensions: {clone / '.torch_extensions' / 'venv'}" in done.stdout
    assert not lock.exists()


def test_the_lab_opens_the_first_notebook_on_this_machine_alone(clone: Path) -> None:
    done = run(clone, "--dry-run", "lab", "--no-browser", "--port=8999")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert "-m jupyterlab --ServerApp.ip=127.0.0.1" in said and "--no-browser --port=8999" in said
    assert "default_url=/lab/tree/notebooks/01_first.ipynb " in said and f"root_dir={clone} " in said


def test_the_lab_asks_for_a_token_and_leaves_the_clone_to_others(clone: Path) -> None:
    """A real server: it answers on the loopback address alone, to who has its token, and holds no lock of the clone."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ARTIFACT_", "JUPYTER_"))}
    environment |= {"ARTIFACT_VENV": sys.prefix, "JUPYTER_CONFIG_DIR": str(clone / "jupyter")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(clone / "run_all.sh"), "lab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            address = rf"http://127\.0\.0\.1:{port}/lab/tree/notebooks/01_first\.ipynb\?token=(\w+)"
            found = next(filter(None, (re.search(address, line) for line in server.stderr)), None)
            assert found is not None, "the server ended before it said where it is"
            token = found[1]
            assert status(f"http://127.0.0.1:{port}/api/contents") == 403
            assert status(f"http://127.0.0.1:{port}/api/contents?token={token}") == 200
            listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
            assert {a.ip for a in listening} == {"127.0.0.1"}
            with (clone / ".run_all.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            server.terminate()


def status(address: str, within_s: float = 60) -> int:
    """The answer's status; a server that has said where it is may need a moment to be there."""
    end = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as err:
            return err.code
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)

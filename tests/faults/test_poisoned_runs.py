"""Runs that must fail, on the real stack, by the command line: the cause is named and the next run starts as ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.conftest import SMALL

from artifact.paths import resolve_model

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A cluster and results of its own for these tests; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="af", dir="/tmp") as made:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": made, "ARTIFACT_RESULTS": f"{made}/results"}
        env.pop("RAY_ADDRESS", None)
        yield env
        artifact("cluster", "stop", "--force", env=env).communicate(timeout=120)


def artifact(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "artifact.cli.main", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(env: dict[str, str], seed: int = 1, **overrides: object) -> subprocess.Popen[str]:
    values = SMALL | {"train.steps": 2} | overrides
    sets = [f"--set={name}={value}" for name, value in values.items()]
    return artifact("train", "--method=opd", f"--seed={seed}", *sets, env=env)


def poisoned(source: str, folder: Path) -> str:
    """A copy of a model with one value in its embedding that is no number."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(resolve_model(source), folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][3, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def cluster_processes(env: dict[str, str]) -> list[psutil.Process]:
    """The cluster's processes: actors, and what they started."""
    [state] = Path(env["TMPDIR"]).glob("artifact-*/state.json")
    return psutil.Process(json.loads(state.read_text())["pid"]).children(recursive=True)


def servers(env: dict[str, str], *needed: str) -> set[tuple[str, str]]:
    """(process, address) of all that listens in the cluster; each of `needed` must be part of some process's name."""
    found = set()
    for process in cluster_processes(env):
        try:
            listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            found |= {(process.name(), c.laddr.ip.removeprefix("::ffff:")) for c in listening}
        except psutil.Error:
            continue
    assert all(any(part in name for name, _ in found) for part in needed), found
    return found


def to_the_end(run: subprocess.Popen[str], env: dict[str, str], *needed: str) -> set[tuple[str, str]]:
    """Wait for a run that must end well; `servers` while it trained, and after it."""
    folder, found = Path(env["ARTIFACT_RESULTS"]) / "runs", set()
    while run.poll() is None:
        if not found and len(list(folder.glob("*.partial/rollouts/*.parquet"))) > 1:
            found = servers(env, *needed)
        time.sleep(0.2)
    assert run.returncode == 0, run.communicate()[1][-3000:]
    assert found, "the run ended before anybody looked"
    return found | servers(env, *needed)


def beyond_loopback(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(name, ip) for name, ip in found if ip not in ("127.0.0.1", "::1")}


@pytest.mark.faults
def test_a_learning_rate_that_ruins_the_student_is_named_and_the_next_run_starts(environment: dict[str, str]) -> None:
    """F4 (a), F13. While the engines are up: no server of the stack listens beyond loopback (F14)."""
    ruined = train(environment, **{"optimiser.lr": 1e3, "optimiser.schedule": "constant"})
    err = ruined.communicate(timeout=600)[1]
    assert ruined.returncode == 2 and "optimiser.lr" in err and "its machine" not in err, err[-3000:]
    assert not beyond_loopback(to_the_end(train(environment), environment, "Engine", "Student"))


@pytest.mark.faults
def test_an_engine_of_two_workers_listens_on_loopback_alone_and_takes_them_along(environment: dict[str, str]) -> None:
    """F14: with tensor parallelism vLLM starts processes of its own, which meet and talk to each other."""
    engine = {"tensor_parallel_size": 2, "count": 1, "scheduler": "vllm"}
    run = train(environment, 2, **{"train.steps": 4}, **{f"cluster.engine.{k}": v for k, v in engine.items()})
    assert not beyond_loopback(to_the_end(run, environment, "Engine", "Worker_TP0", "Worker_TP1"))
    workers = [p for p in cluster_processes(environment) if "Worker_TP" in p.name()]
    [holder] = {next(q for q in p.parents() if "Engine" in q.name()) for p in workers}
    assert len(workers) == 2
    holder.kill()
    assert not psutil.wait_procs(workers, timeout=60)[1], "who held the weights of a dead engine stays"


def test_a_teacher_that_is_not_finite_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    teacher = poisoned("models/tiny/teacher-a", tmp_path / "bad")
    run = train(environment, **{"models.teachers.A": teacher})
    err = run.communicate(timeout=600)[1]
    assert run.returncode == 2 and str(teacher) in err and "gradient" not in err, err[-3000:]


@pytest.mark.faults
def test_a_run_that_is_terminated_ends_at_once_and_goes_on_later(environment: dict[str, str]) -> None:
    """F13: SIGTERM is exit 143 without a C++ stack, as SIGINT is an ordinary end."""
    for sig, codes in ((signal.SIGTERM, {143}), (signal.SIGINT, {130})):
        run = train(environment, seed=5, **{"train.steps": 40})
        folder = Path(environment["ARTIFACT_RESULTS"]) / "runs"
        deadline = time.monotonic() + 300
        before = sum(1 for _ in folder.glob("*.partial/rollouts/*.parquet"))
        while sum(1 for _ in folder.glob("*.partial/rollouts/*.parquet")) <= before and time.monotonic() < deadline:
            assert run.poll() is None
            time.sleep(0.2)
        begin = time.monotonic()
        run.send_signal(sig)
        err = run.communicate(timeout=60)[1]
        assert run.returncode in codes, (sig, run.returncode, err[-3000:])
        assert "*** SIG" not in err and "Traceback" not in err and "Fatal" not in err, err[-3000:]
        assert time.monotonic() - begin < 20

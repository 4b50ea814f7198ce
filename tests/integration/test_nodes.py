"""A cluster of two Ray nodes on this machine, each with a folder of its own and no copy of the code."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
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

from artifact.actors.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
QUEUE = {
    **SMALL,
    "task.train_limit": 8,
    "evaluation.limit": 4,
    "train.steps": 1,
    "train.prompts_per_step": 2,
    "cluster.engine.count": 1,
}
"""Engine, student, teacher and reference, a CPU each: too many for one of two nodes with two."""
SECONDS_TO_START = 90


def end_with_parent() -> None:
    """In a child before it becomes another program: SIGTERM when this process is gone, however that came."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Cluster:
    """Two nodes, an address, and a results folder that both see."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.nodes = folder, list[subprocess.Popen[bytes]]()
        self.port, self.client = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TMPDIR")}
        for name in ("RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
            self.environment.pop(name, None)
        (folder / "token").write_text(secrets.token_hex(32))  # one for nodes and drivers
        self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
        self.environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

    def start(self) -> None:
        self.add(
            "--head", f"--port={self.port}", f"--ray-client-server-port={self.client}", "--include-dashboard=false"
        )
        self.add(f"--address={self.address}")

    def add(self, *options: str) -> None:
        """One more node, started in an empty folder."""
        own = self.folder / f"n{len(self.nodes)}"
        own.mkdir()
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options, "--num-cpus=2"]
        command += [f"--temp-dir={own}", "--node-ip-address=127.0.0.1", f"--object-store-memory={100 * 2**20}"]
        agents = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
        ports = dict(zip(agents, free_ports(3), strict=True))
        ports |= {"min-worker": 0, "max-worker": 0}  # any: two nodes would use the same ones
        command += [f"--{name}-port={port}" for name, port in ports.items()]
        command += ["--include-log-monitor=false", "--disable-usage-stats"]
        log = own.with_suffix(".log")
        with log.open("w") as out:
            node = subprocess.Popen(
                command,
                cwd=own,
                env=self.environment | {"RAY_prestart_worker_first_driver": "0"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.nodes.append(node)
        deadline = time.monotonic() + SECONDS_TO_START
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    def ask(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A driver of the project in a process of its own."""
        own = {"PYTHONPATH": str(ROOT / "src"), "RAY_ADDRESS": self.address, "ARTIFACT_ROOT": str(ROOT)}
        own |= {"ARTIFACT_RESULTS": str(self.folder / "results"), "TMPDIR": str(self.folder)}
        env = self.environment | own | environment
        command = (sys.executable, *command)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)

    def processes(self) -> list[psutil.Process]:
        """All that runs for this cluster: nodes and their workers work in the nodes' folders."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
        return found

    def end(self) -> None:
        """End every process of the cluster, whether a node has started or not; returns when they are gone."""
        for node in reversed(self.nodes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGTERM)
        for node in self.nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(timeout=5)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for node in self.nodes:
            node.wait(timeout=20)
        gone = time.monotonic() + 20
        while self.processes() and time.monotonic() < gone:
            time.sleep(0.1)
        assert not self.processes()


@contextlib.contextmanager
def made() -> Iterator[Cluster]:
    """A cluster that is not started yet, and its end."""
    with tempfile.TemporaryDirectory(prefix="an", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = Cluster(Path(folder))
        try:
            yield own
        finally:
            own.end()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with made() as own:
        own.start()
        yield own


WHERE = """
import json, ray
from artifact.actors import reservation
from artifact.actors.connection import connect
from artifact.actors.nodes import own_node
connect()
def where(actor):
    import os, artifact
    return own_node(actor), artifact.__file__, os.environ.get("GLOO_SOCKET_IFNAME", "")
names = sorted(reservation.actor_names())
found = ray.get([reservation.find_actor(n).__ray_call__.remote(where) for n in names], timeout=60)
print(json.dumps({n.partition("@")[0]: f for n, f in zip(names, found)}))
"""


def test_a_queue_of_runs_is_trained_over_both_nodes_from_the_command_line(cluster: Cluster) -> None:
    sets = [f"--set={name}={value}" for name, value in QUEUE.items()]
    queue = ("-m", "artifact.cli.main", "train-all", "--study=core_top_k", *sets)
    done = cluster.ask(*queue)
    assert done.returncode == 0 and "4 runs trained" in done.stdout, done.stderr[-3000:]
    runs = [p.parent for p in (cluster.folder / "results" / "runs").glob("*/manifest.json")]
    assert len(runs) == 4 and not list((cluster.folder / "results").glob(".seen*"))
    asked = cluster.ask("-c", WHERE)
    assert asked.returncode == 0, asked.stderr[-3000:]
    found = json.loads(asked.stdout)
    nodes = {role: node for role, (node, _, _) in found.items()}
    assert sorted(nodes) == ["engine-0", "reference", "student-0", "teacher"]
    assert nodes["student-0"] == nodes["reference"] != nodes["teacher"] == nodes["engine-0"]
    for run in runs:
        assert json.loads((run / "run_info.json").read_text())["placement"]["nodes"] == nodes
        [row] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert row["sync/max_logprob_diff"] < 1e-4 and row["grad_norm"] > 0
        assert (run / "weights" / "model.safetensors").is_file()
    for _, code, interface in found.values():
        assert any(Path(code).is_relative_to(cluster.folder / n) for n in ("n0", "n1")), "shipped, not a copy"
        assert interface == "", "their process groups are not bound to one machine"
    again = cluster.ask(*queue)
    assert "4 runs are stored, 0 to train" in again.stdout + again.stderr
    stopped = cluster.ask("-m", "artifact.cli.main", "cluster", "stop")
    assert stopped.stdout.strip() == "stopped" and all(node.poll() is None for node in cluster.nodes)


ELSEWHERE = "Path('/proc/self/cwd')"
"""A folder that is another one in every process: the one it works in."""


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (
            f"connection.results_dir = lambda: {ELSEWHERE}\n"
            "sys.argv = ['artifact', 'train-all', '--study=core_top_k']\nmain()",
            2,
            "error: 2 of 2 nodes do not see /proc/self/cwd as this process does",
        ),
        (
            f"connection.connect()\nnodes.check_models([str({ELSEWHERE} / 'model')])",
            1,
            "2 of 2 nodes do not see /proc/self/cwd/model",
        ),
    ],
    ids=["results", "models"],
)
def test_a_folder_that_nodes_do_not_share_is_refused_at_the_start(
    cluster: Cluster, tmp_path: Path, code: str, exit_code: int, said: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    script = f"import os, sys\nos.chdir({str(tmp_path)!r})\nfrom pathlib import Path\n"
    script += f"from artifact.actors import connection, nodes\nfrom artifact.cli.main import main\n{code}\n"
    done = cluster.ask("-c", script, ARTIFACT_RESULTS=str(tmp_path / "results"))
    assert done.returncode == exit_code and said in done.stderr, done.stderr[-3000:]
    assert not list(tmp_path.glob(".seen*")) and not list(tmp_path.glob("results/runs/*/manifest.json"))


def test_where_the_second_node_does_not_start_the_first_one_ends() -> None:
    with pytest.raises(AssertionError, match="no-such-thing"), made() as own:
        own.add("--head", f"--port={own.port}", f"--ray-client-server-port={own.client}", "--include-dashboard=false")
        assert own.processes()
        own.add(f"--address={own.address}", "--no-such-thing")
    assert not own.processes() and all(node.returncode is not None for node in own.nodes)

"""A cluster of two Ray nodes on this machine, each with a folder of its own and no copy of the code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import SMALL

from artifact.actors.nodes import look, require_seen
from artifact.errors import ArtifactError

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


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Cluster:
    """Two nodes, an address, and a results folder that both see."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.nodes = folder, list[subprocess.Popen[bytes]]()
        port, client = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TMPDIR")}
        self.environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
            self.environment.pop(name, None)
        self.add("--head", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false")
        self.add(f"--address={self.address}")

    def add(self, *options: str) -> None:
        """One more node, started in an empty folder."""
        own = self.folder / f"n{len(self.nodes)}"
        own.mkdir()
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options, "--num-cpus=2"]
        command += [f"--temp-dir={own}", "--node-ip-address=127.0.0.1", f"--object-store-memory={100 * 2**20}"]
        ports = dict(
            zip(("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent"), free_ports(3), strict=True)
        )
        ports |= {"min-worker": 0, "max-worker": 0}  # any: two nodes would use the same ones
        command += [f"--{name}-port={port}" for name, port in ports.items()]
        command += ["--include-log-monitor=false", "--disable-usage-stats"]
        log = own.with_suffix(".log")
        with log.open("w") as out:
            node = subprocess.Popen(
                command,
                cwd=own,
                env=self.environment | {"RAY_prestart_worker_first_driver": "0"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.nodes.append(node)
        deadline = time.monotonic() + 90
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

    def end(self) -> None:
        for node in reversed(self.nodes):
            os.killpg(node.pid, signal.SIGTERM)
        for node in self.nodes:
            try:
                node.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="an", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder))
        try:
            yield made
        finally:
            made.end()


WHERE = """
import json, ray, artifact
from artifact.actors import reservation
from artifact.actors.connection import connect
connect()
def where(actor):
    import os, ray, artifact
    return ray.get_runtime_context().get_node_id(), artifact.__file__, os.environ.get("GLOO_SOCKET_IFNAME", "")
names = sorted(reservation.actor_names())
found = ray.get([reservation.find_actor(n).__ray_call__.remote(where) for n in names], timeout=60)
print(json.dumps({n.partition("@")[0]: f for n, f in zip(names, found)}))
"""


def test_a_queue_of_runs_is_trained_over_both_nodes_from_the_command_line(cluster: Cluster) -> None:
    sets = [f"--set={name}={value}" for name, value in QUEUE.items()]
    done = cluster.ask("-m", "artifact.cli.main", "train-all", "--study=core_top_k", *sets)
    assert done.returncode == 0 and "4 runs trained" in done.stdout, done.stderr[-3000:]
    runs = [p.parent for p in (cluster.folder / "results" / "runs").glob("*/manifest.json")]
    assert len(runs) == 4 and not list((cluster.folder / "results").glob(".seen*"))
    for run in runs:
        [row] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert row["sync/max_logprob_diff"] < 1e-4 and row["grad_norm"] > 0
        assert (run / "weights" / "model.safetensors").is_file()
    asked = cluster.ask("-c", WHERE)
    assert asked.returncode == 0, asked.stderr[-3000:]
    found = json.loads(asked.stdout)
    assert sorted(found) == ["engine-0", "reference", "student-0", "teacher"]
    assert len({node for node, _, _ in found.values()}) == 2, "the actors are on both nodes"
    for _, code, interface in found.values():
        assert any(Path(code).is_relative_to(cluster.folder / n) for n in ("n0", "n1")), "shipped, not a copy"
        assert interface == "", "their process groups are not bound to one machine"
    again = cluster.ask("-m", "artifact.cli.main", "train-all", "--study=core_top_k", *sets)
    assert "4 runs are stored, 0 to train" in again.stdout + again.stderr
    stopped = cluster.ask("-m", "artifact.cli.main", "cluster", "stop")
    assert stopped.stdout.strip() == "stopped" and all(node.poll() is None for node in cluster.nodes)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        # A folder that is another one in every process: its own working directory.
        ("nodes.check_shared(Path('/proc/self/cwd'))", "2 of 2 nodes do not see /proc/self/cwd"),
        ("nodes.check_models([str(Path('/proc/self/cwd/model'))])", "2 of 2 nodes do not see /proc/self/cwd/model"),
    ],
)
def test_a_folder_that_nodes_do_not_share_is_refused(cluster: Cluster, tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    script = f"import os\nos.chdir({str(tmp_path)!r})\nfrom pathlib import Path\nfrom artifact.actors import nodes\n"
    script += f"from artifact.actors.connection import connect\nconnect()\n{code}\n"
    done = cluster.ask("-c", script)
    assert done.returncode == 1 and said in done.stderr, done.stderr[-3000:]
    assert not list(tmp_path.glob(".seen*"))


def test_what_a_node_sees_is_read_there_and_told_by_node(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    assert look({str(path): "abc"})[0] and look({str(path): None})[0]
    assert not look({str(path): "abd"})[0] and not look({str(path): "abc", str(tmp_path / "none"): None})[0]
    require_seen(tmp_path, {"a": True, "b": True}, "")
    with pytest.raises(ArtifactError, match=r"1 of 3 nodes do not see .*\(b\).* set X"):
        require_seen(tmp_path, {"a": True, "b": False, "c": True}, "set X")

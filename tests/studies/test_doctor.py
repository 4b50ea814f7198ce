"""`artifact doctor` on a tier of GPUs: driver, devices, torch on them, memory, access to the hub, disks.

What nvidia-smi, torch and the hub say is as recorded: of four H100 (driver 580.159.04, torch 2.11 for CUDA 13), of
machines whose driver fails, and of gated and absent repositories.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifact import models
from artifact.config import load
from artifact.studies import doctor
from artifact.studies.doctor import Finding

H100 = "NVIDIA H100 80GB HBM3, 81559, 580.159.04\n"
MEMORY = 85017755648
"""Bytes that torch sees of it: 79.18 GiB."""

FAILING = [
    (
        9,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.\n\n",
        "has failed because it couldn't communicate with the NVIDIA driver",
    ),
    (
        18,
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n",
        "Driver/library version mismatch",
    ),
    (6, "No devices were found\n", "No devices were found"),
    (0, "", "it says nothing"),
]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on PATH for an `nvidia-smi`, and nothing else that is called so."""
    folder = tmp_path / "bin"
    folder.mkdir()
    kept = [p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "nvidia-smi").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), *kept]))
    yield folder


def says(folder: Path, text: str, code: int = 0) -> None:
    """`nvidia-smi` prints `text`, for the question that doctor asks alone."""
    (folder / "said").write_text(text)
    script = f"""#!/bin/sh
[ "$*" = "--query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits" ] || exit 2
cat "{folder}/said"
exit {code}
"""
    (folder / "nvidia-smi").write_text(script)
    (folder / "nvidia-smi").chmod(0o755)


def torch_sees(folder: Path, monkeypatch: pytest.MonkeyPatch, memories: list[int], twice: int = 2) -> None:
    """A torch whose CUDA has devices with `memories` bytes and multiplies by `twice` where it should by two."""
    (folder / "torch.py").write_text(f"""
class version: cuda = "13.0"
class Ones(int):
    def __mul__(self, by): return Ones(int(self) * {twice})
    def sum(self): return self
def ones(n, device):
    assert device == "cuda"
    return Ones(n)
class cuda:
    device_count = staticmethod(lambda: {len(memories)})
    @staticmethod
    def get_device_properties(i):
        return type("Properties", (), {{"total_memory": {memories}[i]}})
""")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def found(tier: str = "paper") -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.check_gpus(load(tier))}


def test_four_h100_are_what_the_papers_tier_wants(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(tool, 4 * H100)
    torch_sees(tool, monkeypatch, 4 * [MEMORY])
    seen = found()
    assert all(f.ok for f in seen.values())
    assert {name: f.found for name, f in seen.items()} == {
        "GPU driver": "580.159.04",
        "torch on a GPU": "CUDA 13.0",
        "GPUs": "4 x NVIDIA H100 80GB HBM3, 4 wanted",
        "GPU memory": "79.2 GiB",
    }


def test_one_gpu_is_too_few_for_four_and_enough_for_one(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(tool, H100)
    torch_sees(tool, monkeypatch, [MEMORY])
    short = found()["GPUs"]
    assert not short.ok and not short.fatal, "a cluster may have the others"
    assert short.found.startswith("1 x") and "RAY_ADDRESS" in short.remedy and "hides" not in short.remedy
    assert all(f.ok for f in found("single-gpu").values())


def test_devices_that_torch_does_not_see_are_told(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi lists what CUDA_VISIBLE_DEVICES hides."""
    says(tool, 4 * H100)
    torch_sees(tool, monkeypatch, 2 * [MEMORY])
    hidden = found()["GPUs"]
    assert not hidden.ok and hidden.found.startswith("2 x")
    assert "CUDA_VISIBLE_DEVICES or the machine hides 2 of them" in hidden.remedy


def test_the_smallest_device_decides_by_its_bytes(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 40 GB A100 among them; and a GPU that shares the machine's memory, of which nvidia-smi says [N/A]."""
    says(tool, 3 * H100 + "NVIDIA A100-SXM4-40GB, 40960, 580.159.04\n")
    torch_sees(tool, monkeypatch, [*(3 * [MEMORY]), 42298834944])
    small = found("paper-8b")["GPU memory"]
    assert not small.ok and small.found == "39.4 GiB"
    assert "would hold" in small.remedy and "artifact plan --tier paper-8b" in small.remedy
    says(tool, "NVIDIA GB10, [N/A], 580.95.05\n")
    torch_sees(tool, monkeypatch, [128 * 2**30])
    assert found("single-gpu")["GPU memory"] == Finding(
        "GPU memory", True, "128.0 GiB", found("single-gpu")["GPU memory"].remedy
    )


@pytest.mark.parametrize(("code", "text", "said"), FAILING)
def test_a_driver_that_fails_stops_with_its_own_words(tool: Path, code: int, text: str, said: str) -> None:
    says(tool, text, code)
    [finding] = found().values()
    assert finding.name == "GPU driver" and finding.fatal and not finding.ok
    assert said in finding.found and "driver" in finding.remedy


def test_no_tool_is_no_gpu(tool: Path) -> None:
    [finding] = found().values()
    assert finding.fatal and finding.found == "no nvidia-smi"


def test_torch_must_compute_there(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device is touched: a torch that sees one and fails on it, or computes wrongly, stops."""
    says(tool, H100)
    torch_sees(tool, monkeypatch, [MEMORY], twice=3)
    wrong = found("single-gpu")["torch on a GPU"]
    assert wrong.fatal and wrong.found == "it computes wrongly"
    old = (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"
    )
    (tool / "torch.py").write_text(f"def ones(n, device): raise RuntimeError({old[14:]!r})\n")
    stopped = found("single-gpu")
    assert stopped["torch on a GPU"].fatal and stopped["torch on a GPU"].found == old
    assert "GPUs" not in stopped and "update the driver" in stopped["torch on a GPU"].remedy


def test_this_torch_says_why_it_has_no_gpu(tool: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    says(tool, H100)
    seen = found("single-gpu")["torch on a GPU"]
    assert seen.fatal and ("CUDA" in seen.found or "NVIDIA" in seen.found)


# ---- the hub ---------------------------------------------------------------------------------------------------------

ANSWERS = {
    "lab/open": (200, {}, {"id": "lab/open", "sha": "0" * 40, "siblings": []}),
    "lab/gated": (403, {"X-Error-Code": "GatedRepo"}, {"error": "Access to model lab/gated is restricted"}),
    "lab/none": (401, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}),
}
"""Status, header and body with which the hub's API answers for a model."""


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub's API on this machine."""
    from huggingface_hub import constants

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = ANSWERS["/".join(self.path.split("/")[3:5])]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("lab/open", "fetched when used"),
        ("lab/gated", "the hub does not give it, GatedRepoError"),
        ("lab/none", "the hub does not give it, RepositoryNotFoundError"),
    ],
)
def test_whether_the_hub_would_give_a_model(answering: None, model: str, said: str) -> None:
    assert models.hub_says(model) == said


def test_a_hub_that_is_not_asked_or_does_not_answer(monkeypatch: pytest.MonkeyPatch, hub: object) -> None:
    from huggingface_hub import constants

    absent = next(iter(doctor.check_models(load("paper"))))
    assert (absent.ok, absent.fatal) == (False, False)
    assert absent.found == "Qwen/Qwen3-1.7B (hub id, not in the cache: HF_HUB_OFFLINE is set, nothing is fetched)"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert models.hub_says("lab/open").startswith("the hub does not give it, Connect")


# ---- disks -----------------------------------------------------------------------------------------------------------

PARAMETERS = {"student": 1.72e9, "teacher": 8.19e9, "judge": 3.09e9, "generator": 72.7e9}
"""As the model cards have them."""


def test_models_and_results_have_the_room_of_their_own_disks(
    monkeypatch: pytest.MonkeyPatch, hub: object, results: Path
) -> None:
    config, usage = load("paper"), namedtuple("usage", "total used free")
    models_gib = 2 * sum(PARAMETERS.values()) / 2**30
    run_gib = doctor.DISK_WANTED_GIB + (2 + 2 * 14) * PARAMETERS["student"] / 2**30
    assert doctor.disk_gib(config) == pytest.approx((models_gib, run_gib), rel=0.01)
    free = int(models_gib * 1.1) * 2**30
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(free, 0, free))
    [both] = doctor.check_disks(config)
    assert both.name == "free disk for models and results" and not both.ok, "one disk for both"
    assert both.found == f"{free / 2**30:.0f} GiB, {models_gib + run_gib:.0f} wanted"
    assert "HF_HOME and ARTIFACT_RESULTS" in both.remedy

    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        s = real(path, **options)
        return os.stat_result((*s[:2], int("hub" in path.parts), *s[3:10]))

    (results.parent / "hub").mkdir()
    monkeypatch.setattr(Path, "stat", stat)
    of = {f.name: f.ok for f in doctor.check_disks(config)}
    assert of == {"free disk for models": True, "free disk for results": True}

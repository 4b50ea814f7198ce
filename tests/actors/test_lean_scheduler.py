"""The lean scheduler and runner draw what vLLM's own draw, bit for bit, and refuse what they were not written for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artifact.actors.engine import LEAN_SCHEDULER_FOR, lean_classes
from artifact.config import load
from artifact.errors import ArtifactError, ConfigError
from artifact.paths import project_root, resolve_model

CALLS = {";": "<<", " How": "<", " many": ">"}
"""Tokens of the embedded tokenizer → what the copy calls them, so that the model writes calculator calls."""
DECODING = ("sampled", "streamed", "greedy", "without log-probabilities", "calculator", "few blocks: sampled")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What both schedulers did with the same requests."""
    folder = tmp_path_factory.mktemp("model") / "student"
    shutil.copytree(resolve_model("models/tiny/student"), folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {CALLS.get(token, token): i for token, i in vocabulary.items()}
    path.write_text(json.dumps(tokenizer))
    child = Path(__file__).with_name("scheduler_pairs.py")
    done = subprocess.run([sys.executable, str(child), str(folder)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", [*DECODING, "scores", "left to vLLM"])
def test_both_schedulers_draw_the_same_bit_for_bit(case: str, pairs) -> None:
    vllm, lean = pairs[case]
    assert vllm["classes"] == ["Scheduler", "CPUModelRunner"]
    assert lean["classes"] == ["LeanScheduler", "LeanRunner"]
    assert lean["out"] == vllm["out"]
    assert (lean["steps"], lean["preempted"]) == (vllm["steps"], vllm["preempted"])


@pytest.mark.timeout(600)
def test_the_cases_are_what_they_are_called(pairs) -> None:
    for case in DECODING:
        lean = pairs[case][1]
        assert 0 < lean["short"] < lean["steps"], case
    assert pairs["few blocks: sampled"][1]["preempted"] > 0
    assert pairs["scores"][1]["short"] == 0
    greedy = pairs["greedy"][1]["out"]
    assert {finish for *_, finish, _ in greedy} == {"stop", "length"} and len({len(ids) for ids, *_ in greedy}) > 5
    assert any(mask and False in mask for *_, mask in pairs["calculator"][1]["out"])


def test_another_version_of_vllm_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import vllm

    assert lean_classes("vllm") == {}
    monkeypatch.setattr(vllm, "__version__", "0.33.1")
    with pytest.raises(ArtifactError, match=rf"{re.escape(LEAN_SCHEDULER_FOR)}.*0\.33\.1.*scheduler = vllm"):
        lean_classes("lean")
    assert lean_classes("vllm") == {}


def test_it_is_written_for_the_version_that_is_locked() -> None:
    project = (project_root() / "pyproject.toml").read_text()
    assert set(re.findall(r'"vllm(?:-cpu)?==([\d.]+)"', project)) == {LEAN_SCHEDULER_FOR}


@pytest.mark.parametrize(
    "override", [{"cluster.engine.prefix_cache": True}, {"cluster.engine.tensor_parallel_size": 2}]
)
def test_engines_it_does_not_handle_are_refused_before_they_start(override: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"engine\.scheduler = lean.*set engine\.scheduler = vllm"):
        load("tiny", {"cluster.engine.scheduler": "lean", "cluster.engine.prefix_cache": False} | override)

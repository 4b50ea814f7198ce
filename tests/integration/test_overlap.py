"""Streamed steps and rollouts drawn one step ahead, through the real engines, teacher and student."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import SMALL

from artifact.config import load
from artifact.records import Rollout, read_parquet

PARTS = {**SMALL, "train.prompts_per_step": 6, "train.part_prompts": 2, "train.steps": 3, "seed": 11}
STALE = {**SMALL, "train.staleness": 1, "seed": 12}


def finished(overrides: dict[str, Any]) -> Any:
    from artifact.studies.runner import run

    return run(load("tiny", overrides), progress=False)


def rows(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found]


def rollouts(folder: Path) -> list[Rollout]:
    return [r for path in sorted((folder / "rollouts").glob("*.parquet")) for r in read_parquet(path, Rollout)]


@pytest.mark.parametrize(
    ("method", "more"),
    [("opd", {"optimiser.shared_prompts": True}), ("grpo", {}), ("core", {"optimiser.shared_prompts": True})],
)
def test_a_streamed_run_ends_with_the_same_bytes(workers: Any, method: str, more: dict[str, Any]) -> None:
    plain = finished({**PARTS, **more, "method": method})
    streamed = finished({**PARTS, **more, "method": method, "train.stream": True})
    assert plain.key != streamed.key
    weights = [(info.folder / "weights" / "model.safetensors").read_bytes() for info in (plain, streamed)]
    assert weights[0] == weights[1]
    assert rows(plain.folder) == rows(streamed.folder) and rollouts(plain.folder) == rollouts(streamed.folder)
    assert len(rows(plain.folder)) == 3


def test_engines_say_of_a_stream_what_they_say_of_a_whole_batch(workers: Any, config: Any, world: Any) -> None:
    from artifact.studies.inputs import sampler_for

    sampler = sampler_for(config, workers, config.models.student)
    asked: dict[str, Any] = {
        "temperature": 0.7,
        "top_p": 1.0,
        "max_new_tokens": 60,
        "seed": "s",
        "expect_version": None,
    }
    prompts = world.prompts(world.train[:7])
    whole = sampler.sample(prompts, 3, **asked)
    streamed = list(sampler.stream(prompts, 3, **asked))
    assert [group for _, group in sorted(streamed)] == whole
    order = [(max(len(r.response_ids) for r in group), i) for i, group in streamed]
    assert order == sorted(order) and len({length for length, _ in order}) > 1


@pytest.fixture(scope="module")
def stale(workers: Any) -> Any:
    return finished({**STALE, "method": "opd"})


def test_rollouts_of_a_step_are_of_the_version_before_and_said_to_be(stale: Any) -> None:
    k = SMALL["train.prompts_per_step"] * SMALL["sampling.samples_per_prompt"]
    assert [r.policy_version for r in rollouts(stale.folder)] == [0] * 2 * k + [1] * k + [2] * k
    assert stale.manifest["policy_versions"] == {"0 behind": k, "1 behind": 3 * k}
    fresh = finished({**STALE, "train.staleness": 0, "method": "opd"})
    assert "policy_versions" not in fresh.manifest
    assert rollouts(fresh.folder)[:k] == rollouts(stale.folder)[:k]


def test_a_stale_run_killed_half_way_ends_with_the_same_bytes(stale: Any, tmp_path: Path) -> None:
    sets = [f"--set={name}={value}" for name, value in STALE.items() if name != "seed"]
    command = [sys.executable, "-m", "artifact.cli.main", "train", "--method=opd", f"--seed={STALE['seed']}", *sets]
    options: dict[str, Any] = {
        "env": {**os.environ, "ARTIFACT_RESULTS": str(tmp_path)},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
    }
    process = subprocess.Popen(command, **options)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*.partial/checkpoints.partial/step-*/commit.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (partial,) = tmp_path.glob("runs/*.partial")
    assert (partial / "checkpoints.partial" / "step-2" / "ahead.parquet").is_file()
    done = subprocess.run(command, timeout=400, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()
    resumed = tmp_path / "runs" / stale.key
    for name in ("weights/model.safetensors", "evaluation/evaluation.greedy.parquet"):
        assert (resumed / name).read_bytes() == (stale.folder / name).read_bytes(), name
    assert rows(resumed) == rows(stale.folder) and rollouts(resumed) == rollouts(stale.folder)


def test_grpo_divides_by_the_probabilities_of_the_policy_that_drew(workers: Any) -> None:
    """The mean ratio is 1 only where nothing was trained between drawing and step, to the rounding of two engines."""
    more = {"sampling.temperature": 1.0, "sampling.samples_per_prompt": 4, "train.prompts_per_step": 8}
    info = finished({**STALE, **more, "method": "grpo", "optimiser.lr": 1e-2})
    ratio = {row["step"]: row["policy_gradient/ratio"] for row in rows(info.folder) if "policy_gradient/ratio" in row}
    assert abs(ratio.pop(0) - 1.0) < 1e-4
    assert ratio and all(abs(r - 1.0) > 1e-3 for r in ratio.values())

"""avg@k from stored weights: what is asked of which model on which lane, and under whose names it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifact.config import Config, ConfigError, SampledEvaluation, load
from artifact.studies import sampled_evaluation
from artifact.studies.runner import RunInfo
from artifact.studies.sampled_evaluation import decoding_of, sampled_evaluations

HOW = SampledEvaluation(k=4, limit=10)


def info(key: str, cell: str, *, kind: str = "runs", teacher: str = "A", seed: int = 0) -> RunInfo:
    config = load("tiny", {"teacher": teacher, "seed": seed, "cluster.lanes": 1}).model_dump(mode="json")
    more = {"needs": {"gold": True}} if kind == "runs" else {"model": "models/tiny/teacher-a"}
    manifest = {"kind": kind, "config": config, **more}
    return RunInfo(
        cell.upper(), "m" if kind == "runs" else "none", teacher, seed, key, Path("/of") / key, manifest, cell
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    calls: list[tuple[str, int, int]] = []

    def measure(
        config: Config, model: str, label: str, cell: str, force: bool, sampled: SampledEvaluation, lane: int
    ) -> RunInfo:
        assert sampled == HOW and not force
        calls.append((model, config.seed, lane))
        key = f"sampled-{len(calls)}"
        return RunInfo(label, "none", config.teacher, 0, key, Path("/sampled") / key, {"kind": "checkpoints"}, cell)

    monkeypatch.setattr(sampled_evaluation, "evaluate_checkpoint", measure)
    return calls


def test_weights_of_a_run_and_a_checkpoint_itself_are_measured_once_each(asked: list[Any]) -> None:
    runs = [info("k1", "opd", seed=2), info("k2", "grpo"), info("k2", "grpo", teacher="B")]
    found = sampled_evaluations([*runs, info("k3", "teacher", kind="checkpoints")], HOW)
    assert asked == [("/of/k1/weights", 2, 0), ("/of/k2/weights", 0, 0), ("models/tiny/teacher-a", 0, 0)]
    assert [(i.label, i.cell, i.teacher, i.seed) for i in found] == [
        ("OPD", "opd", "A", 2),
        ("GRPO", "grpo", "A", 0),
        ("GRPO", "grpo", "B", 0),
        ("TEACHER", "teacher", "A", 0),
    ], "each under the names of its run"
    assert [i.key for i in found] == ["sampled-1", "sampled-2", "sampled-2", "sampled-3"], "shared weights, one result"
    assert [i.manifest.get("needs") for i in found] == [{"gold": True}] * 3 + [None], "what its training read"
    assert decoding_of(HOW) == "avg4" and sampled_evaluations([], HOW) == []


def test_lanes_are_used_for_trained_weights_and_a_checkpoint_has_the_engines_of_all(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_the_last_lane(jobs: Any, lanes: int, work: Any) -> list[Any]:
        return [work(job, lanes - 1) for job in jobs]

    monkeypatch.setattr(sampled_evaluation, "side_by_side", on_the_last_lane)
    monkeypatch.setattr(sampled_evaluation, "connect", lambda *a, **k: None)
    monkeypatch.setattr(sampled_evaluation, "build_inputs", lambda config: None)
    runs = [info("k1", "opd"), info("k2", "teacher", kind="checkpoints")]
    for one in runs:
        one.manifest["config"]["cluster"]["lanes"] = 2
    sampled_evaluations(runs, HOW)
    assert [lane for _, _, lane in asked] == [1, 0]


def test_a_tier_that_says_nothing_of_sampling_is_told_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"set evaluation\.sampled"):
        sampled_evaluations([info("k1", "opd")], load("cpu-llm").evaluation.sampled)

"""Every shipped method trains through the real loop, and each phase it does not need is left out."""

from __future__ import annotations

import json

import pytest
from tests.integration.conftest import SMALL

from artifact.config import load


@pytest.mark.parametrize(
    ("method", "options", "component"),
    [
        ("opd", {}, "distil"),
        ("uopd", {"weighting": "gold"}, "distil"),
        ("core", {}, "contrast"),
        ("core", {"parts": "distil", "teacher_context": "solution"}, "distil"),
        ("grpo", {}, "policy_gradient"),
        ("sft", {}, "nll"),
    ],
)
def test_a_method_trains_and_logs_its_components(workers, method, options, component):
    from artifact.studies.runner import run

    config = load("tiny", {**SMALL, "method": method, "method_options": options, "train.steps": 2, "seed": 3})
    info = run(config, progress=False)
    rows = [json.loads(line) for line in (info.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert any(f"loss/{component}" in row for row in rows)
    assert all(row["grad_norm"] >= 0 and row["sync/gap"] < 1e-4 for row in rows)
    assert (rows[0]["rollouts"] == 0) == (method == "sft")
    assert (rows[0]["teacher_tokens"] > 0) == info.manifest["needs"]["teacher"] or method == "core"


def test_sampled_evaluation_keeps_every_response(workers, config):
    from artifact.studies.results import evaluation_frame
    from artifact.studies.runner import evaluate_checkpoint

    chosen = {**SMALL, "evaluation.limit": 6, "evaluation.sampled": {"k": 3, "temperature": 1.2, "top_p": 0.95}}
    info = evaluate_checkpoint(load("tiny", chosen), config.models.student, "Base")
    greedy, sampled = evaluation_frame([info]), evaluation_frame([info], "avg3")
    assert len(greedy) == 6
    assert len(sampled) == 18
    assert sorted(sampled["sample"].unique()) == [0, 1, 2]
    assert set(greedy["problem_id"]) == set(sampled["problem_id"])

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
        ("seqkd", {}, "nll"),
        ("opsd", {"teacher": "self"}, "distil"),
        ("opsd", {"teacher": "teacher", "context": "answer"}, "distil"),
        ("opposite", {}, "distil"),
    ],
)
def test_a_method_trains_and_logs_its_components(workers, method, options, component):
    from artifact.studies.runner import run

    config = load("tiny", {**SMALL, "method": method, "method_options": options, "train.steps": 2, "seed": 3})
    info = run(config, progress=False)
    rows = [json.loads(line) for line in (info.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert any(f"loss/{component}" in row for row in rows)
    assert all(row["grad_norm"] >= 0 and row["sync/max_logprob_diff"] < 1e-4 for row in rows)
    assert (rows[0]["rollouts"] == 0) == (method in ("sft", "seqkd"))
    scored = info.manifest["needs"]["teacher"] or info.manifest["needs"]["self_teacher"]
    assert (rows[0]["teacher_tokens"] > 0) == scored or method in ("core", "seqkd")
    # One component: its gradient is the whole gradient, so the two norms, computed along different paths, agree.
    parts = {name: value for name, value in rows[0].items() if name.startswith("grad_norm/")}
    assert set(parts) == {f"grad_norm/{n.removeprefix('loss/')}" for n in rows[0] if n.startswith("loss/")}
    if len(parts) == 1:
        assert next(iter(parts.values())) == pytest.approx(rows[0]["grad_norm"], rel=1e-4)
    assert rows[0]["grad_norm"] <= sum(parts.values()) * (1 + 1e-4)


@pytest.mark.parametrize("fallback", ["generate", "autoregress"])
def test_the_teacher_answers_for_prompts_without_a_correct_rollout(workers, fallback):
    from artifact.studies.runner import run

    options = {"chosen_order": ["own"], "fallback": fallback}
    config = load("tiny", {**SMALL, "method": "core", "method_options": options, "train.steps": 2, "seed": 3})
    metrics = run(config, progress=False).folder / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert sum(row["fallback_prompts"] for row in rows) > 0
    assert sum(row["fallback_tokens"] for row in rows) > 0
    assert all(row["fallback_verified"] <= row["fallback_prompts"] for row in rows)
    # A pair lacks a chosen response only where the teacher, too, had no verified one.
    for row in rows:
        assert (row["pairs_without_chosen"] == 0) == (row["fallback_verified"] == row["fallback_prompts"])


def test_both_ways_to_answer_are_the_same_model_when_greedy(workers, config, world):
    from artifact.actors.calls import call
    from artifact.paths import resolve_model
    from artifact.studies.inputs import stop_token_ids

    prompts = [world.encode(p, "none") for p in world.train[:5]]
    common = {"top_k": 8, "temperature": 0.0, "max_new_tokens": 60, "seed": 0}
    stops = stop_token_ids(config.models.student)
    path = resolve_model(config.teacher_path)
    generated, stepped = (
        call(workers.teacher.answer.remote(path, prompts, how, stop_token_ids=stops, **common), 120, "answers")
        for how in ("generate", "autoregress")
    )
    assert [c.ids.tolist() for c in generated] == [c.ids.tolist() for c in stepped]
    # An independent path to the same greedy answers: the vLLM engines, given the student's checkpoint.
    from artifact.studies.annotate import load_checkpoint
    from artifact.studies.inputs import sampler_for

    load_checkpoint(config, workers, config.models.student, world)
    sampler = sampler_for(config, workers, config.models.student)
    served = sampler.sample(
        [(p.id, x) for p, x in zip(world.train[:5], prompts, strict=True)],
        1,
        temperature=0.0,
        top_p=1.0,
        max_new_tokens=60,
        seed=0,
    )
    own = call(
        workers.teacher.answer.remote(
            resolve_model(config.models.student), prompts, "autoregress", stop_token_ids=stops, **common
        ),
        120,
        "answers",
    )
    assert [list(g[0].response_ids) for g in served] == [c.ids.tolist() for c in own]


def test_sampled_evaluation_keeps_every_response(workers, config):
    from artifact.config import SampledEvaluation
    from artifact.studies.results import evaluation_frame
    from artifact.studies.runner import evaluate_checkpoint
    from artifact.studies.sampled_evaluation import decoding_of, sampled_evaluations

    base = evaluate_checkpoint(load("tiny", {**SMALL, "evaluation.limit": 6}), config.models.student, "Base", "base")
    how = SampledEvaluation(k=3, limit=4)
    once, again = (sampled_evaluations([base], how)[0] for _ in range(2))
    greedy, sampled = evaluation_frame([base]), evaluation_frame([once], decoding_of(how))
    assert len(greedy) == 6 and len(sampled) == 12
    assert sorted(sampled["sample"].unique()) == [0, 1, 2]
    assert list(sampled["problem_id"].unique()) == list(greedy["problem_id"])[:4]
    assert (once.label, once.cell, once.seed) == (base.label, base.cell, base.seed) and once.key != base.key
    assert again.key == once.key and again.run_info == once.run_info

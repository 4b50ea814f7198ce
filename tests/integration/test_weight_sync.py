"""Weight sync into real vLLM engines, its proof, and the trap it is there for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from artifact.actors.sync_groups import form
from artifact.actors.team import probe_sequences, start_student, sync_weights
from artifact.errors import StaleEngine
from artifact.train.methods.opd import distil_all
from artifact.train.objective import denominators, to_score
from artifact.train.workers import StepWork


@pytest.fixture(scope="module")
def spec(workers, config):
    spec = start_student(workers, config, total_steps=10)
    form(workers, config.cluster)
    return spec


@pytest.fixture(scope="module")
def sampler(workers, config, spec):
    from artifact.studies.inputs import sampler_for

    return sampler_for(config, workers, config.models.student)


def _take_a_step(workers, config, world, sampler, index):
    import ray

    problems = world.train[:4]
    prompts = world.prompts(problems)
    groups = sampler.sample(prompts, 2, temperature=0.7, top_p=1.0, max_new_tokens=60, seed=("test", index))
    examples = distil_all(r for group in groups for r in group)
    scores = workers.teacher.teacher_scores.remote(_teacher(config), to_score(examples), config.losses.distil.top_k)
    return ray.get(
        workers.students[0].step.remote(
            StepWork(index, {"distil": 1.0}, denominators(examples, config.losses, 60)), list(examples), None, scores
        )
    )


def _teacher(config):
    from artifact.paths import resolve_model

    return resolve_model(config.teacher_path)


def test_engines_agree_with_transformers_before_and_after_optimiser_steps(workers, config, world, spec, sampler):
    probe = probe_sequences(world)
    before = sync_weights(workers, spec, probe, 0, config)
    for index in range(3):
        _take_a_step(workers, config, world, sampler, index)
        after = sync_weights(workers, spec, probe, index + 1, config)
    assert before < 1e-4
    assert after < 1e-4


def test_the_step_really_changed_the_policy(workers, config, world, spec, sampler):
    import ray

    probe = probe_sequences(world)
    before = ray.get(workers.engines[0].score.remote(probe))
    _take_a_step(workers, config, world, sampler, 5)
    sync_weights(workers, spec, probe, 6, config)
    after = ray.get(workers.engines[0].score.remote(probe))
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) > 1e-3


def test_a_sync_that_forgets_the_tied_head_stops_the_run(workers, config, world, spec, sampler):
    """The real trap: with tied embeddings vLLM keeps the old output head unless it is sent by name."""
    assert spec.names[-1] == "lm_head.weight"
    without_head = dataclasses.replace(spec, names=spec.names[:-1], shapes=spec.shapes[:-1], dtypes=spec.dtypes[:-1])
    for index in range(6, 8):
        _take_a_step(workers, config, world, sampler, index)
    with pytest.raises(StaleEngine, match=r"other weights than arrived in 1 of its tensors, first 'lm_head.weight'"):
        sync_weights(workers, without_head, probe_sequences(world), 8, config)
    assert sync_weights(workers, spec, probe_sequences(world), 8, config) < 1e-4


def test_an_engine_at_another_policy_version_stops_the_run(world, sampler):
    with pytest.raises(StaleEngine, match="the student is at 999"):
        sampler.sample(
            world.prompts(world.train[:2]), 1, temperature=0.7, top_p=1.0, max_new_tokens=8, seed=0, expect_version=999
        )


def test_sampled_log_probabilities_are_those_of_the_student(workers, config, world, spec, sampler):
    """On-policy, tokens in tokens out: the engine's raw log-probs of its own tokens equal the student's, at T = 0.7."""
    import ray

    sync_weights(workers, spec, probe_sequences(world), 9, config)
    groups = sampler.sample(world.prompts(world.train[:4]), 2, temperature=0.7, top_p=1.0, max_new_tokens=60, seed=1)
    rollouts = [r for g in groups for r in g]
    student = ray.get(workers.students[0].logprobs.remote([(r.prompt_ids, r.response_ids) for r in rollouts]))
    for rollout, expected in zip(rollouts, student, strict=True):
        assert np.abs(np.asarray(rollout.logprobs) - expected).max() < 5e-5
    assert any(r.response_ids[-1] == sampler.stop_token_ids[0] for r in rollouts), "EOS is a response token"


def test_the_same_seed_draws_the_same_tokens(world, sampler):
    draws = [
        sampler.sample(world.prompts(world.train[:4]), 2, temperature=0.7, top_p=1.0, max_new_tokens=40, seed=s)
        for s in (3, 3, 4)
    ]
    ids = [[r.response_ids for g in d for r in g] for d in draws]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]

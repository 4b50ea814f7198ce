"""The loop on pretrained weights and real problems: annotation, ten optimiser steps, log-probabilities, held-out KL.

SmolLM2-135M-Instruct and its student, as the `cpu-llm` tier uses them, with budgets of a few tokens; about three
minutes on two idle cores. The weights are fetched where they are absent; the test is skipped where they cannot be.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from artifact.config import Config, load
from artifact.records import Rollout, read_parquet

SMALL = {
    "task.train_limit": 4, "train.steps": 10, "train.prompts_per_step": 1, "train.checkpoint_every": 10,
    "sampling.samples_per_prompt": 2, "sampling.max_new_tokens": 24, "annotation.samples": 4,
    "annotation.max_new_tokens": 24, "evaluation.limit": 4, "evaluation.max_new_tokens": 24,
    "optimiser.lr": 1e-4, "cluster.engine.kv_cache_gib": 0.25, "cluster.engine.max_num_seqs": 16,
}  # fmt: skip
"""Overrides that make the tier's run a matter of minutes."""

HELD_OUT = 6
"""Problems of the held-out set."""


@pytest.fixture(scope="module")
def config(results: Path) -> Config:
    """The tier's configuration, its models and problems on this machine."""
    from artifact.errors import ArtifactError
    from artifact.pretrained import fetch_models
    from artifact.studies.world import problems_of
    from artifact.tasks.hub import DataAbsent

    try:
        fetch_models("cpu-llm")
    except ArtifactError as err:
        pytest.skip(f"no pretrained weights here: {err}")
    config = load("cpu-llm", SMALL)
    try:
        problems_of(config.task, config.task.train_split, config.task.train_limit)
    except DataAbsent as err:
        pytest.skip(f"no SVAMP here: {err}")
    return config


@pytest.fixture(scope="module")
def actors(config: Config):
    """The tier's actors: started once, ended with this file, since they hold several GiB."""
    from artifact.cluster import session

    workers = session.open_workers(
        config, engines_for=config.models.student, student=True, teacher=True, reference=True
    )  # fmt: skip
    yield workers
    import ray  # not before `session` has set the environment that Ray reads when it is imported

    for actor in (*workers.engines, *workers.students, workers.teacher, workers.reference):
        ray.kill(actor)
    time.sleep(2)
    if not session.status():  # no other test file has actors in this cluster
        session.stop()


@pytest.fixture(scope="module")
def trained(config: Config, actors):
    """One run of standard on-policy distillation."""
    from artifact.studies.runner import run

    return run(config.model_copy(update={"method": "opd"}), label="OPD")


@pytest.fixture(scope="module")
def measured(config: Config, trained):
    """Held-out distance of the untouched student and of the run."""
    from artifact.studies.language_model import study_distances

    return study_distances([trained], problems=HELD_OUT)


def logprobs(model: str | Path, rollouts: list[Rollout]) -> list[np.ndarray]:
    """Log-probability of each response token, one plain transformers forward pass a rollout; nothing of ours."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    assert network.config.tie_word_embeddings
    out = []
    with torch.no_grad():
        for r in rollouts:
            ids = torch.tensor([[*r.prompt_ids, *r.response_ids]])
            rows = torch.log_softmax(network(ids).logits[0, len(r.prompt_ids) - 1 : -1], dim=-1)
            out.append(rows.gather(1, torch.tensor(r.response_ids)[:, None])[:, 0].numpy())
    return out


def test_real_problems_are_annotated(config: Config, actors) -> None:
    from artifact.studies.annotate import annotate, teacher_samples
    from artifact.uncertainty.records import Annotation

    folder = annotate(config)
    records = read_parquet(folder / "annotations.parquet", Annotation)
    samples = teacher_samples(folder, config.annotation.samples)
    assert len(records) == len(samples) == 4
    for a in records:
        assert a.problem_id.startswith("svamp-all-") and len(samples[a.problem_id]) == a.n == 4
        share = np.exp(a.mean_logprobs) / np.exp(a.mean_logprobs).sum()
        p = np.bincount(a.cluster_ids, weights=share)
        assert math.isclose(a.entropy, -(p * np.log(p)).sum(), abs_tol=1e-9)
        assert math.isclose(a.weight, min(1.0, max(0.0, 1 - a.entropy / math.log(4))), abs_tol=1e-9)


def test_ten_steps_are_taken_and_every_sync_is_proven(config: Config, trained) -> None:
    rows = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == list(range(10))
    assert all(0 <= r["sync/gap"] <= config.cluster.sync_tolerance for r in rows)
    assert all(math.isfinite(r["loss"]) and r["grad_norm"] > 0 for r in rows)
    assert all(0.5 < r["distil/teacher_mass"] <= 1 for r in rows), "the top-512 hold most of the teacher's mass"
    files = sorted((trained.folder / "rollouts").glob("*.parquet"))
    versions = {r.policy_version for path in files for r in read_parquet(path, Rollout)}
    assert versions == set(range(10)), "each step samples from the weights of the step before"


def test_engine_and_transformers_agree_before_and_after(config: Config, trained, measured) -> None:
    """Log-probs that vLLM gave its own tokens, before training and after ten syncs, from the checkpoints on disk."""
    from artifact.paths import resolve_model
    from artifact.studies.language_model import rollouts_of_distance

    base, after = measured
    for model, info in ((resolve_model(config.models.student), base), (trained.folder / "weights", after)):
        rollouts = rollouts_of_distance(info)
        assert len(rollouts) == HELD_OUT
        for r, expected in zip(rollouts, logprobs(model, rollouts), strict=True):
            assert np.abs(np.asarray(r.logprobs) - expected).max() < config.cluster.sync_tolerance
    split = config.evaluation.final[0]
    greedy = read_parquet(trained.folder / "evaluation" / f"{split}.greedy.parquet", Rollout)  # sampled after sync 10
    assert {r.policy_version for r in greedy} == {10}
    for r, expected in zip(greedy, logprobs(trained.folder / "weights", greedy), strict=True):
        assert np.abs(np.asarray(r.logprobs) - expected).max() < config.cluster.sync_tolerance
    untouched = logprobs(resolve_model(config.models.student), greedy)
    gap = max(np.abs(np.asarray(r.logprobs) - x).max() for r, x in zip(greedy, untouched, strict=True))
    assert gap > 100 * config.cluster.sync_tolerance, "ten steps must have changed the policy"


def test_held_out_kl_falls(measured) -> None:
    """On the base student's rollouts and on the policy's own, over the whole vocabulary."""
    from artifact.evaluate.held_out import distance_changes
    from artifact.studies.language_model import distance_frame

    frame = distance_frame(measured)
    assert (frame["forward"] >= frame["binned"] - 1e-9).all() and (frame["binned"] >= -1e-9).all()
    assert (frame["padding"] == 0).all()
    changes = distance_changes(frame, base="Base", resamples=2000)
    assert len(changes) == 4
    fixed = changes[(changes["sequences"] == "base") & (changes["measure"] == "forward")].iloc[0]
    assert fixed["verdict"] == "falls", changes.to_string()
    assert (changes["change"] < 0).all(), changes.to_string()


def test_a_finished_measurement_is_not_made_again(config: Config, trained, measured) -> None:
    from artifact.studies.language_model import study_distances

    again = study_distances([trained], problems=HELD_OUT)
    assert [i.key for i in again] == [i.key for i in measured]
    assert [i.manifest["finished"] for i in again] == [i.manifest["finished"] for i in measured]

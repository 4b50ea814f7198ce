"""The loop on pretrained weights and real problems: all four methods, ten optimiser steps, one resumption, held-out KL.

SmolLM2-135M-Instruct teaches itself as in the `cpu-llm` tier, in less than four minutes on two cores: the student keeps
seven decoder layers instead of 22, and responses are a few tokens. Skipped, with a reason, where the weights were not
fetched or the problems are not there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from artifact.config import Config
from artifact.records import Rollout, read_parquet
from artifact.studies.study import load_study

SMALL = {
    "task.train_limit": 4,
    "train.steps": 1,
    "train.prompts_per_step": 2,
    "train.checkpoint_every": 5,
    "sampling.samples_per_prompt": 2,
    "sampling.max_new_tokens": 16,
    "annotation.samples": 4,
    "annotation.max_new_tokens": 16,
    "evaluation.limit": 2,
    "evaluation.max_new_tokens": 16,
    "cluster.engine.kv_cache_gib": 0.25,
    "cluster.engine.max_num_seqs": 16,
    "cluster.engine.max_model_len": 256,
    "cluster.engine.max_num_batched_tokens": 256,
    "cluster.engine.enforce_eager": True,
    "optimiser.lr": 1e-4,
}
"""Overrides that make the tier's runs a matter of seconds a step."""

TEN_STEPS = {"train.steps": 10, "train.prompts_per_step": 1}
"""Of standard on-policy distillation, whose weights are compared before and after; the others take one step."""

PROMPT = """answer: hashes

[system]
Be brief. End with #### and the answer.

[system if answer]
The answer is {answer}.

[user]
{question}
"""
"""A template without exemplars: the prompt is most of what a step costs."""

LAYERS_KEPT = (0, 1, 2, 3, 12, 24, 29)
"""The student's decoder layers: what a step costs on two cores is its parameters, not its few tokens. Not every choice
will do: with layers 0-3, 10, 20, 28 and 29, float32 differs from float64 by 1e-3 nats, with these by 3e-5."""

HELD_OUT = 6
"""Problems of the held-out set; of fewer no sign-flip test can reject: 2 of 2⁵ signs are 0.06."""


class Interrupted(Exception):
    """What ends the first attempt at a run."""


@pytest.fixture(scope="module")
def cells(results: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """The configuration of each method of the tier's study; its models and problems are on this machine."""
    from artifact.paths import resolve_model
    from artifact.studies.inputs import problems_of
    from artifact.studies.pretrained import drop_layers, missing_models
    from artifact.tasks.hub import DataAbsent

    template = tmp_path_factory.mktemp("template") / "brief.txt"
    template.write_text(PROMPT, encoding="utf-8")
    study, small = load_study("language_model"), {**SMALL, "task.template": str(template)}
    tier = study.runs("cpu-llm", small)[0][1]
    try:
        problems_of(tier.task, tier.task.train_split, tier.task.train_limit)
    except DataAbsent as err:
        pytest.skip(f"no SVAMP here: {err}")
    if missing := missing_models(tier):
        pytest.skip(f"{', '.join(missing)} not there: `artifact fetch-models --tier cpu-llm` makes them (90 MB)")
    student = tmp_path_factory.mktemp("models") / "student"
    small["models.student"] = str(drop_layers(Path(resolve_model(tier.teacher_path)), student, LAYERS_KEPT))
    cells = {c.method: c for _, c in study.runs("cpu-llm", small)}
    cells["opd"] = next(c for _, c in study.runs("cpu-llm", {**small, **TEN_STEPS}) if c.method == "opd")
    return cells


@pytest.fixture(scope="module")
def config(cells: dict[str, Config]) -> Config:
    """Standard on-policy distillation."""
    return cells["opd"]


@pytest.fixture(scope="module")
def actors(config: Config):
    """The tier's actors: started once, and ended with this file, since they hold several GiB."""
    from artifact.actors import session

    before = {row["name"] for row in session.status()}
    yield session.open_actors(config, engines_for=config.models.student, student=True, teacher=True, reference=True)
    import ray  # not before `session` has set the environment that Ray reads when it is imported

    for name in {row["name"] for row in session.status()} - before:
        ray.kill(ray.get_actor(name, namespace=session.namespace()))
    if not before:  # no other test file has actors in this cluster
        session.stop()


@pytest.fixture(scope="module")
def trained(config: Config, actors):
    """Standard on-policy distillation for ten steps; the first attempt dies at its sixth, one past a checkpoint."""
    import artifact.train.loop as loop
    from artifact.studies import store
    from artifact.studies.runner import run

    real, partial = loop.sync_weights, store.folder_of("runs", "x").parent

    def dies(workers, spec, probe, version, config):
        if version == 6:
            raise Interrupted
        return real(workers, spec, probe, version, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "sync_weights", dies)
        with pytest.raises(Interrupted):
            run(config, label="OPD", progress=False)
    left = list(partial.glob("*.partial"))
    assert len(left) == 1 and [r["step"] for r in steps_of(left[0])] == list(range(5))
    return run(config, label="OPD", progress=False)


@pytest.fixture(scope="module")
def measured(config: Config, trained):
    """Held-out distance of the untouched student and of the run."""
    from artifact.studies.language_model import study_distances

    return study_distances([trained], problems=HELD_OUT)


def weights(config: Config) -> dict[str, float]:
    """What phase 1 says of each training problem; a problem on which all samples differ weighs nothing."""
    from artifact.phase1.records import Annotation
    from artifact.studies.annotate import annotate

    return {a.problem_id: a.weight for a in read_parquet(annotate(config) / "annotations.parquet", Annotation)}


def steps_of(folder: Path) -> list[dict[str, float]]:
    """The metrics of each step of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


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
    from artifact.phase1.records import Annotation
    from artifact.studies.annotate import annotate, teacher_samples

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


def test_ten_steps_are_taken_over_a_resumption_and_every_sync_is_proven(config: Config, trained) -> None:
    """The sixth step, lost with the first attempt, is taken again; no step is there twice."""
    rows = steps_of(trained.folder)
    assert [r["step"] for r in rows] == list(range(10))
    assert all(0 <= r["sync/max_logprob_diff"] <= config.cluster.sync_tolerance for r in rows)
    assert all(math.isfinite(r["loss"]) and r["grad_norm"] > 0 for r in rows)
    assert all(0.5 < r["distil/teacher_mass"] <= 1 for r in rows), "the top-512 hold most of the teacher's mass"
    files = sorted((trained.folder / "rollouts").glob("*.parquet"))
    versions = {r.policy_version for path in files for r in read_parquet(path, Rollout)}
    assert versions == set(range(10)), "each step samples from the weights of the step before"
    memory = trained.run_info["peak_memory_gib"]
    assert set(memory) == {"engine-0", "student-0", "teacher"} and all(0.1 < gib < 24 for gib in memory.values())


@pytest.mark.parametrize("method", ["uopd", "opsd", "core"])
def test_the_other_methods_train(cells: dict[str, Config], actors, method: str) -> None:
    """One step each, with what they read: phase 1, the answer as context, verdicts and a teacher that answers."""
    from artifact.studies.runner import rollouts_of, run

    info = run(cells[method], label=method, progress=False)
    rows = steps_of(info.folder)
    assert [r["step"] for r in rows] == [0] and (info.folder / "weights" / "model.safetensors").is_file()
    for r in rows:
        assert math.isfinite(r["loss"]) and r["rollouts"] == 4
        assert 0 <= r["sync/max_logprob_diff"] <= cells[method].cluster.sync_tolerance
        asked = {x.problem_id for x in rollouts_of(info) if x.policy_version == r["step"]}
        assert len(asked) == 2
        assert (r["grad_norm"] > 0) == (method != "uopd" or any(weights(cells[method])[i] > 0 for i in asked))
    if method == "core":
        wrong = sum(r["rollouts"] - r.get("verdict/correct", 0.0) for r in rows)
        assert sum(r["pairs"] + r["pairs_without_chosen"] for r in rows) == wrong
        assert all("fallback_prompts" in r for r in rows)


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
    """The forward KL, which is what was minimised, on the base student's rollouts and on the policy's own."""
    from artifact.stats.held_out import distance_changes
    from artifact.studies.language_model import distance_frame

    frame = distance_frame(measured)
    assert (frame["forward"] >= frame["binned"] - 1e-9).all() and (frame["binned"] >= -1e-9).all()
    assert (frame["padding"] == 0).all()
    changes = distance_changes(frame, resamples=2000)
    assert len(changes) == 4 and (changes["teacher"] == "smollm2").all()
    forward = changes[changes["measure"] == "forward"]
    assert set(forward["sequences"]) == {"base", "own"} and (forward["verdict"] == "falls").all(), changes.to_string()


def test_a_finished_measurement_is_not_made_again(config: Config, trained, measured) -> None:
    from artifact.studies.language_model import study_distances

    again = study_distances([trained], problems=HELD_OUT)
    assert [i.key for i in again] == [i.key for i in measured]
    assert [i.run_info["finished"] for i in again] == [i.run_info["finished"] for i in measured]

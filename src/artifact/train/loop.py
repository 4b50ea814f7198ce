"""The on-policy loop, readable top to bottom (UOPD Algorithm 1, lines 9–21; CORE §3).

    rollout → verify → method → teacher scores → student step → weight sync (+ proof) → log

Each phase is an actor call with a deadline. The loop knows neither a method by name nor whether a device is a GPU.
Everything random is a function of (seed, step, problem, sample), so a run killed at any point and started again ends
with the weights of an uninterrupted one. Left out: what a run is and where it is stored (`studies/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from artifact.actors.sampler import Sampler
from artifact.actors.session import Workers, call, start_student
from artifact.config import Config
from artifact.errors import EmptyDataset
from artifact.evaluate.evaluate import verify_groups
from artifact.paths import resolve_model
from artifact.records import Group, Rollout
from artifact.studies.runlog import RunLog
from artifact.train.calls import (
    Clock,
    TeacherAnswers,
    World,
    curve,
    merge_ranks,
    norms_are_due,
    probe_sequences,
    refer,
    rollout_facts,
    score,
    sync_weights,
)
from artifact.train.methods.base import Method, Step
from artifact.train.objective import denominators


@dataclass(frozen=True)
class PhaseOne:
    """What a run may read of phase 1, by problem id: uncertainty weights, and the teacher's verified samples."""

    weights: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Rollout]] = field(default_factory=dict)


def prompt_order(n: int, config: Config, step: int) -> list[int]:
    """Indices of the training problems of `step`: shuffled passes over the data, or draws with replacement."""
    size = config.train.prompts_per_step
    if config.train.with_replacement:
        return np.random.default_rng([config.seed, step]).integers(0, n, size).tolist()
    wanted = range(step * size, (step + 1) * size)
    passes = {i // n: np.random.default_rng([config.seed, 2**20 + i // n]).permutation(n) for i in wanted}
    return [int(passes[i // n][i % n]) for i in wanted]


def train(
    config: Config, method: Method, world: World, workers: Workers, sampler: Sampler, log: RunLog, phase_one: PhaseOne
) -> None:
    """Train all steps (or episodes) of `config.train`, or those left after an interruption.

    `log` holds what there is to keep. Ends with the engines holding the final policy and its weights saved. Raises
    StaleEngine, NonFinite, ActorTimeout, …: nothing is skipped in silence.
    """
    if not world.train:
        raise EmptyDataset("the training split holds no problem; check task.train_limit and the task's files")
    steps, limit = config.train.total_steps(len(world.train)), config.cluster.step_timeout_s
    base = resolve_model(config.models.student)
    scorer = base if method.needs.self_teacher else resolve_model(config.teacher_path)
    spec = start_student(workers, config, steps)
    probe = probe_sequences(world)
    start = log.resume()
    if start:
        call(
            [s.load_checkpoint.remote(str(log.checkpoints), f"step-{start}") for s in workers.students],
            limit,
            "loading the checkpoint",
        )
    sync_weights(workers, spec, probe, start, config)
    if start == 0:
        curve(config, world, sampler, log, 0)

    for index in log.progress(range(start, steps)):
        clock = Clock()
        with clock("rollout"):
            problems = [world.train[i] for i in prompt_order(len(world.train), config, index)]
            prompts = world.prompts(problems)
            groups: list[tuple[Rollout, ...]] = [()] * len(problems)
            if method.needs.rollouts:
                groups = sampler.sample(
                    prompts,
                    config.sampling.samples_per_prompt,
                    temperature=config.sampling.temperature,
                    top_p=config.sampling.top_p,
                    max_new_tokens=config.sampling.max_new_tokens,
                    seed=(config.seed, index),
                    expect_version=index,
                )
        with clock("verify"):
            # Verdicts are recorded for every method; only methods that declare `verdicts` may read them.
            groups = verify_groups(problems, groups, world.verify)
        with clock("method"):
            asking = TeacherAnswers(config, world, workers, sampler, scorer, index)
            step = Step(
                index, world.encode, world.encode_text, phase_one.weights, phase_one.samples, world.mask_text, asking
            )
            batch = method.batch([Group(p, x, g) for p, (_, x), g in zip(problems, prompts, groups, strict=True)], step)
        with clock("teacher"):
            shards = [batch.examples[rank :: len(workers.students)] for rank in range(len(workers.students))]
            scores = [score(config, workers, scorer, shard) for shard in shards]
            reference = [refer(config, workers, base, method, shard) for shard in shards]
        with clock("student"):
            whole = denominators(batch.examples, config.losses, config.sampling.max_new_tokens)
            updates = [
                s.step.remote(index, list(shard), sc, ref, batch.coefficients, whole, norms_are_due(config, index))
                for s, shard, sc, ref in zip(workers.students, shards, scores, reference, strict=True)
            ]
            metrics = merge_ranks(call(updates, limit, f"optimiser step {index}"))
        with clock("sync"):
            gap = sync_weights(workers, spec, probe, index + 1, config)
        facts = {**metrics, **batch.facts, **rollout_facts(groups, batch), **asking.facts, "sync/gap": gap}
        facts["episode"] = float(index * config.train.prompts_per_step // len(world.train))
        log.step(index, groups, facts, clock.seconds)
        if config.train.curve_every and (index + 1) % config.train.curve_every == 0:
            curve(config, world, sampler, log, index + 1)
        if (index + 1) % config.train.checkpoint_every == 0 or index + 1 == steps:
            call(
                [s.save_checkpoint.remote(str(log.checkpoints), f"step-{index + 1}") for s in workers.students],
                limit,
                "saving a checkpoint",
            )
            log.commit(index + 1)
    call([s.save_weights.remote(str(log.weights)) for s in workers.students], limit, "saving the final weights")

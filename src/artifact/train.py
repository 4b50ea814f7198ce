"""The on-policy loop, readable top to bottom (UOPD Algorithm 1, lines 9–21; CORE §3).

    rollout → verify → method → teacher scores → student step → weight sync (+ proof) → log

Each phase is an actor call with a deadline. The loop knows neither a method by name nor whether a device is a GPU.
Everything random is a function of (seed, step, problem, sample), so a run killed at any point and started again ends
with the weights of an uninterrupted one. Left out: what a run is and where it is stored (`studies/`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifact.cluster.objective import denominators, sequences_of
from artifact.cluster.sampler import Prompt, Sampler
from artifact.cluster.session import Workers, call, start_student
from artifact.config import Config
from artifact.errors import EmptyDataset, StaleEngine
from artifact.evaluate.evaluate import VerifyBatch, evaluate, verify_groups
from artifact.methods.base import Batch, Method, Step
from artifact.paths import resolve_model
from artifact.records import Group, Problem, Rollout
from artifact.runlog import RunLog


@dataclass(frozen=True)
class World:
    """What a run is trained and measured on: problems, their prompts, and how answers are verified.

    encode(problem, context) gives prompt ids; encode_text(text) the ids of a response, end of sequence included.
    """

    train: Sequence[Problem]
    curve: Sequence[Problem]
    encode: Callable[[Problem, str], tuple[int, ...]]
    encode_text: Callable[[str], tuple[int, ...]]
    verify: VerifyBatch

    def prompts(self, problems: Sequence[Problem]) -> list[Prompt]:
        """Prompts of `problems` without any hint."""
        return [(p.id, self.encode(p, "none")) for p in problems]


def prompt_order(n: int, config: Config, step: int) -> list[int]:
    """Indices of the training problems of `step`: shuffled passes over the data, or draws with replacement."""
    size = config.train.prompts_per_step
    if config.train.with_replacement:
        return np.random.default_rng([config.seed, step]).integers(0, n, size).tolist()
    wanted = range(step * size, (step + 1) * size)
    passes = {i // n: np.random.default_rng([config.seed, 2**20 + i // n]).permutation(n) for i in wanted}
    return [int(passes[i // n][i % n]) for i in wanted]


def train(
    config: Config,
    method: Method,
    world: World,
    workers: Workers,
    sampler: Sampler,
    log: RunLog,
    weights: Mapping[str, float],
) -> None:
    """Train `config.train.steps` steps, or those left after an interruption; `log` holds what there is to keep.

    Ends with the engines holding the final policy and its weights saved. Raises StaleEngine, NonFinite, ActorTimeout,
    …: nothing is skipped in silence.
    """
    if not world.train:
        raise EmptyDataset("the training split holds no problem; check task.train_limit and the task's files")
    steps, limit = config.train.steps, config.cluster.step_timeout_s
    base = resolve_model(config.models.student)
    teacher_path = resolve_model(config.teacher_path)
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
                    prompts, config.sampling.samples_per_prompt, temperature=config.sampling.temperature,
                    top_p=config.sampling.top_p, max_new_tokens=config.sampling.max_new_tokens,
                    seed=(config.seed, index), expect_version=index,
                )  # fmt: skip
        with clock("verify"):
            # Verdicts are recorded for every method; only methods that declare `verdicts` may read them.
            groups = verify_groups(problems, groups, world.verify)
        with clock("method"):
            step = Step(index, world.encode, world.encode_text, weights)
            batch = method.batch([Group(p, x, g) for p, (_, x), g in zip(problems, prompts, groups, strict=True)], step)
        with clock("teacher"):
            shards = [batch.examples[rank :: len(workers.students)] for rank in range(len(workers.students))]
            scores = [score(config, workers, teacher_path, shard) for shard in shards]
            reference = [refer(config, workers, base, method, shard) for shard in shards]
        with clock("student"):
            whole = denominators(batch.examples, config.losses, config.sampling.max_new_tokens)
            updates = [
                s.step.remote(index, list(shard), sc, ref, batch.coefficients, whole)
                for s, shard, sc, ref in zip(workers.students, shards, scores, reference, strict=True)
            ]
            metrics = merge_ranks(call(updates, limit, f"optimiser step {index}"))
        with clock("sync"):
            gap = sync_weights(workers, spec, probe, index + 1, config)
        log.step(
            index, groups, {**metrics, **batch.facts, **rollout_facts(groups, batch), "sync/gap": gap}, clock.seconds
        )
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


def score(config: Config, workers: Workers, path: str, examples: Sequence[Any]) -> Any:
    """The teacher's top-k on the responses to be distilled, as a reference into the object store; None without any.

    A response is scored under the example's own teacher prompt where it has one: same token ids, other context.
    """
    wanted = [e for e in examples if e.distil not in (None, 0.0)]
    if not wanted:
        return None
    d = config.losses.distil
    pairs = [(e.teacher_prompt_ids or e.prompt_ids, e.response_ids) for e in wanted]
    ref = workers.teacher.score.remote(path, pairs, d.top_k, d.temperature, config.optimiser.micro_batch_tokens)
    call(workers.teacher.ready.remote(), config.cluster.step_timeout_s, "teacher scores")  # actor calls run in order
    return ref


def refer(config: Config, workers: Workers, base: str, method: Method, examples: Sequence[Any]) -> Any:
    """log p_ref of all sequences of `examples`; None when the method needs no reference."""
    if not method.needs.reference or not examples:
        return None
    pairs = [s for e in examples for s in sequences_of(e)]
    ref = workers.reference.logprobs.remote(base, pairs, config.optimiser.micro_batch_tokens)
    call(workers.reference.ready.remote(), config.cluster.step_timeout_s, "reference log-probabilities")
    return ref


def sync_weights(workers: Workers, spec: Any, probe: Sequence[Any], version: int, config: Config) -> float:
    """Broadcast the student's weights into every engine, then prove that they arrived.

    Returns the largest |Δ log-prob| between student and engines on the probe, in nats. Raises StaleEngine above
    `cluster.sync_tolerance`: a version counter alone would say that all is well.
    """
    limit = config.cluster.step_timeout_s
    refs = [
        workers.students[0].broadcast.remote(spec),
        *(e.receive_weights.remote(spec, version) for e in workers.engines),
    ]
    call(refs, limit, "weight sync")
    student, *engines = call(
        [workers.students[0].logprobs.remote(probe), *(e.score.remote(probe) for e in workers.engines)],
        limit,
        "the sync proof",
    )
    gaps = [max(float(np.abs(a - b).max()) for a, b in zip(student, engine, strict=True)) for engine in engines]
    worst = int(np.argmax(gaps)) if gaps else 0
    if gaps and not gaps[worst] <= config.cluster.sync_tolerance:
        raise StaleEngine(
            f"after weight sync {version} engine {worst} and the student differ by {gaps[worst]:.2e} nats on the probe "
            f"(allowed: cluster.sync_tolerance = {config.cluster.sync_tolerance:g}): the engine holds stale or damaged "
            "weights; rollouts would be off-policy. Check tied embeddings and number types, then start the run again"
        )
    return max(gaps, default=0.0)


def probe_sequences(world: World) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Two fixed token sequences for the sync proof: training prompts, their first token given, the rest scored."""
    ids = [world.encode(p, "none") for p in world.train[:2]]
    return [(x[:1], x[1:]) for x in ids]


def curve(config: Config, world: World, sampler: Sampler, log: RunLog, step: int) -> None:
    """Greedy accuracy of the current policy on the curve split, every outcome kept."""
    if config.train.curve_every and world.curve:
        groups = evaluate(
            sampler,
            world.curve,
            world.prompts(world.curve),
            world.verify,
            max_new_tokens=config.evaluation.max_new_tokens,
        )
        log.curve(step, world.curve, groups)


def rollout_facts(groups: Sequence[Sequence[Rollout]], batch: Batch) -> dict[str, float]:
    """What to log about the rollouts of a step: counts by verdict, lengths, truncation, tokens."""
    flat = [r for g in groups for r in g]
    facts = {
        "rollouts": float(len(flat)), "examples": float(len(batch.examples)),
        "response_tokens": float(sum(len(r.response_ids) for r in flat)),
        "teacher_tokens": float(sum(len(e.response_ids) for e in batch.examples if e.distil not in (None, 0.0))),
        "truncated": float(sum(r.finish_reason == "length" for r in flat)),
    }  # fmt: skip
    for r in flat:
        name = f"verdict/{r.verdict.status}" if r.verdict else "verdict/unverified"
        facts[name] = facts.get(name, 0.0) + 1.0
    if flat:
        facts["rollout_accuracy"] = facts.get("verdict/correct", 0.0) / len(flat)
    return facts


def merge_ranks(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """Losses summed over data-parallel ranks (each holds a share), everything else averaged."""
    names = sorted({n for m in metrics for n in m})
    return {n: float((sum if n.startswith("loss") else np.mean)([m[n] for m in metrics if n in m])) for n in names}


class Clock:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begin

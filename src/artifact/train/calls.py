"""The phases of one step of the loop, each an actor call with a deadline; `train.py` says in which order they come.

World, teacher scores, teacher answers, reference log-probabilities, weight sync and its proof, the learning curve, and
what is logged about a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifact.actors.sampler import Prompt, Sampler, request_seed
from artifact.actors.session import Workers, call
from artifact.config import Config, ConfigError
from artifact.evaluate.evaluate import VerifyBatch, evaluate, verify_groups
from artifact.records import Problem, Rollout
from artifact.studies.runlog import RunLog
from artifact.train.methods.base import Batch, Method
from artifact.train.objective import referenced
from artifact.train.sync_check import prove


@dataclass(frozen=True)
class World:
    """What a run is trained and measured on: problems, their prompts, and how answers are verified.

    encode(problem, context) gives prompt ids; encode_text(text) the ids of a response, end of sequence included, and
    mask_text(text) which of them a tool would have written (None: no tool).
    """

    train: Sequence[Problem]
    curve: Sequence[Problem]
    encode: Callable[[Problem, str], tuple[int, ...]]
    encode_text: Callable[[str], tuple[int, ...]]
    verify: VerifyBatch
    mask_text: Callable[[str], tuple[bool, ...] | None] = lambda text: None

    def prompts(self, problems: Sequence[Problem]) -> list[Prompt]:
        """Prompts of `problems` without any hint."""
        return [(p.id, self.encode(p, "none")) for p in problems]


def norms_are_due(config: Config, index: int) -> bool:
    """Whether step `index` measures the gradient norm of each loss component by itself."""
    every = config.train.component_norms_every
    return bool(every) and index % every == 0


class TeacherAnswers:
    """`Step.ask_teacher`: fresh, verified responses of the teacher, K a problem; `facts` counts what they cost."""

    def __init__(
        self, config: Config, world: World, workers: Workers, sampler: Sampler, scorer: str, index: int
    ) -> None:
        self.config, self.world, self.workers, self.sampler = config, world, workers, sampler
        self.scorer, self.index = scorer, index
        self.facts: dict[str, float] = {}

    def __call__(self, problems: Sequence[Problem], how: str, context: str) -> list[tuple[Rollout, ...]]:
        c, k = self.config, self.config.sampling.samples_per_prompt
        if c.task.calculator:
            raise ConfigError(
                f"fallback {how!r} samples from the teacher without the calculator: its own `<<…>>` values would be "
                "trained on as chosen tokens; set method_options.fallback = skip or task.calculator = false"
            )
        prompts = [self.world.encode(p, context) for p in problems]
        answers = call(
            self.workers.teacher.answer.remote(
                self.scorer,
                [x for x in prompts for _ in range(k)],
                how=how,
                top_k=c.losses.distil.top_k,
                temperature=c.sampling.temperature,
                max_new_tokens=c.sampling.max_new_tokens,
                stop_token_ids=self.sampler.stop_token_ids,
                seed=request_seed(c.seed, "teacher answers", self.index),
            ),
            c.cluster.step_timeout_s,
            f"teacher answers ({how})",
        )
        texts = self.sampler.tokenizer.batch_decode([ids for ids, _ in answers], skip_special_tokens=True)
        stops = set(self.sampler.stop_token_ids)
        flat = [
            Rollout(p.id, j, x, ids, logprobs, texts[i * k + j], "stop" if ids[-1] in stops else "length")
            for i, (p, x) in enumerate(zip(problems, prompts, strict=True))
            for j, (ids, logprobs) in enumerate(answers[i * k : (i + 1) * k])
        ]
        self.facts["fallback_tokens"] = float(sum(len(r.response_ids) for r in flat))
        return verify_groups(problems, [flat[i * k : (i + 1) * k] for i in range(len(problems))], self.world.verify)


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
    """log p_ref of the `referenced` sequences of `examples`; None when the method needs no reference."""
    if not method.needs.reference or not examples:
        return None
    pairs = [s for e in examples for s in referenced(e)]
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

    def scored() -> Any:
        return call(
            [workers.students[0].logprobs.remote(probe), *(e.score.remote(probe) for e in workers.engines)],
            limit,
            "the sync proof",
        )

    return prove(scored, config.cluster.sync_tolerance, f"after weight sync {version}")


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
        "rollouts": float(len(flat)),
        "examples": float(len(batch.examples)),
        "response_tokens": float(sum(len(r.response_ids) for r in flat)),
        "teacher_tokens": float(sum(len(e.response_ids) for e in batch.examples if e.distil not in (None, 0.0))),
        "truncated": float(sum(r.finish_reason == "length" for r in flat)),
        "tool_tokens": float(sum(r.response_mask.count(False) for r in flat if r.response_mask is not None)),
    }
    for r in flat:
        name = f"verdict/{r.verdict.status}" if r.verdict else "verdict/unverified"
        facts[name] = facts.get(name, 0.0) + 1.0
    if flat:
        facts["rollout_accuracy"] = facts.get("verdict/correct", 0.0) / len(flat)
    return facts


def merge_ranks(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """One account of a step from those of its data-parallel ranks.

    Losses (each rank holds a share of the step's) and counts are summed; a component's diagnostics are averaged by its
    tokens, `<component>/tokens`; what every rank knows alike (`lr`, `grad_norm`) is averaged.
    """

    def merged(name: str) -> float:
        component, _, quantity = name.partition("/")
        having = [m for m in metrics if name in m]
        if component == "loss" or quantity == "tokens" or name == "micro_batches":
            return float(sum(m[name] for m in having))
        weights = [m.get(f"{component}/tokens", 1.0) for m in having]
        return float(np.average([m[name] for m in having], weights=weights)) if sum(weights) else 0.0

    return {name: merged(name) for name in sorted({n for m in metrics for n in m})}


class Clock:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begin

"""The phases of one step of the loop that are more than one call; `loop.py` says in which order they come.

Teacher answers on demand, the learning curve, and what is logged about a step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from artifact.errors import ConfigError
from artifact.records import Problem, Rollout
from artifact.train.inputs import Outcomes, RunInputs
from artifact.train.methods.base import Batch
from artifact.train.objective import to_score
from artifact.train.rollouts import Sampler, build_rollouts, evaluate, request_seed, verify_groups
from artifact.train.settings import RunSettings
from artifact.train.workers import Log, Workers


class TeacherAnswers:
    """`StepContext.ask_teacher`: fresh, verified responses of the teacher, K per problem; `metrics` counts tokens."""

    def __init__(self, settings: RunSettings, inputs: RunInputs, workers: Workers, step: int) -> None:
        self.settings, self.inputs, self.workers, self.step = settings, inputs, workers, step
        self.metrics: dict[str, float] = {}

    def __call__(self, problems: Sequence[Problem], how: str, context: str) -> list[tuple[Rollout, ...]]:
        sampling = self.settings.sampling
        k = sampling.samples_per_prompt
        prompts = [(p.id, self.inputs.encode(p, context)) for p in problems]
        completions = self.workers.teacher_answers(
            [ids for _, ids in prompts for _ in range(k)],
            how,
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_new_tokens,
            seed=request_seed(self.settings.seed, "teacher answers", self.step),
        )
        groups = [completions[i * k : (i + 1) * k] for i in range(len(problems))]
        self.metrics["fallback_tokens"] = float(sum(len(c.ids) for c in completions))
        return verify_groups(problems, build_rollouts(prompts, groups, self.inputs.decode), self.inputs.verify)


def curve(settings: RunSettings, inputs: RunInputs, sampler: Sampler, log: Log, step: int) -> None:
    """Greedy accuracy of the current policy on the curve split, every outcome kept."""

    def measure() -> Outcomes:
        prompts = inputs.prompts(inputs.curve)
        return evaluate(sampler, inputs.curve, prompts, inputs.verify, max_new_tokens=settings.curve_tokens)

    if settings.train.curve_every and inputs.curve:
        log.curve(step, inputs.curve, measure() if step else inputs.untrained(measure))


def norms_are_due(settings: RunSettings, step: int) -> bool:
    """Whether `step` measures the gradient norm of each loss component by itself."""
    every = settings.train.component_norms_every
    return bool(every) and step % every == 0


def masked_truncated(
    settings: RunSettings, method: str, groups: Sequence[Sequence[Rollout]], batch: Batch
) -> dict[str, float]:
    """How many rollouts of the step `losses.mask_truncated_completions` keeps out of the losses; {} where it is off.

    Raises ConfigError where the method trains on one of them all the same.
    """
    if not settings.losses.mask_truncated_completions:
        return {}
    masked = [(r.problem_id, r.response_ids) for group in groups for r in group if r.truncated]
    known = set(masked)
    trained = {(e.problem_id, response) for e in batch.examples for _, response in e.sequences}
    if slipped := sorted(known & {(problem, tuple(response)) for problem, response in trained}):
        raise ConfigError(
            f"method {method!r} trains on {len(slipped)} truncated rollout(s), of problem {slipped[0][0]!r} for one, "
            "under losses.mask_truncated_completions: make its examples of self.trained_on(rollouts)"
        )
    return {"masked_truncated": float(len(masked))}


def rollout_metrics(groups: Sequence[Sequence[Rollout]], batch: Batch) -> dict[str, float]:
    """What to log about the rollouts of a step: counts by verdict, lengths, truncation, tokens."""
    flat = [r for g in groups for r in g]
    scored = to_score(batch.examples).values()
    metrics = {
        "rollouts": float(len(flat)),
        "examples": float(len(batch.examples)),
        "response_tokens": float(sum(len(r.response_ids) for r in flat)),
        "teacher_tokens": float(sum(len(response) for _, response in scored)),
        "truncated": float(sum(r.finish_reason == "length" for r in flat)),
        "tool_tokens": float(sum(r.response_mask.count(False) for r in flat if r.response_mask is not None)),
    }
    for r in flat:
        name = f"verdict/{r.verdict.status}" if r.verdict else "verdict/unverified"
        metrics[name] = metrics.get(name, 0.0) + 1.0
    if flat:
        metrics["rollout_accuracy"] = metrics.get("verdict/correct", 0.0) / len(flat)
    return metrics


def merge_ranks(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """One account of a step from those of its data-parallel ranks.

    Losses (each rank holds a share of the step's), counts and bytes are summed; a component's diagnostics are averaged
    by its tokens, `<component>/tokens`; what every rank knows alike (`lr`, `grad_norm`) is averaged.
    """

    def merged(name: str) -> float:
        component, _, quantity = name.partition("/")
        having = [m for m in metrics if name in m]
        if component in ("loss", "bytes") or quantity == "tokens" or name == "micro_batches":
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

"""An optimiser step in parts: prompts are scored and trained on in groups, and that may begin before all are drawn.

The denominators of a loss are those of the whole step, so its gradient is a sum over parts once they are known. They
are counts: where a method trains on every rollout once, whatever its verdict (`Method.every_rollout`), they follow
from prompts × K before anything is drawn, and a part is scored *and* trained on while others are still drawn. Where
they are known after the last verdict only (how many rollouts are right), parts are scored meanwhile, and trained on
then.

Parts are prompts in the order of `rollouts.by_length`, `train.part_prompts` at a time: the long responses come last, so
the tail of the sampling is what the work is done in. Which rollouts share a pass, and the order in which gradients are
added, are thereby functions of the rollouts alone. So `train.stream` changes when work is done and no bit of it.

Equal sequences, and with `optimiser.shared_prompts` prompts, are computed once within a part; the rollouts of a prompt
are always in one. Left out: methods that let the teacher answer for the whole step at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from artifact.errors import ConfigError
from artifact.records import Group, Rollout
from artifact.train.calls import norms_are_due
from artifact.train.drawing import Drawing
from artifact.train.examples import COMPONENTS, Example
from artifact.train.inputs import RunInputs
from artifact.train.losses.reduction import step_denominator
from artifact.train.methods.base import Batch, Method, StepContext
from artifact.train.rollouts import by_length, refuse_accidents, with_verdicts
from artifact.train.settings import RunSettings
from artifact.train.workers import StepWork, Workers

Part = dict[int, tuple[Rollout, ...]]
"""Rollouts of some prompts, by the index of the prompt in the step."""


def in_parts(settings: RunSettings, method: Method) -> bool:
    """Whether steps are taken in parts: where asked for, and where there are rollouts to wait for.

    ConfigError where the teacher answers within the step.
    """
    if settings.train.part_prompts is None or not method.needs.rollouts:
        return False
    if method.needs.teacher_answers:
        raise ConfigError(
            f"train.part_prompts with method {type(method).name!r}, whose teacher answers for a whole step at once: "
            "set method_options.fallback = skip, or train.part_prompts to null"
        )
    return True


def cut(order: Iterable[tuple[int, tuple[Rollout, ...]]], size: int) -> Iterator[Part]:
    """The prompts of `order`, `size` at a time, each part as soon as it is whole."""
    part: Part = {}
    for i, group in order:
        part[i] = group
        if len(part) == size:
            yield part
            part = {}
    if part:
        yield part


def ordered(groups: Sequence[tuple[Rollout, ...]]) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
    """What `TrainingSampler.stream` gives, of rollouts that are all there."""
    found = dict(enumerate(groups))
    return ((i, found[i]) for i in by_length(found))


def announced(settings: RunSettings, method: Method, rollouts: int, norms: bool, step: int) -> StepWork | None:
    """The coefficients and denominators of a step of so many rollouts before they are drawn; None: not known yet."""
    component, losses = method.every_rollout, settings.losses
    if component is None or losses.mask_truncated_completions:
        return None
    mode = losses.policy_gradient.reduction if component == "policy_gradient" else losses.distil.reduction
    if mode == "token_mean":
        return None  # a count of tokens
    constant = settings.sampling.max_new_tokens if mode == "constant" else None
    denominators = dict.fromkeys(COMPONENTS, 0.0)
    denominators[component] = step_denominator([1] * rollouts, mode, constant_length=constant)
    return StepWork(step, {component: 1.0}, denominators, norms)


class PartedStep:
    """Scores the parts of a step as they come, and trains on them as soon as its denominators are known.

    work    those denominators where they are known ahead (`announced`)
    early   return from `add` at once, while scores are computed
    """

    def __init__(self, workers: Workers, work: StepWork | None, *, reference: bool, early: bool) -> None:
        self.workers, self.work, self.reference, self.early = workers, work, reference, early
        self.examples: Counter[Example] = Counter()
        self._scored: list[tuple[Any, ...]] = []

    def add(self, batch: Batch, clock: Callable[[str], Any]) -> None:
        """One more part: the examples that the method makes of it."""
        self.examples.update(batch.examples)
        ranks = self.workers.ranks
        shards = [batch.examples[rank::ranks] for rank in range(ranks)]
        with clock("teacher"):
            scores = self.workers.teacher_scores(shards, wait=not self.early)
            reference: Sequence[Any] = [None] * ranks
            if self.reference:
                reference = self.workers.reference_logprobs(shards, wait=not self.early)
        if self.work is None:
            self._scored.append((shards, scores, reference))
            return
        with clock("student"):
            self.workers.accumulate(self.work, shards, scores, reference)

    def check(self, work: StepWork, batch: Batch) -> None:
        """ConfigError where the parts' examples, or what was announced, are not those of the whole step."""
        if self.examples != Counter(batch.examples) or self.work not in (None, work):
            raise ConfigError(
                f"train.part_prompts: of step {work.step} in parts the method makes {self.examples.total()} example(s) "
                f"under {self.work or 'what is known at the end'}, of the whole step {len(batch.examples)} under "
                f"{work}, or not the same ones: its examples depend on more than their own prompt; set "
                "train.part_prompts to null"
            )

    def update(self, work: StepWork) -> list[dict[str, float]]:
        """Train on what is left, and move the weights; the metrics of each rank."""
        for shards, scores, reference in self._scored:
            self.workers.accumulate(work, shards, scores, reference)
        return self.workers.update(work)


def draw_in_parts(
    settings: RunSettings,
    method: Method,
    inputs: RunInputs,
    drawing: Drawing,
    workers: Workers,
    context: StepContext,
    clock: Callable[[str], Any],
) -> tuple[PartedStep, list[tuple[Rollout, ...]]]:
    """Draw, verify and hand out a step, part by part; the step that is left to `update`, and its verified rollouts.

    Raises StaleEngine and TooManyAccidents about all rollouts of the step, before the weights are moved.
    """
    step, train = context.step, settings.train
    problems = drawing.problems(step)
    prompts = [x for _, x in inputs.prompts(problems)]
    rollouts = len(problems) * settings.sampling.samples_per_prompt
    known = announced(settings, method, rollouts, norms_are_due(settings, step), step)
    taken = PartedStep(workers, known, reference=method.needs.reference, early=train.stream)
    with clock("rollout"):
        order = drawing.stream(step) if train.stream else ordered(drawing.groups(step))
    parts = cut(order, train.part_prompts or len(problems))
    found: Part = {}
    while True:
        with clock("rollout"):
            part = next(parts, None)
        if part is None:
            break
        with clock("verify"):
            asked = [problems[i] for i in part]
            verified = with_verdicts(asked, list(part.values()), inputs.verify)
        with clock("method"):
            batch = method.batch(
                [Group(problems[i], prompts[i], g) for i, g in zip(part, verified, strict=True)], context
            )
        taken.add(batch, clock)
        found |= dict(zip(part, verified, strict=True))
    groups = [found[i] for i in range(len(problems))]
    refuse_accidents([r.verdict for group in groups for r in group])
    if train.stream:
        with clock("rollout"):
            workers.check_rollouts(groups)
    return taken, groups

"""The on-policy loop, readable top to bottom (UOPD Algorithm 1, lines 9–21; CORE §3).

    rollout → verify → method → teacher scores → student step → weight sync (+ proof) → log

A step may be taken part by part, while its rollouts are still drawn (`parts.py`), and rollouts may be drawn one step
ahead (`drawing.py`); both are off unless `settings.train` says so.
In a sample of the steps what the models say of single tokens is recorded before the update (`token_records.py`).

The loop knows neither a method by name nor who does the work (`workers.py`), nor whether a device is a GPU. Everything
random is a function of (seed, step, problem, sample), so a run killed at any point and started again ends with the
weights of an uninterrupted one. Left out: what a run is and where it is stored (`studies/`).
"""

from __future__ import annotations

from functools import partial

from artifact.errors import EmptyDataset
from artifact.records import Group, Rollout
from artifact.train.calls import (
    Clock,
    TeacherAnswers,
    curve,
    masked_truncated,
    merge_ranks,
    norms_are_due,
    rollout_metrics,
)
from artifact.train.drawing import Drawing
from artifact.train.inputs import RunInputs, TeacherAnnotations
from artifact.train.methods.base import Method, StepContext, no_teacher_at_hand
from artifact.train.objective import denominators
from artifact.train.parts import PartedStep, draw_in_parts, in_parts
from artifact.train.rollouts import TrainingSampler, verify_groups
from artifact.train.settings import RunSettings
from artifact.train.token_records import parts_of, records_are_due, token_records
from artifact.train.workers import Log, StepWork, Workers


def train(
    settings: RunSettings,
    method: Method,
    inputs: RunInputs,
    workers: Workers,
    sampler: TrainingSampler,
    log: Log,
    annotations: TeacherAnnotations,
) -> None:
    """Train all steps (or episodes) of `settings.train`, or those left after an interruption.

    `log` holds what there is to keep. Ends with the engines holding the final policy and its weights saved. Raises
    StaleEngine, NonFinite, ActorTimeout, …: nothing is skipped in silence.
    """
    if not inputs.train:
        raise EmptyDataset("the training split holds no problem; check task.train_limit and the task's files")
    sampling, steps = settings.sampling, settings.train.total_steps(len(inputs.train))
    drawing, parted = Drawing(settings, inputs, workers, sampler, steps), in_parts(settings, method)
    workers.start(steps)
    start = log.resume()
    if start:
        workers.load_checkpoint(log.checkpoints, f"step-{start}")
    workers.sync_weights(start)
    if start == 0:
        curve(settings, inputs, sampler, log, 0)
    if method.needs.rollouts:
        drawing.resume(log, start)

    for step in log.progress(range(start, steps)):
        clock = Clock()
        problems = drawing.problems(step)
        prompts = inputs.prompts(problems)
        answers = TeacherAnswers(settings, inputs, workers, step)
        context = StepContext(
            step,
            inputs.encode,
            inputs.encode_text,
            annotations.weights,
            annotations.samples,
            inputs.mask_text,
            answers if method.needs.teacher_answers else no_teacher_at_hand,
        )
        groups: list[tuple[Rollout, ...]] = [()] * len(problems)
        taken: PartedStep | None = None
        if parted:
            taken, groups = draw_in_parts(settings, method, inputs, drawing, workers, context, clock)
        else:
            with clock("rollout"):
                if method.needs.rollouts:
                    groups = drawing.groups(step)
            with clock("verify"):
                # Verdicts are recorded for every method; only methods that declare `verdicts` may read them.
                groups = verify_groups(problems, groups, inputs.verify)
        with clock("method"):
            batch = method.batch(
                [Group(p, x, g) for p, (_, x), g in zip(problems, prompts, groups, strict=True)], context
            )
            masked = masked_truncated(settings, type(method).__name__, groups, batch)
        of_step = denominators(batch.examples, settings.losses, sampling.max_new_tokens)
        work = StepWork(step, batch.coefficients, of_step, norms_are_due(settings, step))
        if records_are_due(settings, step):
            with clock("records"):
                parts = parts_of([p.id for p in problems[: settings.train.token_records.prompts]], groups, batch)
                ask = partial(workers.token_readings, scorer=method.needs.scorer, reference=method.needs.reference)
                found = token_records(step, parts, ask, work.coefficients, work.denominators, settings.losses)
                log.tokens(step, found)
        if taken is not None:
            with clock("student"):
                taken.check(work, batch)
                metrics = merge_ranks(taken.update(work))
        else:
            with clock("teacher"):
                shards = [batch.examples[rank :: workers.ranks] for rank in range(workers.ranks)]
                scores = workers.teacher_scores(shards)
                reference = workers.reference_logprobs(shards) if method.needs.reference else [None] * workers.ranks
            with clock("student"):
                metrics = merge_ranks(workers.step(work, shards, scores, reference))
        with clock("rollout"):
            drawing.collect()
        with clock("sync"):
            metrics["sync/max_logprob_diff"] = workers.sync_weights(step + 1)
        metrics |= {**batch.metrics, **rollout_metrics(groups, batch), **masked, **answers.metrics}
        metrics |= drawing.lags(step, groups)
        metrics["episode"] = float(step * settings.train.prompts_per_step // len(inputs.train))
        log.step(step, groups, metrics, clock.seconds)
        if settings.train.curve_every and (step + 1) % settings.train.curve_every == 0:
            curve(settings, inputs, sampler, log, step + 1)
        if (step + 1) % settings.train.checkpoint_every == 0 or step + 1 == steps:
            workers.save_checkpoint(log.checkpoints, f"step-{step + 1}")
            drawing.keep(log, step + 1)
            log.commit(step + 1)
    workers.save_weights(log.weights)

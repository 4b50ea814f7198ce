"""Our step of on-policy distillation, through the product's own loop, actors and log, each phase measured.

Processor time is that of every process there is: driver, verifier, actors, and all of Ray.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from artifact.actors.calls import call
from artifact.actors.session import Actors, open_actors
from artifact.actors.team import RayWorkers
from artifact.config import Config
from artifact.records import Rollout
from artifact.studies.inputs import build_inputs, sampler_for
from artifact.studies.runlog import RunLog
from artifact.studies.step_cost import Shape, size_of
from artifact.studies.step_load import prompts_shared
from artifact.train.inputs import TeacherAnnotations
from artifact.train.loop import train
from measuring.meter import Meter, Metered, processor_clock

PLAIN = {
    "cluster.lanes": 1,
    "cluster.engine.count": 1,
    "cluster.engine.threads": 1,
    "cluster.student_threads": 1,
    "cluster.teacher_threads": 1,
    "train.curve_every": 0,
    "train.checkpoint_every": 1000,
    "train.component_norms_every": 0,
    "train.token_records.every": 0,
}
"""One thread each, and nothing beside the steps."""

WORKERS = {
    "check_rollouts": "rollout",
    "teacher_scores": "teacher",
    "reference_logprobs": "teacher",
    "step": "student",
    "accumulate": "student",
    "update": "student",
    "sync_weights": "sync",
}
"""Which phase a call of the workers belongs to."""


class MeteredLog(Metered):
    """A run's log; steps begin when the loop does, and end when they are recorded, which is measured too."""

    def progress(self, steps: range) -> Iterable[int]:
        """`steps`, as the log shows them."""
        shown: Iterator[int] = iter(self._inner.progress(steps))
        self._meter.begin()
        yield from shown

    def step(
        self, index: int, groups: Sequence[Sequence[Rollout]], metrics: dict[str, float], seconds: dict[str, float]
    ) -> None:
        """Record the step, and end it."""
        self._inner.step(index, groups, metrics, seconds)
        lengths = [len(r.response_ids) for group in groups for r in group]
        self._meter.end_step(
            rollouts=len(lengths),
            prompt_tokens=sum(len(r.prompt_ids) for group in groups for r in group),
            response_tokens=sum(lengths),
            longest=max(lengths),
        )


def open_step(config: Config) -> Actors:
    """The actors of an OPD step under `config`."""
    return open_actors(config, engines_for=config.models.student, student=True, teacher=True)


def processes(actors: Actors, without: Sequence[int] = ()) -> list[int]:
    """Ids of this process, those it started, the actors' and Ray's; actors of other settings and `without` left out."""
    mine = [*actors.engines, *actors.students, actors.teacher]
    asked = [a.__ray_call__.remote(lambda _: (os.getpid(), os.getppid())) for a in mine]
    pids, parents = zip(*call(asked, 60, "asking actors for their process ids"), strict=True)
    roots = [psutil.Process(), psutil.Process(parents[0])]  # an actor's parent is the raylet
    if (head := roots[1].parent()) is not None and head.pid != 1:
        roots.append(head)
    found = {p.pid: p for root in roots for p in [root, *root.children(recursive=True)]}
    idle = {pid for pid, p in found.items() if _is_actor(p) and pid not in pids}
    return sorted(found.keys() - idle - set(without))


def shape_of_step(config: Config, step: Mapping[str, float]) -> Shape:
    """What a measured step of `config` computed."""
    return Shape(
        config.train.prompts_per_step * config.sampling.samples_per_prompt,
        step["prompt_tokens"] / step["rollouts"],
        step["response_tokens"] / step["rollouts"],
        step["longest"],
        size_of(config.models.student),
        size_of(config.teacher_path),
        config.cluster.engine.count,
        config.cluster.student_workers,
        config.cluster.engine.max_num_seqs,
        prompts=prompts_shared(config),
    )


def _is_actor(process: psutil.Process) -> bool:
    """Whether Ray has named it after a class; its workers without one are called `ray::IDLE`."""
    try:
        name = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return name.startswith("ray::") and "IDLE" not in name


def measured_steps(
    config: Config, actors: Actors, without: Sequence[int] = (), *, to_the_end: bool = False
) -> list[dict[str, Any]]:
    """The steps of one run of `config` on `actors`, measured, from the base weights on.

    to_the_end  no token ends a response: all have `sampling.max_new_tokens`
    """
    inputs = build_inputs(config)
    sampler = sampler_for(config, actors, config.models.student)
    workers = RayWorkers(config, actors, inputs, sampler.stop_token_ids, self_teacher=False)
    if to_the_end:
        sampler.stop_token_ids = ()
    meter = Meter(processor_clock(processes(actors, without)))
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog(Path(folder), "benchmark", False)
        train(
            config.run_settings,
            config.make_method(),
            inputs,
            Metered(workers, meter, WORKERS),  # type: ignore[arg-type]  # what it adds is time
            Metered(sampler, meter, {"sample": "rollout"}),  # type: ignore[arg-type]
            MeteredLog(log, meter, {}),  # type: ignore[arg-type]
            TeacherAnnotations(),
        )
        log.close()
    return meter.steps

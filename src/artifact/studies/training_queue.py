"""One queue over many studies: the union of their runs, each trained once, and no lane idle from the first to the last.

Phase 1 comes first, on lane 0, whose lock its stages take; beside it the other lanes train what reads no annotation,
and then what reads one that is there. Where devices are counted, references come between (`references.py`). Runs keep
the order of the studies. Everything goes through the store, under the locks of its keys: who asks for a run meanwhile
(a notebook, another process) waits for it or trains it, never twice.
Left out: which studies a series of notebooks needs (`book/needs.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from artifact.actors.session import connect
from artifact.config import Config
from artifact.report.output_manifest import say
from artifact.studies import store
from artifact.studies.annotate import annotate, annotation_key
from artifact.studies.inputs import build_inputs
from artifact.studies.lanes import side_by_side
from artifact.studies.offline import absent
from artifact.studies.references import Reference, references_of, retests_of
from artifact.studies.runner import RunInfo, key_of, run_told
from artifact.studies.study import Cell, load_study


def by_identity(study: str, tier: str, overrides: dict[str, Any] | None = None) -> dict[str, tuple[Cell, Config]]:
    """The runs of a study by what tells two runs apart (`identity_of`)."""
    found: dict[str, tuple[Cell, Config]] = {}
    for cell, config in load_study(study).runs(tier, overrides):
        found.setdefault(identity_of(config), (cell, config))
    return found


def identity_of(config: Config) -> str:
    """What tells two runs apart.

    That is no key, which needs models and data, but decides it beside them: the configuration, in whatever order its
    keys stand (a manifest sorts them), and of two teachers under a method that reads none, neither.
    """
    needs = config.make_method().needs
    teacher = config.teacher if needs.teacher or needs.annotation else ""
    return json.dumps(config.model_dump(mode="json") | {"teacher": teacher}, sort_keys=True)


def union(studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> list[tuple[Cell, Config]]:
    """The runs of all `studies`, each once, in the order of the studies."""
    found: dict[str, tuple[Cell, Config]] = {}
    for name in studies:
        for identity, run in by_identity(name, tier, overrides).items():
            found.setdefault(identity, run)
    return list(found.values())


class Job(NamedTuple):
    """A part of the queue: on this lane (None: on any), and after the annotation with this key."""

    lane: int | None
    waits_for: str | None
    do: Callable[..., RunInfo | None]


@dataclass
class Queue:
    """What of some studies is not stored: annotations, references, runs; and how many runs are."""

    annotations: dict[str, Config] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    runs: list[tuple[Cell, Config, str | None]] = field(default_factory=list)
    stored: int = 0

    @classmethod
    def of(cls, studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> Queue:
        """The queue for `studies`: a run is listed with the key of the annotation it has to wait for, if any."""
        out = cls(references=references_of(studies, tier, overrides))
        for cell, config in union(studies, tier, overrides):
            if store.read_manifest(store.folder_of("runs", key_of(config))) is not None:
                out.stored += 1
                continue
            waits_for = None
            if config.make_method().needs.annotation:
                waits_for = out._annotated_first(config)
            out.runs.append((cell, config, waits_for))
        for config in retests_of(studies, tier, overrides):
            out._annotated_first(config)
        return out

    def _annotated_first(self, config: Config) -> str | None:
        """The key of the annotation of `config`, which is to be made; None where it is stored."""
        key = annotation_key(config, build_inputs(config))
        if store.read_manifest(store.folder_of("annotations", key)) is not None:
            return None
        self.annotations.setdefault(key, config)
        return key

    def in_words(self) -> str:
        """How much is to be done, and how much is there."""
        counts = {"annotations of phase 1 to make": self.annotations, "references to measure": self.references}
        first = "".join(f" and {len(todo)} {what}" for what, todo in counts.items() if todo)
        return f"training queue: {self.stored} runs are stored, {len(self.runs)} to train{first}"


def train_all(
    studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None, progress: bool = True
) -> list[RunInfo]:
    """Train the runs of all `studies` that are not stored, `cluster.lanes` at a time; returns them.

    After the first error no further run is begun; it is raised.
    """
    queue = Queue.of(studies, tier, overrides)
    say(queue.in_words())
    if not queue.runs:
        return []
    config = queue.runs[0][1]
    if config.cluster.lanes > 1:
        connect(config.cluster)  # once, before several threads ask for it
    annotated: set[str] = set()

    def phase_1(key: str, of_teacher: Config) -> None:
        watch = store.Stopwatch()
        annotate(of_teacher)
        annotated.add(key)
        say(f"phase 1 of teacher {of_teacher.teacher}: {watch():.0f} s, annotation {key}")

    def measured(reference: Reference) -> None:
        watch, found = store.Stopwatch(), reference.measure()
        say(f"{reference.label}, {reference.model}: {watch():.0f} s, {', '.join(info.key for info in found)}")

    jobs = [Job(0, None, partial(phase_1, *item)) for item in queue.annotations.items()]
    jobs += [Job(0, None, partial(measured, reference)) for reference in queue.references]
    for i, (cell, of_run, waits_for) in enumerate(queue.runs, 1):
        trained = partial(run_told, (i, len(queue.runs)), cell, of_run, progress=progress)
        jobs.append(Job(None, waits_for, trained))

    def ready(job: Job, lane: int) -> bool:
        return job.lane in (None, lane) and job.waits_for in (None, *annotated)

    def work(job: Job, lane: int) -> RunInfo | None:
        return job.do(lane=lane) if job.lane is None else job.do()

    return [made for made in side_by_side(jobs, config.cluster.lanes, work, ready) if made is not None]


def planned(studies: Sequence[str], tier: str, overrides: dict[str, Any] | None = None) -> list[str]:
    """What `train_all` would do, in lines: the runs of each study, their union, and what of it is stored here.

    Nothing is fetched to find that out: what is stored is known where models and data are.
    """
    runs = union(studies, tier, overrides)
    lines = [f"{name}: {len(load_study(name).runs(tier, overrides))} runs" for name in studies]
    lines.append(f"all together: {len(runs)} different runs")
    if lacks := dict.fromkeys(name for _, config in runs for name in absent(config)):
        return [*lines, f"what is stored cannot be told here: {', '.join(lacks)} is not on this machine"]
    return [*lines, Queue.of(studies, tier, overrides).in_words()]

"""Runs: train and evaluate once, keep the result under its key, resume what was killed, never compute twice."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact.cluster.session import Workers, open_workers, release_samplers
from artifact.config import Cell, Config, Study, load_study
from artifact.evaluate.evaluate import evaluate
from artifact.methods.base import Method, make
from artifact.records import Rollout, read_parquet, write_parquet
from artifact.report.provenance import git_state
from artifact.runlog import RunLog
from artifact.studies import keys, store
from artifact.studies.annotate import annotate, annotation_key, load_checkpoint
from artifact.studies.world import build_world, problems_of, sampler_for
from artifact.train import World, train
from artifact.uncertainty.records import Annotation
from artifact.uncertainty.weights import weights_for

CODE = (
    "artifact.train",
    "artifact.cluster.student",
    "artifact.cluster.teacher",
    "artifact.cluster.reference",
    "artifact.cluster.rollout_engine",
    "artifact.tasks.verifier_worker",
)


@dataclass(frozen=True)
class RunInfo:
    """A finished run: how it is called in a study, and where it lies."""

    label: str
    method: str
    teacher: str
    seed: int
    key: str
    folder: Path
    manifest: dict[str, Any]


def run_key(config: Config, method: Method, world: World) -> str:
    """The key of a run: settings, code it can reach, models, data, environment, and the annotation it reads."""
    used = keys.settings(config)
    used["models"] = {"dtype": config.models.dtype}
    used.pop("teacher")
    for section in () if method.needs.uncertainty else ("annotation",):
        used.pop(section)
    return keys.digest(
        {
            "settings": used, "student": keys.model_hash(config.models.student),
            "teacher": keys.model_hash(config.teacher_path) if method.needs.teacher else None,
            "annotation": annotation_key(config, world) if method.needs.uncertainty else None,
            "data": keys.data_hash([*world.train, *world.curve, *_final_problems(config)]),
            "source": keys.source_hash(CODE), "method": keys.method_source(type(method)),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )  # fmt: skip


def _final_problems(config: Config) -> list[Any]:
    return [
        p for split in config.evaluation.final for p in problems_of(config.task.name, split, config.evaluation.limit)
    ]


def run(config: Config, force: bool = False, label: str | None = None, progress: bool = True) -> RunInfo:
    """Train and evaluate one run, resume it, or return it from the cache."""
    method = make(config)
    world = build_world(config)
    key = run_key(config, method, world)
    label = label or f"{config.method}-{config.teacher}-{config.seed}"
    weights: dict[str, float] = {}
    if method.needs.uncertainty and (force or store.read_manifest(store.folder_of("runs", key)) is None):
        annotations = read_parquet(annotate(config) / "annotations.parquet", Annotation)
        scheme = method.weighting()
        weights = weights_for(scheme["scheme"], annotations, tau=scheme.get("tau"), seed=scheme.get("seed"))
    with store.working_folder("runs", key, force) as folder:
        if folder is not None:
            watch = store.Stopwatch()
            workers = open_workers(
                config,
                engines_for=config.models.student,
                student=True,
                teacher=method.needs.teacher,
                reference=method.needs.reference,
            )
            sampler = sampler_for(config, workers, config.models.student)
            log = RunLog(folder, label, progress)
            train(config, method, world, workers, sampler, log, weights)
            trained = watch()
            evaluate_splits(config, world, sampler, folder)
            log.close()
            shutil.rmtree(log.checkpoints, ignore_errors=True)
            done = {
                "kind": "run", "tier": config.tier, "method": config.method, "teacher": config.teacher,
                "seed": config.seed, "needs": vars(method.needs), "config": config.model_dump(mode="json"),
                "seconds": {"train": trained, "total": watch()},
                "git": git_state(), "hardware": store.hardware(), "versions": store.versions(),
            }  # fmt: skip
            store.finish("runs", key, done)
    folder = store.folder_of("runs", key)
    manifest = store.read_manifest(folder)
    assert manifest is not None
    return RunInfo(label, config.method, config.teacher, config.seed, key, folder, manifest)


def evaluate_splits(config: Config, world: World, sampler: Any, folder: Path) -> None:
    """Measure what the engines hold on every final split; a split that is on disk is not measured again."""
    e = config.evaluation
    for split in e.final:
        problems = problems_of(config.task.name, split, e.limit)
        prompts = world.prompts(problems)
        wanted: list[tuple[str, dict[str, Any]]] = [("greedy", {})]
        if e.sampled is not None:
            wanted.append(
                (
                    f"avg{e.sampled.k}",
                    {"k": e.sampled.k, "temperature": e.sampled.temperature, "top_p": e.sampled.top_p},
                )
            )
        for name, decoding in wanted:
            path = folder / "evaluation" / f"{split}.{name}.parquet"
            if not path.exists():
                groups = evaluate(
                    sampler,
                    problems,
                    prompts,
                    world.verify,
                    max_new_tokens=e.max_new_tokens,
                    seed=config.seed,
                    **decoding,
                )
                write_parquet(path, (r for g in groups for r in g), Rollout)


def evaluate_checkpoint(config: Config, model: str, label: str, force: bool = False) -> RunInfo:
    """Measure an untrained checkpoint on the final splits (Base and Teacher rows of every table), cached."""
    world = build_world(config)
    key = keys.digest(
        {
            "checkpoint": keys.model_hash(model), "evaluation": keys.settings(config, "evaluation", "task"),
            "engine": config.cluster.engine.model_dump(), "dtype": config.models.dtype,
            "data": keys.data_hash(_final_problems(config)),
            "source": keys.source_hash(["artifact.evaluate.evaluate", "artifact.cluster.sampler", *CODE[4:]]),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )  # fmt: skip
    with store.working_folder("checkpoints", key, force) as folder:
        if folder is not None:
            watch = store.Stopwatch()
            workers: Workers = open_workers(config, engines_for=model, reference=True)
            gap = load_checkpoint(config, workers, model, world)
            evaluate_splits(config, world, sampler_for(config, workers, model), folder)
            release_samplers(config)
            manifest: dict[str, Any] = {
                "kind": "checkpoint", "tier": config.tier, "model": model, "seconds": {"total": watch()},
                "load_gap": gap,
                "git": git_state(), "hardware": store.hardware(), "versions": store.versions(),
            }  # fmt: skip
            store.finish("checkpoints", key, manifest)
    folder = store.folder_of("checkpoints", key)
    return RunInfo(label, "none", config.teacher, 0, key, folder, store.read_manifest(folder) or {})


def baselines(config: Config) -> list[RunInfo]:
    """The untouched student ("Base") and the teacher ("Teacher"), greedy on the final splits."""
    return [
        evaluate_checkpoint(config, config.models.student, "Base"),
        evaluate_checkpoint(config, config.teacher_path, "Teacher"),
    ]


def run_study(
    study: Study | str, tier: str, overrides: dict[str, Any] | None = None, force: bool = False, progress: bool = True
) -> list[RunInfo]:
    """Every run of a study on `tier`, in order; finished ones come from the cache. Prints a line a run."""
    chosen = load_study(study) if isinstance(study, str) else study
    todo: Sequence[tuple[Cell, Config]] = chosen.runs(tier, overrides)
    out = []
    for i, (cell, config) in enumerate(todo, 1):
        watch = store.Stopwatch()
        info = run(config, force=force, label=cell.label, progress=progress)
        out.append(info)
        if progress and watch() > 1:
            print(
                f"[{i}/{len(todo)}] {cell.label}, teacher {config.teacher}, seed {config.seed}: {watch():.0f} s, "
                f"run {info.key}",
                flush=True,
            )
    return out


def rollouts_of(info: RunInfo) -> list[Rollout]:
    """Every training rollout of a run, in step order."""
    return [r for path in sorted((info.folder / "rollouts").glob("*.parquet")) for r in read_parquet(path, Rollout)]

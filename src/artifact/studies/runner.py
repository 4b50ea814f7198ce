"""Runs: train and evaluate once, keep the result under its key, resume what was killed, never compute twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.actors.checkpoints import check_model
from artifact.actors.memory import peak_memory_by_actor
from artifact.actors.nodes import nodes_of
from artifact.actors.object_store import require_room, require_room_in_cluster
from artifact.actors.placement import one_machine
from artifact.actors.session import Actors, connect, open_actors
from artifact.actors.team import RayWorkers
from artifact.config import Config, SampledEvaluation
from artifact.disk import told_when_full
from artifact.errors import ConfigError, EmptyDataset
from artifact.paths import resolve_model
from artifact.phase1.records import Annotation
from artifact.phase1.weights import weights_for
from artifact.provenance import digest, vouch, vouched
from artifact.records import Rollout, stream_parquet, write_parquet
from artifact.report.output_manifest import record_wait, say
from artifact.studies import keys, store
from artifact.studies.annotate import annotate, annotation_key, load_checkpoint, teacher_samples
from artifact.studies.driver_memory import require_memory
from artifact.studies.inputs import (
    build_inputs,
    evaluation_problems,
    metric_of,
    prompts_hash,
    sampler_for,
    start_up,
    tokenizer_of,
)
from artifact.studies.lanes import side_by_side
from artifact.studies.runlog import RunLog
from artifact.studies.study import Cell, Study, load_study
from artifact.studies.untrained import first_point
from artifact.train.inputs import RunInputs, TeacherAnnotations
from artifact.train.loop import train
from artifact.train.methods.base import Method
from artifact.train.rollouts import evaluate


@dataclass(frozen=True)
class RunInfo:
    """A finished run: how it is printed, where it lies, and the id of its cell (outside a study: the method's name).

    made  whether it was made when it was asked for; not so where it was stored, or another process made it
    """

    label: str
    method: str
    teacher: str
    seed: int
    key: str
    folder: Path
    manifest: dict[str, Any]
    cell: str
    made: bool = field(default=False, compare=False)

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with columns that say of which run its rows are: label, cell, teacher, seed, key."""
        return frame.assign(label=self.label, cell=self.cell, teacher=self.teacher, seed=self.seed, key=self.key)

    @property
    def run_info(self) -> dict[str, Any]:
        """What is of this making alone: seconds, peak memory, hardware, commit, date (`store.run_info`)."""
        return store.run_info(self.folder)


def run_key(config: Config, method: Method, inputs: RunInputs) -> str:
    """The key of a run: settings, code it can reach, models, data, environment, and the annotation it reads."""
    used = keys.settings(config)
    used["models"] = {"dtype": config.models.dtype}
    used.pop("teacher")
    used["cluster"].pop("lanes")
    for section in () if method.needs.annotation else ("annotation",):
        used.pop(section)
    weights = {"weights": keys.source_of("weighting")} if method.needs.uncertainty else {}
    return digest(
        {
            **weights,
            "prompts": prompts_hash(config, inputs, config.models.student),
            "settings": used,
            "student": keys.model_hash(config.models.student),
            "teacher": keys.model_hash(config.teacher_path) if method.needs.teacher else None,
            "annotation": annotation_key(config, inputs) if method.needs.annotation else None,
            "data": keys.data_hash([*inputs.train, *inputs.curve, *_final_problems(config)]),
            "source": keys.source_of("runs"),
            "method": keys.method_source(type(method)),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def key_of(config: Config) -> str:
    """The key under which the run of `config` is stored, or will be."""
    return run_key(config, config.make_method(), build_inputs(config))


def _final_problems(config: Config) -> list[Any]:
    return [p for split in config.evaluation.final for p in evaluation_problems(config, split)]


def phase_one(config: Config, method: Method) -> TeacherAnnotations:
    """What `method` reads of the annotation of its teacher, which is made first where it is not there."""
    if not method.needs.annotation:
        return TeacherAnnotations()
    weighting = method.weighting() if method.needs.uncertainty else None
    alike = weighting is not None and weighting.scheme == "similarity"
    metric = metric_of(config.task, build_inputs(config).train) if alike else None
    folder = annotate(config)
    weights: dict[str, float] = {}
    if weighting:
        weights = weights_for(weighting, stream_parquet(store.file(folder, "annotations.parquet"), Annotation), metric)
    samples = teacher_samples(folder, config.annotation.samples) if method.needs.teacher_samples else {}
    return TeacherAnnotations(weights, samples)


def run(
    config: Config,
    force: bool = False,
    label: str | None = None,
    progress: bool = True,
    lane: int = 0,
    cell: str | None = None,
) -> RunInfo:
    """Train and evaluate one run, resume it, or return it from the cache. `lane` picks the actors it may use.

    `label` is how it is printed, `cell` the id it is found and drawn by (default: the method's name).
    """
    method = config.make_method()
    if method.needs.teacher_answers and config.task.calculator:
        raise ConfigError(
            f"method {config.method!r} asks the teacher for answers, which it would write without the calculator: its "
            "own `<<…>>` values would be trained on as chosen tokens; set method_options.fallback = skip or "
            "task.calculator = false"
        )
    inputs = build_inputs(config)
    require_memory(config, inputs.train)
    if method.needs.scorer:
        require_room(config, inputs.vocabulary)
    key = run_key(config, method, inputs)
    label = label or f"{config.method}-{config.teacher}-{config.seed}"
    known = TeacherAnnotations()
    used = {"student": config.models.student} | ({"teacher": config.teacher_path} if method.needs.teacher else {})
    if force or store.read_manifest(store.folder_of("runs", key)) is None:
        for model in used.values():
            check_model(resolve_model(model))  # before hours of sampling for a run that could not begin
        known = phase_one(config, method)
        inputs = _with_weights(config, method, inputs, known)
    with store.result("runs", key, config, force=force) as out:
        made = not out.finished
        if made:
            student, room = config.models.student, _bytes_of_a_run(config)
            with store.actors_of(config, student, lane), told_when_full(out.folder, room):
                out.run_info |= _train_and_evaluate(config, method, inputs, known, out.folder, label, progress, lane)
            out.manifest |= {
                "method": config.method,
                "teacher": config.teacher,
                "seed": config.seed,
                "needs": vars(method.needs),
                "training_problems": len(inputs.train),
                "start_up": start_up(config).to_json(),
                "models": {role: keys.model_identity(model) for role, model in used.items()},
            }
            if recorded := RunLog(out.folder, label, progress=False).recorded_tokens():
                out.manifest["token_records"] = recorded
            if config.train.staleness and method.needs.rollouts:
                out.manifest["policy_versions"] = RunLog(out.folder, label, progress=False).policy_versions()
            if config.losses.mask_truncated_completions:
                out.manifest["masked_truncated"] = RunLog(out.folder, label, progress=False).total("masked_truncated")
    named = cell or config.method
    return RunInfo(label, config.method, config.teacher, config.seed, key, out.folder, out.manifest, named, made)


def _with_weights(config: Config, method: Method, inputs: RunInputs, known: TeacherAnnotations) -> RunInputs:
    """`inputs` without the problems to which phase 1 gave no weight, said where there are any.

    EmptyDataset where none has one.
    """
    if not method.needs.uncertainty:
        return inputs
    kept = tuple(p for p in inputs.train if p.id in known.weights)
    if not kept:
        raise EmptyDataset(
            f"none of the {len(inputs.train)} training problems has an uncertainty weight: all have fewer than "
            f"annotation.min_valid = {config.annotation.min_valid} usable answers; lower it, or use another teacher"
        )
    if len(kept) < len(inputs.train):
        say(
            f"phase 1: {len(inputs.train) - len(kept)} of {len(inputs.train)} training problems have fewer than "
            f"annotation.min_valid = {config.annotation.min_valid} usable answers, hence no weight; method "
            f"{config.method!r} leaves them out, others train on them"
        )
    return replace(inputs, train=kept)


def _bytes_of_a_run(config: Config) -> int:
    """About what a run writes: its weights, and two checkpoints of weights and both moments; 0 for a hub id."""
    weights = Path(resolve_model(config.models.student)).glob("*.safetensors")
    return 7 * sum(file.stat().st_size for file in weights)


def _train_and_evaluate(
    config: Config,
    method: Method,
    inputs: RunInputs,
    known: TeacherAnnotations,
    folder: Path,
    label: str,
    progress: bool,
    lane: int,
) -> dict[str, dict[str, Any]]:
    """The work of a run, with the lane's actors to itself; its `seconds`, `peak_memory_gib` by actor, and `placement`:
    the layout, the way by which weights went into the engines, and the node of each actor where there are several.
    """
    watch = store.Stopwatch()
    actors = open_actors(
        config,
        engines_for=config.models.student,
        student=True,
        teacher=method.needs.scorer,
        reference=method.needs.reference,
        lane=lane,
    )
    sampler = sampler_for(config, actors, config.models.student)
    if method.needs.scorer:
        require_room_in_cluster(config, inputs.vocabulary)
    workers = RayWorkers(config, actors, inputs, sampler.stop_token_ids, self_teacher=method.needs.self_teacher)
    log = RunLog(folder, label, progress, lane)
    inputs = replace(inputs, untrained=partial(first_point, config, inputs))
    train(config.run_settings, method, inputs, workers, sampler, log, known)
    trained, memory = watch(), peak_memory_by_actor(actors, config.cluster.step_timeout_s)
    evaluate_splits(config, inputs, sampler, folder)
    tokenizer_of(config.models.student).save_pretrained(str(log.weights))  # the weights are a whole checkpoint
    log.close()
    way: dict[str, Any] = {"layout": config.cluster.layout, "weight_transfer": workers.transfer}
    if not one_machine():
        way["nodes"] = nodes_of(actors.by_name, config.cluster.step_timeout_s)
    return {"seconds": {"train": trained, "total": watch()}, "peak_memory_gib": memory, "placement": way}


def evaluate_splits(
    config: Config, inputs: RunInputs, sampler: Any, folder: Path, sampled: SampledEvaluation | None = None
) -> None:
    """Measure what the engines hold on every final split: one greedy response a problem, or as `sampled` says.

    A split that is on disk, whole, is not measured again.
    """
    name, limit, decoding = "greedy", None, {}
    if sampled is not None:
        decoding = sampled.model_dump()
        name, limit = f"avg{sampled.k}", decoding.pop("limit")
    for split in config.evaluation.final:
        path = folder / "evaluation" / f"{split}.{name}.parquet"
        if not vouched(path):
            problems = evaluation_problems(config, split)[:limit]
            groups = evaluate(
                sampler,
                problems,
                inputs.prompts(problems),
                inputs.verify,
                max_new_tokens=config.evaluation.max_new_tokens,
                seed=config.seed,
                **decoding,
            )
            write_parquet(path, (r for g in groups for r in g), Rollout)
            vouch(path)


def checkpoint_key(config: Config, model: str, sampled: SampledEvaluation | None = None) -> str:
    """The key under which `model`, measured on the final splits, is stored, or will be."""
    inputs = build_inputs(config)  # the student's tokenizer makes the prompts
    return digest(
        {
            **_decoding(config, sampled),
            "prompts": prompts_hash(config, inputs, model),
            "checkpoint": keys.model_hash(model),
            "evaluation": keys.settings(config, "evaluation", "task"),
            "engine": config.measuring(model).cluster.engine.model_dump(),
            "dtype": config.models.dtype,
            "data": keys.data_hash(_final_problems(config)),
            "source": keys.source_of("checkpoints"),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def _decoding(config: Config, sampled: SampledEvaluation | None) -> dict[str, Any]:
    return {} if sampled is None else {"sampled": sampled.model_dump(), "seed": config.seed}


def evaluate_checkpoint(
    config: Config,
    model: str,
    label: str,
    cell: str,
    force: bool = False,
    sampled: SampledEvaluation | None = None,
    lane: int = 0,
) -> RunInfo:
    """Measure a checkpoint on the final splits, greedy or as `sampled` says, cached; `lane` picks its engines."""
    inputs, report = build_inputs(config), start_up(config, model)
    served, decoding, key = config.measuring(model), _decoding(config, sampled), checkpoint_key(config, model, sampled)
    with store.result("checkpoints", key, config, force=force) as out:
        if not out.finished:
            with store.actors_of(served, model, lane):
                proven = served.cluster.engine.prove_weights
                actors: Actors = open_actors(served, engines_for=model, reference=proven, lane=lane)
                gap = load_checkpoint(served, actors, model, inputs)
                evaluate_splits(config, inputs, sampler_for(served, actors, model), out.folder, sampled)
            identity = {"checkpoint": keys.model_identity(model)}
            out.manifest |= {"model": model, "models": identity, "load_max_logprob_diff": gap, **decoding}
            out.manifest["start_up"] = report.to_json()
    return RunInfo(label, "none", config.teacher, 0, key, out.folder, out.manifest, cell)


def baselines(config: Config) -> list[RunInfo]:
    """The untouched student ("Base") and the teacher ("Teacher"), greedy on the final splits."""
    return [evaluate_checkpoint(config, model, label, cell) for cell, label, model in reference_rows(config)]


def reference_rows(config: Config) -> list[tuple[str, str, str]]:
    """Cell, label and model of the rows that no run makes."""
    return [("base", "Base", config.models.student), ("teacher", "Teacher", config.teacher_path)]


def run_study(
    study: Study | str, tier: str, overrides: dict[str, Any] | None = None, force: bool = False, progress: bool = True
) -> list[RunInfo]:
    """Every run of a study on `tier`, `cluster.lanes` at a time; finished ones come from the cache."""
    chosen = load_study(study) if isinstance(study, str) else study
    todo, watch = list(enumerate(chosen.runs(tier, overrides), 1)), store.Stopwatch()

    def work(job: tuple[int, tuple[Cell, Config]], lane: int) -> RunInfo:
        i, (cell, config) = job
        return run_told((i, len(todo)), cell, config, lane=lane, force=force, progress=progress)

    lanes = todo[0][1][1].cluster.lanes if todo else 1
    if lanes > 1:
        # Once, before several threads ask for it; and libraries that import lazily do so in one thread.
        connect(todo[0][1][1].cluster)
        build_inputs(todo[0][1][1])
    runs = side_by_side(todo, lanes, work)
    record_wait(watch())
    return runs


def run_told(
    number: tuple[int, int], cell: Cell, config: Config, *, lane: int, force: bool = False, progress: bool = True
) -> RunInfo:
    """The run of a cell, the first `number` of the second; a line says so where it was made."""
    watch = store.Stopwatch()
    info = run(config, force=force, label=cell.label, progress=progress, lane=lane, cell=cell.id)
    if progress and info.made:
        say(
            f"[{number[0]}/{number[1]}] {cell.label}, teacher {config.teacher}, seed {config.seed}: {watch():.0f} s, "
            f"run {info.key}"
        )
    return info


def rollouts_of(info: RunInfo) -> Iterator[Rollout]:
    """Every training rollout of a run, in step order, read as they are asked for."""
    paths = store.files(info.folder, "rollouts/*.parquet")
    return (r for path in paths for r in stream_parquet(path, Rollout))

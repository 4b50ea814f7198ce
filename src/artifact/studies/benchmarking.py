"""Any local model on any known benchmark: sampled, verified, stored, resumed, never computed twice.

One result a (model, benchmark, protocol): `results/evaluations/<key>/` with every response and verdict as Parquet, the
problems, and a manifest. Sampling goes on in shards, so a killed evaluation goes on where it was. Everything that can
be wrong is checked before an engine starts (`benchmark_jobs.py`).

Left out: what is made of the stored responses (`benchmark_results.py`), and the Base and Teacher rows of studies, which
are prompted by the student's tokenizer (`runner.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from artifact.actors.release import release_actors
from artifact.actors.session import open_actors
from artifact.config import Config, load
from artifact.evaluate.protocol import Protocol
from artifact.paths import resolve_model
from artifact.phase1 import stream
from artifact.provenance import digest
from artifact.records import Problem, Rollout, write_parquet
from artifact.studies import keys, store
from artifact.studies.annotate import load_checkpoint
from artifact.studies.benchmark_jobs import (
    Job,
    Prompt,
    fit_engine,
    locate_model,
    named,
    prepare,
    protocols_for,
    start_up_checks,
)
from artifact.studies.benchmark_targets import targets
from artifact.studies.inputs import judged_by, sampler_for, stop_token_ids
from artifact.studies.runner import RunInfo
from artifact.tasks.plain_prompt import FirstAnswer
from artifact.train.rollouts import evaluate

KIND = "evaluations"


def evaluate_model(
    model: str,
    benchmarks: Sequence[str] | None = None,
    *,
    tier: str = "tiny",
    split: str | None = None,
    protocols: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    template: str | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    prompt: Prompt = "chat",
    temperature: float | None = None,
    top_p: float | None = None,
    overrides: dict[str, Any] | None = None,
    force: bool = False,
    progress: bool = True,
) -> list[RunInfo]:
    """Measure `model` (folder, run folder, or hub id) on `benchmarks`; one stored result per benchmark and protocol.

    benchmarks   names (`targets`); default: the final splits of the tier
    protocols    greedy, avgN; default: those of the tier. avgN samples at `temperature` and `top_p`, else those of
                 the tier (`evaluation.sampled`), else the papers' T = 1.2, top-p 0.95
    limit        only the first so many problems; default: all, or what the tier says of its own evaluation
    max_new_tokens   budget of a response; default: the tier's, at least 512 on a benchmark that is not its own
    prompt       `chat` by the model's chat template, `plain` without it, for base models

    Raises FileNotFoundError, ArtifactError, DataAbsent, Mismatch … before anything is sampled.
    """
    base = load(tier, overrides or {})
    place, chosen = locate_model(model), protocols_for(base, protocols, temperature, top_p)
    jobs = [
        prepare(
            base,
            overrides or {},
            t,
            place,
            data_dir=data_dir,
            template=template,
            limit=limit,
            max_new_tokens=max_new_tokens,
            prompt=prompt,
        )
        for t in targets(base, benchmarks, split)
    ]
    given = [name.removeprefix("cluster.engine.") for name in overrides or {}]
    jobs = fit_engine([replace(job, config=job.config.measuring(job.model)) for job in jobs], fixed=given)
    for job in jobs:
        start_up_checks(job)
    found = []
    todo = [(job, protocol) for job in jobs for protocol in chosen]
    try:
        for i, (job, protocol) in enumerate(todo, 1):
            watch = store.Stopwatch()
            key = evaluation_key(job, protocol)
            stored = not force and store.read_manifest(store.folder_of(KIND, key)) is not None
            info = measure(job, protocol, key, force)
            found.append(info)
            if progress:
                took = "stored" if stored else f"{watch():.0f} s"
                print(
                    f"[{i}/{len(todo)}] {job.target.benchmark}, {job.target.split}, {protocol.name}: "
                    f"{len(job.problems)} problems, {took}, {info.folder}",
                    flush=True,
                )
    finally:
        _release_actors(jobs[0], base)
    return found


def evaluation_key(job: Job, protocol: Protocol) -> str:
    """The key of a result: model, prompts, problems, decoding, machine settings, code and environment."""
    config, engine = job.config, job.config.cluster.engine.model_dump()
    for grown in ("max_model_len", "max_num_batched_tokens"):
        engine.pop(grown)
    plain = {"plain": keys.source_of("plain prompt")} if job.prompt == "plain" else {}
    return digest(
        {
            **plain,
            "checkpoint": keys.model_hash(job.model),
            "prompts": [job.prompts[p.id] for p in job.problems],
            "stops": stop_token_ids(job.model),
            "data": keys.data_hash(job.problems),
            "protocol": asdict(protocol),
            "max_new_tokens": config.evaluation.max_new_tokens,
            "rules": judged_by(config.task),
            "calculator": config.task.calculator,
            "seed": None if protocol.greedy else config.seed,
            "engine": engine,
            "lanes": config.cluster.lanes,
            "dtype": config.models.dtype,
            "source": keys.source_of(KIND),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def measure(job: Job, protocol: Protocol, key: str, force: bool = False) -> RunInfo:
    """Sample and verify `job` by `protocol`, resume it, or return what is stored under `key` (`evaluation_key`)."""
    config, inputs = job.config, job.inputs
    with store.result(KIND, key, config, force=force) as out:
        if not out.finished:
            folder = out.folder
            write_parquet(folder / "problems.parquet", job.problems, Problem)
            served = _with_known_student(config, job.model)
            with store.actors_of(served, job.model):
                proven = config.cluster.engine.prove_weights
                actors = open_actors(served, engines_for=job.model, reference=proven)
                gap = load_checkpoint(config, actors, job.model, inputs)
                sampler: Any = sampler_for(config, actors, job.model)
                if job.prompt == "plain":
                    sampler = FirstAnswer(sampler)

                def ask(problems: Sequence[Problem]) -> list[tuple[Rollout, ...]]:
                    return evaluate(
                        sampler,
                        problems,
                        inputs.prompts(problems),
                        inputs.verify,
                        k=protocol.samples,
                        temperature=protocol.temperature,
                        top_p=protocol.top_p,
                        max_new_tokens=config.evaluation.max_new_tokens,
                        seed=config.seed,
                    )

                batch = 2 * config.cluster.engine.max_num_seqs * len(actors.engines) // protocol.samples
                counts = stream.draw(
                    job.problems,
                    ask,
                    out.scratch("shards"),
                    batch=max(1, batch),
                    what=f"{job.target.benchmark} {protocol.name}",
                )
            target = folder / "evaluation" / f"{job.target.split}.{protocol.name}.parquet"
            stream.join_shards(out.scratch("shards"), target, Rollout)
            out.run_info["seconds"]["sampling"] = counts.pop("seconds")
            out.manifest |= {
                "model": named(job.model),
                "checkpoint": job.model,
                "models": {"checkpoint": keys.model_identity(job.model)},
                "benchmark": job.target.benchmark,
                "split": job.target.split,
                "protocol": asdict(protocol),
                "prompt": job.prompt,
                "origin": dict(job.origin),
                "account": counts,
                "load_max_logprob_diff": gap,
                "start_up": [str(f) for f in start_up_checks(job)],
            }
    name = named(job.model)
    return RunInfo(name, "none", config.teacher, config.seed, key, out.folder, out.manifest, name)


def _with_known_student(config: Config, model: str) -> Config:
    """The settings under which engines are named: by the tier's student, or by `model` where that is not fetched."""
    try:
        resolve_model(config.models.student)
    except FileNotFoundError:
        return config.model_copy(update={"models": config.models.model_copy(update={"student": model})})
    return config


def _release_actors(job: Job, base: Config) -> None:
    """What the jobs asked the cluster for and nobody else needs, where a cluster runs."""
    import ray

    if ray.is_initialized():
        with store.actors_of(_with_known_student(job.config, job.model), job.model):
            release_actors(job.config, job.model, base)

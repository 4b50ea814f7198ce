"""Phase 1 of UOPD, stored: teacher samples, clusters and weights for a training set (Algorithm 1, lines 2–7).

Prompts are sampled in batches, one Parquet shard each; a killed annotation goes on with the next batch. The samples are
the expensive part: their key holds the teacher, the sampling settings and the problems, and clustering is redone from
them when only the judge or the normaliser changes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifact.cluster.session import Workers, call, open_workers, release_samplers
from artifact.config import Config
from artifact.errors import StaleEngine
from artifact.evaluate.evaluate import evaluate, verify_groups
from artifact.paths import resolve_model
from artifact.records import Problem, Rollout, read_parquet, write_parquet
from artifact.report.provenance import git_state
from artifact.studies import keys, store
from artifact.studies.world import build_world, sampler_for
from artifact.train import World, probe_sequences
from artifact.uncertainty.annotate import annotate_all
from artifact.uncertainty.judge import ExactJudge, SymbolicJudge
from artifact.uncertainty.records import Annotation

SAMPLING = (
    "artifact.cluster.rollout_engine",
    "artifact.cluster.sampler",
    "artifact.tasks.verifier",
    "artifact.tasks.verifier_worker",
    "artifact.evaluate.evaluate",
)
CLUSTERING = ("artifact.uncertainty.annotate", "artifact.tasks.equivalence")


def annotation_key(config: Config, world: World) -> str:
    """The key of an annotation: teacher, settings, problems, code and environment."""
    return keys.digest(
        {
            "annotation": settings_of(config), "teacher": keys.model_hash(config.teacher_path),
            "data": keys.data_hash(world.train),
            "source": keys.source_hash([*SAMPLING, *CLUSTERING]), "lock": keys.environment_hash(config.cluster.device),
        }
    )  # fmt: skip


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide an annotation, apart from teacher and problems."""
    return keys.settings(config, "annotation", "task") | {
        "engine": config.cluster.engine.model_dump(),
        "dtype": config.models.dtype,
    }


def annotate(config: Config, force: bool = False) -> Path:
    """Annotate the training problems with the uncertainty of `config.teacher`; returns the folder, at once if there.

    The folder holds `annotations.parquet`, `samples.parquet` (N a prompt), `greedy.parquet` and `manifest.json`.
    """
    world = build_world(config)
    key = annotation_key(config, world)
    with store.working_folder("annotations", key, force) as folder:
        if folder is None:
            return store.folder_of("annotations", key)
        watch = store.Stopwatch()
        workers = open_workers(config, engines_for=config.teacher_path, reference=True)
        gap = load_checkpoint(config, workers, config.teacher_path, world)
        sampling = sample_shards(config, world, workers, folder)
        samples = [r for path in sorted((folder / "samples").glob("*.parquet")) for r in read_parquet(path, Rollout)]
        write_parquet(folder / "samples.parquet", samples, Rollout)
        sampler = sampler_for(config, workers, config.teacher_path)
        greedy = evaluate(
            sampler,
            world.train,
            world.prompts(world.train),
            world.verify,
            max_new_tokens=config.annotation.max_new_tokens,
        )
        write_parquet(folder / "greedy.parquet", (r for g in greedy for r in g), Rollout)
        clustering = store.Stopwatch()
        annotations, dropped = cluster(config, world.train, samples)
        write_parquet(folder / "annotations.parquet", annotations, Annotation)
        release_samplers(config)
        manifest = {
            "kind": "annotation", "tier": config.tier, "teacher": config.teacher, "model": config.teacher_path,
            "settings": settings_of(config),
            "problems": len(world.train), "dropped": dropped, "tokens": sum(len(r.response_ids) for r in samples),
            "judge_calls": sum(len(a.judgements) for a in annotations), "load_gap": gap,
            "seconds": {"sampling": sampling, "clustering": clustering(), "total": watch()},
            "git": git_state(), "hardware": store.hardware(), "versions": store.versions(),
        }  # fmt: skip
        return store.finish("annotations", key, manifest)


def load_checkpoint(config: Config, workers: Workers, model: str, world: World) -> float:
    """Give all engines the weights of `model` and prove that they arrived; returns the largest |Δ log-prob| in nats.

    Raises StaleEngine when engine and transformers disagree about the checkpoint.
    """
    path, limit = resolve_model(model), config.cluster.step_timeout_s
    call([e.load_checkpoint.remote(path) for e in workers.engines], limit, f"loading {model} into the engines")
    probe = probe_sequences(world)
    expected, *engines = call(
        [workers.reference.logprobs.remote(path, probe), *(e.score.remote(probe) for e in workers.engines)],
        limit,
        "the checkpoint proof",
    )
    gap = max(float(np.abs(a - b).max()) for engine in engines for a, b in zip(expected, engine, strict=True))
    if not gap <= config.cluster.sync_tolerance:
        raise StaleEngine(
            f"an engine given {model} differs from transformers by {gap:.2e} nats "
            f"(allowed: {config.cluster.sync_tolerance:g})"
        )
    return gap


def sample_shards(config: Config, world: World, workers: Workers, folder: Path) -> float:
    """Sample N verified responses a prompt, a shard a batch; returns this call's seconds. Finished shards stay."""
    from tqdm import tqdm

    a = config.annotation
    sampler = sampler_for(config, workers, config.teacher_path)
    watch = store.Stopwatch()
    starts = range(0, len(world.train), a.batch_prompts)
    bar = tqdm(
        total=len(world.train),
        desc=f"annotate {config.teacher}",
        unit="prompt",
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    for start in starts:
        problems = world.train[start : start + a.batch_prompts]
        path = folder / "samples" / f"{start:08d}.parquet"
        if not path.exists():
            groups = sampler.sample(
                world.prompts(problems), a.samples, temperature=a.temperature, top_p=a.top_p,
                max_new_tokens=a.max_new_tokens, seed=("annotate", a.seed),
            )  # fmt: skip
            write_parquet(path, (r for g in verify_groups(problems, groups, world.verify) for r in g), Rollout)
        bar.update(len(problems))
    bar.close()
    return watch()


def cluster(
    config: Config, problems: Sequence[Problem], samples: Sequence[Rollout]
) -> tuple[list[Annotation], dict[str, str]]:
    """Cluster stored samples and compute entropies; (annotations, dropped problems with the reason)."""
    a = config.annotation
    judge = ExactJudge() if a.clustering == "exact" else SymbolicJudge()
    return annotate_all(problems, samples, judge, normaliser=a.normaliser, min_valid=a.min_valid)

"""Held-out distance to the teacher before and after training, and what a tier's runs cost: stored like evaluations.

One result a checkpoint, under a key of its own: the policy's rollouts on the first held-out problems, and the exact
distances (`evaluate/held_out.py`) of two sets of sequences. `base` are the untouched student's rollouts, the same ids
for every checkpoint, so that before and after are paired; `own` are the policy's, where the teacher would be asked
while it trains. For the untouched student they are one set. Killed between sampling and scoring, it goes on from what
was sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact.cluster.distance import distances, peak_memory
from artifact.cluster.sampler import Sampler
from artifact.cluster.session import Workers, call, open_workers
from artifact.config import Config
from artifact.evaluate.evaluate import verify_groups
from artifact.evaluate.held_out import Distance
from artifact.paths import resolve_model
from artifact.phases import World
from artifact.records import Problem, Rollout, read_parquet, write_parquet
from artifact.report.provenance import git_state
from artifact.studies import keys, store
from artifact.studies.annotate import load_checkpoint
from artifact.studies.runner import CODE, RunInfo
from artifact.studies.world import build_world, problems_of, prompts_hash, sampler_for, tokenizer_of

if TYPE_CHECKING:
    import pandas as pd

BASE = "Base"
"""Label of the untouched student."""


def held_out_problems(config: Config, problems: int) -> tuple[Problem, ...]:
    """The first `problems` problems of the first final split; disjoint from training, as evaluation is."""
    return problems_of(config.task, config.evaluation.final[0], problems)


def distance_key(config: Config, world: World, model: str, problems: int, samples: int) -> str:
    """The key of a checkpoint's held-out distance: both models, problems, sampling, code, environment."""
    s = config.sampling
    return keys.digest(
        {
            "checkpoint": keys.model_hash(model), "teacher": keys.model_hash(config.teacher_path),
            "student": keys.model_hash(config.models.student), "prompts": prompts_hash(config, world, model),
            "data": keys.data_hash(held_out_problems(config, problems)),
            "sampling": [samples, s.temperature, s.top_p, s.max_new_tokens, config.seed],
            "top_k": config.losses.distil.top_k, "engine": config.cluster.engine.model_dump(),
            "dtype": config.models.dtype,
            "source": keys.source_hash(["artifact.cluster.distance", "artifact.cluster.sampler", *CODE[4:]]),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )  # fmt: skip


def held_out_distance(
    config: Config, model: str | None = None, label: str = BASE, *, problems: int = 32, samples: int = 1,
    force: bool = False,
) -> RunInfo:  # fmt: skip
    """Measure checkpoint `model` (None: the untouched student) against the teacher of `config`, cached.

    problems, samples  size of the held-out set and rollouts a problem, at the temperature of training

    The result holds `rollouts.parquet` (the policy's own) and `distances.parquet` (`Distance` rows); its manifest also
    the peak memory of every actor that was up.
    """
    world = build_world(config)
    base = None if model is None else held_out_distance(config, problems=problems, samples=samples)
    model = model or config.models.student
    key = distance_key(config, world, model, problems, samples)
    with store.working_folder("distances", key, force) as folder:
        if folder is not None:
            watch = store.Stopwatch()
            with store.actors_of(0):
                workers = open_workers(
                    config, engines_for=config.models.student, student=True, teacher=True, reference=True
                )
                own = _own_rollouts(config, world, workers, model, problems, samples, folder / "rollouts.parquet")
                sampled = watch()
                sets = {"base": own} if base is None else {"base": rollouts_of_distance(base), "own": own}
                rows = [d for name, rollouts in sets.items() for d in _score(config, workers, model, name, rollouts)]
                memory = _memory(config, workers)
            write_parquet(folder / "distances.parquet", rows, Distance)
            manifest: dict[str, Any] = {
                "kind": "distance", "tier": config.tier, "model": model, "label": label,
                "problems": problems, "samples": samples,
                "seconds": {"sampling": sampled, "scoring": round(watch() - sampled, 2), "total": watch()},
                "response_tokens": sum(len(r.response_ids) for r in own),
                "scored_tokens": sum(d.tokens for d in rows), "peak_memory_gib": memory,
                "config": config.model_dump(mode="json"),
                "git": git_state(), "hardware": store.hardware(), "versions": store.versions(),
            }  # fmt: skip
            store.finish("distances", key, manifest)
    folder = store.folder_of("distances", key)
    return RunInfo(label, "none", config.teacher, config.seed, key, folder, store.finished(folder))


def _own_rollouts(
    config: Config, world: World, workers: Workers, model: str, problems: int, samples: int, path: Path
) -> list[Rollout]:
    """The policy's verified rollouts on the held-out problems, from `path` where an earlier attempt left them."""
    if not path.exists():
        load_checkpoint(config, workers, model, world)
        if model != config.models.student:
            workers.reference.release.remote(resolve_model(model))
        sampler: Sampler = sampler_for(config, workers, config.models.student)
        asked, s = held_out_problems(config, problems), config.sampling
        groups = sampler.sample(
            world.prompts(asked), samples, temperature=s.temperature, top_p=s.top_p, max_new_tokens=s.max_new_tokens,
            seed=("held out", config.seed),
        )  # fmt: skip
        write_parquet(path, (r for g in verify_groups(asked, groups, world.verify) for r in g), Rollout)
    return read_parquet(path, Rollout)


def _score(config: Config, workers: Workers, model: str, name: str, rollouts: list[Rollout]) -> list[Distance]:
    """The distances of one set of sequences, from the actor that holds the teacher."""
    scored = call(
        workers.teacher.__ray_call__.remote(
            distances, resolve_model(config.teacher_path), resolve_model(model),
            [(r.prompt_ids, r.response_ids) for r in rollouts], top_k=config.losses.distil.top_k,
            vocabulary=len(tokenizer_of(config.models.student)), max_tokens=config.optimiser.micro_batch_tokens,
        ),
        config.cluster.step_timeout_s,
        "held-out distances",
    )  # fmt: skip
    return [
        Distance(name, r.problem_id, r.sample, len(r.response_ids), **d) for r, d in zip(rollouts, scored, strict=True)
    ]


def _memory(config: Config, workers: Workers) -> dict[str, float]:
    """Peak resident memory by actor in GiB, since each started: with training before it, training included."""
    actors = {f"engine-{i}": e for i, e in enumerate(workers.engines)}
    actors |= {f"student-{i}": s for i, s in enumerate(workers.students)}
    actors |= {"teacher": workers.teacher, "reference": workers.reference}
    peaks = call(
        [a.__ray_call__.remote(peak_memory) for a in actors.values()], config.cluster.step_timeout_s, "peak memory"
    )
    return {name: round(gib, 2) for name, gib in zip(actors, peaks, strict=True)}


def rollouts_of_distance(info: RunInfo) -> list[Rollout]:
    """The policy's own held-out rollouts of a finished measurement."""
    return read_parquet(info.folder / "rollouts.parquet", Rollout)


def study_distances(runs: Iterable[RunInfo], *, problems: int = 32, samples: int = 1) -> list[RunInfo]:
    """`held_out_distance` of the untouched student and of every run of a study, each with the run's own settings."""
    out: dict[str, RunInfo] = {}
    for info in runs:
        config = Config.model_validate(info.manifest["config"])
        base = held_out_distance(config, problems=problems, samples=samples)
        after = held_out_distance(config, str(info.folder / "weights"), info.label, problems=problems, samples=samples)
        out |= {base.key: base, after.key: after}
    return list(out.values())


def distance_frame(measured: Iterable[RunInfo]) -> pd.DataFrame:
    """One row a scored response: label, key and the columns of `Distance`."""
    import pandas as pd

    parts = []
    for info in measured:
        rows = [d.to_row() for d in read_parquet(info.folder / "distances.parquet", Distance)]
        parts.append(pd.DataFrame(rows).assign(label=info.label, key=info.key))
    return pd.concat(parts, ignore_index=True)

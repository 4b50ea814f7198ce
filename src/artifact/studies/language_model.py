"""Held-out distance to the teacher before and after training, and what a tier's runs cost: stored like evaluations.

One result per checkpoint, under a key of its own: the policy's rollouts on the first held-out problems, and the exact
distances (`stats/held_out.py`) of two sets of sequences. `base` are the untouched student's rollouts, the same ids for
every checkpoint, so that before and after are paired; `own` are the policy's, where the teacher would be asked while it
trains. For the untouched student they are one set.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from artifact.actors.calls import call
from artifact.actors.distance import distances
from artifact.actors.session import Actors, open_actors
from artifact.config import Config
from artifact.errors import Mismatch
from artifact.paths import resolve_model
from artifact.phase1.stream import seconds_of, write_timed
from artifact.provenance import digest, vouched
from artifact.records import Problem, Rollout, read_parquet, write_parquet
from artifact.report.tables import BASE
from artifact.stats.held_out import Distance
from artifact.studies import keys, store
from artifact.studies.annotate import load_checkpoint
from artifact.studies.inputs import (
    build_inputs,
    problems_of,
    prompts_hash,
    rules_of,
    sampler_for,
    start_up,
    that_fit,
    tokenizer_of,
)
from artifact.studies.runner import RunInfo
from artifact.studies.start_up import Reading
from artifact.train.inputs import RunInputs
from artifact.train.rollouts import verify_groups


def held_out_problems(config: Config, problems: int | None) -> tuple[Problem, ...]:
    """The first `problems` (None: all) problems of the first final split; apart from training, as evaluation is.

    Those that do not fit with the budget of training are left out (`start_up.py`).
    """
    budget = config.sampling.max_new_tokens
    return that_fit(config, Reading(config.evaluation.final[0], problems, budget, "sampling.max_new_tokens"))


def distance_key(config: Config, inputs: RunInputs, model: str, problems: int, samples: int) -> str:
    """The key of a checkpoint's held-out distance: both models, problems, sampling, code, environment."""
    s = config.sampling
    return digest(
        {
            "checkpoint": keys.model_hash(model),
            "teacher": keys.model_hash(config.teacher_path),
            "student": keys.model_hash(config.models.student),
            "prompts": prompts_hash(config, inputs, model),
            "data": keys.data_hash(held_out_problems(config, problems)),
            "sampling": [samples, s.temperature, s.top_p, s.max_new_tokens, config.seed],
            "top_k": config.losses.distil.top_k,
            "engine": config.cluster.engine.model_dump(),
            "dtype": config.models.dtype,
            "task": [rules_of(config.task), config.task.calculator],
            "source": keys.source_of("distances"),
            "lock": keys.environment_hash(config.cluster.device),
        }
    )


def held_out_distance(
    config: Config,
    model: str | None = None,
    label: str = "Base",
    cell: str = BASE,
    *,
    problems: int = 32,
    samples: int = 1,
    force: bool = False,
) -> RunInfo:
    """Measure checkpoint `model` (None: the untouched student) against the teacher of `config`, cached.

    problems, samples  size of the held-out set and rollouts per problem, at the temperature of training
    """
    inputs = build_inputs(config)
    base = None if model is None else held_out_distance(config, problems=problems, samples=samples)
    model = model or config.models.student
    key = distance_key(config, inputs, model, problems, samples)
    with store.result("distances", key, config, force=force) as out:
        if not out.finished:
            with store.actors_of(config, config.models.student):
                actors = open_actors(config, engines_for=config.models.student, teacher=True, reference=True)
                own, sampled = own_rollouts(config, inputs, actors, model, problems, samples, out.folder)
                scoring = store.Stopwatch()
                sets = {"base": own} if base is None else {"base": rollouts_of_distance(base), "own": own}
                rows = [d for name, rollouts in sets.items() for d in _score(config, actors, model, name, rollouts)]
                scored = scoring()
            write_parquet(out.folder / "distances.parquet", rows, Distance)
            out.run_info["seconds"] |= {"sampling": sampled, "scoring": scored}
            out.manifest |= {
                "model": model,
                "models": {
                    "checkpoint": keys.model_identity(model),
                    "teacher": keys.model_identity(config.teacher_path),
                },
                "label": label,
                "problems": problems,
                "samples": samples,
                "response_tokens": sum(len(r.response_ids) for r in own),
                "scored_tokens": sum(d.tokens for d in rows),
                "start_up": start_up(config).to_json(),
            }
    return RunInfo(label, "none", config.teacher, config.seed, key, out.folder, out.manifest, cell)


def own_rollouts(
    config: Config, inputs: RunInputs, actors: Actors, model: str, problems: int, samples: int, folder: Path
) -> tuple[list[Rollout], float]:
    """The policy's verified rollouts on the held-out problems, and the seconds their sampling took.

    Read from `folder` where an earlier attempt left them.
    """
    path = folder / "rollouts.parquet"
    if not path.exists() or vouched(path) is False:
        load_checkpoint(config, actors, model, inputs)
        if model != config.models.student:
            release = actors.reference.release.remote(resolve_model(model))
            call(release, config.cluster.step_timeout_s, f"releasing {model}")
        sampler = sampler_for(config, actors, config.models.student)
        asked, s, watch = held_out_problems(config, problems), config.sampling, store.Stopwatch()
        groups = sampler.sample(
            inputs.prompts(asked),
            samples,
            temperature=s.temperature,
            top_p=s.top_p,
            max_new_tokens=s.max_new_tokens,
            seed=("held out", config.seed),
        )
        seconds = watch()
        write_timed(path, (r for g in verify_groups(asked, groups, inputs.verify) for r in g), Rollout, seconds)
    return read_parquet(path, Rollout), seconds_of(path)


def _score(config: Config, actors: Actors, model: str, name: str, rollouts: list[Rollout]) -> list[Distance]:
    """The distances of one set of sequences, from the actor that holds the teacher; a tool's tokens do not count."""
    scored = call(
        actors.teacher.__ray_call__.remote(
            distances,
            resolve_model(config.teacher_path),
            resolve_model(model),
            [(r.prompt_ids, r.response_ids) for r in rollouts],
            top_k=config.losses.distil.top_k,
            vocabulary=len(tokenizer_of(config.models.student)),
            masks=[r.response_mask for r in rollouts],
            max_tokens=config.optimiser.micro_batch_tokens,
        ),
        config.cluster.step_timeout_s,
        "held-out distances",
    )
    return [
        Distance(name, r.problem_id, r.sample, (r.response_mask or (True,) * len(r.response_ids)).count(True), **d)
        for r, d in zip(rollouts, scored, strict=True)
    ]


def rollouts_of_distance(info: RunInfo) -> list[Rollout]:
    """The policy's own held-out rollouts of a finished measurement."""
    return read_parquet(store.file(info.folder, "rollouts.parquet"), Rollout)


def same_openings(config: Config, problems: int | None = None) -> int:
    """How many held-out problems open with the first sentence of a training problem (SVAMP varies its stories).

    problems  size of the held-out set; None = `evaluation.limit`
    Raises Mismatch for a held-out problem that is trained on: the whole question, word for word.
    """
    train = problems_of(config.task, config.task.train_split, config.task.train_limit)
    held = held_out_problems(config, problems or config.evaluation.limit)
    shared = {p.question for p in train} & {p.question for p in held}
    if shared:
        raise Mismatch(
            f"{len(shared)} question(s) of {config.evaluation.final[0]!r} are also in {config.task.train_split!r}, "
            f"first {min(shared)!r}: choose task.train_split and evaluation.final apart"
        )
    openings = {p.question.partition(".")[0] for p in train}
    return sum(p.question.partition(".")[0] in openings for p in held)


def run_of(runs: Iterable[RunInfo], cell: str) -> RunInfo:
    """The run of `cell` (its id), the first where teachers or seeds make several. Mismatch when there is none."""
    known: dict[str, RunInfo] = {}
    for info in runs:
        known.setdefault(info.cell, info)
    if cell not in known:
        raise Mismatch(f"no run is of the cell {cell!r}; the cells are {', '.join(known)}")
    return known[cell]


def study_distances(runs: Iterable[RunInfo], *, problems: int = 32) -> list[RunInfo]:
    """`held_out_distance` of the untouched student and of every run of a study, each with the run's own settings."""
    out: dict[str, RunInfo] = {}
    for info in runs:
        config = Config.model_validate(info.manifest["config"])
        base = held_out_distance(config, problems=problems)
        after = held_out_distance(config, str(info.folder / "weights"), info.label, info.cell, problems=problems)
        out |= {base.key: base, after.key: after}
    return list(out.values())


def distance_frame(measured: Iterable[RunInfo]) -> pd.DataFrame:
    """One row per scored response: label, cell, teacher, seed, key and the columns of `Distance`."""
    parts = []
    for info in measured:
        rows = [d.to_row() for d in read_parquet(store.file(info.folder, "distances.parquet"), Distance)]
        parts.append(info.named(pd.DataFrame(rows)))
    return pd.concat(parts, ignore_index=True)

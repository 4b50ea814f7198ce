"""What studies would run, before they are run: stages, runs, rollouts, tokens, what they take and what they leave.

Tokens are an upper bound: rollouts × `max_new_tokens`, as if no response ended early, and so are seconds (`pricing.py`)
and bytes. Problem counts come from the task, or from what is known of a benchmark that is not on this machine; where
neither says anything, only what does not depend on it is counted. No network is asked. Left out: how a plan is printed
(`plan_page.py`), GiB of devices (`memory_model.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from artifact.config import Config, ConfigError, load
from artifact.errors import ArtifactError
from artifact.provenance import digest
from artifact.studies.annotate import sampling_settings
from artifact.studies.memory_model import bytes_of
from artifact.studies.model_shape import shape_of_model
from artifact.studies.offline import problem_count
from artifact.studies.pricing import Price, sampling_price, step_price
from artifact.studies.references import second_annotations
from artifact.studies.runlog import KEPT
from artifact.studies.runner import reference_rows
from artifact.studies.study import Cell, Study, load_study, studies_made_on
from artifact.studies.suremath import builder_of, generator_of, unbuilt
from artifact.studies.training_queue import union

GB = 1e9
TOKEN_BYTES = 12
"""Bytes that a stored response token takes at most: id, log-probability, and its text."""
STAGES = ("evolve", "label", "entropies", "annotate", "train", "curve", "evaluate", "sample", "reference")
"""Names of stages, in the order of a plan: the first three build SURE-Math, the last measures what nobody trains."""


@dataclass(frozen=True)
class Stage:
    """One row: what, how often, how much is sampled by whom, what it takes at most. None = not known here.

    tokens  upper bound of what is sampled over all repetitions
    step    what one optimiser step takes, of a stage that trains
    """

    name: str
    what: str
    times: int
    rollouts: int | None
    tokens: int | None
    price: Price
    step: Price | None = None

    @classmethod
    def of(
        cls,
        name: str,
        what: str,
        times: int,
        rollouts: int | None,
        longest: int,
        price: Price,
        step: Price | None = None,
    ) -> Stage:
        """A stage that samples `rollouts` responses, each of at most `longest` tokens."""
        return cls(name, what, times, rollouts, None if rollouts is None else rollouts * longest, price, step)


def studies_of(output: str, tier: str) -> list[str]:
    """The studies that feed `output` (`C-T1`) on `tier`; ConfigError lists the outputs when none does."""
    studies = {name: load_study(name) for name in studies_made_on(tier)}
    feeds = {name: study.outputs for name, study in studies.items()}
    if found := [name for name, outputs in feeds.items() if output in outputs]:
        return found
    known = sorted({o for outputs in feeds.values() for o in outputs})
    raise ConfigError(
        f"no study feeds output {output!r} on tier {tier!r}; the outputs of studies there are: {', '.join(known)}"
    )


def dataset_stages(tier: str, overrides: dict[str, object] | None = None) -> list[Stage]:
    """What building the dataset that runs of `tier` train on would sample; none where it is there, or not built."""
    settings = unbuilt(load(tier, overrides))
    if settings is None:
        return []
    builder = load(builder_of(tier), overrides).as_role("teacher")
    a, (model, length) = builder.annotation, (settings.generator.model, settings.generator.max_new_tokens)
    stages = []
    if model is not None:
        price = sampling_price(builder.as_role("generator"), settings.proposals, length, frozen=model)
        stages.append(Stage.of("evolve", f"{settings.name}: {model}", 1, settings.proposals, length, price))
    for name, problems in (("label", settings.proposals), ("entropies", settings.sizes["train"])):
        rollouts = None if problems is None else problems * a.samples
        price = sampling_price(builder, rollouts, a.max_new_tokens, frozen=builder.teacher_path)
        what = f"{settings.name}: teacher {builder.teacher}, N = {a.samples}"
        stages.append(Stage.of(name, what, 1, rollouts, a.max_new_tokens, price))
    return stages


def annotation_stages(configs: Sequence[Config]) -> list[Stage]:
    """One draw for each teacher and all that decides its samples; who clusters fewer of them draws no others."""
    distinct = {digest([c.teacher_path, sampling_settings(c)]): c for c in configs}
    stages = []
    for config in distinct.values():
        count, _ = problem_count(config, "train")
        a = config.annotation
        drawn = a.draw or a.samples
        rollouts = None if count is None else count * (1 + drawn)  # one greedy
        price = sampling_price(config.as_role("teacher"), rollouts, a.max_new_tokens, frozen=config.teacher_path)
        what = f"teacher {config.teacher}, {drawn} samples and a greedy answer, seed {a.seed}"
        stages.append(Stage.of("annotate", what, 1, rollouts, a.max_new_tokens, price))
    return stages


def reference_stages(study: Study, configs: Sequence[Config]) -> dict[tuple[str, ...], Stage]:
    """The untrained student and each teacher on the final splits, as the study says that it reads them; by what tells
    two of these measurements apart.
    """
    stages: dict[tuple[str, ...], Stage] = {}
    for config in configs if study.references else ():
        sampled = config.evaluation.sampled if study.references == "sampled" else None
        for _, label, model in reference_rows(config):
            asked = config.measuring(model)
            for split in config.evaluation.final:
                found = [_measured("reference", f"{label}, {split}, greedy", asked, 1, split, frozen=model)]
                if sampled:
                    how, k = f"{label}, {split}, {sampled.k} samples", sampled.k
                    found.append(_measured("reference", how, asked, 1, split, k, sampled.limit, frozen=model))
                for stage in found:
                    settings = (config.task.model_dump_json(), config.evaluation.model_dump_json())
                    stages.setdefault((model, stage.what, *settings), stage)
    return stages


def run_stages(label: str, configs: list[Config]) -> list[Stage]:
    """Training, learning curve and final evaluation of runs that differ only in seed or teacher."""
    first, times = configs[0], len(configs)
    samples_per_prompt = first.sampling.samples_per_prompt if first.make_method().needs.rollouts else 0
    problems, _ = problem_count(first, "train")
    steps = first.train.total_steps(problems) if problems else None if first.train.episodes else first.train.steps
    train = None if steps is None else steps * first.train.prompts_per_step * samples_per_prompt * times
    length = f"{first.train.episodes} episodes" if first.train.episodes else f"{first.train.steps} steps"
    step = step_price(first)
    spent = step.times(steps).times(times)
    stages = [Stage.of("train", f"{label}: {length}", times, train, first.sampling.max_new_tokens, spent, step)]
    e = first.evaluation
    if first.train.curve_every:
        points = 1 + (steps or first.train.steps) // first.train.curve_every  # the first before any step
        stages.append(_measured("curve", f"{e.curve}, {points} points", first, times, e.curve, points))
    for split in e.final:
        stages.append(_measured("evaluate", f"{split}, greedy", first, times, split))
    if e.sampled:
        how = f"{e.sampled.k} samples at T = {e.sampled.temperature:g}, top-p {e.sampled.top_p:g}"
        for split in e.final:
            stages.append(_measured("sample", f"{split}, {how}", first, times, split, e.sampled.k, e.sampled.limit))
    return stages


def _measured(
    name: str,
    what: str,
    config: Config,
    runs: int,
    split: str,
    times: int = 1,
    limit: int | None = None,
    frozen: str | None = None,
) -> Stage:
    """Responses to a split (at most `limit` of its problems), `times` of each, of the students of so many runs or of
    the model `frozen`.
    """
    count, _ = problem_count(config, split)
    if count is not None and limit is not None:
        count = min(count, limit)
    budget = config.evaluation.max_new_tokens
    each = None if count is None else count * times
    together = name != "curve"  # the points of a curve are steps apart, so they cannot be drawn at the same time
    price = sampling_price(config, each if together else count, budget, frozen=frozen)
    if not together:
        price = price.times(times)
    return Stage.of(name, what, runs, None if each is None else each * runs, budget, price.times(runs))


def merge(stages: list[Stage]) -> list[Stage]:
    """Rows that say the same become one, their counts added."""
    rows: dict[tuple[str, str], Stage] = {}
    for stage in stages:
        key = (stage.name, stage.what)
        known = rows.get(key)
        rows[key] = stage if known is None else _both(known, stage)
    return sorted(rows.values(), key=lambda s: STAGES.index(s.name))


def _both(one: Stage, other: Stage) -> Stage:
    def added(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a + b

    return replace(
        one,
        times=one.times + other.times,
        rollouts=added(one.rollouts, other.rollouts),
        tokens=added(one.tokens, other.tokens),
        price=one.price + other.price,
    )


def plan(tier: str, study: str, overrides: dict[str, object] | None = None) -> tuple[list[Stage], list[Config]]:
    """The stages of `study` on `tier` and the resolved configuration of every run; the dataset is left out."""
    of = load_study(study)
    runs = of.runs(tier, overrides)
    configs = [config for _, config in runs]
    stages = annotation_stages([*_annotated(configs), *second_annotations([study], tier, overrides)])
    return merge([*stages, *reference_stages(of, configs).values(), *_trained(runs)]), configs


def together(
    tier: str, studies: Sequence[str], overrides: dict[str, object] | None = None
) -> tuple[list[Stage], list[Config]]:
    """The dataset and all `studies`: what several of them read is made once. One stage of each name, and one of each
    for what cannot be counted or priced.
    """
    runs = union(studies, tier, overrides)
    configs = [config for _, config in runs]
    again, references = second_annotations(studies, tier, overrides), dict[tuple[str, ...], Stage]()
    for of in map(load_study, studies):
        references = reference_stages(of, [config for _, config in of.runs(tier, overrides)]) | references
    stages = dataset_stages(tier, overrides) + annotation_stages([*_annotated(configs), *again])
    stages += [*references.values(), *_trained(runs)]
    return merge([replace(stage, what=_lacks(stage), step=None) for stage in stages]), configs


def _lacks(stage: Stage) -> str:
    """What is not known of a stage."""
    if stage.rollouts is None:
        return "number of problems unknown"
    if stage.price.clock is None:
        return "not priced" if stage.price.processor is None else "hours unknown"
    return ""


def _annotated(configs: Sequence[Config]) -> list[Config]:
    return [config for config in configs if config.make_method().needs.annotation]


def _trained(runs: Sequence[tuple[Cell, Config]]) -> list[Stage]:
    """The stages of runs, those of a cell together that differ only in seed or teacher."""
    groups: dict[tuple[str, str], tuple[str, list[Config]]] = {}
    for cell, config in runs:
        same = config.model_copy(update={"seed": 0, "teacher": ""}).model_dump_json()
        groups.setdefault((cell.id, same), (cell.label, []))[1].append(config)
    return [stage for label, group in groups.values() for stage in run_stages(label, group)]


def stage_frame(stages: Sequence[Stage], gpus: int) -> pd.DataFrame:
    """Stages as a frame: stage, what, runs, rollouts, tokens, step_s, planned_h, of_gpus_h; missing where not known."""
    rows = []
    for s in stages:
        hours = None if s.price.clock is None else s.price.clock / 3600
        row = {"stage": s.name, "what": s.what, "runs": s.times, "rollouts": s.rollouts, "tokens": s.tokens}
        row |= {"step_s": s.step.clock if s.step else None, "planned_h": hours}
        rows.append(row | {"of_gpus_h": None if hours is None else hours * gpus})
    return pd.DataFrame(rows)


def disk(configs: Sequence[Config], stages: Sequence[Stage]) -> dict[str, float]:
    """What a study takes on the disk at most, GB by what it is; {} where the size of a model is not known here.

    models       weights of every model that is read, once; with the generator's, while there is a dataset to be built
    checkpoints  of the runs that train at the same time: those kept and the one being written, weights and optimiser
    runs         final weights of each run; responses: every sampled token
    """
    if not configs:
        return {}
    first = configs[0]
    b = bytes_of(first.models.dtype)
    used = (m for c in configs for m in (c.models.student, c.teacher_path, c.models.judge, generator_of(c)))
    names = {m for m in used if m}
    try:
        models = sum(b * shape_of_model(m).parameters for m in names)
        own = shape_of_model(first.models.student).parameters
    except (ArtifactError, FileNotFoundError):
        return {}
    optimiser = 12 if b == 2 else 8
    tokens = sum(stage.tokens or 0 for stage in stages)
    return {
        "models": models / GB,
        "checkpoints": (KEPT + 1) * first.cluster.lanes * (b + optimiser) * own / GB,
        "runs": len(configs) * b * own / GB,
        "responses": TOKEN_BYTES * tokens / GB,
    }

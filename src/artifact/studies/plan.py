"""What a study would run, before it is run: stages, runs, rollouts, tokens, what they take and what they leave.

Tokens are an upper bound: rollouts × `max_new_tokens`, as if no response ended early, and so are seconds (`pricing.py`)
and bytes. Problem counts come from the task, or from what is known of a benchmark that is not on this machine; where
neither says anything, only what does not depend on it is counted. No network is asked. Left out: how a plan is printed
(`plan_page.py`), GiB of devices (`memory_model.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from artifact.config import Config, ConfigError
from artifact.errors import ArtifactError
from artifact.studies.memory_model import bytes_of
from artifact.studies.model_shape import shape_of_model
from artifact.studies.offline import problem_count
from artifact.studies.pricing import Price, sampling_price, step_price
from artifact.studies.runlog import KEPT
from artifact.studies.study import load_study, studies_made_on

GB = 1e9
TOKEN_BYTES = 12
"""Bytes that a stored response token takes at most: id, log-probability, and its text."""


@dataclass(frozen=True)
class Stage:
    """One row: what, how often, how much is sampled by whom, what it takes at most. None = not known here.

    step  what one optimiser step takes, of a stage that trains
    """

    name: str
    what: str
    times: int
    rollouts: int | None
    max_new_tokens: int
    price: Price
    step: Price | None = None

    @property
    def tokens(self) -> int | None:
        """Upper bound of sampled tokens over all repetitions."""
        return None if self.rollouts is None else self.rollouts * self.max_new_tokens


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


def annotation_stages(configs: list[Config]) -> list[Stage]:
    """One annotation for each distinct (teacher, annotation settings)."""
    distinct = {(c.teacher_path, c.annotation.model_dump_json()): c for c in configs}
    stages = []
    for config in distinct.values():
        count, _ = problem_count(config, "train")
        a = config.annotation
        rollouts = None if count is None else count * (1 + (a.draw or a.samples))  # one greedy
        price = sampling_price(config, rollouts, a.max_new_tokens, by_teacher=True)
        stages.append(
            Stage("annotate", f"teacher {config.teacher}, N = {a.samples}", 1, rollouts, a.max_new_tokens, price)
        )
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
    stages = [Stage("train", f"{label}: {length}", times, train, first.sampling.max_new_tokens, spent, step)]
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
    name: str, what: str, config: Config, runs: int, split: str, times: int = 1, limit: int | None = None
) -> Stage:
    """Responses of the student to a split (at most `limit` of its problems), `times` of each, of so many runs."""
    count, _ = problem_count(config, split)
    if count is not None and limit is not None:
        count = min(count, limit)
    budget = config.evaluation.max_new_tokens
    each = None if count is None else count * times
    price = (
        sampling_price(config, each, budget) if name == "sample" else sampling_price(config, count, budget).times(times)
    )
    return Stage(name, what, runs, None if each is None else each * runs, budget, price.times(runs))


def merge(stages: list[Stage]) -> list[Stage]:
    """Rows that say the same become one, their counts added."""
    rows: dict[tuple[str, str, int], Stage] = {}
    for stage in stages:
        key = (stage.name, stage.what, stage.max_new_tokens)
        known = rows.get(key)
        if known is None:
            rows[key] = stage
            continue
        both = None if known.rollouts is None or stage.rollouts is None else known.rollouts + stage.rollouts
        rows[key] = replace(known, times=known.times + stage.times, rollouts=both, price=known.price + stage.price)
    order = {"annotate": 0, "train": 1, "curve": 2, "evaluate": 3, "sample": 4}
    return sorted(rows.values(), key=lambda s: order[s.name])


def plan(tier: str, study: str, overrides: dict[str, object] | None = None) -> tuple[list[Stage], list[Config]]:
    """The stages of `study` on `tier` and the resolved configuration of every run."""
    runs = load_study(study).runs(tier, overrides)
    by_cell: dict[str, list[Config]] = {}
    labels = {cell.id: cell.label for cell, _ in runs}
    for cell, config in runs:
        by_cell.setdefault(cell.id, []).append(config)
    configs = [config for _, config in runs]
    stages = annotation_stages([c for c in configs if c.make_method().needs.annotation])
    for cell_id, group in by_cell.items():
        stages += run_stages(labels[cell_id], group)
    return merge(stages), configs


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

    models       weights of every model that is read, once
    checkpoints  of the runs that train at the same time: those kept and the one being written, weights and optimiser
    runs         final weights of each run; responses: every sampled token
    """
    if not configs:
        return {}
    first = configs[0]
    b = bytes_of(first.models.dtype)
    names = {m for c in configs for m in (c.models.student, c.teacher_path, c.models.judge) if m}
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

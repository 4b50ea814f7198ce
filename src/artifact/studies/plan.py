"""What a tier would run, before it is run: stages, runs, placement, rollouts, tokens, and on CPUs processor time.

Tokens are an upper bound: rollouts × `max_new_tokens`, as if no response ended early, and so is the time that a model
of measured steps gives them (`pricing.py`). Problem counts come from the task; where its data is not on this machine
only what does not depend on it is counted, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from artifact.actors.placement import place
from artifact.config import Config, ConfigError, TaskSection, load
from artifact.errors import ArtifactError
from artifact.paths import project_root
from artifact.studies import keys
from artifact.studies.inputs import start_up, task_of
from artifact.studies.pricing import price_lines, pricer
from artifact.studies.study import load_study, study_names
from artifact.tasks import load_problems


@dataclass(frozen=True)
class Stage:
    """One row: what, how often, how much is sampled by whom, and processor seconds at most. None = not known here."""

    name: str
    what: str
    times: int
    rollouts: int | None
    max_new_tokens: int
    processor_s: float | None = None

    @property
    def tokens(self) -> int | None:
        """Upper bound of sampled tokens over all repetitions."""
        return None if self.rollouts is None else self.rollouts * self.max_new_tokens


def studies_of(output: str) -> list[str]:
    """The studies that feed `output` (`C-T1`); ConfigError lists the outputs when none does."""
    feeds = {name: load_study(name).outputs for name in study_names()}
    if found := [name for name, outputs in feeds.items() if output in outputs]:
        return found
    known = sorted({o for outputs in feeds.values() for o in outputs})
    raise ConfigError(f"no study feeds output {output!r}; the outputs of studies are: {', '.join(known)}")


def problem_count(config: Config, split: str) -> tuple[int | None, str]:
    """How many problems `split` holds under the task's limits, or None with the reason it cannot be known here."""
    limit = config.task.train_limit if split == "train" else config.evaluation.limit
    try:
        name = config.task.train_split if split == "train" else split
        return _loaded(config.task, name, limit), ""
    except (ArtifactError, FileNotFoundError, ImportError, ValueError) as err:
        return limit, str(err).splitlines()[0]


@lru_cache(maxsize=256)
def _loaded(task: TaskSection, split: str, limit: int | None) -> int:
    """How many problems are there; read once, since every cell of every study asks. An error is not remembered."""
    return len(load_problems(task_of(task), split, limit))


def annotation_stages(configs: list[Config]) -> list[Stage]:
    """One annotation for each distinct (teacher, annotation settings)."""
    distinct = {(c.teacher_path, c.annotation.model_dump_json()): c for c in configs}
    stages = []
    for config in distinct.values():
        count, _ = problem_count(config, "train")
        a, priced = config.annotation, pricer(config)
        rollouts = None if count is None else count * (1 + (a.draw or a.samples))  # one greedy
        spent = priced.sample(rollouts, a.max_new_tokens, by_teacher=True) if priced else None
        stages.append(
            Stage("annotate", f"teacher {config.teacher}, N = {a.samples}", 1, rollouts, a.max_new_tokens, spent)
        )
    return stages


def run_stages(label: str, configs: list[Config]) -> list[Stage]:
    """Training, learning curve and final evaluation of runs that differ only in seed or teacher."""
    first, times, priced = configs[0], len(configs), pricer(configs[0])
    samples_per_prompt = first.sampling.samples_per_prompt if first.make_method().needs.rollouts else 0
    problems, _ = problem_count(first, "train")
    steps = first.train.total_steps(problems) if problems else None if first.train.episodes else first.train.steps
    train = None if steps is None else steps * first.train.prompts_per_step * samples_per_prompt * times
    length = f"{first.train.episodes} episodes" if first.train.episodes else f"{first.train.steps} steps"
    spent = _times(times, priced.train(steps) if priced else None)
    stages = [Stage("train", f"{label}: {length}", times, train, first.sampling.max_new_tokens, spent)]
    budget = first.evaluation.max_new_tokens
    if first.train.curve_every:
        count, _ = problem_count(first, first.evaluation.curve)
        points = 1 + (steps or first.train.steps) // first.train.curve_every  # the first before any step
        spent = _times(points * times, priced.sample(count, budget) if priced else None)
        rollouts = None if count is None else count * points * times
        stages.append(Stage("curve", f"{first.evaluation.curve}, {points} points", times, rollouts, budget, spent))
    for split in first.evaluation.final:
        count, _ = problem_count(first, split)
        spent = _times(times, priced.sample(count, budget) if priced else None)
        rollouts = None if count is None else count * times
        stages.append(Stage("evaluate", f"{split}, greedy", times, rollouts, budget, spent))
    return stages


def _times(n: int, value: float | None) -> float | None:
    return None if value is None else n * value


def merge(stages: list[Stage]) -> list[Stage]:
    """Rows that say the same become one, their counts added."""
    rows: dict[tuple[str, str, int], Stage] = {}
    for stage in stages:
        key = (stage.name, stage.what, stage.max_new_tokens)
        known = rows.get(key)
        if known is None:
            rows[key] = stage
        else:
            both = None if known.rollouts is None or stage.rollouts is None else known.rollouts + stage.rollouts
            spent = (
                None
                if known.processor_s is None or stage.processor_s is None
                else known.processor_s + stage.processor_s
            )
            rows[key] = replace(known, times=known.times + stage.times, rollouts=both, processor_s=spent)
    order = {"annotate": 0, "train": 1, "curve": 2, "evaluate": 3}
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


def roles_of(config: Config) -> tuple[str, ...]:
    """The actors of a run, in the order they are placed."""
    engines = tuple(f"engine-{i}" for i in range(config.cluster.engine.count))
    students = tuple(f"student-{i}" for i in range(config.cluster.student_workers))
    return (*students, "reference", "teacher", *engines)


def start_up_lines(configs: Sequence[Config], *, whole: bool = False) -> list[str]:
    """The start-up reports of runs, each line once: what a person should know of them, or (`whole`) all of it.

    Made only of models and data that are on this machine; what would stop a run is a line too.
    """
    lines: dict[str, None] = {}
    for config in configs:
        models = (config.models.student, config.teacher_path)
        if absent := [m for m in models if not any(p.is_dir() for p in (Path(m), project_root() / m))]:
            lines[f"start-up is checked when the run starts: {', '.join(absent)} is not on this machine"] = None
            continue
        try:
            report = start_up(config, quiet=True)
            lines |= dict.fromkeys(report.lines() if whole else report.notable())
        except (ArtifactError, FileNotFoundError) as err:
            lines |= dict.fromkeys([f"would stop: {err}"])
    return list(lines)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _hours(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 3600:.2f}"


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)


def print_plan(tier: str, studies: list[str], overrides: dict[str, object] | None, console: Console) -> None:
    """Print models, placement and, study by study, stages with rollouts and token bounds."""
    config = load(tier, overrides)
    console.print(f"[bold]Tier {tier}[/bold]: {config.description}")
    console.print(
        f"student {config.models.student}; teachers "
        + ", ".join(f"{k} = {v}" for k, v in config.models.teachers.items())
    )
    for model in dict.fromkeys([config.models.student, *config.models.teachers.values()]):
        try:
            state = keys.model_state(model)
        except (ArtifactError, FileNotFoundError) as err:
            state = str(err)
        console.print(f"{model}: {state}", highlight=False)
    table = Table("actor", "device", "GPU share", "threads", title="Placement", title_justify="left")
    placement = place(config.cluster, roles_of(config))
    for role, slot in placement.slots.items():
        table.add_row(role, slot.device, f"{slot.num_gpus:g}" if slot.num_gpus else "–", str(slot.threads))
    console.print(table)
    for split in dict.fromkeys(("train", *config.evaluation.final)):
        count, reason = problem_count(config, split)
        if count is None:
            console.print(f"[yellow]{config.task.name}/{split}: number of problems unknown here ({reason})[/yellow]")
    _print_lines(start_up_lines([config], whole=True), console)
    for name in studies:
        stages, configs = plan(tier, name, overrides)
        prices = price_lines(configs[0])
        header = [
            "stage",
            "what",
            "runs",
            "rollouts",
            "tokens at most",
            *(["processor hours at most"] if prices else []),
        ]
        table = Table(*header, title=f"Study {name}: {len(configs)} runs", title_justify="left")
        for s in stages:
            row = [s.name, s.what, str(s.times), _number(s.rollouts), _number(s.tokens), _hours(s.processor_s)]
            table.add_row(*row[: len(header)])
        known = [s.tokens for s in stages if s.tokens is not None]
        spent = [s.processor_s for s in stages if s.processor_s is not None]
        partly = "" if len(known) == len(stages) == (len(spent) if prices else len(known)) else "(of what is known)"
        table.add_section()
        table.add_row(*["total", partly, str(len(configs)), "", _number(sum(known)), _hours(sum(spent))][: len(header)])
        console.print(table)
        _print_lines(prices, console)
        _print_lines(start_up_lines(configs), console)

"""What a tier would run, before it is run: stages, runs, placement, rollouts and tokens.

Tokens are an upper bound: rollouts × `max_new_tokens`, as if no response ended early. Problem counts come from the
task; where its data is not on this machine only what does not depend on it is counted, and the table says so.
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
from artifact.studies.study import load_study, study_names
from artifact.tasks import load_problems


@dataclass(frozen=True)
class Stage:
    """One row: what, how often, and how much is sampled by whom. None = not known on this machine."""

    name: str
    what: str
    times: int
    rollouts: int | None
    max_new_tokens: int

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
        rollouts = (
            None if count is None else count * (1 + (config.annotation.draw or config.annotation.samples))
        )  # one greedy
        stages.append(
            Stage(
                "annotate",
                f"teacher {config.teacher}, N = {config.annotation.samples}",
                1,
                rollouts,
                config.annotation.max_new_tokens,
            )
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
    stages = [Stage("train", f"{label}: {length}", times, train, first.sampling.max_new_tokens)]
    if first.train.curve_every:
        count, _ = problem_count(first, first.evaluation.curve)
        points = 1 + (steps or first.train.steps) // first.train.curve_every  # the first before any step
        rollouts = None if count is None else count * points * times
        stages.append(
            Stage(
                "curve", f"{first.evaluation.curve}, {points} points", times, rollouts, first.evaluation.max_new_tokens
            )
        )
    samples = 1 + (first.evaluation.sampled.k if first.evaluation.sampled else 0)
    for split in first.evaluation.final:
        count, _ = problem_count(first, split)
        rollouts = None if count is None else count * samples * times
        stages.append(
            Stage("evaluate", f"{split}, {samples} a problem", times, rollouts, first.evaluation.max_new_tokens)
        )
    return stages


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
            rows[key] = replace(known, times=known.times + stage.times, rollouts=both)
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
        table = Table(
            "stage",
            "what",
            "runs",
            "rollouts",
            "tokens at most",
            title=f"Study {name}: {len(configs)} runs",
            title_justify="left",
        )
        for stage in stages:
            table.add_row(stage.name, stage.what, str(stage.times), _number(stage.rollouts), _number(stage.tokens))
        known = [s.tokens for s in stages if s.tokens is not None]
        partly = "" if len(known) == len(stages) else " (of what is known)"
        table.add_section()
        table.add_row("total", partly.strip(), str(len(configs)), "", _number(sum(known)))
        console.print(table)
        _print_lines(start_up_lines(configs), console)

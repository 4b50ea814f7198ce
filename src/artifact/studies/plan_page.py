"""A plan as it is printed: models, placement, memory by device and phase, then each study with hours and disk.

Everything here is planned; what was measured says where. A tier that its GPUs cannot hold is refused, with the nearest
change that they can, after all of it was printed.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from artifact.actors.placement import place
from artifact.config import Config, ConfigError, load
from artifact.errors import ArtifactError
from artifact.studies import keys
from artifact.studies.inputs import start_up
from artifact.studies.memory_model import PHASES, by_phase, refusal
from artifact.studies.offline import absent, problem_count
from artifact.studies.plan import Stage, dataset_stages, disk, plan, together
from artifact.studies.pricing import Price, price_lines

AT_MOST = (
    "at most: as if every response were as long as it may be; for a shorter one set sampling.max_new_tokens, "
    "annotation.max_new_tokens and evaluation.max_new_tokens by --set"
)


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
        try:
            if lacks := absent(config):
                lines[f"start-up is checked when the run starts: {', '.join(lacks)} is not on this machine"] = None
                continue
            report = start_up(config, quiet=True)
            lines |= dict.fromkeys(report.lines() if whole else report.notable())
        except (ArtifactError, FileNotFoundError) as err:
            lines |= dict.fromkeys([f"would stop: {err}"])
    return list(lines)


def refusals(configs: Sequence[Config]) -> list[str]:
    """Why the GPUs cannot hold some of these runs, each reason once, with the nearest change."""
    distinct = {config.model_copy(update={"seed": 0}).model_dump_json(): config for config in configs}
    return list(dict.fromkeys(why for config in distinct.values() if (why := refusal(config)) is not None))


def print_plan(tier: str, studies: list[str], overrides: dict[str, object] | None, console: Console) -> None:
    """Print the tier and, study by study, what it would run. Raises ConfigError, at the end, for what cannot fit."""
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
    console.print(placement_table(config))
    if config.cluster.device == "cuda":
        console.print(memory_table(config))
    for split in dict.fromkeys(("train", *config.evaluation.final)):
        count, reason = problem_count(config, split)
        if count is None:
            console.print(f"[yellow]{config.task.name}/{split}: number of problems unknown here ({reason})[/yellow]")
    _print_lines(start_up_lines([config], whole=True), console)
    refused: dict[str, None] = {}
    if dataset := dataset_stages(tier, overrides):
        console.print(stage_table(f"{config.task.name}, built once, before anything is trained", dataset, config, 1))
    for name in studies:
        stages, configs = plan(tier, name, overrides)
        if not configs:
            console.print(f"Study {name}: no run on this tier", highlight=False)
            continue
        console.print(stage_table(f"Study {name}: {len(configs)} runs", stages, configs[0], len(configs)))
        _print_disk(configs, stages, console)
        _print_lines(price_lines(configs[0]), console)
        _print_lines(start_up_lines(configs), console)
        refused |= dict.fromkeys(refusals(configs))
    if len(studies) > 1:
        stages, configs = together(tier, studies, overrides)
        title = f"All together: {len(configs)} different runs of {len(studies)} studies"
        console.print(stage_table(title, stages, config, len(configs)))
        _print_disk(configs, stages, console)
    console.print(AT_MOST, highlight=False)
    if refused:
        raise ConfigError(f"tier {tier} does not fit: " + "; ".join(refused))


def _print_disk(configs: Sequence[Config], stages: Sequence[Stage], console: Console) -> None:
    kept = disk(configs, stages)
    if kept:
        parts = ", ".join(f"{what} {gb:,.1f}" for what, gb in kept.items())
        console.print(f"disk at most: {sum(kept.values()):,.1f} GB ({parts})", highlight=False)


def placement_table(config: Config) -> Table:
    """Role, device, share, threads."""
    table = _table("Placement", "actor", "device", "GPU share", "threads")
    for role, slot in place(config.cluster, roles_of(config)).slots.items():
        table.add_row(role, slot.device, f"{slot.num_gpus:g}" if slot.num_gpus else "–", str(slot.threads))
    return table


def memory_table(config: Config) -> Table:
    """GiB by device and phase, planned."""
    title = f"GiB by device and phase, planned (method {config.method})"
    table = _table(title, "GPU", "roles", *PHASES, "training together", "has")
    for row in by_phase(config).to_dict("records"):
        values = (row[name] for name in (*PHASES, "training", "capacity"))
        table.add_row(str(row["device"]), row["roles"], *(f"{v:.1f}" for v in values))
    return table


def stage_table(title: str, stages: Sequence[Stage], config: Config, runs: int) -> Table:
    """Stages, one a row, and their sum; columns of what is not known of any stage are left out."""
    gpus = config.cluster.gpus
    total = Stage("total", "", runs, None, None, _sum([s.price for s in stages]))
    shown = {
        "step, s": lambda s: "–" if s.step is None else _seconds(s.step.clock),
        "hours at most": lambda s: _hours(s.price.clock),
        "GPU-hours at most": lambda s: _hours(s.price.times(gpus).clock if gpus else None),
        "processor hours at most": lambda s: _hours(s.price.processor),
    }
    shown = {column: of for column, of in shown.items() if any(of(s) != "–" for s in stages)}
    table = _table(title, "stage", "what", "runs", "rollouts", "tokens at most", *shown)
    for s in stages:
        table.add_row(
            s.name, s.what, str(s.times), _number(s.rollouts), _number(s.tokens), *(of(s) for of in shown.values())
        )
    tokens = [s.tokens for s in stages if s.tokens is not None]
    whole = len(tokens) == len(stages) and all(of(s) != "–" for c, of in shown.items() if "hours" in c for s in stages)
    table.add_section()
    partly = "" if whole else "(of what is known)"
    table.add_row("total", partly, str(runs), "", _number(sum(tokens)), *(of(total) for of in shown.values()))
    return table


def _table(title: str, *columns: str) -> Table:
    """A table that loses nothing on a narrow terminal: what does not fit goes on below, numbers too."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _sum(prices: Sequence[Price]) -> Price:
    """Of what is known."""
    known = [[p.clock for p in prices if p.clock is not None], [p.processor for p in prices if p.processor is not None]]
    return Price(*(sum(of) if of else None for of in known))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _hours(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 3600:,.2f}"


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)

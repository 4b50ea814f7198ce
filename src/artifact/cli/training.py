"""The verbs that train: one run, the runs of a study, those of all studies, and the choice of learning rates."""

from __future__ import annotations

from typing import Annotated

import typer

from artifact.cli.options import Force, Sets, StudyName, Tier, names, overrides


def train(
    tier: Tier = "tiny",
    study: StudyName = None,
    method: Annotated[str | None, typer.Option("--method", help="opd, uopd, core, grpo, …")] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="key of models.teachers")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0)] = None,
    sets: Sets = None,
    force: Force = False,
) -> None:
    """Train and evaluate one run, or every run of a study; finished runs are taken from the cache."""
    from artifact.config import ConfigError, load

    named = {"method": method, "teacher": teacher, "seed": seed}
    given = [f"--{name}" for name, value in named.items() if value is not None]
    if study is not None and given:
        raise ConfigError(f"--study {study} sets method, teacher and seed of its runs; leave out {', '.join(given)}")
    config = load(tier, overrides(sets, **named))
    from artifact.studies.runner import run, run_study

    if study is None:
        typer.echo(f"run: {run(config, force=force).folder}")
    else:
        run_study(study, tier, overrides(sets), force=force)
        typer.echo(f"study {study}: done")


def train_all(
    tier: Tier = "tiny",
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME[,NAME]", help="only these studies (default: those of the notebooks)"),
    ] = None,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be trained, and do nothing")] = False,
    until_input_ends: Annotated[bool, typer.Option("--until-input-ends", hidden=True)] = False,
) -> None:
    """Train the runs of all studies that the tier's notebooks show, each once; stored ones are passed over.

    `run-all` has this done beside its notebooks; on a cluster it is how a tier's runs are made.
    """
    from artifact.book.background import end_with_input
    from artifact.book.needs import studies_shown
    from artifact.studies.training_queue import planned
    from artifact.studies.training_queue import train_all as train_union

    if until_input_ends:
        end_with_input()
    studies = names(study) or studies_shown(tier)
    if dry_run:
        for line in planned(studies, tier, overrides(sets)):
            typer.echo(line)
    else:
        runs = train_union(studies, tier, overrides(sets))
        typer.echo(f"{len(runs)} runs trained")


def select_learning_rates(
    study: Annotated[str, typer.Option("--study", help="study whose cells get a rate")] = "core",
    tier: Tier = "tiny",
    rates: Annotated[str, typer.Option("--rates", help="the grid, comma-separated")] = "3e-4,1e-3,3e-3",
    sets: Sets = None,
) -> None:
    """Choose a learning rate for each method of a study, on the validation split, by one rule."""
    from artifact.config import ConfigError

    try:
        grid = [float(r) for r in names(rates) or []]
    except ValueError as err:
        raise ConfigError(f"--rates {rates!r}: {err}; give numbers such as 3e-4,1e-3") from None
    from artifact.studies.learning_rates import select

    typer.echo(f"learning rates: {select(study, tier, grid, overrides(sets))}")

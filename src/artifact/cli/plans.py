"""The verbs that say what a run would take before it is run: the plan of a tier, and the timeline of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifact.cli.options import Sets, StudyName, Tier, console, overrides


def plan(
    tier: Tier = "tiny",
    study: StudyName = None,
    output: Annotated[str | None, typer.Option("--output", help="the studies behind a figure or table: C-T1")] = None,
    sets: Sets = None,
) -> None:
    """Print what would run: memory, stages, rollouts, tokens, hours and disk at most; refuse what cannot fit."""
    from artifact.book.needs import studies_shown
    from artifact.config import ConfigError
    from artifact.studies.plan import studies_of
    from artifact.studies.plan_page import print_plan

    if study and output:
        raise ConfigError("--study names one study and --output all that feed an output: give one of them")
    studies = [study] if study else studies_of(output, tier) if output else studies_shown(tier)
    print_plan(tier, studies, overrides(sets), console())


def simulate(
    tier: Tier = "tiny",
    method: Annotated[str | None, typer.Option("--method", help="opd, uopd, core, grpo, …")] = None,
    layout: Annotated[str | None, typer.Option("--layout", help="separate or colocated; default: the tier's")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=1, help="how many GPUs; default: the tier's")] = None,
    streamed: Annotated[bool, typer.Option("--streamed", help="score and train while others are sampled")] = False,
    response_tokens: Annotated[
        float | None, typer.Option("--response-tokens", min=1, help="mean length of a response; default: the budget")
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="write the timeline as a .pdf or .png")] = None,
    sets: Sets = None,
) -> None:
    """Print the timeline of one optimiser step: what each device would do, and when."""
    from artifact.config import load
    from artifact.studies.simulate import assumed, simulated

    config = load(tier, overrides(sets, method=method))
    order = "streamed" if streamed else "sequential"
    step = simulated(config, layout, gpus, order=order, mean_response=response_tokens)  # type: ignore[arg-type]
    typer.echo(f"planned, not measured: {assumed(config, response_tokens)}")
    typer.echo(f"method {config.method}, layout {step.layout.name}, {order}")
    typer.echo(step.text())
    typer.echo("  ".join(f"{phase} {seconds:.2f} s" for phase, seconds in step.phases().items() if seconds))
    typer.echo(f"step {step.seconds:.2f} s, devices used {step.used:.0%}")
    if figure is not None:
        from artifact.report.figures_timeline import timelines

        drawn, _ = timelines({step.layout.name: step.frame()})
        drawn.savefig(figure)
        typer.echo(f"figure: {figure}")

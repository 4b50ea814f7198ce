"""The verb that takes rollouts elsewhere: `artifact export-rollouts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export_rollouts(
    run: Annotated[str, typer.Argument(help="key or folder of a finished run")],
    form: Annotated[
        Literal["eval", "html"],
        typer.Option("--format", help="eval: a log of inspect-ai, for its viewer; html: a page with the first of them"),
    ] = "eval",
    part: Annotated[
        Literal["rollouts", "curve", "evaluation"],
        typer.Option("--part", help="of training, the curve, the final splits"),
    ] = "rollouts",
    out: Annotated[
        Path | None, typer.Option("--out", help="file to write; default: <key>-<part>.<format> here")
    ] = None,
) -> None:
    """Write the rollouts of a run in a form that other tools open."""
    from artifact.inspect import rollouts
    from artifact.inspect.eval_format import write_eval

    table = rollouts(run, part)
    path = out or Path(f"{table.run.key}-{part}.{form}")
    if form == "eval":
        write_eval(table, path)
    else:
        table.to_html(path)
    typer.echo(f"{len(table):,} {part}: {path}")

"""The verbs of the reproduction report: `artifact compare`, and `artifact reference accept`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from artifact.cli.options import Tier, console

OUTSIDE = 3
"""The exit code where a value is outside what the reference allows."""


def compare(tier: Tier = "tiny") -> None:
    """Compare every stored value of a tier with its committed reference; exit code 3 where one is outside."""
    if told(tier):
        raise typer.Exit(OUTSIDE)


def told(tier: str) -> bool:
    """Print the reproduction report of a tier; whether a value is outside."""
    from artifact.report.reference import lines

    report, outside = lines(tier)
    for line in report:
        console().print(line, markup=False, highlight=False)
    return outside


def reference(
    what: Annotated[Literal["accept"], typer.Argument(help="accept: what is stored of the tier becomes its reference")],
    tier: Tier = "tiny",
) -> None:
    """Keep the stored outputs of a tier as the reference that later runs are compared with; commit what it wrote."""
    from artifact.report.reference import accept, folder_of

    count = accept(tier)
    typer.echo(f"reference: {count} outputs in {folder_of(tier)}; commit them")

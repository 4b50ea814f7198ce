"""The verbs that check the artifact itself: `artifact verify`, every stored byte, and `artifact check-verifier`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from artifact.cli.options import console, names


def verify(
    key: Annotated[str | None, typer.Argument(help="key of a result, or name of a figure, table or notebook")] = None,
    all_: Annotated[bool, typer.Option("--all", help="everything that is stored (the default without a key)")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the findings as JSON on stdout")] = False,
) -> None:
    """Read every stored byte again and say what is damaged and how to make just that again; exit code 1 if any is."""
    from artifact.config import ConfigError
    from artifact.studies.verify import print_findings
    from artifact.studies.verify import verify as findings_of

    if key is not None and all_:
        raise ConfigError(f"--all checks everything and {key!r} is one thing: give one of them")
    found = findings_of(key)
    if as_json:
        typer.echo(json.dumps([f.to_row() for f in found], indent=1))
    else:
        print_findings(found, console())
    if any(f.wrong for f in found):
        raise typer.Exit(1)


def check_verifier(
    benchmarks: Annotated[str | None, typer.Option("--benchmarks", help="names, separated by commas")] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="random pairs of different gold answers")] = 20_000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes for the algebra")] = 1,
) -> None:
    """Rewrite every gold answer, keeping and changing its meaning, and print the share of verdicts that are wrong."""
    from artifact.evaluate.verifier_check import check, print_check

    if not print_check(check(names(benchmarks), pairs, workers), console()):
        raise typer.Exit(1)

"""The verb that reads every stored byte again: `artifact verify`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from artifact.cli.options import console


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

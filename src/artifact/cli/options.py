"""What the verbs of the command line share: options with their help, and how their values are read."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

FILE_WIDTH = 160
"""Columns of a table that no terminal shows."""

Tier = Annotated[str, typer.Option("--tier", metavar="NAME", help="size of the run: a file of configs/tiers")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a configuration value; may be repeated")
]
StudyName = Annotated[str | None, typer.Option("--study", help="a study of configs/studies")]
Force = Annotated[bool, typer.Option("--force", help="compute again what is already there")]


def overrides(sets: list[str] | None, **named: Any) -> dict[str, Any]:
    """`--set` items and the named options that were given, as dotted overrides."""
    from artifact.config import parse_overrides

    return {**parse_overrides(sets or []), **{key: value for key, value in named.items() if value is not None}}


def names(text: str | None) -> list[str] | None:
    """The names of a comma-separated option; None where it was not given. ConfigError where it selects nothing."""
    from artifact.config import ConfigError

    if text is None:
        return None
    if not (found := [name.strip() for name in text.split(",") if name.strip()]):
        raise ConfigError(f"an option has the value {text!r}, which names nothing: name something, or leave it out")
    return found


def console() -> Any:
    """The terminal, with long lines left to it; a file or a pipe, which has no width, gets tables of `FILE_WIDTH`."""
    from artifact.escape import terminal

    fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
    return terminal(soft_wrap=True, width=None if fixed else FILE_WIDTH)

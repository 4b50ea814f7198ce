"""The verb `artifact rehearse`: a tier of GPUs under its own YAML on a processor, with toy models and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifact.cli.options import Tier


def rehearse(
    tier: Tier = "paper",
    only: Annotated[str | None, typer.Option("--only", metavar="NAME[,NAME]", help="only these notebooks")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="where it lies (default: results/rehearsal/TIER, of its SURE-Math)")
    ] = None,
) -> None:
    """Run a tier of GPUs on this processor: its own settings and code, toy models and datasets under its names."""
    from artifact.paths import results_dir
    from artifact.studies.rehearsal import rehearse as run
    from artifact.studies.suremath import builder_of

    place = folder or results_dir() / "rehearsal" / builder_of(tier)
    typer.echo(f"rehearsed: {run(tier, place.resolve(), only)}, results beside it")

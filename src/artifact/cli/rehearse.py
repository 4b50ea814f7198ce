"""The verb `artifact rehearse`: tiers of GPUs under their own YAML on a processor, with toy models and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifact.cli.options import names


def rehearse(
    tier: Annotated[str, typer.Option("--tier", metavar="NAME[,NAME]", help="files of configs/tiers")] = "paper",
    only: Annotated[str | None, typer.Option("--only", metavar="NAME[,NAME]", help="only these notebooks")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="where it lies (default: results/rehearsal/TIER, of its SURE-Math)")
    ] = None,
) -> None:
    """Run tiers of GPUs on this processor: their own settings and code, toy models and datasets under their names.

    Of several tiers, those that share a SURE-Math come one after the other, and the others beside them (8 GiB each).
    """
    from artifact.config import ConfigError
    from artifact.paths import results_dir
    from artifact.studies.rehearsal import chains, rehearse_side_by_side
    from artifact.studies.rehearsal import rehearse as run

    found = chains(names(tier) or [])
    if folder is not None and len(found) > 1:
        raise ConfigError(f"--folder is one place, and {tier} need {len(found)}: leave it out, or rehearse one of them")
    if len(found) > 1:
        rehearse_side_by_side(found, only, lambda line: typer.echo(line))
        return
    for name, chain in found.items():
        for each in chain:
            place = folder or results_dir() / "rehearsal" / name
            typer.echo(f"rehearsed: {run(each, place.resolve(), only)}, results beside it")

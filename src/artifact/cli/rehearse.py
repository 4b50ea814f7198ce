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
        Path | None, typer.Option("--folder", help="where it lies (default: results/rehearsal/TIER)")
    ] = None,
) -> None:
    """Run tiers of GPUs on this processor: their own settings and code, toy models and datasets under their names.

    Several tiers run two at a time (8 GiB each); one that reads the SURE-Math of another waits until that is built.
    """
    from artifact.config import ConfigError
    from artifact.files import read_json
    from artifact.paths import results_dir
    from artifact.studies.rehearsal import in_order, rehearse_side_by_side
    from artifact.studies.rehearsal import rehearse as run

    tiers, place = in_order(names(tier) or []), results_dir().resolve() / "rehearsal"
    if len(tiers) > 1:
        if folder is not None:
            raise ConfigError(f"--folder is one place, and {tier} need {len(tiers)}: leave it out, or rehearse one")
        rehearse_side_by_side(tiers, place, only, lambda line: typer.echo(line))
        return
    for each in tiers:
        account = run(each, (folder or place / each).resolve(), only)
        for told in read_json(account, "rehearse again")["broken_claims"]:
            typer.echo(f"not judged: {told}")
        typer.echo(f"rehearsed: {account}, results beside it")

"""The verb that puts the models of a tier into a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from artifact.cli.options import Tier


def live_page(
    out: Annotated[Path, typer.Option("--out", help="folder for the page; what is there is replaced")],
    tier: Tier = "tiny",
    teacher: Annotated[str | None, typer.Option("--teacher", help="whose trained students it shows")] = None,
) -> None:
    """Write the page in which student and teachers of a tier answer: models, samples, losses, without a server."""
    from artifact.site.live_page import live_page_of

    typer.echo(f"page: {live_page_of(tier, out, teacher)}")

"""The verb `artifact cluster`: who is up on the Ray cluster that runs and notebooks share, and its end."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any, Literal

import typer

from artifact.cli.options import Sets, Tier
from artifact.errors import ArtifactError

KERNEL_SECONDS = 15.0
"""How long the kernel of the last notebook may take to end."""


def cluster(
    action: Annotated[Literal["status", "stop"], typer.Argument(help="what to do")],
    tier: Tier = "tiny",
    sets: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="stop it even where another process uses it")] = False,
) -> None:
    """The Ray cluster that runs and notebooks share: who is up, or end what this project has there.

    A local cluster stops; of one at RAY_ADDRESS only the actors and reservations of this project end.
    """
    from artifact.cli.options import overrides
    from artifact.config import load

    load(tier, overrides(sets))
    from artifact.actors import ray_head, session

    if action == "stop":
        users = [] if os.environ.get("RAY_ADDRESS") else ray_head.users()
        if users and not force:
            raise ArtifactError(
                f"{described(users)} uses the cluster: let it end (or close that notebook's kernel), or stop the "
                "cluster under it with --force; what a run had committed is kept"
            )
        typer.echo("stopped" if session.stop() else "nothing ran")
        return
    rows = session.status()
    for row in rows:
        typer.echo(" ".join(f"{key}={value}" for key, value in row.items()))
    if not rows:
        typer.echo("no actors")


def stop_unless_used(console: Any) -> None:
    """Stop the cluster, unless another process works on it: that one's runs would die."""
    from artifact.actors import ray_head, session

    deadline = time.monotonic() + KERNEL_SECONDS
    while (users := ray_head.users()) and time.monotonic() < deadline:
        time.sleep(0.5)
    if users and not os.environ.get("RAY_ADDRESS"):
        console.print(f"the cluster stays: {described(users)} uses it (`artifact cluster stop` when that is done)")
    else:
        session.stop(only_if_unused=True)


def described(pids: list[int]) -> str:
    """`process 12, process 34`."""
    return ", ".join(f"process {pid}" for pid in pids)

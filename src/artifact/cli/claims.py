"""The verb that judges the papers' claims on what is stored: `artifact check-claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from artifact.cli.options import Tier, console


def check_claims(
    tier: Tier = "tiny",
    only: Annotated[str | None, typer.Option("--only", metavar="ID", help="one claim of paper/claims.yml")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the judgements as JSON")] = None,
) -> None:
    """Judge every claim of the papers on the stored outputs of a tier; exit code 1 where evidence cannot be trusted.

    A FAIL is a finding and no error. What was not made is NOT RUN, with what it would cost.
    """
    from artifact.book.claims import check
    from artifact.files import write_json

    checked = check(tier, only)
    _show(checked, console())
    if as_json is not None:
        rows = [j.to_row() for j in checked.judgements]
        write_json(as_json, {"tier": tier, "judgements": rows, "damaged": list(checked.damaged)})
    if checked.broken:
        raise typer.Exit(1)


def _show(checked: Any, console: Any) -> None:
    """Each part of the claims, its counts first, then what is damaged."""
    from artifact.report.claims_page import PARTS, counted, part

    for heading, of in PARTS.items():
        found = part(checked.judgements, of)
        if not found:
            continue
        console.print(f"{heading.format(tier=checked.tier)}: {counted(found)}", style="bold", markup=False)
        for j in found:
            runs = f"{len(j.keys)} runs {' '.join(j.keys[:3])}{' …' if len(j.keys) > 3 else ''}" if j.keys else ""
            over = [f"n = {j.n:,}" if j.n else "", f"{j.seeds} seeds" if j.seeds else "", runs]
            n = f" [{', '.join(filter(None, over))}]" if any(over) else ""
            told = j.numbers or "; ".join(filter(None, (j.reason, j.cost)))
            lines = f"  {j.verdict:<15} {j.id}: {j.says}\n                  {told}{n}"
            console.print(lines, markup=False, highlight=False, soft_wrap=True)
    for line in checked.damaged:
        console.print(f"DAMAGED {line}", markup=False, highlight=False, soft_wrap=True)

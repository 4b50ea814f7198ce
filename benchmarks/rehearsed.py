"""The rehearsals of the GPU tiers on a processor, as the table of docs/gpu.md: how far each came, in what time.

    ./run_all.sh rehearse --tier paper                                                      # does the work
    python benchmarks/rehearsed.py --keep results/rehearsal/paper/results/rehearsed.paper.json
    python benchmarks/rehearsed.py --table                                                  # the table

A rehearsal may be made in several goes; minutes are those of all, also of goes that were broken off. Where each tier
took one go, the last line is the time from the first start to the last end, whatever of them ran side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from artifact.book.notebooks import discover
from artifact.files import read_json, write_json
from measuring import report


def keep(accounts: Sequence[Path], out: Path) -> None:
    """Write `accounts` into `out`, beside those of other tiers."""
    found = report.known(out)
    for path in accounts:
        account = read_json(path, "rehearse the tier first")
        found[account["tier"]] = account
    write_json(out, found)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a tier, below the machines they ran on."""
    machines, rows = dict[str, None](), []
    for tier, a in sorted(found.items()):
        of = a["hardware"]
        machines[f"{of['cpu']}, {of['cores']} cores, {of['memory_gib']} GiB; {a['finished'][:10]}"] = None
        wanted = {p.stem for p in discover(tier=tier)}
        done = f"{len(wanted & set(a['notebooks']))} of {len(wanted)}"
        counts = [done, a["suremath"], a["annotations"], a["runs"], len(a["goes"])]
        load = max((go["load_average"] for go in a["goes"] if "load_average" in go), default=None)
        told = [f"{a['minutes']:.1f}", "–" if load is None else f"{load:.1f}", a["source"]]
        rows.append([f"`{tier}`", *map(str, counts), *told])
    header = ["tier", "notebooks", "SURE-Math built", "annotations", "runs", "goes", "minutes", "load", "source"]
    return "\n".join(["; ".join(machines), "", *report.table(header, rows), *_together([*found.values()])])


def _together(accounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The line of the time from the first start to the last end; none where a tier took several goes or another day."""
    ends = [datetime.fromisoformat(a["finished"]) for a in accounts]
    begun = min(end - timedelta(minutes=a["minutes"]) for end, a in zip(ends, accounts, strict=True))
    minutes = (max(ends) - begun).total_seconds() / 60
    if any(len(a["goes"]) > 1 for a in accounts) or minutes > 1 + sum(a["minutes"] for a in accounts):
        return []
    return ["", f"All together: {minutes:.1f} minutes."]


def main() -> None:
    """Keep accounts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="ACCOUNT", help="accounts to keep")
    parser.add_argument("--out", type=Path, default=report.FOLDER / "rehearsed.json", help="the JSON file of all")
    parser.add_argument("--table", action="store_true", help="print the table and keep nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        keep(arguments.keep, arguments.out)
    print(table(report.known(arguments.out)))


if __name__ == "__main__":
    main()

"""What each notebook of a tier may be expected to take: from its last execution here, else from `configs/costs`.

`configs/costs/<tier>.yaml` holds seconds measured on the machine it names, for a fresh clone. What was executed here
tells how this machine compares with that one. Left out: the forecast itself (`forecast.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from artifact.book.forecast import Cost
from artifact.book.notebooks import read_record, target_of
from artifact.config import Section, checked, read_yaml
from artifact.files import DamagedFile, read_json
from artifact.paths import project_root, results_dir


class NotebookSeconds(Section):
    """Seconds of wall clock of a notebook beside its training runs, and per run."""

    seconds: float
    runs: int = 0
    seconds_per_run: float = 0.0


class TierSeconds(Section):
    """A file of `configs/costs`: the machine and day of the measurement, and the notebooks by name."""

    machine: str
    measured: str
    notebooks: dict[str, NotebookSeconds]


def measured(tier: str) -> TierSeconds | None:
    """`configs/costs/<tier>.yaml`, None where there is no such file; ConfigError says what is wrong with it."""
    path = project_root() / "configs" / "costs" / f"{tier}.yaml"
    return checked(TierSeconds, read_yaml(path), path.name) if path.is_file() else None


def committed_costs(tier: str) -> dict[str, Cost]:
    """The costs of `configs/costs/<tier>.yaml`, none where there is no such file."""
    read = measured(tier)
    notebooks = read.notebooks.items() if read else ()
    return {name: Cost(n.seconds, n.runs, n.seconds_per_run) for name, n in notebooks}


def stored_cost(source: Path, tier: str, lanes: int, others: frozenset[str] = frozenset()) -> Cost | None:
    """The cost of the last execution of a notebook here, None where there is none.

    Its runs, but those of `others`, which notebooks before it make, are taken apart where their own seconds fit into
    the notebook's, `lanes` at a time; where they do not, they came from the store, and will again.
    """
    record = read_record(target_of(source, tier))
    if record is None:
        return None
    totals = [_seconds(results_dir() / "runs" / key) for key in sorted(_runs_of(record) - others)]
    known = [seconds for seconds in totals if seconds is not None]
    whole, run_s = float(record["seconds"]), mean(known) / lanes if known else 0.0
    if run_s * len(known) > whole:
        return Cost(whole, 0, run_s)
    return Cost(whole - run_s * len(known), len(known), run_s)


def _runs_of(record: dict[str, Any]) -> set[str]:
    return {run for item in record["made"] for run in item.get("runs", [])}


def _seconds(folder: Path) -> float | None:
    """The seconds in total of a stored run; None where there is none to be read."""
    try:
        return float(read_json(folder / "run_info.json", "run its stage again")["seconds"]["total"])
    except (OSError, DamagedFile):
        return None


def costs(sources: Sequence[Path], tier: str, lanes: int) -> dict[Path, Cost | None]:
    """The cost of every notebook of `sources` (all of a series, in order), None where nothing is known of it.

    A notebook that never came to its end finds the runs of an earlier attempt in the store: they cost nothing.
    """
    committed = committed_costs(tier)
    stored: dict[Path, Cost | None] = {}
    shown: frozenset[str] = frozenset()
    for source in sources:
        record, there = read_record(target_of(source, tier)), committed.get(source.stem)
        here = stored_cost(source, tier, lanes, shown)
        gone = here is not None and here.run_s == 0 and there is not None and there.runs > 0  # its runs were deleted
        stored[source] = None if gone else here
        shown |= _runs_of(record) if record else set()
    pairs = [(here, committed[s.stem]) for s, here in stored.items() if here and s.stem in committed]
    pairs = [(here, there) for here, there in pairs if here.runs == there.runs]  # others did other work
    ratio = sum(here.seconds() for here, _ in pairs) / sum(there.seconds() for _, there in pairs) if pairs else 1.0
    there_already = len([key for key in _runs_in_store(tier) if key not in shown])
    known: dict[Path, Cost | None] = {}
    for source, here in stored.items():
        known[source] = here
        if here is None and (there := committed.get(source.stem)) is not None:
            found = min(there.runs, there_already)
            there_already -= found
            known[source] = Cost(there.own_s * ratio, there.runs - found, there.run_s * ratio)
    return known


def _runs_in_store(tier: str) -> list[str]:
    """Keys of the finished runs of `tier`."""
    found = []
    for path in sorted((results_dir() / "runs").glob("*/manifest.json")):
        try:
            if read_json(path, "run its stage again")["tier"] == tier:
                found.append(path.parent.name)
        except DamagedFile:
            continue  # who reads the run says so
    return found

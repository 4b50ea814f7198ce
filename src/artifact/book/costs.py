"""What each notebook of a tier may be expected to take: from its last execution here, else from `configs/costs`.

`configs/costs/<tier>.yaml` holds seconds measured on the machine it names, for a fresh clone. What was executed here
tells how this machine compares with that one. Left out: the forecast itself (`forecast.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from pydantic import Field

from artifact.book.forecast import Cost
from artifact.book.notebooks import read_record, target_of
from artifact.config import Section, checked, read_yaml
from artifact.errors import ArtifactError
from artifact.files import DamagedFile, read_json
from artifact.paths import project_root, results_dir


class NotebookSeconds(Section):
    """Seconds of wall clock of a notebook beside its training runs, and per run."""

    seconds: float
    runs: int = 0
    seconds_per_run: float = 0.0


class TierSeconds(Section):
    """A file of `configs/costs`: the machine and day of the measurement, the whole, and the notebooks by name."""

    machine: str
    measured: str
    whole_seconds: float = Field(gt=0, description="wall clock of the series: notebooks and runs overlap")
    notebooks: dict[str, NotebookSeconds]

    @property
    def runs(self) -> int:
        """Training runs of the whole series."""
        return sum(n.runs for n in self.notebooks.values())


def measured(tier: str) -> TierSeconds | None:
    """`configs/costs/<tier>.yaml`, None where there is no such file; ConfigError says what is wrong with it."""
    path = project_root() / "configs" / "costs" / f"{tier}.yaml"
    return checked(TierSeconds, read_yaml(path), path.name) if path.is_file() else None


def measured_minutes(tier: str) -> tuple[TierSeconds, str]:
    """What was measured of `tier`, and the minutes of the whole. ArtifactError where its file is missing."""
    found = measured(tier)
    if found is None:
        raise ArtifactError(f"configs/costs/{tier}.yaml is missing: restore it, README and appendix tell its minutes")
    return found, f"{found.whole_seconds / 60:.0f}"


def committed_costs(tier: str) -> dict[str, Cost]:
    """The costs of `configs/costs/<tier>.yaml`, none where there is no such file."""
    read = measured(tier)
    notebooks = read.notebooks.items() if read else ()
    return {name: Cost(n.seconds, n.runs, n.seconds_per_run) for name, n in notebooks}


def stored_seconds(source: Path, tier: str) -> float | None:
    """What the last execution of a notebook here took beside training and waiting for runs; None without one."""
    record = read_record(target_of(source, tier))
    return None if record is None else max(0.0, float(record["seconds"]) - float(record.get("waited_seconds", 0.0)))


def seconds_of_runs(tier: str, lanes: int) -> float | None:
    """The mean of what the stored runs of `tier` took, over `lanes`; None where there is none."""
    found = []
    for path in sorted((results_dir() / "runs").glob("*/manifest.json")):
        try:
            if read_json(path, "run its stage again")["tier"] == tier:
                found.append(float(read_json(path.with_name("run_info.json"), "run it again")["seconds"]["total"]))
        except (OSError, DamagedFile):
            continue  # who reads the run says so
    return mean(found) / lanes if found else None


def costs(runs: Mapping[Path, int], tier: str, lanes: int) -> dict[Path, Cost | None]:
    """The cost of every notebook of a series, given the runs that each shows first; None where nothing is known of it.

    What was executed here tells how this machine compares with that of the committed file.
    """
    committed = committed_costs(tier)
    here = {source: stored_seconds(source, tier) for source in runs}
    pairs = [
        (s, committed[source.stem].own_s) for source, s in here.items() if s is not None and source.stem in committed
    ]
    ratio = sum(s for s, _ in pairs) / there if (there := sum(t for _, t in pairs)) else 1.0
    run_s = seconds_of_runs(tier, lanes)
    if run_s is None and (known := [c.run_s for c in committed.values() if c.runs]):
        run_s = mean(known) * ratio
    out: dict[Path, Cost | None] = {}
    for source, n in runs.items():
        own = here[source]
        if own is None and source.stem in committed:
            own = committed[source.stem].own_s * ratio
        out[source] = None if own is None or (n and run_s is None) else Cost(own, n, run_s or 0.0)
    return out

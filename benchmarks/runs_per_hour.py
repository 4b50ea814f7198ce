"""Training runs an hour on this machine: `python benchmarks/runs_per_hour.py`.

Whole runs of OPD on the embedded tier through store, lanes and actors, into an empty results folder. Of two kinds:
`main` measures the curve and the component norms as a row of the main tables does, `ablation` neither. One run on
each lane comes first and is not counted; it starts the actors and makes what runs share.

    runs an hour = 3600 · runs / wall-clock seconds from the first of them to the last
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from artifact.config import Config, load
from artifact.files import write_json
from artifact.studies.inputs import build_inputs
from artifact.studies.lanes import side_by_side
from artifact.studies.runner import run_told
from artifact.studies.study import Cell, load_study, read_learning_rates
from measuring import report

KINDS: dict[str, dict[str, Any]] = {"main": {}, "ablation": {"train.curve_every": 0, "train.component_norms_every": 0}}
"""What the configuration of a run of each kind says beyond the tier."""
TOY = {"train.steps": 1, "train.prompts_per_step": 4, "evaluation.final": ["evaluation[:8]"]}


def cell_of() -> Cell:
    """OPD, as the main study has it."""
    return next(cell for cell in load_study("uopd").cells if cell.id == "opd")


def config_of(kind: str, changes: dict[str, Any]) -> Config:
    """A run of `kind` under the teacher of which most ablations are made."""
    rate = {"optimiser.lr": read_learning_rates("tiny")["cells"]["opd"]["lr"]}
    return load("tiny", {**rate, **KINDS[kind], "teacher": "B", "method": "opd", **changes})


def measure(kind: str, runs: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Train `runs` runs of a kind, `cluster.lanes` at a time, and say how long they took."""
    config, cell, provenance = config_of(kind, changes), cell_of(), report.Provenance()
    lanes = config.cluster.lanes
    build_inputs(config)  # imports what threads must not import at the same time

    def work(seed: int, lane: int) -> float:
        begin = time.perf_counter()
        run_told((seed, runs), cell, config.model_copy(update={"seed": seed}), lane=lane, progress=False)
        return time.perf_counter() - begin

    side_by_side(range(lanes), lanes, work)
    begin = time.perf_counter()
    each = side_by_side(range(lanes, lanes + runs), lanes, work)
    took = time.perf_counter() - begin
    return {
        "runs": runs,
        "lanes": lanes,
        "seconds": took,
        "seconds_each": report.quartiles(each),
        "runs_an_hour": 3600 * runs / took,
        "provenance": provenance(),
    }


def table(found: dict[str, Any]) -> str:
    """What was measured, as the table of `docs/speed.md`."""
    rows = [
        (
            kind,
            str(p["runs"]),
            f"{p['seconds']:.0f}",
            report.with_interval(p["seconds_each"], 1),
            f"{p['runs_an_hour']:.0f}",
        )
        for kind, p in found.items()
    ]
    header = ("kind", "runs", "seconds, all", "seconds, each", "runs an hour")
    return "\n".join([*report.table(header, rows), "", *(report.machine(p["provenance"]) for p in found.values())])


def main() -> None:
    """Measure both kinds, write the file and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="runs of each kind (12)")
    parser.add_argument("--out", type=Path, default=report.FOLDER / "runs_per_hour.json", help="the JSON file to write")
    parser.add_argument("--toy", action="store_true", help="runs of one step: that the script runs")
    parser.add_argument("--table", action="store_true", help="print the file as the table of docs/speed.md")
    arguments = parser.parse_args()
    if not arguments.table:
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"ARTIFACT_RESULTS": folder}):
            found = {kind: measure(kind, arguments.runs, TOY if arguments.toy else {}) for kind in KINDS}
        write_json(arguments.out, found)
    print(report.shown(arguments.out, table, "python benchmarks/runs_per_hour.py"))


if __name__ == "__main__":
    main()

"""What a process costs before it does its work: `python benchmarks/starting.py`, in processor seconds.

A notebook's kernel, to the end of its imports: as Jupyter starts it by itself, and forked from the process that has
imported the libraries (`artifact.book.kernels`), whose own start comes once a series. An actor, to the report of what
it is made of: plainly, with every module of the actors' rooms, and as ours (`prepared_process` in
`artifact.actors.placement`; `artifact.actors.imported`). The sides take turns. `--table` prints the page's table.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from artifact.book import execute as executing
from artifact.book.kernels import FORKED
from artifact.files import write_json
from measuring import report

KERNEL = """import json, os, time
import artifact.report.ablations, artifact.report.notebook, artifact.studies.comparison, artifact.studies.inputs
print(json.dumps([time.process_time(), os.getppid()]))"""
"""Of what notebooks about finished runs import."""

ACTOR = """import sys, time
from contextlib import nullcontext
from artifact.actors import imported, scoring
from artifact.actors.placement import Slot, prepared_process
way, kind = sys.argv[1:]
with prepared_process(Slot(kind, 1, 0, "cpu", 1)) if way == "ours" else nullcontext():
    if kind == "engine":
        from vllm import LLM
    else:
        from transformers import AutoModelForCausalLM
if way == "plain":
    imported.ENGINES_ALONE = frozenset()
imported.report(None)
print(time.process_time())"""
"""Of what an actor imports before it is asked for anything."""


def kernel(way: str) -> tuple[float, int]:
    """Processor seconds of a kernel started in the `way` of that name, and the id of the process it comes from."""
    executing.FORKED = way  # type: ignore[misc]  # what the kernel's specification names
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "01_imports.ipynb"), Path(name, "out", "01_imports.ipynb")
        nbformat.write(new_notebook(cells=[new_code_cell(KERNEL, id="imports")]), source)
        executing.execute(source, target, {}, log_path=Path(name, "log"), terminal=io.StringIO())
        seconds, parent = json.loads(nbformat.read(target, as_version=4).cells[-1].outputs[0].text)
    return float(seconds), int(parent)


def actor(way: str, kind: str) -> float:
    """Processor seconds of an actor of that kind that imports in the way of that name, `plain` or `ours`."""
    done = subprocess.run([sys.executable, "-c", ACTOR, way, kind], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(repeats: int) -> dict[str, Any]:
    """Quartiles of each side over `repeats`, and what the process that is forked took to begin."""
    provenance = report.Provenance()
    _, server = kernel(FORKED)
    times = psutil.Process(server).cpu_times()
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for way, name in (("local-provisioner", "kernel, plain"), (FORKED, "kernel, ours")):
            found.setdefault(name, []).append(kernel(way)[0])
        for kind in ("teacher", "engine"):
            for way in ("plain", "ours"):
                found.setdefault(f"{kind}, {way}", []).append(actor(way, kind))
    return {
        "provenance": provenance(),
        "repeats": repeats,
        "seconds": {name: report.quartiles(seconds) for name, seconds in found.items()},
        "server_s": round(times.user + times.system, 2),
    }


def table(found: dict[str, Any]) -> str:
    """A row a process, below the machine."""
    seconds = found["seconds"]
    kinds = {"kernel": "a notebook's kernel", "teacher": "a teacher or reference", "engine": "an engine"}
    rows = []
    for kind, words in kinds.items():
        plain, ours = seconds[f"{kind}, plain"], seconds[f"{kind}, ours"]
        rows.append([words, *map(report.with_interval, (plain, ours)), f"{ours['median'] / plain['median']:.2f}"])
    lines = report.table(["processor seconds to begin", "plain", "ours", "ours over plain"], rows)
    server = f"The process that kernels are forked from took {found['server_s']:.2f} s, once a series."
    return "\n".join([*lines, "", f"{server} {found['repeats']} repetitions. {report.machine(found['provenance'])}"])


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="starts of each side (default 5)")
    parser.add_argument("--out", type=Path, default=report.FOLDER / "starting.json", help="the JSON file")
    parser.add_argument("--table", action="store_true", help="print what was measured, and measure nothing")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"--repeats {arguments.repeats}: at least one start of each side")
    if not arguments.table:
        write_json(arguments.out, measure(arguments.repeats))
    print(report.shown(arguments.out, table, "python benchmarks/starting.py"))


if __name__ == "__main__":
    main()

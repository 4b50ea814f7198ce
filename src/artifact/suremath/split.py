"""The curated problems: distinct, clean, split into a training part and held-out ones for test and for validation.

The held-out parts are drawn by a hash of each problem's id, with the difficulties in their shares, so they do not
depend on the order of the sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from artifact.errors import EmptyDataset
from artifact.suremath.decontaminate import BenchmarkIndex
from artifact.suremath.filters import DuplicateIndex
from artifact.suremath.lineage import Dropped, Evolved, drop
from artifact.suremath.settings import SureMathSettings

TEST_BENCHMARK = "suremath-test"
"""The name under which the held-out curated problems are a benchmark for everything that goes into training."""

VALIDATION_BENCHMARK = "suremath-validation"
"""The same of those that settings are chosen by."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The curated problems after the split."""

    train: list[Evolved]
    test: list[Evolved]
    validation: list[Evolved]
    dropped: list[Dropped]

    @property
    def held_out(self) -> dict[str, list[Evolved]]:
        """The held-out problems, as benchmarks for everything that goes into training."""
        return {TEST_BENCHMARK: self.test} | ({VALIDATION_BENCHMARK: self.validation} if self.validation else {})


def rank(seed: int, purpose: str, item: Evolved) -> str:
    """A pseudo-random order of items that does not depend on which others there are."""
    return hashlib.blake2b(f"{seed}/{purpose}/{item.id}".encode(), digest_size=16).hexdigest()


def split_curated(settings: SureMathSettings, curated: Sequence[Evolved], index: BenchmarkIndex) -> Parts:
    """Distinct, uncontaminated curated problems: `size`, of which `test` and `validation`, each balanced over
    difficulties, are held out.

    A training problem that overlaps a held-out one is dropped like any other overlap.
    """
    wanted, seed = settings.curated, settings.seed
    clean, dropped = [], []
    seen = DuplicateIndex(settings.filters.near_duplicate)
    for item in curated:
        if fate := overlap_fate(item, index, "curated") or duplicate_fate(item, seen, "curated"):
            dropped.append(fate)
        else:
            clean.append(item)
            seen.add(item.id, item.question)
    chosen = sorted(clean, key=lambda i: rank(seed, "curated", i))[: wanted.size]
    ids = {i.id for i in chosen}
    dropped += [drop(i, "curated", "not_drawn") for i in clean if i.id not in ids]
    if len(chosen) <= wanted.test + wanted.validation:
        raise EmptyDataset(
            f"only {len(chosen)} of {len(curated)} curated problems are usable, but curated.test = {wanted.test} and "
            f"curated.validation = {wanted.validation} are to be held out: add sources or lower them"
        )
    test = _balanced(chosen, wanted.test, seed, "test")
    validation = _balanced([i for i in chosen if i.id not in test], wanted.validation, seed, "validation")
    parts = Parts([], [i for i in clean if i.id in test], [i for i in clean if i.id in validation], dropped)
    inner = BenchmarkIndex(parts.held_out, settings.filters)
    for item in (i for i in clean if i.id in ids - test - validation):
        if fate := overlap_fate(item, inner, "curated"):
            dropped.append(fate)
        else:
            parts.train.append(item)
    return parts


def _balanced(items: Sequence[Evolved], size: int, seed: int, purpose: str) -> set[str]:
    """Ids of `size` items, the difficulties in their shares (largest remainders), within a difficulty by rank."""
    difficulties: dict[str, list[Evolved]] = {}
    for i in sorted(items, key=lambda i: rank(seed, purpose, i)):
        difficulties.setdefault(i.difficulty, []).append(i)
    exact = {t: size * len(group) / len(items) for t, group in difficulties.items()}
    quota = {t: int(x) for t, x in exact.items()}
    for t in sorted(exact, key=lambda t: (quota[t] - exact[t], t))[: size - sum(quota.values())]:
        quota[t] += 1
    return {i.id for t, group in difficulties.items() for i in group[: quota[t]]}


def overlap_fate(item: Evolved, index: BenchmarkIndex, stage: str) -> Dropped | None:
    """`item` as dropped at `stage` for its overlap with a benchmark, None when it is clean."""
    found = index.overlap(item.question)
    if found is None:
        return None
    where = {"benchmark": found.benchmark, "benchmark_id": found.benchmark_id, "span": found.span}
    return drop(item, stage, found.reason, f"{found.words} words", **where)


def duplicate_fate(item: Evolved, seen: DuplicateIndex, stage: str) -> Dropped | None:
    """`item` as dropped at `stage` for repeating an earlier problem, None when it is new."""
    found = seen.duplicate_of(item.question)
    return None if found is None else drop(item, stage, found[0], f"{found[1]} ({found[2]:.3f})")

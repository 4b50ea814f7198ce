"""Stored samples are looked up where they lie: the same as all of them read at once, without holding them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from artifact.phase1.stored import StoredSamples
from artifact.records import RecordError, Rollout, Status, Verdict, concat_parquet, write_parquet

DRAWN, N, BATCH = 4, 3, 5


def rollout(problem: int, sample: int) -> Rollout:
    ids = tuple(range(sample + 1 + problem % 3))
    verdict = Verdict(Status.CORRECT if sample else Status.WRONG, str(problem))
    return Rollout(
        f"p{problem:07d}", sample, (1, 2), ids, (-0.5,) * len(ids), f"{problem}/{sample}", "stop", -1, verdict
    )


def stored(folder: Path, problems: int) -> Path:
    """`DRAWN` samples of each problem as phase 1 stores them: a row group for each batch."""
    shards = []
    for start in range(0, problems, BATCH):
        shards.append(folder / f"{start:08d}.parquet")
        batch = range(start, min(start + BATCH, problems))
        write_parquet(shards[-1], (rollout(p, s) for p in batch for s in range(DRAWN)), Rollout)
    concat_parquet(shards, folder / "samples.parquet", Rollout)
    return folder / "samples.parquet"


def test_samples_are_those_that_were_stored_by_problem_and_the_first_n_of_each(tmp_path: Path) -> None:
    samples = StoredSamples(stored(tmp_path, 12), N)
    assert dict(samples) == {f"p{p:07d}": tuple(rollout(p, s) for s in range(N)) for p in range(12)}
    assert len(samples) == 12 and "p0000011" in samples and "p0000012" not in samples
    with pytest.raises(KeyError):
        samples["p0000012"]
    assert samples.tokens() == sum(s + 1 + p % 3 for p in range(12) for s in range(N))


def test_a_problem_in_two_row_groups_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, 5)
    concat_parquet([path, path], tmp_path / "twice.parquet", Rollout)
    with pytest.raises(RecordError, match=r"twice\.parquet has samples of problem 'p0000000' in two places"):
        len(StoredSamples(tmp_path / "twice.parquet", N))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, 5)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordError, match=r"samples\.parquet cannot be read as Parquet"):
        len(StoredSamples(path, N))


def test_what_stays_in_memory_is_where_each_problem_lies(tmp_path: Path) -> None:
    """At most 200 bytes of Python's memory per problem, whatever is stored of it; one rollout alone has more."""
    samples = StoredSamples(stored(tmp_path, 2000), N)
    tracemalloc.start()
    assert len(samples) == 2000
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 2000 < 200

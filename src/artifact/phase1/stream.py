"""Annotation as a stream: problems in, shards of teacher samples out, shards of annotations out; memory stays flat.

Both stages work through the problems in batches of a fixed size, one Parquet file per batch, written under another name
and renamed. So a killed annotation goes on with the next batch, repeats none and loses none, and ends with the same
bytes as an uninterrupted one (sampling is a function of seed, problem and sample number). At most one batch is held; of
a problem nothing stays but a hash of its id (some 70 bytes), and the problem where the caller holds it.

Left out: who samples (an engine, or in a test canned answers) and who judges; both are passed in.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from artifact.files import write_text
from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import Annotation
from artifact.provenance import vouch, vouched
from artifact.records import Problem, Record, RecordError, Rollout, concat_parquet, read_parquet, write_parquet

Sample = Callable[[Sequence[Problem]], Sequence[Sequence[Rollout]]]
"""A batch of problems → their verified responses, one group per problem."""


def in_batches(problems: Iterable[Problem], size: int) -> Iterator[tuple[int, tuple[Problem, ...]]]:
    """(index of the first, problems) of each batch; RecordError names an id that comes twice."""
    seen: set[int] = set()
    start, source = 0, iter(problems)
    while batch := tuple(islice(source, size)):
        for p in batch:
            if hash(p.id) in seen:  # hashes: a third of the strings' bytes; a false alarm among 10⁹ pairs is 1 in 10¹⁰
                raise RecordError(f"problem id {p.id!r} comes twice in this set: ids must be unique within a dataset")
            seen.add(hash(p.id))
        yield start, batch
        start += len(batch)


def shard_path(folder: Path, start: int) -> Path:
    """The shard whose first problem is number `start`."""
    return folder / f"{start:08d}.parquet"


def write_timed(path: Path, records: Iterable[Record], kind: type[Record], seconds: float) -> None:
    """The records, and before them how long they took to make: where there are records, there is their time."""
    write_text(path.with_suffix(".seconds"), f"{seconds:.6f}\n")
    write_parquet(path, records, kind)
    vouch(path)


def seconds_of(path: Path) -> float:
    """How long what `write_timed` wrote took to make; RecordError when that is not known."""
    clock = path.with_suffix(".seconds")
    try:
        return float(clock.read_text(encoding="ascii"))
    except (OSError, ValueError) as err:
        raise RecordError(f"{clock} does not say how long {path.name} took; delete both and run again") from err


def _seconds(folder: Path) -> float:
    """How long the shards of `folder` took to make, in whichever attempt."""
    return round(sum(map(seconds_of, folder.glob("*.parquet"))), 3)


def bar_for(problems: Iterable[Problem], what: str) -> Any:
    """A progress bar with rate and time left, on a terminal only."""
    total = len(problems) if isinstance(problems, Sequence) else None
    return tqdm(total=total, desc=what, unit="prompt", disable=not sys.stderr.isatty(), leave=False)


def draw(
    problems: Iterable[Problem], sample: Sample, folder: Path, *, batch: int, what: str = "sampling"
) -> dict[str, Any]:
    """Sample every problem, one shard per batch under `folder`; finished shards are read, not drawn again.

    Returns the account: problems, responses, tokens, truncated, unparsed (responses by verdict status), without_answer
    (problems none of whose responses has an answer), and the seconds of sampling over all attempts. Raises RecordError
    for an id that comes twice, a damaged shard, or a shard of other problems.
    """
    account: Counter[str] = Counter()
    with bar_for(problems, what) as bar:
        for start, group in in_batches(problems, batch):
            path = shard_path(folder, start)
            if path.exists() and vouched(path) is not False:
                rollouts = read_shard(path, group)
            else:
                begin = time.perf_counter()
                rollouts = [r for responses in sample(group) for r in responses]
                write_timed(path, rollouts, Rollout, time.perf_counter() - begin)
            account.update(problems=len(group))
            _count(account, rollouts)
            bar.update(len(group))
    return {**account, "seconds": _seconds(folder)}


def read_shard(path: Path, problems: Sequence[Problem]) -> list[Rollout]:
    """The rollouts of a shard; RecordError when it cannot be read or is about other problems than `problems`."""
    rollouts = read_parquet(path, Rollout)
    found = list(dict.fromkeys(r.problem_id for r in rollouts))
    if found != [p.id for p in problems]:
        raise RecordError(
            f"{path} holds samples of {len(found)} problems, first {found[:1]}, where {len(problems)} were expected, "
            f"first {[p.id for p in problems[:1]]}: it belongs to another set; delete it and run the stage again"
        )
    return rollouts


def _count(account: Counter[str], rollouts: Sequence[Rollout]) -> None:
    answered = {r.problem_id for r in rollouts if r.verdict is not None and r.verdict.extracted is not None}
    account.update(
        responses=len(rollouts),
        tokens=sum(len(r.response_ids) for r in rollouts),
        truncated=sum(r.finish_reason == "length" for r in rollouts),
        without_answer=len({r.problem_id for r in rollouts} - answered),
    )
    account.update(f"status/{r.verdict.status}" for r in rollouts if r.verdict is not None)


def annotate_stream(
    problems: Iterable[Problem],
    samples: Path,
    folder: Path,
    judge: EquivalenceJudge,
    *,
    batch: int,
    n: int,
    normaliser: str = "n",
    min_valid: int = 0,
    what: str = "clustering",
) -> dict[str, Any]:
    """Cluster the first `n` stored samples of each problem, shard by shard; the account of what was kept and dropped.

    It counts the judgements asked for (`judge_calls`), and of them those without a verdict (`undecided`), those where
    the algebra failed (`accidents`, and by name) and those overruled by transitivity (`contradicted`).
    `samples` is the folder `draw` wrote with the same `batch`; more than `n` stored samples are nested: the first n of
    a larger draw are the draw of n. Raises RecordError when a problem has fewer.
    """
    account: Counter[str] = Counter()
    dropped: dict[str, str] = {}
    with bar_for(problems, what) as bar:
        for start, group in in_batches(problems, batch):
            chosen = [r for r in read_shard(shard_path(samples, start), group) if r.sample < n]
            short = [i for i, c in Counter(r.problem_id for r in chosen).items() if c != n]
            if short:
                raise RecordError(
                    f"{shard_path(samples, start)}: problem {short[0]!r} has fewer than N = {n} samples; draw more "
                    "(annotation.draw) or lower annotation.samples"
                )
            path = shard_path(folder, start)
            if path.exists() and vouched(path) is not False:  # judged already: asking again would cost a model's time
                annotations = read_parquet(path, Annotation)
                kept = {a.problem_id for a in annotations}
                lost = {p.id: f"fewer than {min_valid} usable answers" for p in group if p.id not in kept}
            else:
                begin = time.perf_counter()
                annotations, lost = annotate_all(group, chosen, judge, normaliser=normaliser, min_valid=min_valid)
                write_timed(path, annotations, Annotation, time.perf_counter() - begin)
            dropped |= lost
            account.update(
                annotated=len(annotations),
                judge_calls=sum(len(a.judgements) for a in annotations),
                undecided=sum(j.equivalent is None for a in annotations for j in a.judgements),
                accidents=sum(bool(j.accident) for a in annotations for j in a.judgements),
                contradicted=sum(len(a.contradictions) for a in annotations),
                all_unparsed=sum(a.n_valid == 0 for a in annotations),
            )
            account.update(f"accident/{j.accident}" for a in annotations for j in a.judgements if j.accident)
            bar.update(len(group))
    return {**account, "dropped": dropped, "seconds": _seconds(folder)}


def join_shards(folder: Path, target: Path, kind: type[Record]) -> Path:
    """All shards of `folder`, in order, as one Parquet file; one shard is in memory at a time."""
    concat_parquet(sorted(folder.glob("*.parquet")), target, kind)
    return target

"""Annotation as a stream: killed anywhere it ends with the same bytes, and what goes wrong is named and counted.

The engine here is a fake that returns canned, seeded samples: what is tested is the stream, not the sampling.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from artifact.phase1.judge import EquivalenceJudge, Judgement, Pair, SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.phase1.stream import annotate_stream, draw, join_shards, shard_path
from artifact.records import Problem, RecordError, Rollout, Status, Verdict, read_parquet


def problems(n: int) -> list[Problem]:
    return [Problem(f"p{i:05d}", f"question {i}", str(i % 7), None, "canned", "easy") for i in range(n)]


def canned(batch, n: int = 4, answered: bool = True) -> list[tuple[Rollout, ...]]:
    """n samples per problem: a pure function of the problem's id, as seeded sampling is."""
    out = []
    for p in batch:
        rng = random.Random(p.id)
        group = []
        for j in range(n):
            answer = str(int(p.answer) + rng.choice([0, 0, 0, 1])) if answered else None
            status = Status.UNPARSED if answer is None else Status.CORRECT if answer == p.answer else Status.WRONG
            ids = tuple(rng.randrange(50) for _ in range(3))
            logprobs = tuple(-rng.random() for _ in ids)
            stop = "stop" if answered else "length"
            group.append(Rollout(p.id, j, (1, 2), ids, logprobs, "", stop, -1, Verdict(status, answer)))
        out.append(tuple(group))
    return out


def whole(folder: Path, count: int = 40, batch: int = 6) -> str:
    """Draw and annotate into `folder`; the digest of both final files."""
    draw(problems(count), canned, folder / "shards", batch=batch)
    annotate_stream(problems(count), folder / "shards", folder / "annotated", SymbolicJudge(), batch=batch, n=4)
    files = [
        join_shards(folder / "shards", folder / "samples.parquet", Rollout),
        join_shards(folder / "annotated", folder / "annotations.parquet", Annotation),
    ]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.phase1 import test_stream as t
import pandas, pyarrow.parquet
plain = t.canned
t.canned = lambda batch: (time.sleep(0.05), plain(batch))[1]
folder, kills = Path(sys.argv[2]), 0
for want in map(int, sys.argv[3:]):
    child = os.fork()
    if child == 0:
        t.whole(folder)
        os._exit(0)
    ended = 0
    while not ended and len(list(folder.glob("*/*.parquet"))) < want:
        ended, _ = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
print(kills)
"""
"""Starts the stream again and again in a forked process (the imports once), each killed at its number of shards."""


def test_killed_at_five_random_points_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    expected = whole(tmp_path / "uninterrupted")
    folder = tmp_path / "killed"
    root = str(Path(__file__).resolve().parents[2])
    points = sorted(random.Random(7).sample(range(1, 14), 5))  # 7 shards of samples, then 7 of annotations
    done = subprocess.run(
        [sys.executable, "-c", KILLED, root, str(folder), *map(str, points)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout) >= 3, "the stream was too quick to be killed: slow the fake engine down"
    assert whole(folder) == expected


def test_no_problem_is_repeated_or_lost_and_none_is_sampled_twice(tmp_path: Path) -> None:
    asked: list[str] = []

    def counting(batch):
        asked.extend(p.id for p in batch)
        return canned(batch)

    draw(problems(17), counting, tmp_path, batch=5)
    draw(problems(17), counting, tmp_path, batch=5)
    assert asked == [p.id for p in problems(17)]
    joined = read_parquet(join_shards(tmp_path, tmp_path / "all" / "x.parquet", Rollout), Rollout)
    assert [(r.problem_id, r.sample) for r in joined] == [(p.id, j) for p in problems(17) for j in range(4)]


class Interrupted(EquivalenceJudge):
    """Undecided about everything, in the context of each question; breaks off after `last` pairs."""

    name = "interrupted"
    by_key = False
    in_context = True

    def __init__(self, last: int | None = None) -> None:
        super().__init__()
        self.last, self.asked = last, 0

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return self.decide_in_context(pairs, [""] * len(pairs))

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        self.asked += len(pairs)
        if self.last is not None and self.asked > self.last:
            raise KeyboardInterrupt
        return [Judgement(a, b, None, self.name) for a, b in pairs]


def test_a_resumed_annotation_does_not_ask_the_judge_again(tmp_path: Path) -> None:
    """Every pair is put to the judge once over all attempts, apart from the shard that was broken off."""
    everything, samples = problems(40), tmp_path / "samples"
    draw(everything, canned, samples, batch=4)

    def attempt(judge: Interrupted, name: str) -> None:
        annotate_stream(everything, samples, tmp_path / name, judge, batch=4, n=4)

    whole = Interrupted()
    attempt(whole, "whole")
    first = Interrupted(last=whole.asked // 2)
    with pytest.raises(KeyboardInterrupt):
        attempt(first, "resumed")
    finished = [read_parquet(p, Annotation) for p in sorted((tmp_path / "resumed").glob("*.parquet"))]
    judged = sum(len(a.judgements) for shard in finished for a in shard)
    assert 0 < len(finished) < 10 and judged > 0
    second = Interrupted()
    attempt(second, "resumed")
    assert second.asked == whole.asked - judged
    third = Interrupted(last=0)
    attempt(third, "resumed")
    assert third.asked == 0
    pairs = zip(*(sorted((tmp_path / name).glob("*.parquet")) for name in ("whole", "resumed")), strict=True)
    assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def test_seconds_are_those_of_all_attempts(tmp_path: Path) -> None:
    """Two batches of the first attempt take 0.3 s each; the second draws the other three at once."""
    drawn = 0

    def slow(batch):
        nonlocal drawn
        if drawn == 2:
            raise KeyboardInterrupt
        drawn += 1
        time.sleep(0.3)
        return canned(batch)

    with pytest.raises(KeyboardInterrupt):
        draw(problems(20), slow, tmp_path, batch=4)
    account = draw(problems(20), canned, tmp_path, batch=4)
    assert account["responses"] == 80 and account["seconds"] >= 0.6
    assert draw(problems(20), slow, tmp_path, batch=4)["seconds"] == account["seconds"], "nothing drawn, nothing added"
    clock = shard_path(tmp_path, 4).with_suffix(".seconds")
    clock.unlink()
    with pytest.raises(RecordError, match=f"{clock.name} does not say how long"):
        draw(problems(20), canned, tmp_path, batch=4)


def test_the_first_n_of_a_larger_draw_are_the_draw_of_n(tmp_path: Path) -> None:
    batch = problems(9)
    draw(batch, lambda b: canned(b, 4), tmp_path / "four", batch=4)
    draw(batch, lambda b: [g[:2] for g in canned(b, 4)], tmp_path / "two", batch=4)
    for name in ("four", "two"):
        annotate_stream(batch, tmp_path / name, tmp_path / f"{name}-annotated", SymbolicJudge(), batch=4, n=2)
    digests = [
        join_shards(tmp_path / f"{name}-annotated", tmp_path / f"{name}.parquet", Annotation).read_bytes()
        for name in ("four", "two")
    ]
    assert digests[0] == digests[1]


def test_a_teacher_that_never_answers_gives_full_entropy_and_is_counted(tmp_path: Path) -> None:
    account = draw(problems(3), lambda b: canned(b, answered=False), tmp_path / "s", batch=2)
    assert account["without_answer"] == 3
    assert account["truncated"] == account["status/unparsed"] == 12
    made = annotate_stream(problems(3), tmp_path / "s", tmp_path / "a", SymbolicJudge(), batch=2, n=4)
    assert made["all_unparsed"] == 3
    for a in read_parquet(shard_path(tmp_path / "a", 0), Annotation):
        # Four singletons: the discrete entropy is log 4 exactly, and the weight is close to 0.
        assert a.clusters == 4 and a.weight < 0.1 and a.majority_correct == 0


def test_what_was_dropped_is_dropped_by_name_on_every_attempt(tmp_path: Path) -> None:
    silent = {"p00001", "p00004"}
    draw(problems(6), lambda b: [canned([p], answered=p.id not in silent)[0] for p in b], tmp_path / "s", batch=2)
    for _ in range(2):
        made = annotate_stream(
            problems(6),
            tmp_path / "s",
            tmp_path / "a",
            SymbolicJudge(),
            batch=2,
            n=4,
            normaliser="n_valid",
            min_valid=2,
        )
        assert made["annotated"] == 4 and made["dropped"].keys() == silent


def test_ids_that_come_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="'p00001' comes twice"):
        draw([*problems(3), problems(2)[1]], canned, tmp_path, batch=2)


def test_a_damaged_shard_is_made_again_and_one_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    draw(problems(6), canned, tmp_path, batch=3)
    path = shard_path(tmp_path, 3)
    whole = path.read_bytes()
    for hurt in (whole[:200], whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]):
        path.write_bytes(hurt)
        draw(problems(6), canned, tmp_path, batch=3)
        assert path.read_bytes() == whole
    path.write_bytes(whole[:200])
    for voucher in tmp_path.glob("*.sha256.partial"):
        voucher.unlink()
    with pytest.raises(RecordError, match=r"00000003.parquet cannot be read as Parquet"):
        draw(problems(6), canned, tmp_path, batch=3)


def test_shards_of_other_problems_are_refused(tmp_path: Path) -> None:
    draw(problems(6), canned, tmp_path, batch=3)
    with pytest.raises(RecordError, match="belongs to another set"):
        draw(problems(9)[3:], canned, tmp_path, batch=3)


def test_too_few_stored_samples_are_an_error_that_says_what_to_change(tmp_path: Path) -> None:
    draw(problems(2), canned, tmp_path / "s", batch=2)
    with pytest.raises(RecordError, match=r"fewer than N = 8 samples; draw more \(annotation.draw\)"):
        annotate_stream(problems(2), tmp_path / "s", tmp_path / "a", SymbolicJudge(), batch=2, n=8)

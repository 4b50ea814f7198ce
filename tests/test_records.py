"""The data contract: what is written is what is read, and a broken file or record is an error that names it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.records import (
    Group,
    Problem,
    RecordError,
    Rollout,
    RowGroups,
    Status,
    Verdict,
    index_by_id,
    read_parquet,
    stream_parquet,
    write_parquet,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
IDS = st.lists(st.integers(0, 2**31 - 1), max_size=6).map(tuple)
JSON = st.dictionaries(
    TEXT,
    st.one_of(st.integers(-(2**53), 2**53), TEXT, st.booleans(), st.none(), st.lists(st.integers(0, 9), max_size=3)),
)
VERDICTS = st.none() | st.builds(
    Verdict,
    st.sampled_from(Status),
    st.none() | TEXT,
    TEXT,
    st.sampled_from(["", "boxed", "hashes"]),
    st.none() | st.floats(0, 1),
)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    """Any rollout; log-probabilities are float32 as in storage."""
    response = draw(IDS)
    logprobs = tuple(draw(st.floats(-100, 0, width=32)) for _ in response)
    return Rollout(
        draw(TEXT),
        draw(st.integers(0, 99)),
        draw(IDS),
        response,
        logprobs,
        draw(TEXT),
        draw(st.sampled_from(["stop", "length"])),
        draw(st.integers(-1, 9)),
        draw(VERDICTS),
        draw(st.none() | st.tuples(*[st.booleans() for _ in response])),
    )


PROBLEMS = st.builds(Problem, TEXT, TEXT, TEXT, st.none() | TEXT, TEXT, TEXT, JSON)


@settings(max_examples=30, deadline=None)
@given(st.lists(rollouts(), max_size=4), st.lists(PROBLEMS, max_size=4))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, some_rollouts: list[Rollout], some_problems: list[Problem]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    write_parquet(folder / "r.parquet", some_rollouts, Rollout)
    write_parquet(folder / "p.parquet", some_problems, Problem)
    assert read_parquet(folder / "r.parquet", Rollout) == some_rollouts
    assert read_parquet(folder / "p.parquet", Problem) == some_problems
    assert sorted(p.name for p in folder.iterdir()) == ["p.parquet", "r.parquet"]


def test_a_file_is_read_few_rows_at_a_time(tmp_path: Path) -> None:
    """Of one row group: what is held beside Arrow's table is far less than all its records."""
    path, count = tmp_path / "rollouts.parquet", 8000
    write_parquet(path, (make(f"p{i}", logprobs=(-0.5,) * 40) for i in range(count)), Rollout)

    def peak(read: Callable[[], object]) -> int:
        read()
        tracemalloc.start()
        try:
            assert read() == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert RowGroups(path, Rollout).table(0).num_rows == count
    streamed = peak(lambda: sum(1 for _ in stream_parquet(path, Rollout)))
    assert streamed < peak(lambda: len(read_parquet(path, Rollout))) / 8
    assert [r.problem_id for r in stream_parquet(path, Rollout)] == [f"p{i}" for i in range(count)]


def make(
    problem_id: str = "p1", status: Status | None = Status.CORRECT, logprobs: tuple[float, ...] = (-1.0, -2.0)
) -> Rollout:
    verdict = None if status is None else Verdict(status, "7", "", "boxed")
    return Rollout(problem_id, 0, (1, 2), (3,) * len(logprobs), logprobs, "x", "stop", 0, verdict)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "rollouts.parquet"
    write_parquet(path, [make() for _ in range(50)], Rollout)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(RecordError, match=r"rollouts\.parquet cannot be read as Parquet.*run the stage again"):
        read_parquet(path, Rollout)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises((RecordError, FileNotFoundError), match=r"nowhere\.parquet"):
        read_parquet(tmp_path / "nowhere.parquet", Rollout)


def test_columns_of_another_kind_are_named(tmp_path: Path) -> None:
    path = tmp_path / "problems.parquet"
    write_parquet(path, [Problem("a", "q", "1", None, "t", "easy")], Problem)
    with pytest.raises(RecordError, match=r"problems\.parquet lacks the column\(s\).*response_ids.*Rollout"):
        read_parquet(path, Rollout)


def test_a_file_without_scores_is_read_without_them(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    made = [make("a"), make("b", None), make("c").with_verdict(Verdict(Status.WRONG, "x", "", "chrf", 0.4))]
    write_parquet(path, made, Rollout)
    assert read_parquet(path, Rollout) == made and [r.reward for r in made] == [1.0, 0.0, 0.4]
    pq.write_table(pq.read_table(path).drop_columns(["score"]), path)
    again = read_parquet(path, Rollout)
    assert again[:2] == made[:2] and again[2].verdict == Verdict(Status.WRONG, "x", "", "chrf")


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    write_parquet(path, [make("old")], Rollout)
    too_large = Rollout("new", 0, (2**40,), (), (), "", "stop")
    with pytest.raises(Exception, match=r"out of bounds|too large|not in range"):
        write_parquet(path, [too_large], Rollout)
    assert [r.problem_id for r in read_parquet(path, Rollout)] == ["old"]


def test_rollout_wants_one_logprob_a_token() -> None:
    with pytest.raises(RecordError, match="p9#0 has 2 response tokens but 1 log-probabilities"):
        Rollout("p9", 0, (1,), (3, 4), (-1.0,), "", "stop")


def test_mean_logprob_is_length_normalised() -> None:
    assert make(logprobs=(-1.0, -2.0, -6.0)).mean_logprob == -3.0
    assert make(logprobs=()).mean_logprob == 0.0


def test_tokens_of_a_tool_do_not_count_in_the_mean() -> None:
    assert replace(make(logprobs=(-1.0, 0.0, -2.0)), response_mask=(True, False, True)).mean_logprob == -1.5


def test_group_partition_covers_every_rollout() -> None:
    """Correct and incorrect are disjoint and complete, whatever the verdicts; only CORRECT is correct."""
    some = tuple(make(status=s) for s in (*Status, None))
    group = Group(Problem("p1", "q", "7", None, "t", "easy"), (1, 2), some)
    assert [r.verdict.status for r in group.correct if r.verdict] == [Status.CORRECT]
    assert {r.verdict.status for r in group.unjudged if r.verdict} == {Status.TIMEOUT, Status.ERROR}
    assert len(group.correct) + len(group.incorrect) + len(group.unjudged) == len(some)
    assert not set(map(id, group.unjudged)) & set(map(id, (*group.correct, *group.incorrect)))
    assert not set(map(id, group.correct)) & set(map(id, group.incorrect))


def test_duplicate_ids_are_named() -> None:
    problems = [Problem(i, "q", "1", None, "t", "easy") for i in ("a", "b", "a")]
    with pytest.raises(RecordError, match="duplicate problem id 'a'"):
        index_by_id(problems)
    assert list(index_by_id(problems[:2])) == ["a", "b"]

"""The data contract: what flows between the rooms of this house.

Every record is a frozen dataclass that knows its own Parquet schema, so that a stage can be killed and the next one can
read what was stored. Rollouts are *tokens in, tokens out*: nothing decodes a response and encodes it again, and a
verdict is an enumeration with a reason, never a bare 0 that could also mean "the verifier crashed".

Left out on purpose: anything that needs torch.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from artifact.errors import ArtifactError
from artifact.files import atomically

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


class RecordError(ArtifactError, ValueError):
    """A record or a stored file does not have the promised form."""


class Status(enum.StrEnum):
    """How verification of one response ended. Only `CORRECT` counts as correct; any other status is counted by name.

    `TIMEOUT` and `ERROR` are accidents of the verifier (`accident`), no judgement of the response.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"  # no final answer could be extracted from the response
    TIMEOUT = "timeout"  # the comparison was stopped at its limit of processor time
    ERROR = "error"  # the verifier raised; `detail` says what

    @property
    def accident(self) -> bool:
        """Whether the verifier failed, so that nobody knows if the response is right."""
        return self in (Status.TIMEOUT, Status.ERROR)


class Record:
    """Base of all stored records: conversion to and from Parquet tables, one row per record.

    Subclasses list their columns in `COLUMNS` as name → Arrow type string; `dict` fields are stored as JSON text.
    Those in `OPTIONAL` a file may lack: they are read as None.
    """

    COLUMNS: ClassVar[dict[str, str]] = {}
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()

    def to_row(self) -> dict[str, Any]:
        """This record as one flat row, in the order of `COLUMNS`."""
        row = asdict(self)  # type: ignore[call-overload]
        return {k: json.dumps(row[k], sort_keys=True) if t == "json" else row[k] for k, t in self.COLUMNS.items()}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The inverse of `to_row`; lists become tuples, JSON text becomes dictionaries."""
        kwargs = {}
        for name, kind in cls.COLUMNS.items():
            value = row[name]
            kwargs[name] = json.loads(value) if kind == "json" else tuple(value) if isinstance(value, list) else value
        return cls(**kwargs)

    @classmethod
    def schema(cls) -> pa.Schema:
        """The Arrow schema of a table of these records."""
        import pyarrow as pa

        types = {
            "str": pa.string(),
            "json": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "[int]": pa.list_(pa.int32()),
            "[float]": pa.list_(pa.float32()),
            "[str]": pa.list_(pa.string()),
            "[double]": pa.list_(pa.float64()),
            "[bool]": pa.list_(pa.bool_()),
        }
        return pa.schema([(name, types[kind]) for name, kind in cls.COLUMNS.items()])


@dataclass(frozen=True, slots=True)
class Problem(Record):
    """A question with its ground truth.

    `difficulty` is easy, medium, hard or competition, or the source's own grade (`level 3`), `task` the registry name
    of the task it came from, `solution` a reference chain of thought that ends in the answer (None where the source
    has none), `meta` free text facts such as the problem family or the lineage of an evolved problem.
    """

    id: str
    question: str
    answer: str
    solution: str | None
    task: str
    difficulty: str
    meta: dict[str, Any] = field(default_factory=dict)

    COLUMNS: ClassVar[dict[str, str]] = {
        "id": "str",
        "question": "str",
        "answer": "str",
        "solution": "str",
        "task": "str",
        "difficulty": "str",
        "meta": "json",
    }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of verifying one response: a status, the answer that was extracted, and why.

    `rule` names the extraction rule that fired (`boxed`, `hashes`, `last_number`), or the metric that gave the `score`
    (`chrf`, `rougeL`, `constraints`); empty where neither did. `score` in [0, 1] is how good a graded response is, None
    where a task knows only right and wrong; a `score` outside raises RecordError.
    """

    status: Status
    extracted: str | None = None
    detail: str = ""
    rule: str = ""
    score: float | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise RecordError(
                f"a verdict has the score {self.score} by {self.rule or 'no metric'!r}; scores lie in [0, 1]"
            )

    @property
    def correct(self) -> bool:
        """True only for `Status.CORRECT`."""
        return self.status is Status.CORRECT


@dataclass(frozen=True, slots=True)
class Rollout(Record):
    """One sampled response, as token ids, with the log-probability of each token under the sampling policy.

    `logprobs` are *raw*: natural log, temperature 1, full vocabulary, one per response token (EOS included when it was
    generated). `policy_version` is the number of optimiser steps behind the weights that sampled it, −1 for a frozen
    model. `finish_reason` is `stop` (EOS or a stop token) or `length` (cut off at the token budget). `response_mask` is
    False at tokens the policy did not choose (tool output; their log-probability is 0.0); None = it chose them all.
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: str
    policy_version: int = -1
    verdict: Verdict | None = None
    response_mask: tuple[bool, ...] | None = None

    COLUMNS: ClassVar[dict[str, str]] = {
        "problem_id": "str",
        "sample": "int",
        "prompt_ids": "[int]",
        "response_ids": "[int]",
        "logprobs": "[float]",
        "text": "str",
        "finish_reason": "str",
        "policy_version": "int",
        "response_mask": "[bool]",
        "status": "str",
        "extracted": "str",
        "detail": "str",
        "rule": "str",
        "score": "float",
    }
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"score"})

    def __post_init__(self) -> None:
        if len(self.logprobs) != len(self.response_ids):
            raise RecordError(
                f"rollout {self.problem_id}#{self.sample} has {len(self.response_ids)} response tokens but "
                f"{len(self.logprobs)} log-probabilities; the engine must return one per token"
            )

    @property
    def truncated(self) -> bool:
        """Whether it was cut off at the token budget."""
        return self.finish_reason == "length"

    @property
    def mean_logprob(self) -> float:
        """Length-normalised log-probability ℓ/|y| (UOPD Eq. 4) over the tokens the policy chose; 0 without any."""
        chosen = len(self.logprobs) if self.response_mask is None else sum(self.response_mask)
        return sum(self.logprobs) / chosen if chosen else 0.0

    @property
    def correct(self) -> bool:
        """Whether it was verified and found right; every other outcome is not, also that nobody verified it."""
        return self.verdict is not None and self.verdict.correct

    @property
    def reward(self) -> float:
        """Its score where the task gives one, else 1 for a correct rollout and 0 for any other."""
        scored = self.verdict is not None and self.verdict.score is not None
        return self.verdict.score if scored else float(self.correct)  # type: ignore[union-attr, return-value]

    @property
    def unjudged(self) -> bool:
        """Whether its verdict is an accident of the verifier: it is neither right nor wrong."""
        return self.verdict is not None and self.verdict.status.accident

    def with_verdict(self, verdict: Verdict) -> Rollout:
        """A copy that carries `verdict`."""
        return replace(self, verdict=verdict)

    def to_row(self) -> dict[str, Any]:
        verdict = self.verdict
        row = {name: getattr(self, name) for name in list(self.COLUMNS)[:9]}
        return row | {
            "status": str(verdict.status) if verdict else None,
            "extracted": verdict.extracted if verdict else None,
            "detail": verdict.detail if verdict else None,
            "rule": verdict.rule if verdict else None,
            "score": verdict.score if verdict else None,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Rollout:
        verdict = None
        if row["status"] is not None:
            said = row["detail"] or "", row["rule"] or ""
            verdict = Verdict(Status(row["status"]), row["extracted"], *said, row.get("score"))
        lists: dict[str, Any] = {k: tuple(row[k]) for k in ("prompt_ids", "response_ids", "logprobs")}
        scalars: dict[str, Any] = {
            k: row[k] for k in ("problem_id", "sample", "text", "finish_reason", "policy_version")
        }
        mask = None if row["response_mask"] is None else tuple(row["response_mask"])
        return cls(**lists, **scalars, verdict=verdict, response_mask=mask)


@dataclass(frozen=True, slots=True)
class Group:
    """The K rollouts of one problem: what a method looks at."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    rollouts: tuple[Rollout, ...]

    @property
    def correct(self) -> tuple[Rollout, ...]:
        """The verified-correct rollouts (CORE's set C)."""
        return tuple(r for r in self.rollouts if r.correct)

    @property
    def incorrect(self) -> tuple[Rollout, ...]:
        """The rollouts that are not correct (CORE's set I): wrong or without an answer, but no accidents."""
        return tuple(r for r in self.rollouts if not r.correct and not r.unjudged)

    @property
    def unjudged(self) -> tuple[Rollout, ...]:
        """The rollouts whose verdict is an accident of the verifier: neither in C nor in I."""
        return tuple(r for r in self.rollouts if r.unjudged)


R = TypeVar("R", bound=Record)

ROWS_AT_ONCE = 256
"""Rows of a file that are Python objects at the same time while it is read."""


def write_parquet(path: Path, records: Iterable[Record], kind: type[Record]) -> None:
    """Write `records` of one `kind` to `path`, atomically: a half-written file never carries the final name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([r.to_row() for r in records], schema=kind.schema())
    with atomically(path) as partial:
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)


def concat_parquet(paths: Iterable[Path], target: Path, kind: type[Record], group_bytes: int = 0) -> None:
    """Write the rows of several files of one `kind` to `target`, atomically.

    Whole files go into a row group until it has more than `group_bytes` bytes (in Arrow's form: 8 a token of a
    rollout); 0: a row group for each file. At most `group_bytes` and one file are in memory, and what encoding one row
    group takes. Files that fit into one row group give the bytes that `write_parquet` writes of all their records.
    Raises RecordError, naming the file, when one cannot be read.
    """
    import pyarrow as pa

    with atomically(target) as partial, _writer(partial, kind) as writer:
        held: list[pa.Table] = []
        for path in paths:
            held.append(_table(path, kind.schema()))
            if group_bytes == 0:
                writer.write_table(held.pop())
            elif sum(table.nbytes for table in held) > group_bytes:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())


def read_parquet(path: Path, kind: type[R]) -> list[R]:
    """All records of `kind` in `path`; RecordError as `stream_parquet`."""
    return list(stream_parquet(path, kind))


def stream_parquet(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of `kind` in `path`, in order; one row group is in memory at a time, and few of its rows as records.

    Raises RecordError, naming the file, when it is truncated or has other columns than `kind` promises.
    """
    groups = RowGroups(path, kind)
    for i in range(len(groups)):
        for some in groups.table(i).to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from map(kind.from_row, some.to_pylist())


class RowGroups:
    """The row groups of a Parquet file of one `kind`, each read when it is asked for; the file stays open.

    Raises RecordError, naming the file, when it cannot be read or has other columns than `kind` promises.
    """

    def __init__(self, path: Path, kind: type[Record]) -> None:
        import pyarrow.parquet as pq

        self.path = path
        with _reading(path):
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        _require_columns(path, self._file.schema_arrow.names, kind)

    def __len__(self) -> int:
        return int(self._file.num_row_groups)

    def table(self, i: int, columns: list[str] | None = None) -> pa.Table:
        """Row group `i` (0-based), or these columns of it; every page checked against its checksum."""
        with _reading(self.path):
            return self._file.read_row_group(i, columns=columns, use_threads=False)


def _writer(path: Path, kind: type[Record]) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, kind.schema(), compression="zstd", write_page_checksum=True)


def _table(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """The table in `path`, every page checked against its checksum; RecordError when it cannot be read."""
    import pyarrow.parquet as pq

    with _reading(path):
        return pq.read_table(path, schema=schema, page_checksum_verification=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """RecordError, naming `path` and the remedy, for what goes wrong while it is read as Parquet."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as err:
        raise RecordError(f"{path} cannot be read as Parquet ({err}); delete it and run the stage again") from err


def _require_columns(path: Path, found: Sequence[str], kind: type[Record]) -> None:
    missing = [c for c in kind.COLUMNS if c not in found and c not in kind.OPTIONAL]
    if missing:
        raise RecordError(f"{path} lacks the column(s) {missing} of {kind.__name__}; it was written by another version")


def index_by_id(problems: Sequence[Problem]) -> dict[str, Problem]:
    """Problems by id; a duplicate id is an error that names it."""
    out: dict[str, Problem] = {}
    for p in problems:
        if p.id in out:
            raise RecordError(f"duplicate problem id {p.id!r}: ids must be unique within a dataset")
        out[p.id] = p
    return out

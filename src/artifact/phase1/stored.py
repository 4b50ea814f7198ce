"""The samples of phase 1 as they lie in their file: looked up by problem, one row group in memory at a time.

`samples.parquet` holds a row group for each batch of phase 1 (`annotation.batch_prompts` problems). What stays in
memory is where each problem's rows are: some 90 bytes per problem, less than 200. A look-up reads one row group, of
which the rows of one problem become rollouts. `benchmarks/memory.py` measures both. Left out: making the
file (`stream.py`), and whether it is the right one (`studies/store.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact.records import RecordError, Rollout, RowGroups

if TYPE_CHECKING:
    import pyarrow as pa


class StoredSamples(Mapping[str, tuple[Rollout, ...]]):
    """The first `n` samples of each problem in the file of rollouts at `path`, by problem id, in the file's order.

    Raises RecordError, naming the file, where it cannot be read or a problem's rows are in two row groups.
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n = path, n

    @cached_property
    def _groups(self) -> RowGroups:
        return RowGroups(self.path, Rollout)

    @cached_property
    def _place(self) -> dict[str, int]:
        """The row group of each problem that has a sample below n."""
        place: dict[str, int] = {}
        for i in range(len(self._groups)):
            table = self._groups.table(i, ["problem_id", "sample"])
            kept = table.filter(self._first_n(table))
            for problem in kept["problem_id"].unique().to_pylist():
                if problem in place:
                    raise RecordError(f"{self.path} has samples of problem {problem!r} in two places; annotate again")
                place[problem] = i
        return place

    def _first_n(self, table: pa.Table) -> Any:
        import pyarrow.compute as pc

        return pc.less(table["sample"], self.n)

    def __getitem__(self, problem: str) -> tuple[Rollout, ...]:
        import pyarrow.compute as pc

        table = self._groups.table(self._place[problem])
        rows = table.filter(pc.and_(pc.equal(table["problem_id"], problem), self._first_n(table)))
        return tuple(Rollout.from_row(row) for row in rows.to_pylist())

    def __contains__(self, problem: object) -> bool:
        return problem in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)

    def tokens(self) -> int:
        """Response tokens of all these samples; nothing else of them is read."""
        import pyarrow.compute as pc

        total = 0
        for i in range(len(self._groups)):
            table = self._groups.table(i, ["sample", "response_ids"])
            lengths = pc.list_value_length(table.filter(self._first_n(table))["response_ids"])
            total += int(pc.sum(lengths).as_py() or 0)
        return total

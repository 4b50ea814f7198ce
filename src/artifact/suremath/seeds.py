"""Reads problems from a source: a registered task's split, a JSONL or Parquet file, a hub id, or the embedded world.

Used for the curated set, the seeds and the benchmarks alike. Left out: filters (`filters.py`, `decontaminate.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from artifact.errors import ArtifactError, EmptyDataset
from artifact.paths import project_root
from artifact.suremath.lineage import CURATED, GROUND_TRUTH, SEED, UNKNOWN, Dropped, Evolved, by_id, drop
from artifact.suremath.settings import ProblemSource
from artifact.tasks import get_task, load_problems
from artifact.tasks.extract import extract_answer
from artifact.worlds.tiny.problems import DIFFICULTIES, render_solution
from artifact.worlds.tiny.splits import pretraining_drafts


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """The usable problems of some sources, and the rows that were not."""

    items: tuple[Evolved, ...]
    dropped: tuple[Dropped, ...]


def load_source(source: ProblemSource, role: str) -> LoadedSource:
    """The problems of `source` as round-0 records; `role` is `curated`, `seed` or `benchmark`.

    A seed needs a question, and an answer where its source promises one (`answer_field`): otherwise it is dropped, by
    reason. Raises ArtifactError also on a missing file, column or hub id, and EmptyDataset when no row is left.
    """
    rows = list(islice(_rows(source), source.limit))
    if not rows:
        raise EmptyDataset(f"source {source.name!r} holds no row that matches where = {source.where}; correct it")
    items: list[Evolved] = []
    dropped: list[Dropped] = []
    for number, row in enumerate(rows):
        item = _item(source, role, number, row)
        reason = ""
        if not item.question:
            reason = "no_question"
        elif source.answer_field and item.answer_source == UNKNOWN and role != "benchmark":
            reason = "no_answer"
        if reason and role == CURATED:
            raise ArtifactError(
                f"row {number} of curated source {source.name!r} has {reason.replace('_', ' ')} (fields "
                f"{source.question_field!r}, {source.answer_field!r}): curated problems need both; correct the row"
            )
        if reason:
            dropped.append(drop(item, "sources", reason, f"row {number} of {_origin(source)}"))
        else:
            items.append(item)
    if not items:
        raise EmptyDataset(
            f"none of the {len(rows)} rows of source {source.name!r} can be used ({dropped[0].reason}, …): correct "
            f"question_field = {source.question_field!r} and answer_field = {source.answer_field!r}"
        )
    return LoadedSource(tuple(items), tuple(dropped))


def load_sources(sources: Sequence[ProblemSource], role: str) -> LoadedSource:
    """All `sources` together. Raises RecordError on an id that two of them share."""
    parts = [load_source(s, role) for s in sources]
    items = tuple(i for part in parts for i in part.items)
    by_id(items)
    return LoadedSource(items, tuple(d for part in parts for d in part.dropped))


def load_benchmarks(sources: Sequence[ProblemSource]) -> dict[str, tuple[Evolved, ...]]:
    """The problems of each benchmark by its name; they are only ever compared with, never trained on."""
    return {s.name: load_source(s, "benchmark").items for s in sources}


def _item(source: ProblemSource, role: str, number: int, row: dict[str, Any]) -> Evolved:
    question = _text(row, source.question_field, source)
    solution = _optional(row, source.solution_field)
    if source.answer_from_solution:
        found = extract_answer(solution or "", ("boxed", "hashes"))
        answer = found.answer if found else ""
    else:
        answer = _text(row, source.answer_field, source) if source.answer_field else ""
    difficulty = source.difficulty or _text(row, source.difficulty_field, source)
    if difficulty not in DIFFICULTIES:
        raise ArtifactError(
            f"row {number} of source {source.name!r} has difficulty {difficulty!r}; use one of "
            f"{', '.join(DIFFICULTIES)}, or give the source a fixed `difficulty`"
        )
    own = row.get("id")
    item_id = str(own) if role == CURATED and source.kind == "task" and own else f"{source.name}-{number:06d}"
    meta = {"family": row["family"]} if row.get("family") else {}
    if own is not None and str(own) != item_id:
        meta["source_id"] = str(own)
    return Evolved(
        id=item_id,
        question=question,
        answer=answer,
        answer_source=GROUND_TRUTH if answer else UNKNOWN,
        solution=solution,
        task=source.task,
        difficulty=difficulty,
        strategy=CURATED if role == CURATED else SEED,
        round=0,
        parent_ids=(),
        root_id=item_id,
        seed_difficulty=difficulty,
        source=source.name,
        generator=source.name,
        meta=meta,
    )


def _text(row: dict[str, Any], name: str, source: ProblemSource) -> str:
    """A field as text, "" where it is null. A list of one counts as its element. ArtifactError without the field."""
    if name not in row:
        raise ArtifactError(
            f"{_origin(source)} has no field {name!r}; its fields are {', '.join(sorted(map(str, row)))}: correct "
            f"source {source.name!r} in the settings"
        )
    value = row[name]
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return "" if value is None else str(value).strip()


def _optional(row: dict[str, Any], name: str | None) -> str | None:
    value = row.get(name) if name else None
    return str(value) if value else None


def _origin(source: ProblemSource) -> str:
    where = {"task": f"task {source.task}/{source.split}", "file": source.path, "hub": source.hub}
    return f"source {source.name!r} ({where.get(source.kind, 'the embedded world')})"


def _rows(source: ProblemSource) -> Iterator[dict[str, Any]]:
    """The rows that `where` keeps, in the order of the source."""
    read = {"task": _task_rows, "file": _file_rows, "hub": _hub_rows, "tinyworld": _tinyworld_rows}[source.kind]
    for row in read(source):
        for name in source.where:
            _text(row, name, source)
        if all(str(row[name]) == str(value) for name, value in source.where.items()):
            yield row


def _task_rows(source: ProblemSource) -> Iterator[dict[str, Any]]:
    for p in load_problems(get_task(source.task), source.split):
        yield {
            "id": p.id,
            "question": p.question,
            "answer": p.answer,
            "solution": p.solution,
            "difficulty": p.difficulty,
            "family": p.meta.get("family"),
        }


def _tinyworld_rows(source: ProblemSource) -> Iterator[dict[str, Any]]:
    """Fresh problems from the pretraining part of the embedded world: its counterpart of public text."""
    rng = Random(f"suremath/{source.name}")
    seen: set[str] = set()
    for draft in pretraining_drafts(rng):
        if draft.difficulty == source.difficulty and draft.question not in seen:
            seen.add(draft.question)
            yield {
                "question": draft.question,
                "answer": draft.answer,
                "solution": render_solution(draft, rng),
                "difficulty": draft.difficulty,
                "family": draft.family,
            }


def _file_rows(source: ProblemSource) -> Iterable[dict[str, Any]]:
    path = Path(str(source.path))
    path = path if path.is_absolute() else project_root() / path
    if not path.is_file():
        raise ArtifactError(f"{_origin(source)}: {path} does not exist; correct `path` or put the file there")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        except (pa.ArrowInvalid, OSError) as err:
            raise ArtifactError(f"{_origin(source)}: {path} cannot be read as Parquet ({err}); fetch it again") from err
        return rows
    return _json_lines(path, source)


def _json_lines(path: Path, source: ProblemSource) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as err:
                raise ArtifactError(
                    f"{_origin(source)}: {path}, line {number} is not JSON ({err}); correct it"
                ) from err
            if not isinstance(row, dict):
                raise ArtifactError(f"{_origin(source)}: {path}, line {number} is no JSON object; correct it")
            yield row


def _hub_rows(source: ProblemSource) -> Iterable[dict[str, Any]]:
    """The rows of a hub dataset: from the local cache where it is there, else downloaded unless offline mode is set."""
    from datasets import DownloadConfig, load_dataset

    wanted = {"path": source.hub, "name": source.config, "split": source.split, "revision": source.revision}
    try:
        return load_dataset(**wanted, download_config=DownloadConfig(local_files_only=True))
    except (OSError, ValueError) as err:  # not in the cache; datasets raises either, by version and reason
        local = err
    offline = [
        n for n in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if os.environ.get(n, "0").upper() not in ("0", "", "FALSE")
    ]
    remedy = "download it once with a network, or replace the source by a local file (kind: file)"
    if offline:
        raise ArtifactError(
            f"{_origin(source)} is not in the local cache and {offline[0]} forbids to download it: {remedy} ({local})"
        ) from local
    try:
        return load_dataset(**wanted)
    except (OSError, ValueError) as err:
        raise ArtifactError(
            f"{_origin(source)} can neither be found in the local cache nor downloaded: {remedy} ({err})"
        ) from err

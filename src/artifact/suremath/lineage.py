"""Where every problem comes from: the records of the builder.

`Evolved` is a problem with its ancestry: which problems it was made from, by which strategy, in which round, by which
generator, and which source's problem stands at its root. Curated problems and seeds are the same record with round 0
and no parents, so that an ancestry never leaves the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from artifact.records import Problem, Record, RecordError

CURATED, SEED = "curated", "seed"
"""The "strategy" of a problem that was not evolved: from the curated set, or a seed."""

GROUND_TRUTH, MODEL, UNKNOWN = "ground_truth", "model", "unknown"
"""Where an answer comes from: the source or the generator's own construction, a model's majority, nowhere yet."""


@dataclass(frozen=True, slots=True)
class Evolved(Record):
    """A problem and its lineage.

    question, answer, solution, task, difficulty, meta  as in `records.Problem`: the problem's own difficulty
    answer_source    `ground_truth`, `model` (majority of the labeller's samples) or `unknown` (answer is "")
    strategy         one of the six, or `curated` / `seed`
    round            1, 2, … of evolution; 0 for curated problems and seeds
    parent_ids       the problems it was made from: none in round 0, two for `compose`, else one
    root_id          the seed its first parent descends from; itself in round 0
    seed_difficulty  the difficulty of that seed, which decides rounds and strategy weights
    source           name of the source of that seed, as in the settings
    generator        what made the text; the source's name in round 0
    """

    id: str
    question: str
    answer: str
    answer_source: str
    solution: str | None
    task: str
    difficulty: str
    strategy: str
    round: int
    parent_ids: tuple[str, ...]
    root_id: str
    seed_difficulty: str
    source: str
    generator: str
    meta: dict[str, Any] = field(default_factory=dict)

    COLUMNS: ClassVar[dict[str, str]] = {
        "id": "str",
        "question": "str",
        "answer": "str",
        "answer_source": "str",
        "solution": "str",
        "task": "str",
        "difficulty": "str",
        "strategy": "str",
        "round": "int",
        "parent_ids": "[str]",
        "root_id": "str",
        "seed_difficulty": "str",
        "source": "str",
        "generator": "str",
        "meta": "json",
    }

    def __post_init__(self) -> None:
        if self.answer_source not in (GROUND_TRUTH, MODEL, UNKNOWN):
            raise RecordError(f"problem {self.id!r}: unknown answer source {self.answer_source!r}")
        if (self.answer_source == UNKNOWN) != (self.answer == ""):
            raise RecordError(
                f"problem {self.id!r} has answer {self.answer!r} from {self.answer_source!r}: an answer has a source, "
                "and a problem without an answer has none"
            )
        if (self.round == 0) != (not self.parent_ids):
            raise RecordError(
                f"problem {self.id!r} of round {self.round} has parents {self.parent_ids}: only evolved ones have"
            )

    @property
    def problem(self) -> Problem:
        """What training and evaluation read; the lineage in short stands in `meta`."""
        lineage = {"strategy": self.strategy, "round": self.round, "root": self.root_id, "source": self.source}
        meta = {**self.meta, **lineage, "answer_source": self.answer_source}
        return Problem(self.id, self.question, self.answer, self.solution, self.task, self.difficulty, meta)

    def labelled(self, answer: str) -> Evolved:
        """A copy whose answer is the labeller's; one that has ground truth keeps it."""
        return self if self.answer_source == GROUND_TRUTH else replace(self, answer=answer, answer_source=MODEL)


@dataclass(frozen=True, slots=True)
class Dropped(Record):
    """A problem that was dropped: at which stage, why, and for an overlap with which benchmark item and which words.

    `question` and `span` may quote a benchmark: this table is for the builder, `publish` leaves both out.
    """

    id: str
    stage: str
    reason: str
    detail: str
    question: str
    root_id: str
    source: str
    seed_difficulty: str
    strategy: str
    round: int
    benchmark: str = ""
    benchmark_id: str = ""
    span: str = ""

    COLUMNS: ClassVar[dict[str, str]] = {
        "id": "str",
        "stage": "str",
        "reason": "str",
        "detail": "str",
        "question": "str",
        "root_id": "str",
        "source": "str",
        "seed_difficulty": "str",
        "strategy": "str",
        "round": "int",
        "benchmark": "str",
        "benchmark_id": "str",
        "span": "str",
    }


def drop(item: Evolved, stage: str, reason: str, detail: str = "", **overlap: str) -> Dropped:
    """`item` as a dropped row; `overlap` fills `benchmark`, `benchmark_id` and `span`."""
    return Dropped(
        item.id,
        stage,
        reason,
        detail,
        item.question,
        item.root_id,
        item.source,
        item.seed_difficulty,
        item.strategy,
        item.round,
        **overlap,
    )


def by_id(items: Iterable[Evolved]) -> dict[str, Evolved]:
    """Items by id; a duplicate id is a RecordError that names it and its two sources."""
    out: dict[str, Evolved] = {}
    for item in items:
        if item.id in out:
            raise RecordError(
                f"duplicate problem id {item.id!r} (sources {out[item.id].source!r} and {item.source!r}): ids must be "
                "unique over all sources; give the sources different names or remove the repeated row"
            )
        out[item.id] = item
    return out


def ancestors(item_id: str, items: Mapping[str, Evolved]) -> list[Evolved]:
    """The item and everything it descends from, youngest first, each once. RecordError on a parent not in `items`."""
    out: dict[str, Evolved] = {}
    queue = [item_id]
    while queue:
        name = queue.pop(0)
        if name in out:
            continue
        if name not in items:
            raise RecordError(f"lineage of {item_id!r}: problem {name!r} is not in the table")
        out[name] = items[name]
        queue += items[name].parent_ids
    return sorted(out.values(), key=lambda e: (-e.round, e.id))

"""Disjoint splits of the questions of this world, and the pretraining stream that avoids all of them.

A question belongs to one part of the space, by a hash of its text (`worlds.tiny.splits.part_of`), so that the splits
are disjoint from one another and from pretraining at any size. They are balanced over 3 families × 4 difficulties, and
interleaved: every prefix is balanced as well. What this does not exclude: the same meaning under another question.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from artifact.records import Problem
from artifact.worlds.text.problems import DIFFICULTIES, FAMILIES, Draft, draw
from artifact.worlds.tiny.splits import DIFFICULTY_WEIGHTS, SplitError, part_of

TASK = "tinytext"
WORLD_SEED = 2027

DEFAULT_SIZES = {"train": 960, "validation": 240, "curve": 240, "evaluation": 960}
"""Problems per split. Choose settings on `validation`, draw learning curves on `curve`, report on `evaluation`."""

_ATTEMPTS = 5000
"""Draws without a single new question after which a cell (difficulty × family × part) counts as exhausted."""


def pretraining_drafts(rng: Random) -> Iterator[Draft]:
    """An endless stream of drafts without a question of any split: families alike, easy ones oftener."""
    while True:
        draft = draw(rng.choice(FAMILIES), rng.choices(DIFFICULTIES, DIFFICULTY_WEIGHTS)[0], rng)
        if part_of(draft.question) == "pretraining":
            yield draft


def load_split(name: str, size: int | None = None) -> list[Problem]:
    """The first `size` problems of split `name` (default: `DEFAULT_SIZES[name]`), the same on every call.

    Raises SplitError on an unknown name or when a family runs out of distinct questions.
    """
    if name not in DEFAULT_SIZES:
        raise SplitError(f"unknown split {name!r} of {TASK}; the splits are {', '.join(DEFAULT_SIZES)}")
    size = DEFAULT_SIZES[name] if size is None else size
    if size < 0:
        raise SplitError(f"split {name!r}: size must not be negative, got {size}")
    cells = [_cell(name, family, difficulty) for family in FAMILIES for difficulty in DIFFICULTIES]
    rounds = (drawn for _ in iter(int, 1) for drawn in map(next, cells))
    return [_problem(*drawn, f"{TASK}-{name}-{i:05d}") for i, drawn in enumerate(islice(rounds, size))]


def _problem(draft: Draft, response: str, name: str) -> Problem:
    meta = {"family": draft.family, "references": draft.references}
    return Problem(name, draft.question, draft.references[0], response, TASK, draft.difficulty, meta)


def _cell(split: str, family: str, difficulty: str) -> Iterator[tuple[Draft, str]]:
    """New questions of a family and difficulty that belong to `split`, each with a right response."""
    rng, seen, misses = Random(f"{WORLD_SEED}/{split}/{family}/{difficulty}"), set[str](), 0
    while misses < _ATTEMPTS:
        draft = draw(family, difficulty, rng)
        if part_of(draft.question) != split or draft.question in seen:
            misses += 1
            continue
        misses = 0
        seen.add(draft.question)
        yield draft, draft.response(rng)
    raise SplitError(
        f"split {split!r} has only {len(seen)} distinct questions of family {family!r}, difficulty {difficulty!r}; "
        f"ask for at most {len(seen) * len(FAMILIES) * len(DIFFICULTIES)} problems"
    )

"""Disjoint splits of the question space, and the pretraining stream that avoids all of them.

A question belongs to exactly one part of the space, decided by a hash of its text. So the splits are disjoint from one
another and from pretraining *at any size*, and enlarging one never changes another. What is excluded from pretraining:
every question text whose hash falls into `evaluation`, `train`, `validation` or `curve`, drawn into a split or not.

What this does not exclude: the same arithmetic under another text. There are only 64 products of two one-digit numbers,
so `4*9` with Ben's eggs may be evaluated after `4*9` with Ana's pens was trained on; in harder ones that is rare.

Splits are balanced over 4 difficulties × 5 families, and interleaved, so that every prefix is balanced as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from random import Random

from artifact.records import Problem
from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES, Draft, draw, render_solution

TASK = "tinymath"
WORLD_SEED = 2026

DEFAULT_SIZES = {"train": 1000, "validation": 400, "curve": 400, "evaluation": 1600}
"""Problems per split. Choose settings on `validation`, draw learning curves on `curve`, report on `evaluation`."""

_PARTS = {"evaluation": (0, 32), "train": (32, 64), "validation": (64, 80), "curve": (80, 96), "pretraining": (96, 256)}
DIFFICULTY_WEIGHTS = (0.35, 0.30, 0.20, 0.15)
"""Their shares in pretraining, easy first: short problems teach the arithmetic that long ones are made of."""

_ATTEMPTS = 2000
"""Draws without a single new question after which a cell (difficulty × family × part) counts as exhausted."""


class SplitError(ValueError):
    """An unknown split, or more problems than its part of the question space holds."""


def part_of(question: str) -> str:
    """The part of the question space that owns `question`: a split's name or `pretraining`."""
    byte = hashlib.blake2b(question.encode(), digest_size=1).digest()[0]
    return next(name for name, (low, high) in _PARTS.items() if low <= byte < high)


def pretraining_drafts(rng: Random) -> Iterator[Draft]:
    """An endless stream of drafts without a question of any split: families alike, by `DIFFICULTY_WEIGHTS`."""
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
    seen: set[str] = set()  # shared by all cells: a few `frac` questions can be drawn as medium and as hard
    cells = [_cell(name, family, difficulty, seen) for family in FAMILIES for difficulty in DIFFICULTIES]
    rounds = (problem for _ in iter(int, 1) for problem in map(next, cells))
    return [_numbered(problem, name, i) for i, problem in enumerate(islice(rounds, size))]


def _numbered(problem: tuple[Draft, str], split: str, index: int) -> Problem:
    draft, solution = problem
    meta = {"family": draft.family}
    return Problem(f"{TASK}-{split}-{index:05d}", draft.question, draft.answer, solution, TASK, draft.difficulty, meta)


def _cell(split: str, family: str, difficulty: str, seen: set[str]) -> Iterator[tuple[Draft, str]]:
    """Questions of a family and difficulty that belong to `split` and are not in `seen`, with reference solutions."""
    rng = Random(f"{WORLD_SEED}/{split}/{family}/{difficulty}")
    misses = found = 0
    while misses < _ATTEMPTS:
        draft = draw(family, difficulty, rng)
        if part_of(draft.question) != split or draft.question in seen:
            misses += 1
            continue
        misses, found = 0, found + 1
        seen.add(draft.question)
        yield draft, render_solution(draft, rng)
    raise SplitError(
        f"split {split!r} has only {found} distinct questions of family {family!r}, difficulty {difficulty!r}; "
        f"ask for at most {found * len(FAMILIES) * len(DIFFICULTIES)} problems"
    )

"""Pairs of responses whose relation is known by construction: what a judge of meaning is tested on before it is used.

Of each family, as many pairs that mean the same (two right responses in different words or order) as near-misses (a
right response and one with a fault of `corpus.FAULTS`), on questions of the validation split's part of the space.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from artifact.worlds.text.corpus import FAULTS
from artifact.worlds.text.problems import DIFFICULTIES, FAMILIES, draw
from artifact.worlds.tiny.splits import part_of

OF_FAMILY = {"translation": ("number", "tense"), "summary": ("mixed", "short"), "instruction": ("fewer",)}
"""The faults that a near-miss of a family may have."""


class Known(NamedTuple):
    """Two different responses to one question, and whether they mean the same."""

    family: str
    equal: bool
    question: str
    left: str
    right: str


def known_pairs(of_each: int = 20) -> list[Known]:
    """`of_each` pairs of each family and sort, the same on every call."""
    out = []
    for family in FAMILIES:
        rng = Random(f"pairs/{family}")
        wanted = {True: of_each, False: of_each}
        while any(wanted.values()):
            draft = draw(family, rng.choice(DIFFICULTIES), rng)
            equal = rng.random() < 0.5
            fault = FAULTS[rng.choice(OF_FAMILY[family])]
            left, right = draft.response(rng), draft.response(rng) if equal else fault(draft, rng)
            if left != right and wanted[equal] and part_of(draft.question) == "validation":
                wanted[equal] -= 1
                out.append(Known(family, equal, draft.question, left, right))
    return out

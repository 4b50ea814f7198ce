"""What evolves problems: the interface that the procedural generator and the language model share.

A generator gets a batch of requests and returns proposals. It may fail on any of them, and says how: a proposal carries
an outcome, never an exception, and a request without a proposal is counted as `nothing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from artifact.records import RecordError
from artifact.suremath.lineage import GROUND_TRUTH, UNKNOWN, Evolved

PROPOSED, NOTHING, UNPARSED, TRUNCATED, NOT_APPLICABLE = (
    "proposed",
    "nothing",
    "unparsed",
    "truncated",
    "not_applicable",
)
OUTCOMES = (PROPOSED, NOTHING, UNPARSED, TRUNCATED, NOT_APPLICABLE)
"""proposed: there is a problem. nothing: no text at all. unparsed: text without a problem in it. truncated: cut off at
the token budget before the problem ended. not_applicable: the strategy cannot be applied to this parent."""


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """One problem to make: `parents[0]` is evolved with `strategy`; `compose` has a second parent to join.

    `seed` is all the randomness the generator may use for it.
    """

    id: str
    parents: tuple[Evolved, ...]
    strategy: str
    round: int
    seed: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What came of a request. `answer` is ground truth by construction, "" where the generator does not know it.

    `difficulty` is the problem's own where the generator knows it, else None (the parent's is kept). `raw` is what the
    generator said where no problem could be read from it.
    """

    id: str
    outcome: str
    question: str = ""
    answer: str = ""
    solution: str | None = None
    difficulty: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    raw: str = ""


class Generator(Protocol):
    """Evolves problems. `name` is stored with each of them; `evolve` must depend on nothing but its requests."""

    name: str

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        """At most one proposal a request, in any order."""
        ...


def evolve_checked(generator: Generator, requests: Sequence[ProposalRequest]) -> list[Proposal]:
    """One proposal a request, in order; a request that got none gets outcome `nothing`.

    Raises RecordError on a proposal nobody asked for, two for one request, or an unknown outcome.
    """
    asked = {r.id for r in requests}
    found: dict[str, Proposal] = {}
    for p in generator.evolve(requests):
        if p.id not in asked:
            raise RecordError(f"generator {generator.name!r} proposed {p.id!r}, which was not among its requests")
        if p.id in found:
            raise RecordError(f"generator {generator.name!r} made two proposals for request {p.id!r}")
        if p.outcome not in OUTCOMES:
            raise RecordError(f"generator {generator.name!r}: proposal {p.id!r} has unknown outcome {p.outcome!r}")
        found[p.id] = Proposal(p.id, NOTHING) if p.outcome == PROPOSED and not p.question.strip() else p
    return [found.get(r.id) or Proposal(r.id, NOTHING) for r in requests]


def as_evolved(request: ProposalRequest, proposal: Proposal, generator: str) -> Evolved:
    """The record of a proposal, with the lineage of its request. A failed one has its raw text as question."""
    first = request.parents[0]
    return Evolved(
        id=request.id,
        question=proposal.question.strip() or proposal.raw,
        answer=proposal.answer,
        answer_source=GROUND_TRUTH if proposal.answer else UNKNOWN,
        solution=proposal.solution,
        task=first.task,
        difficulty=proposal.difficulty or first.difficulty,
        strategy=request.strategy,
        round=request.round,
        parent_ids=tuple(p.id for p in request.parents),
        root_id=first.root_id,
        seed_difficulty=first.seed_difficulty,
        source=first.source,
        generator=generator,
        meta={**proposal.meta, "outcome": proposal.outcome},
    )

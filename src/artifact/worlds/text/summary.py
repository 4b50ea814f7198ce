"""Summarization: from a list of facts, the sentence that keeps those that were asked for, and no others.

    Facts: Ana likes tea; Ben has milk; Ana likes jam; Ana saw Rome. Summarize Ana.
        →   Ana likes tea and jam and saw Rome      or   Ana saw Rome and likes jam and likes tea

A fact is (person, relation, thing). What is asked for is one person, two, or one relation. A summary says of each
person in turn, after a comma, what is true of them: relation and thing, joined by `and`, the relation left out where it
is the one before. Its meaning is the set of facts it states, in whatever order; a text of another form states
none that could be checked. Left out: facts that follow from others.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

PEOPLE = ("Ana", "Ben", "Mia", "Sam", "Tom", "Zoe")
THINGS = {
    "likes": ("tea", "milk", "jam", "rice", "salt", "bread"),
    "has": ("maps", "hats", "keys", "lamps", "coins", "books"),
    "saw": ("Rome", "Oslo", "Lima", "Cairo", "Paris", "Kyoto"),
}


OTHER_FORM = 0.3
"""How often a drawn sentence takes another order, or says a relation again: enough for strings to differ."""


class Fact(NamedTuple):
    """A person, a relation, and a thing."""

    person: str
    relation: str
    thing: str

    def __str__(self) -> str:
        return " ".join(self)


class Request(NamedTuple):
    """The facts of a problem in the order of the question, and what is asked for: people, or one relation."""

    facts: tuple[Fact, ...]
    people: tuple[str, ...] = ()
    relation: str = ""

    @property
    def kept(self) -> tuple[Fact, ...]:
        """The facts that were asked for, in the order of the question."""
        return tuple(f for f in self.facts if f.person in self.people or f.relation == self.relation)

    @property
    def question(self) -> str:
        """As it is put to a model."""
        asked = " and ".join(self.people) or self.relation
        return f"Facts: {'; '.join(map(str, self.facts))}. Summarize {asked}."


def render(facts: Iterable[Fact], rng: Random | None = None) -> str:
    """A sentence that states `facts`: in their order, relations said once; with `rng` now and then in another form."""
    of: dict[str, list[Fact]] = {}
    for fact in facts:
        of.setdefault(fact.person, []).append(fact)
    parts = []
    for person, stated in of.items():
        order = list(stated)
        if rng is not None and rng.random() < OTHER_FORM:
            rng.shuffle(order)
        words, before = [person], ""
        for i, fact in enumerate(order):
            again = fact.relation == before and not (rng is not None and rng.random() < OTHER_FORM)
            words += ["and"] * (i > 0) + ([fact.thing] if again else [fact.relation, fact.thing])
            before = fact.relation
        parts.append(" ".join(words))
    if rng is not None and rng.random() < OTHER_FORM:
        rng.shuffle(parts)
    return ", ".join(parts)


def parse_summary(text: str) -> frozenset[Fact] | None:
    """The facts that a summary states; None where it is none, or says one twice."""
    found = []
    for part in text.strip().removesuffix(".").split(", "):
        person, _, rest = part.partition(" ")
        if person not in PEOPLE:
            return None
        relation = ""
        for said in rest.split(" and "):
            words = said.split()
            if len(words) == 2:
                relation = words[0]
            if len(words) not in (1, 2) or words[-1] not in THINGS.get(relation, ()):
                return None
            found.append(Fact(person, relation, words[-1]))
    return frozenset(found) if len(set(found)) == len(found) else None


def draw_request(difficulty: str, rng: Random) -> Request:
    """A request: of one person among three to five facts, of a relation among six, of two people among seven."""
    size = {"easy": 3, "medium": 5, "hard": 6, "competition": 7}[difficulty]
    while True:
        people = rng.sample(PEOPLE, 2 if difficulty == "easy" else 3)
        made = [
            (rng.choice(people), relation := rng.choice(list(THINGS)), rng.choice(THINGS[relation]))
            for _ in range(size)
        ]
        facts = tuple(Fact(*m) for m in made)
        if difficulty == "hard":
            request = Request(facts, relation=rng.choice(list(THINGS)))
        else:
            request = Request(facts, tuple(people[: 2 if difficulty == "competition" else 1]))
        if (
            len(set(facts)) == size
            and 0 < len(request.kept) < size
            and all(any(f.person == p for f in facts) for p in request.people)
        ):
            return request

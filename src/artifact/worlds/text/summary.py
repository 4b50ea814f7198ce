"""Summarization: from a list of facts, the sentence that keeps those that were asked for, and no others.

    Summarize likes and saw: Ana saw Rome; has maps; likes jam; likes tea.
        →   Ana likes tea and jam and saw Rome      or   Ana saw Rome and likes jam and likes tea

A fact is (person, relation, thing); those of a problem are of one person, and what is asked for is one relation or two.
A summary says of each person in turn, after a comma, what is true of them: relation and thing, joined by `and`, the
relation left out where it is the one before. In its plainest form people, relations and things stand in the order of
PEOPLE and THINGS, whatever the order of the question. Its meaning is the set of facts it states, in whatever order; a
text of another form states none that could be checked. Left out: facts that follow from others.
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

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands in the plainest form of a summary."""
        relations = list(THINGS)
        return PEOPLE.index(self.person), relations.index(self.relation), THINGS[self.relation].index(self.thing)


class Request(NamedTuple):
    """The facts of a problem, all of one person, in the order of the question, and the relations asked for."""

    facts: tuple[Fact, ...]
    relations: tuple[str, ...]

    @property
    def kept(self) -> tuple[Fact, ...]:
        """The facts that were asked for, in their places."""
        return tuple(sorted((f for f in self.facts if f.relation in self.relations), key=lambda f: f.place))

    @property
    def question(self) -> str:
        """As it is put to a model."""
        said = "; ".join(f"{f.relation} {f.thing}" for f in self.facts)
        return f"Summarize {' and '.join(self.relations)}: {self.facts[0].person} {said}."


def render(facts: Iterable[Fact], rng: Random | None = None) -> str:
    """A sentence that states `facts`: in their places, relations said once; with `rng` now and then in another form."""
    of: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda f: f.place):
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
    """A request: of one relation among three or four facts, of two relations among five or six."""
    size, several = {"easy": (3, 1), "medium": (4, 1), "hard": (5, 2), "competition": (6, 2)}[difficulty]
    person = rng.choice(PEOPLE)
    every = [Fact(person, relation, thing) for relation, things in THINGS.items() for thing in things]
    while True:
        facts, relations = rng.sample(every, size), rng.sample(list(THINGS), several)
        request = Request(tuple(facts), tuple(relations))
        if len(request.kept) < size and {f.relation for f in request.kept} == set(relations):
            return request

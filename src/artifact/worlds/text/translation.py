"""Translation: from a small English fragment into Mir, an invented language with agreement and free word order.

    the red cats see a dog   →   lun miron rugon ko ne bani vidas   or   ko ne bani lun miron rugon vidas

Mir, of one clause: a subject, an object after the marker `ko` in either order, and the verb last; clauses are joined
by `et`, in any order. A noun phrase is article, noun, adjective. The article agrees with the noun in number (`lu`,
`lun`: the; `ne`, `nen`: a, some), the adjective in number and class (nouns in -o and -i), the verb with its subject in
number; the verb's ending also says the tense. A text without agreement is not of the language and means nothing.

The meaning of a text is the set of its clauses, so that two translations mean the same exactly where they say the same
of the same things, in whatever order. Left out: English beyond this fragment, and translating back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from random import Random

NOUNS = {
    "cat": "miro",
    "dog": "bani",
    "bird": "telo",
    "goat": "sudi",
    "king": "karo",
    "girl": "lini",
    "boat": "navo",
    "tree": "arbi",
}
ADJECTIVES = {"red": "rug", "big": "tam", "old": "vek", "new": "nul"}
TRANSITIVE = {"see": ("saw", "vid"), "take": ("took", "kap"), "like": ("liked", "lub")}
INTRANSITIVE = {"sleep": ("slept", "dor"), "run": ("ran", "kur"), "sing": ("sang", "kan")}
VERBS = TRANSITIVE | INTRANSITIVE
ARTICLES = {(True, False): ("the", "lu"), (True, True): ("the", "lun"), (False, False): ("a", "ne")}
ARTICLES[False, True] = ("some", "nen")
MARKER, JOIN = "ko", "et"


@dataclass(frozen=True, slots=True, order=True)
class Phrase:
    """A noun phrase: its noun in English, whether it is definite and plural, and an adjective ("" = none)."""

    noun: str
    definite: bool
    plural: bool
    adjective: str = ""

    @property
    def english(self) -> str:
        """In the English fragment."""
        noun = self.noun + "s" * self.plural
        return " ".join(filter(None, (ARTICLES[self.definite, self.plural][0], self.adjective, noun)))

    @property
    def mir(self) -> str:
        """In Mir, with all agreements."""
        noun = NOUNS[self.noun]
        ending = noun[-1] + "n" * self.plural
        adjective = ADJECTIVES[self.adjective] + ending if self.adjective else ""
        return " ".join(filter(None, (ARTICLES[self.definite, self.plural][1], noun + "n" * self.plural, adjective)))


@dataclass(frozen=True, slots=True, order=True)
class Clause:
    """Who does what to whom, and when; `object` is None for a verb that takes none."""

    subject: Phrase
    verb: str
    past: bool
    object: Phrase | None = None

    @property
    def english(self) -> str:
        """In the English fragment."""
        verb = VERBS[self.verb][0] if self.past else self.verb + "s" * (not self.subject.plural)
        return " ".join(filter(None, (self.subject.english, verb, self.object.english if self.object else "")))

    def mir(self, object_first: bool = False) -> str:
        """In Mir; `object_first` takes the other word order, where there is an object."""
        verb = VERBS[self.verb][1] + ("e" if self.past else "a") + "s" * self.subject.plural
        if self.object is None:
            return f"{self.subject.mir} {verb}"
        parts = [self.subject.mir, f"{MARKER} {self.object.mir}"]
        return " ".join([*(reversed(parts) if object_first else parts), verb])


def renderings(clauses: tuple[Clause, ...]) -> list[str]:
    """Every right translation, the one in English order first."""
    orders = [clauses, clauses[::-1]] if len(clauses) > 1 else [clauses]
    found = [
        f" {JOIN} ".join(c.mir(first) for c, first in zip(order, firsts, strict=True))
        for order in orders
        for firsts in product(*[(False, True) if c.object else (False,) for c in order])
    ]
    return list(dict.fromkeys(found))


_NOUN = {mir + "n" * plural: (noun, plural) for noun, mir in NOUNS.items() for plural in (False, True)}
_ARTICLE = {mir: key for key, (_, mir) in ARTICLES.items()}
_VERB = {
    stem + tense + "s" * plural: (verb, tense == "e", plural)
    for verb, (_, stem) in VERBS.items()
    for tense in "ae"
    for plural in (False, True)
}


def parse_mir(text: str) -> frozenset[Clause] | None:
    """What a text of Mir means; None where it is none: an unknown word, another order, or a failed agreement."""
    clauses = [_clause(part.split()) for part in text.strip().removesuffix(".").split(f" {JOIN} ")]
    return None if None in clauses else frozenset(c for c in clauses if c is not None)


def _clause(words: list[str]) -> Clause | None:
    *rest, last = words or [""]
    verb, past, plural = _VERB.get(last, ("", False, False))
    if rest[:1] == [MARKER]:
        for size in (2, 3):
            subject, target = _phrase(rest[1 + size :]), _phrase(rest[1 : 1 + size])
            if subject and target:
                break
    elif MARKER in rest:
        at = rest.index(MARKER)
        subject, target = _phrase(rest[:at]), _phrase(rest[at + 1 :])
    else:
        subject, target = _phrase(rest), None
    has_object = MARKER in rest
    if subject is None or subject.plural != plural or has_object != (target is not None):
        return None
    fits = verb in (TRANSITIVE if has_object else INTRANSITIVE)
    return Clause(subject, verb, past, target) if fits else None


def _phrase(words: list[str]) -> Phrase | None:
    if len(words) not in (2, 3) or words[0] not in _ARTICLE or words[1] not in _NOUN:
        return None
    (definite, plural), (noun, noun_plural) = _ARTICLE[words[0]], _NOUN[words[1]]
    adjective = next((a for a in ADJECTIVES if Phrase(noun, definite, plural, a).mir == " ".join(words)), "")
    return (
        Phrase(noun, definite, plural, adjective)
        if plural == noun_plural and (len(words) == 3) == bool(adjective)
        else None
    )


def draw_phrase(rng: Random, adjective: bool) -> Phrase:
    """A noun phrase, with an adjective where asked."""
    chosen = rng.choice(list(ADJECTIVES)) if adjective else ""
    return Phrase(rng.choice(list(NOUNS)), rng.random() < 0.5, rng.random() < 0.5, chosen)


def draw_clauses(difficulty: str, rng: Random) -> tuple[Clause, ...]:
    """Clauses of a problem: intransitive, with an object, with adjectives, two of them."""
    past = rng.random() < 0.5
    if difficulty == "easy":
        return (Clause(draw_phrase(rng, rng.random() < 0.5), rng.choice(list(INTRANSITIVE)), past),)
    if difficulty == "competition":
        first, second = (draw_clauses(kind, rng)[0] for kind in ("medium", rng.choice(("easy", "medium"))))
        return (first, second) if first != second else draw_clauses(difficulty, rng)
    adjectives = difficulty == "hard"
    subject, target = draw_phrase(rng, adjectives), draw_phrase(rng, adjectives)
    return (Clause(subject, rng.choice(list(TRANSITIVE)), past, target),)


def ask(clauses: tuple[Clause, ...]) -> str:
    """The question of a problem."""
    return f"Translate: {' and '.join(c.english for c in clauses)}."

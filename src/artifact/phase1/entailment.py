"""Free text: two answers mean the same where each entails the other, in the context of their question.

Semantic entropy of free text clusters by mutual entailment (Kuhn, Gal, Farquhar 2023, section 4), through the interface
of every other judge. Who says what entails what is a function of its own: a world in which meaning is computable
(`by_meaning`), or a model. Left out: numbers and formulas, for which `judge.py` has algebra.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from artifact.phase1.judge import EquivalenceJudge, Judgement, Pair

Entails = Callable[[Sequence[Pair], Sequence[str]], Sequence[bool | None]]
"""((premise, hypothesis) pairs, the question of each) → whether the premise entails the hypothesis; None = unknown."""

Meaning = Callable[[str, str], frozenset[Hashable] | None]
"""(question, answer) → what the answer states; None where it states nothing."""


class EntailmentJudge(EquivalenceJudge):
    """True where both directions hold, False where one fails, None where nobody can say.

    name     stored with each judgement
    entails  asked once for all pairs, both directions of each
    """

    by_key = False
    in_context = True

    def __init__(self, name: str, entails: Entails) -> None:
        super().__init__()
        self.name = name
        self._entails = entails

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return self.decide_in_context(pairs, [""] * len(pairs))

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        turned = [(right, left) for left, right in pairs]
        found = list(self._entails([*pairs, *turned], [*contexts, *contexts]))
        both = zip(pairs, found[: len(pairs)], found[len(pairs) :], strict=True)
        return [Judgement(*pair, _mutual(there, back), self.name) for pair, there, back in both]


def _mutual(there: bool | None, back: bool | None) -> bool | None:
    if there is False or back is False:
        return False
    return True if there and back else None


def by_meaning(meaning: Meaning) -> Entails:
    """Entailment where meaning is a set of statements: a premise entails what it states all of."""

    def entails(pairs: Sequence[Pair], questions: Sequence[str]) -> list[bool | None]:
        out: list[bool | None] = []
        for (premise, hypothesis), question in zip(pairs, questions, strict=True):
            given, said = meaning(question, premise), meaning(question, hypothesis)
            out.append(None if given is None or said is None else said <= given)
        return out

    return entails

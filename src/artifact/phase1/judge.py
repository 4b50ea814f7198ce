"""Equivalence judges: do two answer strings mean the same? (UOPD, Section 3.1, "Semantic clustering")

A judge takes a batch of pairs and returns one `Judgement` a pair, so that a language model can answer thousands of
pairs in one call. Equivalence is symmetric here by construction: a pair is put in sorted order before a judge sees it,
decided once, and remembered.

A verdict has three values: True (same meaning), False (different), None (this judge cannot tell). Only True merges
answers. None may also be an accident of the algebra (out of time, a worker that died): it says so, is not remembered,
and is counted apart (`annotate.py`); a later judge of a chain may still settle the pair.

A judge may read the answers in the context of their question (`50` and `50%` are one answer to "which percentage?"):
one that does says `in_context = True`, and its verdicts are remembered for each question apart. Left out: the
language-model judge itself (`llm_judge.py`), which needs an engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from artifact.errors import ArtifactError
from artifact.phase1.simple_answers import compare_simple, may_be_rounded, needs_algebra
from artifact.records import Status
from artifact.tasks.verifier import Verifier, shared_verifier

Pair = tuple[str, str]


class JudgeError(ArtifactError):
    """A judge was asked for something it cannot answer, or answered something it must not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict on one pair of answers.

    equivalent   True, False, or None where the judge could not tell (which never merges)
    judge        name of the judge that settled the pair (inside a chain: the link, not the chain)
    probability  the judge's probability that the pair is equivalent, in [0, 1]; None where it gives none
    accident     `timeout` or `error` where the algebra failed on this pair, whoever settled it then; else ""
    """

    left: str
    right: str
    equivalent: bool | None
    judge: str
    probability: float | None = None
    accident: str = ""


class EquivalenceJudge(ABC):
    """Base of all judges: symmetric, de-duplicated and cached around `decide`.

    A subclass sets `name` (stored with each judgement) and implements `decide`.

    by_key      whether clustering may settle pairs by canonical key (`simple_answers.compare_keys`) instead of asking
                this judge; such pairs are no judgements
    in_context  whether the verdict depends on the question: such a judge implements `decide_in_context` too
    """

    name: str
    by_key: bool = True
    in_context: bool = False

    def __init__(self) -> None:
        self._cache: dict[tuple[str, Pair], Judgement] = {}

    @abstractmethod
    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        """Judge `pairs`: each with left < right, no pair twice, none seen before. One judgement each, same order."""

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        """`decide`, with the question of each pair; here the questions are left unread. One pair may come with two."""
        return self.decide(pairs)

    def judge(self, pairs: Sequence[Pair], contexts: Sequence[str] | None = None) -> list[Judgement]:
        """Judgements for `pairs`, in order and in the orientation asked; known pairs come from the cache.

        contexts  the question that each pair answers; None = unknown. Only a judge with `in_context` reads them
        Raises JudgeError when a pair holds one string twice (nothing to judge: the caller should have merged it), or
        when `decide` answers other pairs than it was asked.
        """
        for left, right in pairs:
            if left == right:
                raise JudgeError(
                    f"judge {self.name!r} was asked to compare {left!r} with itself; merge equal strings first"
                )
        if contexts is not None and len(contexts) != len(pairs):
            raise JudgeError(f"judge {self.name!r} was given {len(contexts)} questions for {len(pairs)} pairs")
        questions = contexts if contexts is not None and self.in_context else [""] * len(pairs)
        keys = [(question, (min(pair), max(pair))) for question, pair in zip(questions, pairs, strict=True)]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        fresh = [key for key in dict.fromkeys(keys) if key not in known]
        if fresh:
            decided = self.decide_in_context([pair for _, pair in fresh], [question for question, _ in fresh])
            if [(j.left, j.right) for j in decided] != [pair for _, pair in fresh]:
                raise JudgeError(
                    f"judge {self.name!r} was given {len(fresh)} pairs and returned {len(decided)} judgements that do "
                    "not match them one to one; `decide` must answer every pair, in order"
                )
            known.update(zip(fresh, decided, strict=True))
            self._cache.update((key, j) for key, j in zip(fresh, decided, strict=True) if not j.accident)
        return [
            known[key] if key[1] == pair else replace(known[key], left=pair[0], right=pair[1])
            for key, pair in zip(keys, pairs, strict=True)
        ]


class ExactJudge(EquivalenceJudge):
    """Never merges: with it, only equal untypeset strings share a class. The lower bound on merging."""

    name = "exact"
    by_key = False

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return [Judgement(left, right, False, self.name) for left, right in pairs]


class RulesJudge(EquivalenceJudge):
    """The exact rules for simple answers alone (`simple_answers.compare_simple`): what `SymbolicJudge` adds algebra to.

    No configuration uses it; it is what the effect of the algebra is measured against.
    """

    name = "rules"

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return [Judgement(left, right, compare_simple(left, right), self.name) for left, right in pairs]


class SymbolicJudge(EquivalenceJudge):
    """Mathematical equality: exact rules for simple answers first, then the algebra that grades responses.

    The rules settle numbers, units, words, sets and lists in well under a millisecond, in this process. What they leave
    open and computing can settle (`simple_answers.needs_algebra`) goes to `Verifier.same`: a worker process with a
    limit of processor time. No judge of this name is without algebra.

    True     equal by the rules, or each right with the other as the gold answer
    False    both read and different; not where a decimal may be the other answer rounded
    None     cannot tell: words, a unit or percent sign, order, an answer that no parser reads; or an accident

    verifier  whose workers do the algebra; None = the one that this process shares
    """

    name = "symbolic"

    def __init__(self, verifier: Verifier | None = None) -> None:
        super().__init__()
        self._verifier = shared_verifier() if verifier is None else verifier

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        made = {pair: Judgement(*pair, compare_simple(*pair), self.name) for pair in pairs}
        computed = [pair for pair, j in made.items() if j.equivalent is None and needs_algebra(*pair)]
        for pair, verdict in zip(computed, self._verifier.same(computed), strict=True):
            if verdict.status.accident:
                made[pair] = replace(made[pair], accident=str(verdict.status))
            elif verdict.status is Status.CORRECT:
                made[pair] = replace(made[pair], equivalent=True)
            elif verdict.status is Status.WRONG and not may_be_rounded(*pair):
                made[pair] = replace(made[pair], equivalent=False)
        return list(made.values())


class RecordedJudge(EquivalenceJudge):
    """Replays stored judgements, so that an annotation can be rebuilt without the model that judged it.

    Each replayed judgement keeps the name of the judge that made it; `by_key` is that of the original judge (False for
    records of `ExactJudge`), and `contexts`, one question a record, are needed where the original read them.
    Raises JudgeError at construction when two records of one pair (and question) disagree, and on a pair that was never
    recorded.
    """

    def __init__(
        self,
        judgements: Iterable[Judgement],
        name: str = "recorded",
        by_key: bool = True,
        contexts: Iterable[str] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.by_key = by_key
        self.in_context = contexts is not None
        self._recorded: dict[tuple[str, Pair], Judgement] = {}
        made = list(judgements)
        questions = [""] * len(made) if contexts is None else list(contexts)
        if len(questions) != len(made):
            raise JudgeError(f"{len(questions)} questions for {len(made)} recorded judgements; give one per record")
        for question, j in zip(questions, made, strict=True):
            key = (min(j.left, j.right), max(j.left, j.right))
            known = self._recorded.setdefault((question, key), replace(j, left=key[0], right=key[1]))
            if known.equivalent != j.equivalent:
                raise JudgeError(
                    f"recorded judgements of {key[0]!r} and {key[1]!r} disagree: {known.equivalent} by "
                    f"{known.judge!r}, {j.equivalent} by {j.judge!r}; keep the records of one judge only, and give the "
                    "questions of a judge that reads them"
                )

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return self.decide_in_context(pairs, [""] * len(pairs))

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        keys = list(zip(contexts, pairs, strict=True))
        missing = [pair for question, pair in keys if (question, pair) not in self._recorded]
        if missing:
            raise JudgeError(
                f"no recorded judgement for {len(missing)} of {len(pairs)} pairs, first {missing[0][0]!r} against "
                f"{missing[0][1]!r}; the samples differ from those that were judged: run the original judge on them"
            )
        return [self._recorded[key] for key in keys]


class ChainJudge(EquivalenceJudge):
    """Asks each judge in turn; a pair that one leaves undecided (None) goes to the next. Its name joins theirs by +.

    An accident of one judge stays with the pair, also where a later judge settles it.
    """

    def __init__(self, judges: Sequence[EquivalenceJudge]) -> None:
        super().__init__()
        if not judges:
            raise JudgeError("a chain of judges needs at least one judge")
        self._judges = tuple(judges)
        self.name = "+".join(j.name for j in judges)
        self.by_key = all(j.by_key for j in judges)
        self.in_context = any(j.in_context for j in judges)

    def decide(self, pairs: Sequence[Pair]) -> list[Judgement]:
        return self.decide_in_context(pairs, [""] * len(pairs))

    def decide_in_context(self, pairs: Sequence[Pair], contexts: Sequence[str]) -> list[Judgement]:
        first, *others = self._judges
        settled = first.judge(pairs, contexts)
        for judge in others:
            still_open = [i for i, j in enumerate(settled) if j.equivalent is None]
            if still_open:
                answers = judge.judge([pairs[i] for i in still_open], [contexts[i] for i in still_open])
                for i, j in zip(still_open, answers, strict=True):
                    settled[i] = replace(j, accident=j.accident or settled[i].accident)
        return settled

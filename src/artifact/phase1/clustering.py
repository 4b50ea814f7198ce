"""Answer strings → semantic equivalence classes (UOPD, Section 3.1; Algorithm 1, line 4).

The rule, in order:
1. an answer that was not found (None, or nothing but typesetting) is a class of its own, never merged;
2. strings that are equal without their typesetting (`untypeset`) share a class, without a judgement;
3. two strings that are plainly numbers are merged or kept apart by canonical key (`simple_answers.compare_keys`),
   without a judgement too, unless the judge forbids it (`by_key = False`);
4. each remaining pair of *distinct strings* goes at most once to the judge; a True verdict merges (union-find), and a
   pair that already shares a class is not asked. u distinct strings cost at most u(u−1)/2 judgements.

The classes are the connected components of the True verdicts: an equivalence relation whatever the judge, and the
order of the samples does not matter. A judge need not be transitive: where a = b and b = c are True, all three are one
class, also if a = c was, or would have been, False. `contradictions` are the False verdicts overruled in this way, of
the pairs that were asked before their classes met; they are counted where samples are annotated. Left out: what
equivalence means (`judge.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import combinations

from artifact.phase1.judge import EquivalenceJudge, Judgement, Pair
from artifact.phase1.simple_answers import canonical_key, compare_keys
from artifact.tasks.answer_text import untypeset


@dataclass(frozen=True, slots=True)
class Clustering:
    """The classes of one problem's N answers.

    cluster_ids_N  class of each sample, 0 … C−1, numbered by first appearance
    strings_N      answer of each sample without its typesetting; None = unparsed
    judgements     the verdicts a judge was asked for, in order, each with left < right; none for what keys settled
    """

    cluster_ids: tuple[int, ...]
    strings: tuple[str | None, ...]
    judgements: tuple[Judgement, ...]


def contradictions(
    strings_N: Sequence[str | None], cluster_ids_N: Sequence[int], judgements: Sequence[Judgement]
) -> list[Judgement]:
    """The judgements that call two answers different which share a class all the same, by way of a third."""
    of = dict(zip(strings_N, cluster_ids_N, strict=True))
    return [j for j in judgements if j.equivalent is False and of[j.left] == of[j.right]]


Steps = Generator[list[Pair], list[Judgement], Clustering]


def _merge(owner: dict[str, str], left: str, right: str) -> bool:
    """Union of two classes of a relabelling `owner` (string → name of its class); False where they are one already."""
    old, new = owner[left], owner[right]
    if old == new:
        return False
    for string, name in owner.items():
        if name == old:
            owner[string] = new
    return True


def _settle_by_key(owner: dict[str, str]) -> list[Pair]:
    """Merge in `owner` what canonical keys show to be the same; returns the pairs that they leave to a judge."""
    keyed = [(string, canonical_key(string)) for string in owner]
    open_pairs = []
    for (left, a), (right, b) in combinations(keyed, 2):
        verdict = None if a is None or b is None else compare_keys(a, b)
        if verdict is None:
            open_pairs.append((left, right))
        elif verdict:
            _merge(owner, left, right)
    return open_pairs


def _cluster_steps(answers_N: Sequence[str | None], by_key: bool) -> Steps:
    """Yields batches of pairs, is sent their judgements, returns the clustering.

    The pairs of one batch form a forest over the present classes: whatever the verdicts, none of them can make another
    pair of the same batch superfluous.
    """
    strings_N = [untypeset(a) for a in answers_N]
    owner = {s: s for s in sorted({s for s in strings_N if s is not None})}
    open_pairs = _settle_by_key(owner) if by_key else list(combinations(owner, 2))
    made: list[Judgement] = []
    while open_pairs := [(left, right) for left, right in open_pairs if owner[left] != owner[right]]:
        forest = {name: name for name in owner.values()}
        batch = [pair for pair in open_pairs if _merge(forest, owner[pair[0]], owner[pair[1]])]
        judgements = yield batch
        for j in judgements:
            if j.equivalent is True:
                _merge(owner, j.left, j.right)
        made.extend(judgements)
        asked = set(batch)
        open_pairs = [pair for pair in open_pairs if pair not in asked]
    keys = [("unparsed", str(n)) if s is None else ("answer", owner[s]) for n, s in enumerate(strings_N)]
    number = {key: c for c, key in enumerate(dict.fromkeys(keys))}
    return Clustering(tuple(number[key] for key in keys), tuple(strings_N), tuple(made))


def cluster_many(
    answers_PN: Sequence[Sequence[str | None]], judge: EquivalenceJudge, questions_P: Sequence[str] | None = None
) -> list[Clustering]:
    """Cluster the answers of many problems in lockstep: one judge call per round holds all open pairs."""
    done: dict[int, Clustering] = {}
    waiting: list[tuple[int, Steps, list[Pair]]] = []

    def advance(p: int, steps: Steps, reply: list[Judgement] | None) -> None:
        try:
            batch = next(steps) if reply is None else steps.send(reply)
        except StopIteration as stop:
            done[p] = stop.value
        else:
            waiting.append((p, steps, batch))

    for p, answers_N in enumerate(answers_PN):
        advance(p, _cluster_steps(answers_N, judge.by_key), None)
    while waiting:
        current, waiting = waiting, []
        contexts = None if questions_P is None else [questions_P[p] for p, _, batch in current for _ in batch]
        judgements = judge.judge([pair for _, _, batch in current for pair in batch], contexts)
        start = 0
        for p, steps, batch in current:
            advance(p, steps, judgements[start : start + len(batch)])
            start += len(batch)
    return [done[p] for p in range(len(answers_PN))]


def cluster_answers(
    answers_N: Sequence[str | None], judge: EquivalenceJudge, question: str | None = None
) -> Clustering:
    """Cluster the N extracted answers of one problem; None marks a response without an answer."""
    return cluster_many([answers_N], judge, None if question is None else [question])[0]

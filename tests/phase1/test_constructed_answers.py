"""Answers of known meaning: every spelling computed by Python's own arithmetic, and the counts of merges by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest

from artifact.phase1.annotate import annotate_all
from artifact.phase1.constructed_answers import KINDS, KnownQuestion, known_questions, pair_frame, samples
from artifact.phase1.judge import EquivalenceJudge, ExactJudge, Judgement, RulesJudge, SymbolicJudge
from artifact.tasks.verifier import Verifier

QUESTIONS = known_questions(per_kind=3)
POINTS = ({"x": 1.37, "y": -0.61, "n": 2.3}, {"x": -2.11, "y": 0.83, "n": 0.7})


@pytest.fixture(scope="module")
def symbolic() -> Iterator[SymbolicJudge]:
    with Verifier(timeout_s=20.0) as v:
        yield SymbolicJudge(v)


def computed(text: str, point: dict[str, float]) -> float:
    """The value of an expression, by Python."""
    text = re.sub(r"\\d?frac\{(.*?)\}\{(\\sqrt\{\d+\}|.*?)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\{(\d+)\}", r"(\1)**0.5", text)
    text = re.sub(r"\\ln (\d+)", r"log(\1)", text).replace(r"\cdot", "*")
    text = re.sub(r"\^\{(.*?)\}", r"**(\1)", text).replace("^", "**")
    text = re.sub(r"(?<=[0-9)])(?=[xyn(])(?<!log)|(?<=[0-9)])\s*(?=\()", "*", text)
    text = re.sub(r"\)\s+\*?\s*log", ") * log", text)
    return float(eval(text, {"log": math.log} | point))


def rounded(value: float) -> float:
    return float(f"{value:.9g}")


def meaning(kind: str, text: str) -> object:
    """What a spelling says, as numbers that can be compared."""
    text = text.replace(r"\left", "").replace(r"\right", "").replace(r"\,", "").strip()
    if kind == "equation":  # the difference of the sides, by its ratio at two points: constant factors cancel
        left, right = text.split("=")
        values = [computed(left, p) - computed(right, p) for p in POINTS]
        return rounded(values[0] / values[1])
    if kind == "matrix":
        rows = re.sub(r"\\(begin|end)\{.matrix\}", "", text).split(r"\\")
        return tuple(tuple(rounded(computed(cell.strip(), {})) for cell in row.split("&")) for row in rows)
    if kind == "set":
        return frozenset(rounded(computed(part.strip(), {})) for part in text[2:-2].split(","))
    if kind == "tuple":
        return tuple(rounded(computed(part.strip(), {})) for part in text[1:-1].split(","))
    if kind == "interval":
        text = text.removeprefix(r"x \in ")
        if match := re.fullmatch(r"(-?\d+) (<|\\le) x (<|\\le) (-?\d+)", text):
            low, first, second, high = match.groups()
            return ("[" if first != "<" else "(", float(low), float(high), "]" if second != "<" else ")")
        low, high = text[1:-1].split(",")
        return (text[0], float(low), float(high), text[-1])
    return tuple(rounded(computed(text, p)) for p in POINTS)


@pytest.mark.parametrize("kind", KINDS)
def test_spellings_are_equal_exactly_where_the_meaning_is_one(kind: str) -> None:
    for q in (q for q in known_questions(per_kind=20) if q.kind == kind):
        values = [{meaning(kind, s) for s in spellings} for spellings in q.meanings]
        assert all(len(v) == 1 for v in values), q
        assert len(set.union(*values)) == len(q.meanings) == 4, q
        assert len({s for spellings in q.meanings for s in spellings}) == sum(map(len, q.meanings)), q


def test_the_same_seed_gives_the_same_questions_and_another_seed_others() -> None:
    assert known_questions(2) == known_questions(2) != known_questions(2, seed=1)
    assert known_questions(3)[:2] == known_questions(2)[:2]


class MergesWhatStartsAlike(EquivalenceJudge):
    name, by_key = "first letter", False

    def decide(self, pairs):
        return [Judgement(a, b, a[0] == b[0], self.name, accident="" if a != "b1" else "timeout") for a, b in pairs]


def test_pairs_counted_by_hand() -> None:
    """Meanings {a1, a2, b1} and {b2}: of three equal pairs a1–a2 is merged; of three different ones b1–b2 is."""
    frame = pair_frame([KnownQuestion("q", "k", (("a1", "a2", "b1"), ("b2",)))], MergesWhatStartsAlike())
    assert frame[["left", "right", "equal", "merged"]].to_numpy().tolist() == [
        ["a1", "a2", True, True],
        ["a1", "b1", True, False],
        ["a1", "b2", False, False],
        ["a2", "b1", True, False],
        ["a2", "b2", False, False],
        ["b1", "b2", False, True],
    ]
    assert frame["accident"].tolist() == [False] * 5 + [True]
    assert set(frame["judge"]) == {"first letter"} and set(frame["kind"]) == {"k"}


def test_algebra_merges_what_means_the_same_and_nothing_else(symbolic: SymbolicJudge) -> None:
    frame, rules = pair_frame(QUESTIONS, symbolic), pair_frame(QUESTIONS, RulesJudge())
    assert frame.loc[frame["equal"] != frame["merged"]].empty and not frame["accident"].any()
    assert not rules.loc[~rules["equal"], "merged"].any()
    assert rules.loc[rules["equal"], "merged"].mean() < 0.3 and len(frame) == len(rules)


def test_samples_have_the_true_classes_in_their_plain_form(symbolic: SymbolicJudge) -> None:
    drawn = samples(QUESTIONS, n=6)
    spelled, _ = annotate_all(drawn.problems, drawn.rollouts, symbolic)
    plain, _ = annotate_all(drawn.problems, drawn.plain, ExactJudge())
    assert [a.cluster_ids for a in spelled] == [a.cluster_ids for a in plain]
    for a in spelled:
        assert a.entropy == pytest.approx(a.discrete_entropy, abs=1e-12)  # every sample is equally likely
    gold = {p.id: p.answer for p in drawn.problems}
    assert all((r.verdict.correct) == (r.text == gold[r.problem_id]) for r in drawn.plain)
    assert 0 < sum(drawn.wrong.values()) < len(drawn.wrong) == len(QUESTIONS)

"""Clusters with algebra: the pairs it is asked, its verdicts against mathematics on paper, accidents, transitivity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from tests.tasks import hostile
from tests.tasks.test_verdict_cases import DIFFERENT, SAME

from artifact.phase1.annotate import annotate, annotate_all
from artifact.phase1.clustering import cluster_answers, contradictions
from artifact.phase1.judge import ChainJudge, EquivalenceJudge, Judgement, RulesJudge, SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.phase1.simple_answers import needs_algebra
from artifact.phase1.stream import annotate_stream, draw, shard_path
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet
from artifact.tasks import verifier as verifier_module
from artifact.tasks.answer_text import untypeset
from artifact.tasks.verifier import Verifier
from artifact.tasks.verifier_process import WorkerDied, WorkerProcess, WorkerTimeout
from artifact.train.rollouts import TooManyAccidents

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "tasks" / "cases" / "verifier.jsonl").read_text("utf-8").splitlines()
]
WRONG = [(c["gold"], c["text"]) for c in CASES if c["mode"] == "answer" and c["expected"] != "correct"]
WRONG += [pair for pairs in DIFFERENT.values() for pair in pairs]
RIGHT = [(c["gold"], c["text"]) for c in CASES if c["mode"] == "answer" and c["expected"] == "correct"]
RIGHT += [pair for pairs in SAME.values() for pair in pairs]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(timeout_s=20.0) as v:
        yield v


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> None:
        raise AssertionError("a worker process was started")

    monkeypatch.setattr(verifier_module, "WorkerProcess", start)


def rollouts(problem: str, *answers: str | None) -> list[Rollout]:
    return [
        Rollout(problem, i, (1,), (2, 3), (-0.5, -0.5), "", "stop", -1, Verdict(Status.WRONG, a))
        for i, a in enumerate(answers)
    ]


PROBLEM = Problem("p", "What is it?", "1", None, "toy", "easy")


def test_false_verdicts_of_the_cases_are_not_merged_and_right_ones_never_called_different(verifier: Verifier) -> None:
    judge, merged = SymbolicJudge(verifier), 0
    for gold, answer in WRONG:
        assert len(set(cluster_answers([gold, answer], judge).cluster_ids)) == 2, (gold, answer)
    for gold, answer in RIGHT:
        clustering = cluster_answers([gold, answer], judge)
        assert all(j.equivalent is not False and not j.accident for j in clustering.judgements), clustering
        merged += len(set(clustering.cluster_ids)) == 1
    assert len(WRONG) > 60 and merged >= 45, merged
    rules = RulesJudge()
    assert sum(len(set(cluster_answers(list(pair), rules).cluster_ids)) == 1 for pair in RIGHT) < 20


ONE_CLASS = [
    ("x+1", "1+x", r"\frac{2x+2}{2}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", r"0.5\sqrt{2}", r"\cos 45^\circ"),
    (r"\left(-\infty, 2\right]", r"x \le 2", r"x\in(-\infty,2]"),
    (r"\begin{pmatrix} 1 & 1/2 \\ 0 & 3 \end{pmatrix}", r"\begin{bmatrix}1&0.5\\0&3\end{bmatrix}"),
    (r"\{1, \sqrt{4}\}", r"\{2, 1\}", r"\{\frac{4}{2}, 1\}"),
    ("y = 2x + 1", "2x - y + 1 = 0"),
    ("1/2", "0.5", r"\frac{1}{2}", r"2^{-1}", r"\sqrt{0.25}"),
]


def test_annotation_of_recorded_samples_uses_the_algebra(verifier: Verifier) -> None:
    """Every class has k spellings and one intruder: two classes, so H from counts is known."""
    for spellings in ONE_CLASS:
        samples = rollouts("p", *spellings, "17")
        a = annotate(PROBLEM, samples, SymbolicJudge(verifier))
        assert a.clusters == 2 and a.cluster_ids == (*[0] * len(spellings), 1), (spellings, a.judgements)
        assert a.judge == "symbolic" and not any(j.accident for j in a.judgements)
        assert annotate(PROBLEM, samples, RulesJudge()).clusters > 2, spellings


def test_simple_answers_start_no_process(no_process: None) -> None:
    judge = SymbolicJudge(Verifier())
    numbers = [
        "5",
        "x=5",
        "5.0",
        "7",
        r"\frac{1}{2}",
        "0.5",
        "50%",
        "50",
        "3 cm",
        "1,080",
        "0.33",
        "1/3",
        "1 m",
        "100 cm",
    ]
    words = [None, "7", "blue", "no solution", "Yes", "yes, it is", "(B)", "b", "Tom and Ann"]
    collections = [r"\{1,2\}", r"\{2, 1\}", "1, 2", "2, 1", "(1,2)", "(1, 0.5)", "[1,2]"]
    for answers in (numbers, words, collections):
        cluster_answers(answers, judge)
    with pytest.raises(AssertionError, match="worker process was started"):
        cluster_answers(["x+1", "1+x"], judge)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("50%", "50"),
        ("1, 2", "2, 1"),
        ("B", "12"),
        ("Yes", "yes, it is"),
        ("8 m", "8"),
        ("52_8", "42"),
        ("12", "12^{ th }"),
        ("no solution", "none"),
        (r"\frac{1}{2", "1/2"),
    ],
)
def test_what_only_the_question_can_tell_stays_open(no_process: None, left: str, right: str) -> None:
    assert not needs_algebra(left, right) and not needs_algebra(right, left)
    (judgement,) = SymbolicJudge(Verifier()).judge([(left, right)])
    assert judgement.equivalent is None and judgement.accident == ""


def test_algebra_that_cannot_tell_says_so(verifier: Verifier) -> None:
    """A grading convention, an answer without a value, and a decimal that may be a rounding: None, not False."""
    judge = SymbolicJudge(verifier)
    for pair in (("5", "2+3=5"), (r"\frac{1}{0}", r"\sqrt{2}"), ("1.414", r"\sqrt{2}"), ("x+1", "x + * 1")):
        assert judge.judge([pair])[0] == Judgement(*pair, None, "symbolic")
    assert judge.judge([("1.5", r"\sqrt{2}")])[0].equivalent is False  # one decimal place rounds nothing
    assert [v.status for v in verifier.same([("x+1", "1+x"), ("x+1", "x+2"), ("5", "2+3=5")])] == [
        Status.CORRECT,
        Status.WRONG,
        Status.UNPARSED,
    ]


def test_same_is_symmetric_and_cached(verifier: Verifier) -> None:
    pairs = [p for p in (*RIGHT, *WRONG) if needs_algebra(*map(str, map(untypeset, p)))]
    there = verifier.same(pairs)
    asked = verifier.paths["symbolic"]
    back = verifier.same([(b, a) for a, b in pairs])
    assert [v.status for v in there] == [v.status for v in back] and len(pairs) > 60
    assert verifier.paths["symbolic"] == asked


def failing(error: Exception) -> object:
    def ask(worker: WorkerProcess, *_: object) -> None:
        worker.kill()
        raise error

    return ask


@pytest.mark.parametrize(("error", "name"), [(WorkerTimeout("used up"), "timeout"), (WorkerDied("-9"), "error")])
def test_an_accident_is_named_counted_and_not_remembered(
    error: Exception, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    problems = [replace(PROBLEM, id=f"p{i}") for i in range(2)]
    answers = {"p0": ("x+1", "1+x", "1+x"), "p1": ("3", "3.0", "4")}
    draw(problems, lambda ps: [rollouts(p.id, *answers[p.id]) for p in ps], tmp_path / "samples", batch=1)
    with Verifier(timeout_s=20.0) as verifier:
        judge = SymbolicJudge(verifier)
        with monkeypatch.context() as patch:
            patch.setattr(WorkerProcess, "ask", failing(error))
            (failed,) = judge.judge([("1+x", "x+1")])
            made = annotate_stream(problems, samples := tmp_path / "samples", tmp_path / "bad", judge, batch=1, n=3)
        assert failed == Judgement("1+x", "x+1", None, "symbolic", None, name)
        assert made["accidents"] == made[f"accident/{name}"] == made["undecided"] == 1
        stored = read_parquet(shard_path(tmp_path / "bad", 0), Annotation)[0]
        assert [j.accident for j in stored.judgements] == [name] and stored.clusters == 2
        again = annotate_stream(problems, samples, tmp_path / "bad", judge, batch=1, n=3)
        assert again == made  # a stored shard keeps its account
        sound = annotate_stream(problems, samples, tmp_path / "good", judge, batch=1, n=3)
        assert sound["accidents"] == 0 and f"accident/{name}" not in sound
        assert read_parquet(shard_path(tmp_path / "good", 0), Annotation)[0].clusters == 1


@pytest.mark.parametrize("answer", hostile.HANGING[:1])
def test_an_answer_that_hangs_the_algebra_is_a_timeout(answer: str) -> None:
    with Verifier(timeout_s=0.5) as verifier:
        (judgement,) = SymbolicJudge(verifier).judge([("42", str(untypeset(answer)))])
    assert (judgement.equivalent, judgement.accident) == (None, "timeout")


def test_a_later_judge_may_settle_an_accident_which_stays_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model(EquivalenceJudge):
        name = "model"

        def decide(self, pairs):
            return [Judgement(a, b, True, self.name, 0.9) for a, b in pairs]

    monkeypatch.setattr(WorkerProcess, "ask", failing(WorkerTimeout("used up")))
    with Verifier(timeout_s=20.0) as verifier:
        (j,) = ChainJudge([SymbolicJudge(verifier), Model()]).judge([("1+x", "x+1")])
    assert (j.equivalent, j.judge, j.accident) == (True, "model", "timeout")


def test_too_many_accidents_stop_the_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerProcess, "ask", failing(WorkerTimeout("used up")))
    with Verifier(timeout_s=20.0) as verifier:
        two = rollouts("p", "x+1", "1+x", "7")[:2]
        assert annotate(PROBLEM, two, SymbolicJudge(verifier)).clusters == 2  # one accident says nothing
        many = rollouts("p", "x+1", "1+x", "x+2", "2+x")
        with pytest.raises(TooManyAccidents, match=r"failed on 6 of 6 pairs of answers \(6 × timeout\), more than 5%"):
            annotate_all([PROBLEM], many, SymbolicJudge(verifier))


def test_classes_are_an_equivalence_relation_and_overruled_verdicts_are_counted() -> None:
    class Intransitive(EquivalenceJudge):
        """a = b and b = c, yet a ≠ c: asked in that order, and with a ≠ c first."""

        name, by_key = "odd", False

        def decide(self, pairs):
            return [Judgement(a, b, "b" in (a, b), self.name) for a, b in pairs]

    class Stubborn(Intransitive):
        """a ≠ b, asked before the classes meet through c; d differs from all."""

        def decide(self, pairs):
            return [Judgement(a, b, (a, b) != ("a", "b") and b != "d", self.name) for a, b in pairs]

    spared = cluster_answers(["a", "b", "c"], Intransitive())
    assert spared.cluster_ids == (0, 0, 0)
    overruled = cluster_answers(["c", "a", "b", "d"], Stubborn())
    assert overruled.cluster_ids == (0, 0, 0, 1)  # d differs from all of them, which overrules nothing
    found = contradictions(overruled.strings, overruled.cluster_ids, overruled.judgements)
    assert found == [Judgement("a", "b", False, "odd")]
    a = annotate(PROBLEM, rollouts("p", "c", "a", "b", "d"), Stubborn())
    assert a.contradictions == found
    for judge in (Intransitive(), Stubborn()):
        for answers in (["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]):
            assert len(set(cluster_answers(answers, judge).cluster_ids)) == 1


def test_equality_by_algebra_is_transitive_on_the_spellings_of_one_value(verifier: Verifier) -> None:
    judge = SymbolicJudge(verifier)
    for spellings in ONE_CLASS:
        strings = [str(untypeset(s)) for s in spellings]
        assert all(j.equivalent is True for j in judge.judge(list(combinations(strings, 2)))), spellings

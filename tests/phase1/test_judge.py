"""Judges: symmetry, caching, replay, chaining, and the probes that a judge must pass before use."""

import pytest

from artifact.phase1.judge import (
    ChainJudge,
    EquivalenceJudge,
    ExactJudge,
    JudgeError,
    Judgement,
    RecordedJudge,
    SymbolicJudge,
)
from artifact.records import Status, Verdict


class Counting(EquivalenceJudge):
    """Answers from a table (undecided where it is silent) and keeps what it was asked."""

    def __init__(self, table, name="counting", probability=None):
        super().__init__()
        self.name, self.table, self.probability, self.asked = name, table, probability, []

    def decide(self, pairs):
        self.asked += pairs
        return [Judgement(a, b, self.table.get((a, b)), self.name, self.probability) for a, b in pairs]


def test_a_pair_is_decided_once_whatever_its_direction():
    judge = Counting({("a", "b"): True}, probability=0.9)
    forth, back = judge.judge([("a", "b"), ("b", "a")])
    (again,) = judge.judge([("b", "a")])
    assert judge.asked == [("a", "b")]
    assert forth == Judgement("a", "b", True, "counting", 0.9)
    assert back == again == Judgement("b", "a", True, "counting", 0.9)


def test_order_of_a_batch_is_kept():
    judge = Counting({("a", "b"): True, ("a", "c"): False})
    assert [j.equivalent for j in judge.judge([("c", "a"), ("b", "c"), ("a", "b")])] == [False, None, True]


def test_a_judge_that_answers_other_pairs_is_caught():
    class Short(ExactJudge):
        def decide(self, pairs):
            return super().decide(pairs)[1:]

    with pytest.raises(JudgeError, match="given 2 pairs and returned 1"):
        Short().judge([("a", "b"), ("a", "c")])


def test_comparing_a_string_with_itself_is_an_error():
    with pytest.raises(JudgeError, match="with itself"):
        ExactJudge().judge([("a", "a")])


def test_exact_never_merges():
    assert [j.equivalent for j in ExactJudge().judge([("1/2", "0.5"), ("a", "b")])] == [False, False]


def test_symbolic_asks_the_verifier_only_for_what_the_rules_leave_open_and_algebra_may_settle():
    asked = []

    class Recording:
        def same(self, pairs):
            asked.extend(pairs)
            known = {r"\sqrt{4}": Status.CORRECT, "y + 1": Status.WRONG}
            return [Verdict(known.get(b, Status.UNPARSED), b) for _, b in pairs]

    pairs = [
        ("1/2", "0.5"),
        ("3", "5"),
        ("2", r"\sqrt{4}"),
        ("x + 1", "y + 1"),
        ("x", "x + z"),
        ("50", "50%"),
        ("no", "x"),
    ]
    verdicts = [j.equivalent for j in SymbolicJudge(Recording()).judge(pairs)]
    assert verdicts == [True, False, True, False, None, None, None]
    assert asked == pairs[2:5]


def test_replay_gives_the_recorded_verdicts_and_names():
    recorded = [Judgement("b", "a", True, "qwen", 0.8), Judgement("a", "c", None, "symbolic")]
    judge = RecordedJudge(recorded)
    assert judge.judge([("a", "b"), ("c", "a")]) == [
        Judgement("a", "b", True, "qwen", 0.8),
        Judgement("c", "a", None, "symbolic"),
    ]
    with pytest.raises(JudgeError, match="no recorded judgement for 1 of 1 pairs, first 'b' against 'c'"):
        judge.judge([("c", "b")])


def test_contradicting_records_are_refused():
    with pytest.raises(JudgeError, match="disagree: True by 'x', False by 'y'"):
        RecordedJudge([Judgement("a", "b", True, "x"), Judgement("b", "a", False, "y")])
    with pytest.raises(JudgeError, match="disagree: True by 'x', None by 'x'"):
        RecordedJudge([Judgement("a", "b", True, "x"), Judgement("a", "b", None, "x")])
    assert RecordedJudge([Judgement("a", "b", True, "x"), Judgement("b", "a", True, "y")]).judge([("a", "b")])


def test_a_chain_passes_on_only_what_is_undecided():
    second = Counting({("a", "b"): True, ("3", "5"): True}, name="model")
    chain = ChainJudge([SymbolicJudge(), second])
    verdicts = chain.judge([("3", "5"), ("a", "b"), ("a", "c")])
    assert [(j.equivalent, j.judge) for j in verdicts] == [(False, "symbolic"), (True, "model"), (None, "model")]
    assert second.asked == [("a", "b"), ("a", "c")]
    assert chain.name == "symbolic+model"
    assert chain.by_key is True and ChainJudge([SymbolicJudge(), ExactJudge()]).by_key is False
    with pytest.raises(JudgeError, match="at least one"):
        ChainJudge([])

"""From verified teacher samples to an annotation: closed forms, the rule for unparsed samples, and what is refused."""

import math
from dataclasses import replace

import pytest

from artifact.phase1.annotate import TooFewAnswers, annotate, annotate_all
from artifact.phase1.judge import ExactJudge, RecordedJudge, SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.records import Problem, RecordError, Rollout, Status, Verdict, read_parquet, write_parquet

PROBLEM = Problem("p", "How much is 1/4 + 1/4?", "1/2", None, "toy", "easy")


def rollout(sample, answer, *, logprobs=(-0.5, -0.5), status=None, problem_id="p"):
    """One sample; its status follows from the answer unless given."""
    if status is None:
        status = Status.UNPARSED if answer is None else Status.CORRECT if answer in ("1/2", "0.5") else Status.WRONG
    ids = tuple(range(len(logprobs)))
    return Rollout(problem_id, sample, (1, 2), ids, tuple(logprobs), str(answer), "stop", -1, Verdict(status, answer))


def samples(*answers, **kwargs):
    return [rollout(i, a, **kwargs) for i, a in enumerate(answers)]


def test_a_case_by_hand():
    a = annotate(PROBLEM, samples("1/2", "0.5", "1/2", "7"), SymbolicJudge())
    assert (a.problem_id, a.n, a.n_valid, a.clusters, a.cluster_ids) == ("p", 4, 4, 2, (0, 0, 0, 1))
    h = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert a.entropy == pytest.approx(h, abs=1e-14)
    assert a.discrete_entropy == pytest.approx(h, abs=1e-14)
    assert a.normalised == pytest.approx(h / math.log(4), abs=1e-14)
    assert a.weight == pytest.approx(1 - h / math.log(4), abs=1e-14)
    assert a.cluster_probs == pytest.approx((0.75, 0.25), abs=1e-15)
    assert a.answer_string_entropy == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4), abs=1e-14)
    assert a.intra_entropy == pytest.approx((math.log(3) - 2 / 3 * math.log(2), 0), abs=1e-14)
    assert (a.majority_answer, a.majority_share, a.majority_correct) == ("1/2", 0.75, 1)
    assert a.mean_logprob == -0.5 and a.token_counts == (2, 2, 2, 2)
    assert a.judge == "symbolic" and a.judgements == ()  # numbers need no judge
    exact = annotate(PROBLEM, samples("1/2", "0.5", "1/2", "7"), ExactJudge())
    assert exact.judge == "exact" and exact.cluster_ids == (0, 1, 0, 2) and len(exact.judgements) == 3


def test_lengths_are_normalised_away():
    """Twice the tokens at the same log-probability each: the same share of the mass (Eq. 4)."""
    short, long = rollout(0, "1/2", logprobs=(-0.5,)), rollout(1, "7", logprobs=(-0.5,) * 20)
    assert annotate(PROBLEM, [short, long], ExactJudge()).cluster_probs == (0.5, 0.5)


def test_likelier_samples_weigh_more():
    likely, unlikely = rollout(0, "1/2", logprobs=(math.log(0.9),)), rollout(1, "7", logprobs=(math.log(0.1),))
    a = annotate(PROBLEM, [likely, unlikely], ExactJudge())
    assert a.cluster_probs == pytest.approx((0.9, 0.1), abs=1e-12)
    assert a.discrete_entropy == pytest.approx(math.log(2))


def test_unparsed_samples_are_singletons_under_n():
    a = annotate(PROBLEM, samples(None, None, None, None), ExactJudge())
    assert a.clusters == 4 and a.normalised == 1.0 and a.weight == 0.0
    assert (a.n_valid, a.answers, a.parsed) == (0, ("",) * 4, (0,) * 4)
    assert (a.majority_answer, a.majority_share, a.majority_correct) == ("", 0.0, 0)
    assert a.answer_string_entropy == pytest.approx(math.log(4))
    half = annotate(PROBLEM, samples("1/2", "1/2", None, None), ExactJudge())  # masses 1/2, 1/4, 1/4
    assert half.entropy == pytest.approx(1.5 * math.log(2)) and half.normalised == pytest.approx(0.75)
    assert half.weight == pytest.approx(0.25)


def test_n_valid_leaves_unparsed_samples_out():
    answers = ("1/2", None, "7", None)
    a = annotate(PROBLEM, samples(*answers), ExactJudge(), normaliser="n_valid", min_valid=2)
    assert (a.n, a.n_valid, a.n_counted, a.clusters) == (4, 2, 2, 2)
    assert a.entropy == pytest.approx(math.log(2)) and a.normalised == pytest.approx(1)
    assert a.discrete_entropy == pytest.approx(math.log(2))
    assert a.cluster_probs == (0.5, 0.0, 0.5, 0.0)
    assert a.majority_share == 0.5
    whole = annotate(PROBLEM, samples(*answers), ExactJudge())
    assert whole.entropy == pytest.approx(math.log(4)) and whole.majority_share == 0.25


def test_too_few_answers_is_named_and_dropped_only_by_name():
    with pytest.raises(TooFewAnswers, match=r"'p': 1 of 4 samples have an answer, min_valid = 2"):
        annotate(PROBLEM, samples("7", None, None, None), ExactJudge(), min_valid=2)
    with pytest.raises(TooFewAnswers, match=r"1 of 2 answers are usable"):
        annotate(PROBLEM, samples("7", r"\boxed{}"), ExactJudge(), min_valid=2)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"unknown normaliser 'N'; use one of"):
        annotate(PROBLEM, samples("1", "2"), ExactJudge(), normaliser="N")
    with pytest.raises(ValueError, match=r"needs min_valid ≥ 2"):
        annotate(PROBLEM, samples("1", "2"), ExactJudge(), normaliser="n_valid")


@pytest.mark.parametrize("answers", [(), ("7",)])
def test_fewer_than_two_samples_is_an_error(answers):
    with pytest.raises(ValueError, match="needs at least 2"):
        annotate(PROBLEM, samples(*answers), ExactJudge())


def test_bad_samples_are_refused():
    good = rollout(0, "7")
    for bad, message in [
        (rollout(1, "7", problem_id="q"), r"q#1 was given as a sample of problem 'p'"),
        (replace(rollout(1, "7"), verdict=None), "p#1 has no verdict"),
        (rollout(1, "7", logprobs=()), "p#1 has no response tokens"),
        (rollout(0, "7"), r"repeat a sample number: \[0, 0\]"),
    ]:
        with pytest.raises(RecordError, match=message):
            annotate(PROBLEM, [good, bad], ExactJudge())


def test_a_tied_majority_goes_to_the_likelier_class_whatever_the_order():
    likely, unlikely = rollout(0, "7", logprobs=(-0.1,)), rollout(1, "1/2", logprobs=(-0.9,))
    for order in ([likely, unlikely], [unlikely, likely]):
        a = annotate(PROBLEM, order, ExactJudge())
        assert (a.majority_answer, a.majority_correct, a.majority_share) == ("7", 0, 0.5)


def test_two_unlikely_samples_outvote_a_likely_one():
    likely, others = rollout(0, "7", logprobs=(-0.1,)), [rollout(i, "1/2", logprobs=(-5.0,)) for i in (1, 2)]
    a = annotate(PROBLEM, [likely, *others], ExactJudge())
    assert (a.majority_answer, a.majority_correct, a.majority_share) == ("1/2", 1, 2 / 3)
    assert a.cluster_probs[0] > 0.9


def test_an_answer_beats_unparsed_samples_in_a_tie():
    a = annotate(PROBLEM, [rollout(0, None, logprobs=(-0.1,)), rollout(1, "1/2", logprobs=(-0.9,))], ExactJudge())
    assert (a.majority_answer, a.majority_correct) == ("1/2", 1)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((Status.CORRECT, Status.TIMEOUT), 1),
        ((Status.TIMEOUT, Status.ERROR), -1),
        ((Status.CORRECT, Status.WRONG), -1),
        ((Status.WRONG, Status.WRONG), 0),
    ],
)
def test_a_failed_verifier_is_unknown_not_wrong(statuses, expected):
    rollouts = [rollout(i, "1/2", status=s) for i, s in enumerate(statuses)]
    assert annotate(PROBLEM, rollouts, ExactJudge()).majority_correct == expected


def test_annotations_survive_parquet_and_replay(tmp_path):
    rollouts = samples("1/2", "0.5", "x", None, "50%", "50")
    a = annotate(PROBLEM, rollouts, SymbolicJudge())
    write_parquet(tmp_path / "a.parquet", [a], Annotation)
    (back,) = read_parquet(tmp_path / "a.parquet", Annotation)
    assert back == a
    assert len(a.judgements) > 1
    again = annotate(PROBLEM, rollouts, RecordedJudge(back.judgements, name="symbolic"))
    assert again == a
    exact = annotate(PROBLEM, rollouts, ExactJudge())
    assert annotate(PROBLEM, rollouts, RecordedJudge(exact.judgements, name="exact", by_key=False)) == exact


def test_a_record_that_does_not_fit_its_n_is_refused():
    a = annotate(PROBLEM, samples("1", "2"), ExactJudge())
    with pytest.raises(RecordError, match="n = 3 samples but 2 entries in `cluster_ids`"):
        replace(a, n=3)
    with pytest.raises(RecordError, match="unknown normaliser"):
        replace(a, normaliser="log")


def test_many_problems_at_once():
    problems = [replace(PROBLEM, id=i) for i in ("a", "b", "c")]
    rollouts = [rollout(i, x, problem_id="b") for i, x in enumerate(("1/2", "0.5", "7"))]
    rollouts += [rollout(i, x, problem_id="a") for i, x in enumerate(("1", "1", "2"))]
    rollouts += [rollout(i, x, problem_id="c") for i, x in enumerate((None, None, "2"))]
    done, dropped = annotate_all(problems, rollouts, SymbolicJudge(), min_valid=2)
    assert [a.problem_id for a in done] == ["a", "b"]
    assert list(dropped) == ["c"] and "1 of 3" in dropped["c"]
    assert done[1] == annotate(problems[1], rollouts[:3], SymbolicJudge(), min_valid=2)
    with pytest.raises(RecordError, match="z#0 belongs to none of the 3 problems"):
        annotate_all(problems, [rollout(0, "1", problem_id="z")], SymbolicJudge())
    with pytest.raises(ValueError, match="problem 'a' has 0 teacher samples"):
        annotate_all(problems, rollouts[:3], SymbolicJudge())

"""The evaluation protocol: metrics against enumeration over all subsets, votes by hand, and refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from artifact.errors import ArtifactError, EmptyDataset
from artifact.evaluate.protocol import account, ks_for, measures, parse_protocol, problem_values, vote_classes

ANSWERS = {  # problem → (extracted, correct) of four samples
    "easy": [("7", True), ("7.0", True), ("8", False), ("9", False)],
    "hard": [("1", False), ("1.0", False), (None, False), ("2", True)],
    "mute": [(None, False)] * 4,
}


def responses(samples: int = 4) -> pd.DataFrame:
    """The table above as rows of `evaluate.to_frame`, sample by sample."""
    return pd.DataFrame(
        {
            "problem_id": name,
            "sample": j,
            "correct": correct,
            "extracted": answer,
            "status": "correct" if correct else "wrong" if answer else "unparsed",
            "finish_reason": "stop" if answer else "length",
            "response_tokens": 10 * (j + 1),
        }
        for j in range(samples)
        for name, of in ANSWERS.items()
        for answer, correct in [of[j]]
    )


def test_greedy_is_pass_at_1_with_wilsons_interval() -> None:
    row = measures(responses(1)).iloc[0]
    oracle = scipy.stats.binomtest(1, 3).proportion_ci(method="wilson")
    assert (row.metric, row.k, row.estimate) == ("pass@1", 1, pytest.approx(1 / 3))
    assert (row.low, row.high) == pytest.approx((oracle.low, oracle.high))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_pass_and_majority_are_means_over_all_subsets(k: int) -> None:
    values = problem_values(responses(), [k])
    for name, of in ANSWERS.items():
        found, voted = [], []
        for subset in itertools.combinations(of, k):
            found.append(any(correct for _, correct in subset))
            votes = [("right" if correct else float(a)) for a, correct in subset if a is not None]
            most = max((votes.count(v) for v in votes), default=0)
            winners = {v for v in votes if votes.count(v) == most}
            voted.append(("right" in winners) / len(winners) if winners else 0)
        assert values.loc[name, f"pass@{k}"] == pytest.approx(np.mean(found))
        assert values.loc[name, f"maj@{k}"] == pytest.approx(np.mean(voted))


def test_all_metrics_are_means_of_their_problem_values_and_lie_in_their_intervals() -> None:
    table = measures(responses(), [1, 2, 4], resamples=500)
    assert table["metric"].tolist() == ["avg@4", "pass@2", "pass@4", "maj@2", "maj@4"]
    assert table["estimate"].tolist() == pytest.approx(problem_values(responses(), [2, 4]).mean().tolist())
    assert table["estimate"].iloc[0] == pytest.approx(3 / 12)
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()
    assert table["method"].str.contains("over problems").all()


def test_problems_are_the_clusters() -> None:
    many = pd.concat([responses(1).assign(sample=j) for j in range(8)])  # copies carry no information
    one = pd.concat([responses(1).assign(sample=j) for j in range(2)])
    assert measures(many)[["low", "high"]].to_numpy() == pytest.approx(measures(one)[["low", "high"]].to_numpy())


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = responses().sample(frac=1, random_state=3)
    expected = problem_values(responses(), [2, 3])
    pd.testing.assert_frame_equal(problem_values(shuffled, [2, 3]).loc[expected.index], expected)


def test_what_lies_behind_the_numbers() -> None:
    facts = account(responses())
    assert (facts["problems"], facts["samples"], facts["responses"]) == (3, 4, 12)
    assert facts["truncated"] == facts["unparsed"] == pytest.approx(5 / 12)
    assert (facts["timeout"], facts["response_tokens"], facts["longest_response"]) == (0, 25, 40)


def test_who_votes_together() -> None:
    answers = ["1/2", "0.50", r"\frac{1}{2}", "x + 1", None, "7", float("nan")]
    classes = vote_classes(answers, [False, False, False, False, False, True, False])
    assert classes[0] == classes[1] == classes[2] > 0
    assert classes[3] not in classes[:3] and classes[4] == classes[6] == -1 and classes[5] == 0
    assert vote_classes(["7", "0.5", "seven"], [True, True, True]) == [0, 0, 0]  # each was verified to equal the gold
    reverse = vote_classes(answers[::-1], [False, True, False, False, False, False, False])[::-1]
    assert [[a == b for b in classes] for a in classes] == [[a == b for b in reverse] for a in reverse]


def test_protocols_by_name() -> None:
    assert parse_protocol("greedy").greedy and parse_protocol("greedy").samples == 1
    sixteen = parse_protocol("avg16")
    assert (sixteen.samples, sixteen.temperature, sixteen.top_p) == (16, 1.2, 0.95)
    assert parse_protocol("avg@8", 0.7, 1.0).name == "avg8"
    for wrong, said in (
        ("avg", "avgN"),
        ("avg0", "avg16"),
        ("gredy", "did you mean 'greedy'"),
        ("pass@1", "use greedy"),
    ):
        with pytest.raises(ArtifactError, match=said):
            parse_protocol(wrong)


def test_ks_of_a_protocol() -> None:
    assert ks_for(parse_protocol("avg16")) == (2, 4, 8, 16)
    assert ks_for(parse_protocol("avg6")) == (2, 4, 6)
    assert ks_for(parse_protocol("avg1")) == ks_for(parse_protocol("greedy")) == ()
    assert ks_for(parse_protocol("avg16"), [5, 3, 5]) == (3, 5)
    for protocol, ks, remedy in (("avg4", [8], "avg8"), ("greedy", [4], "avg4"), ("avg4", [0], "1 <= k <= 4")):
        with pytest.raises(ArtifactError, match=remedy):
            ks_for(parse_protocol(protocol), ks)


def test_frames_that_hold_no_evaluation() -> None:
    with pytest.raises(EmptyDataset, match="no responses"):
        measures(responses().head(0))
    with pytest.raises(ArtifactError, match="appears twice"):
        measures(pd.concat([responses(), responses()]))
    with pytest.raises(ArtifactError, match="'easy' has 3 samples"):
        measures(responses().query("not (problem_id == 'easy' and sample == 3)"))
    with pytest.raises(ArtifactError, match="pass@5"):
        measures(responses(), [5])


def test_more_samples_than_can_be_counted_are_refused_before_anything_starts() -> None:
    most = parse_protocol("avg1000").samples
    assert np.isfinite(float(math.comb(most, most // 2)))  # the largest count behind maj@k
    with pytest.raises(OverflowError):
        float(math.comb(1030, 515))
    for wrong in ("avg1001", "avg1030", "avg9999", "avg123456"):
        with pytest.raises(ArtifactError, match="more than 1,000 samples"):
            parse_protocol(wrong)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (-1.0, 0.9), (0.7, 0.0), (0.7, 1.1)])
def test_what_cannot_be_sampled(temperature: float, top_p: float) -> None:
    with pytest.raises(ArtifactError, match="cannot be sampled"):
        parse_protocol("avg4", temperature, top_p)
    assert parse_protocol("greedy", temperature, top_p).greedy

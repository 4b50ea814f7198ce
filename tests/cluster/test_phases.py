"""What the driver does between actor calls: several ranks as one account, and a problem that is drawn twice."""

from __future__ import annotations

import pytest

from artifact.cluster.objective import referenced
from artifact.cluster.sampler import first_samples
from artifact.phases import merge_ranks
from artifact.records import Example


def test_ranks_are_merged_by_what_a_number_means() -> None:
    first = {
        "loss": 0.25,
        "loss/distil": 0.25,
        "distil/tokens": 30.0,
        "distil/divergence": 1.0,
        "lr": 0.1,
        "micro_batches": 2.0,
    }
    second = {
        "loss": 0.5,
        "loss/distil": 0.5,
        "distil/tokens": 10.0,
        "distil/divergence": 3.0,
        "lr": 0.1,
        "micro_batches": 1.0,
    }
    merged = merge_ranks([first, second])
    assert merged["loss"] == merged["loss/distil"] == 0.75  # shares of one loss
    assert merged["distil/tokens"] == 40.0
    assert merged["distil/divergence"] == pytest.approx((30 * 1.0 + 10 * 3.0) / 40)  # 1.5, not the plain mean 2
    assert merged["lr"] == pytest.approx(0.1) and merged["micro_batches"] == 3.0


def test_a_rank_without_a_component_does_not_count_in_it() -> None:
    merged = merge_ranks([{"loss": 0.5, "contrast/tokens": 4.0, "contrast/margin": 2.0}, {"loss": 0.0}])
    assert merged["contrast/margin"] == 2.0 and merged["contrast/tokens"] == 4.0
    assert merge_ranks([{"nll/tokens": 0.0, "nll/nll": 0.0}])["nll/nll"] == 0.0


def test_a_problem_drawn_again_gets_other_samples() -> None:
    assert first_samples(["a", "b", "a", "a"], 4) == [0, 0, 4, 8]
    assert first_samples(["a", "b", "c"], 8) == [0, 0, 0]


def test_only_pairs_and_policy_gradients_are_referenced() -> None:
    common = {"problem_id": "p", "prompt_ids": (1,), "response_ids": (2, 3)}
    assert referenced(Example(**common, distil=1.0)) == [] == referenced(Example(**common, nll=1.0))
    assert referenced(Example(**common, policy_gradient=-0.5, behaviour_logprobs=(-0.1, -0.2))) == [((1,), (2, 3))]
    assert referenced(Example(**common, contrast=1.0, rejected_ids=(4,))) == [((1,), (2, 3)), ((1,), (4,))]

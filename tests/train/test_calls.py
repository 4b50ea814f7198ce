"""The phases of a step that need no actor: component norms, ranks as one account."""

from __future__ import annotations

import pytest

from artifact.config import load
from artifact.train.calls import merge_ranks, norms_are_due


def test_component_norms_are_due_at_the_first_step_and_every_so_many() -> None:
    def due(every: int) -> list[int]:
        return [
            i for i in range(7) if norms_are_due(load("tiny", {"train.component_norms_every": every}).run_settings, i)
        ]

    assert (due(0), due(1), due(3)) == ([], [0, 1, 2, 3, 4, 5, 6], [0, 3, 6])


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

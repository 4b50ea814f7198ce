"""Examples refuse what cannot be trained on, and name the problem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from artifact.records import RecordError, Rollout
from artifact.train.examples import Distil, Imitate, Prefer, Reinforce
from artifact.train.scoring import TeacherScores


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Distil("p3", (1,), ()), "empty response"),
        (lambda: Imitate("p3", (1,), ()), "empty response"),
        (lambda: Reinforce("p3", (1,), (), 1.0, ()), "empty response"),
        (lambda: Prefer("p3", (1,), (2,), ()), "empty response"),
        (lambda: Prefer("p3", (1,), (), (2,)), "empty response"),
        (lambda: Distil("p3", (1,), (2, 3), response_mask=(True,)), "a mask of 1 entries for 2 tokens"),
        (lambda: Prefer("p3", (1,), (2,), (3, 4), rejected_mask=(True,)), "a mask of 1 entries for 2 tokens"),
        (lambda: Distil("p3", (1,), (2, 3), token_weight=(1.0,)), "1 token weights for 2 response tokens"),
        (lambda: Reinforce("p3", (1,), (2, 3), 1.0, (-1.0,)), "1 behaviour log-probabilities for 2 response tokens"),
    ],
)
def test_examples_are_consistent(made: Callable[[], object], said: str) -> None:
    with pytest.raises(RecordError, match=f"'p3'.*{said}"):
        made()


def test_an_example_of_a_rollout_has_its_tokens_mask_and_logprobs() -> None:
    r = Rollout("p", 1, (1, 2), (3, 4), (-0.5, 0.0), "", "stop", 7, response_mask=(True, False))
    assert Distil.of(r, 0.25, (9,)) == Distil("p", (1, 2), (3, 4), 0.25, (9,), (True, False))
    assert Distil.of(r, 0.25, (9,)).teacher_sequence == ((9,), (3, 4))
    assert Distil.of(r).teacher_sequence == ((1, 2), (3, 4))
    assert Imitate.of(r, 0.5) == Imitate("p", (1, 2), (3, 4), 0.5, (True, False))
    assert Reinforce.of(r, -2.0, 0.7) == Reinforce("p", (1, 2), (3, 4), -2.0, (-0.5, 0.0), (True, False), 0.7)
    assert Prefer("p", (1,), (2,), (3, 4)).sequences == (((1,), (2,)), ((1,), (3, 4)))


def test_scores_that_do_not_add_up_are_refused() -> None:
    ids, logprobs, entropy = np.zeros((3, 2), np.int32), np.zeros((3, 2), np.float32), np.zeros(3, np.float32)
    scores = TeacherScores(ids, logprobs, entropy, np.array([0, 1, 3]), np.array([4, 2]))
    assert {i: len(rows.ids) for i, rows in scores.by_example().items()} == {4: 1, 2: 2}
    with pytest.raises(ValueError, match="teacher scores disagree"):
        TeacherScores(ids, logprobs, entropy, np.array([0, 1, 3]), np.array([4]))
    with pytest.raises(ValueError, match="teacher scores disagree"):
        TeacherScores(ids, logprobs[:2], entropy, np.array([0, 1, 3]), np.array([4, 2]))

"""Packing by hand: which hidden state predicts which token, and which items share a forward pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tiny import Network

from artifact.train.packing import micro_batches, pack, response_hidden


def test_a_pack_by_hand() -> None:
    """Prompt (1, 2), response (3, 4, 5) beside prompt (6, 7, 8), response (9): both of width 5 when padded."""
    packed = pack([((1, 2), (3, 4, 5)), ((6, 7, 8), (9,))])
    assert packed.input_BT.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]
    assert packed.position_T.tolist() == [1, 2, 3, 5 + 2], "the state before each response token"
    assert packed.target_T.tolist() == [3, 4, 5, 9]
    assert packed.segment_T.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("sequence", [((), (1,)), ((1,), ())])
def test_nothing_to_predict_from_or_to_predict_is_refused(sequence: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="sequence 1 has"):
        pack([((1,), (1,)), sequence])


def test_hidden_states_are_those_of_each_sequence_by_itself() -> None:
    network = Network()
    sequences = [((1, 2, 3), (4, 5)), ((6,), (7, 8, 9, 10, 1, 2)), ((3, 3), (1,))]
    expected = []
    for prompt, response in sequences:
        alone = network.model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).last_hidden_state[0]
        expected += [alone[len(prompt) - 1 + t] for t in range(len(response))]
    torch.testing.assert_close(response_hidden(network.model, pack(sequences)), torch.stack(expected))


def test_micro_batches_by_hand() -> None:
    """Lengths 3, 9, 4, 4, 1 within 12 padded tokens: 9 alone, three of at most 4, and the last by itself."""
    items = [((0,) * (n - 1) if n > 1 else (), (0,)) for n in (3, 9, 4, 4, 1)]
    assert list(micro_batches(items, lambda s: [s], 12)) == [[1], [2, 3, 0], [4]]
    assert list(micro_batches(items, lambda s: [s], 1)) == [[1], [2], [3], [0], [4]], "too long for any pass"
    assert list(micro_batches([], lambda s: [s], 12)) == []


def test_both_responses_of_a_pair_count() -> None:
    """Pairs of two sequences of 4 tokens are 8 padded tokens each: no two of them fit into 12."""
    pair = [((0, 0), (0, 0)), ((0,), (0, 0, 0))]
    assert list(micro_batches([pair, pair, pair], lambda s: s, 12)) == [[0], [1], [2]]
    assert list(micro_batches([pair, pair, pair], lambda s: s, 16)) == [[0, 1], [2]]


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=2), max_size=12), st.integers(1, 40))
def test_every_item_is_in_one_pass_and_only_a_single_item_exceeds_the_limit(
    shapes: list[list[int]], limit: int
) -> None:
    items = [[((0,), (0,) * n) for n in shape] for shape in shapes]
    passes = list(micro_batches(items, lambda s: s, limit))
    assert sorted(i for members in passes for i in members) == list(range(len(items)))
    for members in passes:
        padded = max(1 + n for i in members for n in shapes[i]) * sum(len(shapes[i]) for i in members)
        assert len(members) == 1 or padded <= limit

"""Packing by hand: which hidden state predicts which token, and which items share a forward pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.tiny import Network

from artifact.errors import ConfigError
from artifact.train.packing import distinct, micro_batches, pack, response_hidden

Pair = tuple[tuple[int, ...], tuple[int, ...]]


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


def test_equal_sequences_are_one_row_that_each_of_them_reads() -> None:
    """(1, 2) → (3, 4) as tuples and as lists, around (1,) → (2, 3, 4): the same tokens, but another response."""
    packed = pack([((1, 2), (3, 4)), ((1,), (2, 3)), ([1, 2], [3, 4])])
    assert packed.input_BT.tolist() == [[1, 2, 3, 4], [1, 2, 3, 0]]
    assert packed.position_T.tolist() == [1, 2, 4, 5, 1, 2]
    assert packed.target_T.tolist() == [3, 4, 2, 3, 3, 4]
    assert packed.segment_T.tolist() == [0, 0, 1, 1, 2, 2]
    assert distinct([((1, 2), (3,)), ((1,), (2, 3))])[1] == [0, 1], "what is prompt and what response matters"


def own(i: int, length: int) -> Pair:
    """A sequence of `length` tokens that no other `i` has."""
    return (i,), (0,) * (length - 1)


def test_micro_batches_by_hand() -> None:
    """Lengths 3, 9, 4, 4, 2 within 12 padded tokens: 9 alone, three of at most 4, and the last by itself."""
    items = [own(i, n) for i, n in enumerate((3, 9, 4, 4, 2))]
    assert list(micro_batches(items, lambda s: [s], 12)) == [[1], [2, 3, 0], [4]]
    assert list(micro_batches(items, lambda s: [s], 1)) == [[1], [2], [3], [0], [4]], "too long for any pass"
    assert list(micro_batches([], lambda s: [s], 12)) == []


def test_both_responses_of_a_pair_count() -> None:
    """Pairs of two sequences of 4 tokens are 8 padded tokens each: no two of them fit into 12."""
    pairs = [[own(i, 4), own(-i, 4)] for i in (1, 2, 3)]
    assert list(micro_batches(pairs, lambda s: s, 12)) == [[0], [1], [2]]
    assert list(micro_batches(pairs, lambda s: s, 16)) == [[0, 1], [2]]


def test_what_is_equal_shares_a_row_and_a_pass() -> None:
    """c is distilled and chosen for a and b, which are distilled: three rows of 5, where six and four were asked for.

    The pairs open the pass although they stand last, and bring their parts along. The other item, as long as they are,
    comes after them: 4 × 5 > 15.
    """
    a, b, c, other = own(1, 4), own(2, 4), own(3, 5), own(4, 5)
    items = [[c], [other], [a], [b], [c, a], [c, b]]
    assert list(micro_batches(items, lambda s: s, 15)) == [[0, 2, 4, 3, 5], [1]]
    assert list(micro_batches(items, lambda s: s, 14)) == [[0, 2, 4], [3, 5], [1]], "c again, where two rows fit"
    assert list(micro_batches([[a], [b], [a], [a]], lambda s: s, 4)) == [[0, 2, 3], [1]], "repeats cost nothing"


def test_a_pack_that_shares_prompts_by_hand() -> None:
    """(1, 2, 3) → (4, 5) and (6), (6) → (7, 8): nine tokens for three sequences of at most five."""
    packed = pack([((1, 2, 3), (4, 5)), ((6,), (7, 8)), ((1, 2, 3), (6,)), ((6,), (7, 8))], shared_prompts=True)
    assert packed.input_BT.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 6]]
    assert packed.position_T.tolist() == [2, 3, 5, 6, 2, 5, 6], "a prompt's last position predicts every first token"
    assert packed.target_T.tolist() == [4, 5, 7, 8, 6, 7, 8]
    assert packed.segment_T.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert packed.branches is not None
    assert packed.branches.token_BT.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 0, 0], [0, 1, 2, 8, 0]]
    assert packed.branches.place_N.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert packed.branches.home_N.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 13], "a prompt is read in its first sequence"


def test_an_attention_that_knows_no_branches_is_refused() -> None:
    network = Network()
    network.model.config = SimpleNamespace(_attn_implementation="sdpa")
    with pytest.raises(ConfigError, match=r"optimiser\.shared_prompts: the attention of Decoder is 'sdpa'; call"):
        response_hidden(network.model, pack([((1, 2), (3,))], shared_prompts=True))


def test_items_of_one_prompt_share_a_pass_by_hand() -> None:
    """Lengths 3, 5, 9, 4 under prompts a, b, a, b; then 9, 2, 2 under a and 8 under b, where a pass may not widen."""
    items = [((p,), (i,) * (n - 1)) for i, (p, n) in enumerate(((1, 3), (2, 5), (1, 9), (2, 4)))]
    assert list(micro_batches(items, lambda s: [s], 18)) == [[2, 1], [3, 0]]
    assert list(micro_batches(items, lambda s: [s], 18, True)) == [[2, 0], [1, 3]]
    wide = [((p,), (i,) * (n - 1)) for i, (p, n) in enumerate(((1, 9), (1, 2), (1, 2), (2, 8)))]
    assert list(micro_batches(wide, lambda s: [s], 17, True)) == [[0], [1, 2], [3]]


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=2), max_size=12),
    st.integers(1, 40),
    st.booleans(),
)
def test_every_item_is_in_one_pass_and_only_a_single_item_exceeds_the_limit(
    shapes: list[list[tuple[int, int]]], limit: int, shared: bool
) -> None:
    items = [[((kind,), (0,) * n) for n, kind in shape] for shape in shapes]
    passes = list(micro_batches(items, lambda s: s, limit, shared))
    assert sorted(i for members in passes for i in members) == list(range(len(items)))
    for members in passes:
        rows = [{(n, kind) for n, kind in shapes[i]} for i in members]
        padded = max(1 + n for row in rows for n, _ in row) * len(set().union(*rows))
        assert padded <= limit or any(row == set().union(*rows) for row in rows)

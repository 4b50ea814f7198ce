"""From sequences to the tensors of one forward pass, and back to response positions.

Sequences are right-padded and sorted by length, so padding is small and, under causal attention, never visible to a
response position: no attention mask is needed. The hidden state at position t predicts token t + 1; the states that
predict the |y| response tokens of a sequence with |x| prompt tokens are therefore |x| − 1 … |x| + |y| − 2. Response
token 0 is predicted by the last *prompt* position, and the EOS at the end is a response token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from artifact.train.examples import TokenPair

Item = TypeVar("Item")


class BodyOutput(Protocol):
    """What a decoder's forward pass gives."""

    last_hidden_state: Tensor


class Body(Protocol):
    """A decoder without its output head, as transformers has it: token ids [B, T] → hidden states [B, T, H]."""

    def __call__(self, *, input_ids: Tensor, use_cache: bool) -> BodyOutput: ...


@dataclass(frozen=True)
class Packed:
    """One forward pass: input_BT token ids, and for the ΣT response positions of all sequences, in order:

    position_T  index into the flattened [B·T] hidden states
    target_T    the response token to be predicted there
    segment_T   which sequence it belongs to
    """

    input_BT: Tensor
    position_T: Tensor
    target_T: Tensor
    segment_T: Tensor


def pack(sequences: Sequence[TokenPair], device: str = "cpu") -> Packed:
    """Right-pad `sequences` and index their response positions; every response must have at least one token."""
    width = max(len(p) + len(r) for p, r in sequences)
    tokens = np.zeros((len(sequences), width), dtype=np.int64)
    positions, targets, segments = [], [], []
    for b, (prompt, response) in enumerate(sequences):
        n, m = len(prompt), len(response)
        if n == 0 or m == 0:
            raise ValueError(f"sequence {b} has {n} prompt and {m} response tokens; both must be positive")
        tokens[b, :n], tokens[b, n : n + m] = prompt, response
        positions.append(np.arange(n - 1, n + m - 1) + b * width)
        targets.append(np.asarray(response, dtype=np.int64))
        segments.append(np.full(m, b, dtype=np.int64))
    flat = [torch.from_numpy(np.concatenate(a)).to(device) for a in (positions, targets, segments)]
    return Packed(torch.from_numpy(tokens).to(device), *flat)


def response_hidden(body: Body, packed: Packed) -> Tensor:
    """hidden_TH: the last hidden states that predict the response tokens, from a transformers decoder `body`."""
    hidden_BTH = body(input_ids=packed.input_BT, use_cache=False).last_hidden_state
    return hidden_BTH.reshape(-1, hidden_BTH.shape[-1]).index_select(0, packed.position_T)


def micro_batches(
    items: Sequence[Item], sequences_of: Callable[[Item], Sequence[TokenPair]], max_tokens: int
) -> Iterator[list[int]]:
    """Indices of items that share a forward pass: longest first, at most `max_tokens` padded tokens per pass.

    An item (an example, or a preference pair of two sequences) is never split. A single item over the limit gets a
    pass of its own.
    """
    shape = [(max(len(p) + len(r) for p, r in s), len(s)) for s in map(sequences_of, items)]
    order = sorted(range(len(items)), key=lambda i: (-shape[i][0], i))
    batch: list[int] = []
    width = rows = 0
    for i in order:
        length, n = shape[i]
        if batch and max(width, length) * (rows + n) > max_tokens:
            yield batch
            batch, width, rows = [], 0, 0
        batch.append(i)
        width, rows = max(width, length), rows + n
    if batch:
        yield batch

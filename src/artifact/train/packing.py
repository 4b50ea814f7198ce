"""From sequences to the tensors of one forward pass, and back to response positions.

Equal sequences of a pass are computed once, whatever reads them: a response that is distilled and chosen for several
rejected ones is one row of the body's input, and the gradients of its readers add up there. Rows are right-padded and
sorted by length, so padding is small and, under causal attention, never visible to a response position: no attention
mask is needed. The hidden state at position t predicts token t + 1; the states that predict the |y| response tokens of
a sequence with |x| prompt tokens are therefore |x| − 1 … |x| + |y| − 2. Response token 0 is predicted by the last
*prompt* position, and the EOS at the end is a response token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """One forward pass: input_BT token ids of the distinct sequences; for the ΣT response positions of all, in order:

    position_T  index into the flattened [B·T] hidden states; the same ones for equal sequences
    target_T    the response token to be predicted there
    segment_T   which of all sequences it belongs to
    """

    input_BT: Tensor
    position_T: Tensor
    target_T: Tensor
    segment_T: Tensor


def distinct(sequences: Iterable[TokenPair]) -> tuple[list[TokenPair], list[int]]:
    """Each sequence once, in the order of its first appearance, and for each of `sequences` its place among them."""
    place: dict[TokenPair, int] = {}
    places = [place.setdefault((tuple(prompt), tuple(response)), len(place)) for prompt, response in sequences]
    return list(place), places


def pack(sequences: Sequence[TokenPair], device: str = "cpu") -> Packed:
    """Right-pad the distinct `sequences` and index the response positions of all, each of at least one token."""
    once, places = distinct(sequences)
    width = max(len(p) + len(r) for p, r in once)
    tokens = np.zeros((len(once), width), dtype=np.int64)
    positions, targets, segments = [], [], []
    for s, (b, (prompt, response)) in enumerate(zip(places, sequences, strict=True)):
        n, m = len(prompt), len(response)
        if n == 0 or m == 0:
            raise ValueError(f"sequence {s} has {n} prompt and {m} response tokens; both must be positive")
        tokens[b, :n], tokens[b, n : n + m] = prompt, response
        positions.append(np.arange(n - 1, n + m - 1) + b * width)
        targets.append(np.asarray(response, dtype=np.int64))
        segments.append(np.full(m, s, dtype=np.int64))
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

    Equal sequences of a pass count once, as `pack` lays them out, and an item that brings no new one joins the pass at
    once. So of equally long items the one of more sequences comes first: the others may be parts of it. An item (an
    example, or a preference pair of two sequences) is never split. A single item over the limit gets a pass of its own.
    """
    needs = [set(distinct(sequences_of(item))[0]) for item in items]
    length = [max(len(p) + len(r) for p, r in need) for need in needs]
    readers: dict[TokenPair, list[int]] = {}
    for i, need in enumerate(needs):
        for sequence in need:
            readers.setdefault(sequence, []).append(i)
    waiting = set(range(len(items)))
    batch: list[int] = []
    rows: set[TokenPair] = set()
    width = 0
    for i in sorted(waiting, key=lambda i: (-length[i], -len(needs[i]), i)):
        if i not in waiting:
            continue
        new = needs[i] - rows
        if batch and width * (len(rows) + len(new)) > max_tokens:
            yield batch
            batch, rows, new = [], set(), needs[i]
        width = width if batch else length[i]
        rows |= new
        for j in sorted({i}.union(*(readers[sequence] for sequence in new))):
            if j in waiting and needs[j] <= rows:
                waiting.remove(j)
                batch.append(j)
    if batch:
        yield batch

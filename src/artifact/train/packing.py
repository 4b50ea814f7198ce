"""From sequences to the tensors of one forward pass, and back to response positions.

Equal sequences of a pass are computed once, whatever reads them: a response that is distilled and chosen for several
rejected ones is one row of the body's input, and the gradients of its readers add up there. Rows are right-padded and
sorted by length, so padding is small and, under causal attention, never visible to a response position: no attention
mask is needed. The hidden state at position t predicts token t + 1; the states that predict the |y| response tokens of
a sequence with |x| prompt tokens are therefore |x| − 1 … |x| + |y| − 2. Response token 0 is predicted by the last
*prompt* position, and the EOS at the end is a response token.

Sequences may share their prompts as well (`optimiser.shared_prompts`; layout in `branches.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from artifact.errors import ConfigError
from artifact.train.branches import ATTENTION, Branches, branch
from artifact.train.examples import TokenPair

Item = TypeVar("Item")


class BodyOutput(Protocol):
    """What a decoder's forward pass gives."""

    last_hidden_state: Tensor


class Body(Protocol):
    """A decoder without its output head, as transformers has it: token ids [B, T] → hidden states [B, T, H].

    `more`, where prompts are shared: attention_mask, position_ids, and `branches` for the attention.
    """

    def __call__(self, *, input_ids: Tensor, use_cache: bool, **more: Any) -> BodyOutput: ...


@dataclass(frozen=True)
class Packed:
    """One forward pass: input_BT token ids of the distinct sequences; for the ΣT response positions of all, in order:

    position_T  index into the flattened [B·T] hidden states; the same ones for equal sequences
    target_T    the response token to be predicted there
    segment_T   which of all sequences it belongs to
    branches    where prompts are shared: input_BT is one row of all distinct prompts and responses, and this says which
                tokens of it are a sequence
    """

    input_BT: Tensor
    position_T: Tensor
    target_T: Tensor
    segment_T: Tensor
    branches: Branches | None = None


def distinct(sequences: Iterable[TokenPair]) -> tuple[list[TokenPair], list[int]]:
    """Each sequence once, in the order of its first appearance, and for each of `sequences` its place among them."""
    place: dict[TokenPair, int] = {}
    places = [place.setdefault((tuple(prompt), tuple(response)), len(place)) for prompt, response in sequences]
    return list(place), places


def pack(sequences: Sequence[TokenPair], device: str = "cpu", shared_prompts: bool = False) -> Packed:
    """Right-pad the distinct `sequences` and index the response positions of all, each of at least one token.

    shared_prompts  hold each distinct prompt once, as `branches.py` says
    """
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
    input_BT = torch.from_numpy(tokens).to(device)
    position_T, target_T, segment_T = (
        torch.from_numpy(np.concatenate(a)).to(device) for a in (positions, targets, segments)
    )
    if not shared_prompts:
        return Packed(input_BT, position_T, target_T, segment_T)
    input_1N, branches = branch(once, device)
    return Packed(input_1N, branches.token_BT.flatten()[position_T], target_T, segment_T, branches)


def response_hidden(body: Body, packed: Packed) -> Tensor:
    """hidden_TH: the last hidden states that predict the response tokens, from a transformers decoder `body`.

    Raises ConfigError where prompts are shared and the attention of `body` does not know how (it would mix responses).
    """
    more: dict[str, Any] = {}
    if packed.branches is not None:
        attention = getattr(getattr(body, "config", None), "_attn_implementation", None)
        if attention != ATTENTION:
            raise ConfigError(
                f"optimiser.shared_prompts: the attention of {type(body).__name__} is {attention!r}; call "
                "`actors.shared_prompts.share_prompts` on the network first, or set it to false"
            )
        more = packed.branches.inputs(packed.input_BT)
    hidden_BTH = body(input_ids=packed.input_BT, use_cache=False, **more).last_hidden_state
    return hidden_BTH.reshape(-1, hidden_BTH.shape[-1]).index_select(0, packed.position_T)


def micro_batches(
    items: Sequence[Item],
    sequences_of: Callable[[Item], Sequence[TokenPair]],
    max_tokens: int,
    shared_prompts: bool = False,
) -> Iterator[list[int]]:
    """Indices of items that share a forward pass: longest first, at most `max_tokens` padded tokens per pass.

    Equal sequences of a pass count once, as `pack` lays them out, and an item that brings no new one joins the pass at
    once. So of equally long items the one of more sequences comes first: the others may be parts of it. An item (an
    example, or a preference pair of two sequences) is never split. A single item over the limit gets a pass of its own.

    shared_prompts  items of one prompt (that of their first sequence) follow one another, the prompt of the longest
                    item first. Tokens are counted as without it, so a pass holds no more
    """
    needs = [set(distinct(sequences_of(item))[0]) for item in items]
    length = [max(len(p) + len(r) for p, r in need) for need in needs]
    readers: dict[TokenPair, list[int]] = {}
    for i, need in enumerate(needs):
        for sequence in need:
            readers.setdefault(sequence, []).append(i)
    longest: dict[tuple[int, ...], int] = {}
    prompts = [tuple(sequences_of(item)[0][0]) if shared_prompts else () for item in items]
    for prompt, n in zip(prompts, length, strict=True):
        longest[prompt] = max(n, longest.get(prompt, 0))
    waiting = set(range(len(items)))
    batch: list[int] = []
    rows: set[TokenPair] = set()
    width = 0
    for i in sorted(waiting, key=lambda i: (-longest[prompts[i]], prompts[i], -length[i], -len(needs[i]), i)):
        if i not in waiting:
            continue
        new = needs[i] - rows
        if batch and max(width, length[i]) * (len(rows) + len(new)) > max_tokens:
            yield batch
            batch, rows, new, width = [], set(), needs[i], 0
        width = max(width, length[i])
        rows |= new
        for j in sorted({i}.union(*(readers[sequence] for sequence in new))):
            if j in waiting and needs[j] <= rows:
                waiting.remove(j)
                batch.append(j)
    if batch:
        yield batch

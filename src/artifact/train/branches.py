"""Sequences that share their prompts: the tokens of a forward pass once each, and the sequences that attention sees.

K rollouts of a prompt x are K branches of one tree. All that a decoder does to a token by itself (embedding, norms,
projections, feed-forward) needs |x| + Σ_k |y_k| tokens; only attention looks at others. So a pass is one row of N
tokens, each distinct prompt and each distinct response once, and around attention alone

    q, k, v [N]  →  rows [B, T], one a sequence: its prompt's tokens and its own   →  causal attention  →  o [N]

where a prompt's output is read from the first of its sequences: under causal attention it is the same in all. There is
no mask of [N, N], no padding outside of attention, and a position is that in the sequence. The gradient of a prompt's
token is the sum over its branches, which is what the gather's own derivative gives.

Left out: the attention itself (`actors/shared_prompts.py`), which micro-batch a sequence belongs to (`packing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artifact.train.examples import TokenPair

ATTENTION = "shared_prompts"
"""What an attention that knows branches is called in a network's configuration."""


@dataclass(frozen=True)
class Branches:
    """How N tokens are B sequences of at most T tokens.

    token_BT  which of the N tokens stands where; 0 in the padding at the right
    home_N    where in the flattened [B·T] the attention of each token is read: in the first of its sequences
    place_N   position of each token in its sequences
    """

    token_BT: Tensor
    home_N: Tensor
    place_N: Tensor

    def inputs(self, input_1N: Tensor) -> dict[str, Any]:
        """What a decoder is given beside the token ids. Its mask says that no token is padding, so it makes none."""
        return {"attention_mask": torch.ones_like(input_1N), "position_ids": self.place_N[None], "branches": self}

    def split(self, states_1hNd: Tensor) -> Tensor:
        """The states of tokens as those of sequences: [1, heads, N, d] → [B, heads, T, d]."""
        _, heads, _, size = states_1hNd.shape
        of_NC = states_1hNd[0].transpose(0, 1).flatten(1)
        return of_NC.index_select(0, self.token_BT.flatten()).view(*self.token_BT.shape, heads, size).transpose(1, 2)

    def join(self, states_BThd: Tensor) -> Tensor:
        """The states of sequences as those of tokens: [B, T, heads, d] → [1, N, heads, d]."""
        return states_BThd.flatten(0, 1).index_select(0, self.home_N)[None]


def branch(once: Sequence[TokenPair], device: str = "cpu") -> tuple[Tensor, Branches]:
    """Token ids [1, N] of the distinct sequences `once`, and what makes sequences of them."""
    width = max(len(p) + len(r) for p, r in once)
    token_BT = np.zeros((len(once), width), dtype=np.int64)
    start: dict[tuple[int, ...], int] = {}
    tokens: list[int] = []
    homes: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for b, (prompt, response) in enumerate(once):
        n, m = len(prompt), len(response)
        first = start.setdefault(tuple(prompt), len(tokens))
        own = 0 if first < len(tokens) else n  # tokens of the prompt that are new
        token_BT[b, :n] = np.arange(first, first + n)
        token_BT[b, n : n + m] = np.arange(len(tokens) + own, len(tokens) + own + m)
        tokens += [*prompt[n - own :], *response]
        places.append(np.arange(n - own, n + m))
        homes.append(places[-1] + b * width)
    flat = [torch.from_numpy(a).to(device) for a in (token_BT, np.concatenate(homes), np.concatenate(places))]
    return torch.tensor([tokens], device=device), Branches(*flat)

"""A recurrent network small enough for loops, and what it says about one sequence at a time: the tests' own oracle."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn


class Decoder(nn.Module):
    """Embedding and a GRU: causal, as a decoder is, and nothing else."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, *, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.recurrent(self.embedding(input_ids))[0])


class Network(nn.Module):
    """`model` and `lm_head`, as transformers has them; the same weights for the same seed."""

    def __init__(self, seed: int = 0, vocabulary: int = 11, hidden: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = Decoder(vocabulary, hidden)
            self.lm_head = nn.Linear(hidden, vocabulary, bias=False)
            nn.init.normal_(self.lm_head.weight, std=2.0)


def rows(network: Network, prompt: Sequence[int], response: Sequence[int], tau: float = 1.0) -> Tensor:
    """log softmax(z_t / τ) before each response token, [T, V] in float64, from the sequence by itself."""
    with torch.no_grad():
        states = network.model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).last_hidden_state[0]
        logits = states.double() @ network.lm_head.weight.double().T
    return (logits[len(prompt) - 1 : len(prompt) + len(response) - 1] / tau).log_softmax(-1)


def token_logprobs(network: Network, prompt: Sequence[int], response: Sequence[int]) -> list[float]:
    """log p of each response token, at temperature 1."""
    return [float(row[token]) for row, token in zip(rows(network, prompt, response), response, strict=True)]

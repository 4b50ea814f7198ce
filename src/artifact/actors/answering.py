"""The teacher answers by itself: CORE's two fallbacks for a prompt without any correct response (CORE §3.4).

`generate`     over the full vocabulary (the paper's teacher.generate)
`autoregress`  from the top-k logits that token-level distillation uses anyway: what a teacher that only serves scores
               can still do

Both are transformers' own sampler on left-padded batches, seeded, stopping at the given ids, which belong to the
response. Left out: whether an answer is right (the loop verifies it; an unverified one is never chosen).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from artifact.errors import ArtifactError
from artifact.train.rollouts import Completion

if TYPE_CHECKING:
    import torch

    from artifact.train.scoring import FrozenModel

MODES = ("generate", "autoregress")


def answer(
    frozen: FrozenModel,
    prompts: Sequence[Sequence[int]],
    how: str,
    *,
    top_k: int,
    temperature: float,
    max_new_tokens: int,
    stop_token_ids: Sequence[int],
    seed: int,
    vocabulary: int | None = None,
) -> list[Completion]:
    """One response per prompt with its raw log-probabilities; greedy at temperature 0.

    top_k       of `autoregress`
    vocabulary  tokens that the tokenizer has: rows of the head from here on are never drawn; None = there are none
    """
    import torch

    if how not in MODES:
        raise ArtifactError(f"unknown way {how!r} for a teacher to answer; use one of {MODES}")
    tokens_BT, attention_BT = left_pad(prompts, frozen.device)
    k = min(top_k, frozen.vocabulary) if how == "autoregress" else 0
    sampling = {"do_sample": True, "temperature": temperature, "top_k": k, "top_p": 1.0}
    with torch.random.fork_rng(devices=[frozen.device] if frozen.device != "cpu" else []), torch.inference_mode():
        torch.manual_seed(seed)
        out = frozen.network.generate(  # type: ignore[attr-defined]  # a transformers model
            tokens_BT,
            attention_mask=attention_BT,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(stop_token_ids),
            pad_token_id=stop_token_ids[0],
            suppress_tokens=list(range(vocabulary or frozen.vocabulary, frozen.vocabulary)) or None,
            **(sampling if temperature else {"do_sample": False}),
        )
    responses = [_until_stop(row, stop_token_ids) for row in out[:, tokens_BT.shape[1] :].tolist()]
    logprobs = frozen.logprobs(list(zip(prompts, responses, strict=True)))
    return [
        Completion(np.asarray(ids, np.int32), values, "stop" if ids[-1] in stop_token_ids else "length")
        for ids, values in zip(responses, logprobs, strict=True)
    ]


def left_pad(prompts: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(input_BT, attention_BT): prompts end in the same column, so that all rows generate at once."""
    import torch

    width = max(map(len, prompts))
    tokens = np.zeros((len(prompts), width), dtype=np.int64)
    attention = np.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = prompt
        attention[row, width - len(prompt) :] = 1
    return torch.from_numpy(tokens).to(device), torch.from_numpy(attention).to(device)


def _until_stop(row: Sequence[int], stop_token_ids: Sequence[int]) -> tuple[int, ...]:
    """The tokens up to and including the first stop token; rows of a batch run on until the last one stops."""
    for t, token in enumerate(row):
        if token in stop_token_ids:
            return tuple(row[: t + 1])
    return tuple(row)

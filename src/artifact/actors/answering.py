"""The teacher answers by itself: CORE's two fallbacks for a prompt without any correct response (CORE §3.4).

`generate`     the model's own sampler, over the full vocabulary (transformers `generate`; the paper's teacher.generate)
`autoregress`  token by token from the top-k logits that token-level distillation uses anyway: what a teacher that only
               serves scores can still do

Both take left-padded batches, sample at the given temperature from a seeded generator, and stop at the given ids, which
belong to the response. Left out: whether an answer is right (the loop verifies it; an unverified one is never chosen).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

MODES = ("generate", "autoregress")


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


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    temperature: float,
    max_new_tokens: int,
    stop_token_ids: Sequence[int],
    seed: int,
    device: str = "cpu",
) -> list[tuple[int, ...]]:
    """One response a prompt, sampled by transformers over the full vocabulary; greedy at temperature 0."""
    import torch

    tokens_BT, attention_BT = left_pad(prompts, device)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    devices = [device] if device != "cpu" else []
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        torch.manual_seed(seed)
        out = model.generate(
            tokens_BT,
            attention_mask=attention_BT,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(stop_token_ids),
            pad_token_id=stop_token_ids[0],
            **({"do_sample": False} | sampling),
        )
    return [_until_stop(row, stop_token_ids) for row in out[:, tokens_BT.shape[1] :].tolist()]


def autoregress(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    top_k: int,
    temperature: float,
    max_new_tokens: int,
    stop_token_ids: Sequence[int],
    seed: int,
    device: str = "cpu",
) -> list[tuple[int, ...]]:
    """One response a prompt, each token drawn from the teacher's top-k renormalised; greedy at temperature 0."""
    import torch

    tokens_BT, attention_BT = left_pad(prompts, device)
    draw = torch.Generator(device=device).manual_seed(seed)
    stops = torch.tensor(list(stop_token_ids), device=device)
    running_B = torch.ones(len(prompts), dtype=torch.bool, device=device)
    drawn: list[torch.Tensor] = []
    cache, feed_BT = None, tokens_BT
    position_BT = (attention_BT.cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            out = model(
                input_ids=feed_BT,
                attention_mask=attention_BT,
                position_ids=position_BT,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            top = out.logits[:, -1].float().topk(min(top_k, out.logits.shape[-1]), dim=-1)
            if temperature:
                pick_B1 = torch.multinomial((top.values / temperature).softmax(-1), 1, generator=draw)
            else:
                pick_B1 = torch.zeros_like(top.indices[:, :1])
            feed_BT = top.indices.gather(1, pick_B1)
            drawn.append(feed_BT[:, 0])
            running_B &= ~torch.isin(feed_BT[:, 0], stops)
            if not bool(running_B.any()):
                break
            attention_BT = torch.cat([attention_BT, torch.ones_like(attention_BT[:, :1])], dim=1)
            position_BT = position_BT[:, -1:] + 1
    return [_until_stop(row, stop_token_ids) for row in torch.stack(drawn, dim=1).tolist()]


def _until_stop(row: Sequence[int], stop_token_ids: Sequence[int]) -> tuple[int, ...]:
    """The tokens up to and including the first stop token; rows of a batch run on until the last one stops."""
    for t, token in enumerate(row):
        if token in stop_token_ids:
            return tuple(row[: t + 1])
    return tuple(row)

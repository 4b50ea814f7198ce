r"""Networks of the Qwen families at toy widths that speak a chain of words (`language.py`), without training.

With unit embeddings e and a state i whose next words s are to have the probabilities p_s, the first block's MLP writes

    the shortest t_i with   e_s · t_i = 1 + log(p_s / max p) / λ   for every s

into the residual stream where its input points to e_i: the gate's row i and the up-projection's row i are e_i, the
down-projection's column i is t_i. The final norm's scale makes λ the logit of the likeliest (a few fixed-point steps
find it), so that the logits of the list differ as its log-probabilities do, and all others are about 0. Every other
weight is small noise, so that attention, the second block and every gradient are real. A head that is not tied is the
embedding and such noise, so that the one taken for the other is another model. Left out: any meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artifact.worlds.standins.language import END, PAD, Chain

LOGIT = 24.0
"""Logit of the only word of a list."""

NOISE = 0.02
"""Standard deviation of every weight that no chain needs."""

WRITTEN = 20.0
"""Length of what the MLP writes, beside an embedding of length 1."""


def small_shape(stated: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The `config.json` of a stand-in: the family, ties and head ratio of `stated`, a width that still tells sizes
    apart, two layers, rows for `tokens` tokens in steps of 64.
    """
    heads, hidden = 4, 64 + stated["hidden_size"] // 16
    groups = stated["num_attention_heads"] // stated["num_key_value_heads"]
    shape = {
        "model_type": stated["model_type"],
        "hidden_size": hidden,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // groups),
        "vocab_size": -(-tokens // 64) * 64,
        "tie_word_embeddings": stated["tie_word_embeddings"],
        "max_position_embeddings": 32768,
    }
    if stated["model_type"] != "qwen2":
        shape["head_dim"] = 32
    else:
        shape["hidden_size"] = hidden // 128 * 128 or 128  # its heads divide the width
    if stated["model_type"] == "qwen3_moe":
        shape |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": True}
    return shape


def write_model(folder: Path, stated: Mapping[str, Any], tokenizer: Any, chain: Chain, dtype: str, seed: int) -> None:
    """A whole checkpoint in `folder`: weights in `dtype`, configuration, tokenizer, generation settings."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    shape = small_shape(stated, len(tokenizer))
    eos, pad = (tokenizer.convert_tokens_to_ids(t) for t in (END, PAD))
    config = AutoConfig.for_model(**shape, eos_token_id=eos, pad_token_id=pad, bos_token_id=None)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _speak(network, {_id(tokenizer, s): {_id(tokenizer, w): p for w, p in d.items()} for s, d in chain.items()}, seed)
    network.generation_config = GenerationConfig(eos_token_id=[eos, pad], pad_token_id=pad)
    network.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(str(folder))


def _id(tokenizer: Any, word: str) -> int:
    ids = tokenizer.encode(word, add_special_tokens=False)
    assert len(ids) == 1, f"{word!r} is {len(ids)} tokens of the stand-ins' tokenizer"
    return int(ids[0])


def _speak(network: Any, chain: Mapping[int, Mapping[int, float]], seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.copy_(NOISE * torch.randn(weight.shape, generator=generator))
            elif name.endswith("bias"):
                weight.zero_()
        embedding = network.get_input_embeddings().weight
        width = embedding.shape[1]
        embedding.copy_(torch.randn(embedding.shape, generator=generator))
        embedding /= embedding.norm(dim=1, keepdim=True)
        head = network.get_output_embeddings().weight
        if head is not embedding:
            head.copy_(embedding + NOISE / math.sqrt(width) * torch.randn(head.shape, generator=generator))
        network.model.norm.weight.fill_(LOGIT / math.sqrt(width))
        for gate, up, down in _memories(network.model.layers[0].mlp):
            gate.zero_(), up.zero_(), down.zero_()
            for row, (state, following) in enumerate(chain.items()):
                gate[row] = LOGIT / math.sqrt(width) * embedding[state]
                up[row] = embedding[state] / math.sqrt(width)
                down[:, row] = WRITTEN / LOGIT * _direction(embedding, following)


def _memories(mlp: Any) -> list[tuple[Any, Any, Any]]:
    """Gate, up and down weights of an MLP, of each expert where it has several: all hold the same."""
    if not hasattr(mlp, "experts"):
        return [(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)]
    experts = mlp.experts
    half = experts.gate_up_proj.shape[1] // 2
    return [
        (both[:half], both[half:], down) for both, down in zip(experts.gate_up_proj, experts.down_proj, strict=True)
    ]


def _direction(embedding: Any, following: Mapping[int, float]) -> Any:
    """The unit vector whose products with the embeddings of `following` differ as their log-probabilities do."""
    import torch

    rows = embedding[list(following)]
    logs = torch.tensor(list(following.values())).log()
    highest = LOGIT
    for _ in range(20):
        found = rows.T @ torch.linalg.solve(rows @ rows.T, 1 + (logs - logs.max()) / highest)
        highest = LOGIT / float(found.norm())
    return found / found.norm()

"""Attention over branches (`train/branches.py`), registered with transformers under a name of its own.

transformers lets an attention function be registered and hands it what a decoder was given beside its inputs; so the
decoders' own forward passes stay as they are. Without branches it is transformers' attention of torch (`sdpa`), to the
bit: a network so prepared may generate and score as before.
"""

from __future__ import annotations

from typing import Any

from artifact.errors import ConfigError
from artifact.train.branches import ATTENTION, Branches

ARCHITECTURES = ("LlamaForCausalLM", "Qwen3ForCausalLM")
"""What this has been run with."""


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, branches: Branches | None = None, **options: Any
) -> tuple[Any, None]:
    """Causal attention [1, heads, N, d] → [1, N, heads, d] in each sequence of `branches`; without, that of torch."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if branches is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    query, key, value = (branches.split(states) for states in (query, key, value))
    return branches.join(sdpa_attention_forward(module, query, key, value, None, **options)[0]), None


def share_prompts(network: Any) -> Any:
    """Let a transformers `network` compute shared prompts; the same network. Raises ConfigError where it cannot."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    config, name = network.config, type(network).__name__
    attention, dropout = config._attn_implementation, getattr(config, "attention_dropout", 0.0)
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    for fault, words in (
        (name not in ARCHITECTURES, f"{name} has not been run with it, only {' and '.join(ARCHITECTURES)}"),
        (layers != {"full_attention"}, f"{name} has layers of {', '.join(sorted(layers))}, not full alone"),
        (attention not in ("sdpa", ATTENTION), f"the attention of {name} is {attention!r}, not 'sdpa'"),
        (dropout != 0, f"{name} drops attention (attention_dropout = {dropout}): responses would see several prompts"),
    ):
        if fault:
            raise ConfigError(f"optimiser.shared_prompts: {words}; set it to false")
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    network.set_attn_implementation(ATTENTION)
    return network

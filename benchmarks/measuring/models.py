"""Random Qwen3 models of any width, with the embedded tier's tokenizer, that never end a response by themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from artifact.paths import resolve_model

BASE = "models/tiny/student"
FLOOR = 30.0
"""What the logit of the end of sequence lacks, less what other dimensions take of the norm: one token in 10¹⁰."""


def random_model(folder: Path, width: int, seed: int) -> str:
    """A Qwen3 of four layers, hidden size `width`, at `folder`; returns its path.

    Dimension 0 of every embedding is 1 and dominates, no layer writes to it, and the head's row of the end of sequence
    counts it negatively: so a response has the length that is asked for. The last norm makes it about √width.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    source = Path(resolve_model(BASE))
    base = json.loads((source / "config.json").read_text(encoding="utf-8"))
    shape = {
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_attention_heads": width // base["head_dim"],
        "num_key_value_heads": width // base["head_dim"],
        "tie_word_embeddings": False,
    }
    torch.manual_seed(seed)
    network = Qwen3ForCausalLM(Qwen3Config(**{**base, **shape})).float()
    with torch.no_grad():
        network.model.embed_tokens.weight[:, 0] = 1.0
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        network.lm_head.weight[:, 0] = 0.0
        network.lm_head.weight[base["eos_token_id"], 0] = -FLOOR / width**0.5
    network.save_pretrained(folder)
    for path in source.iterdir():
        if "token" in path.name or path.suffix == ".jinja" or path.name == "generation_config.json":
            shutil.copyfile(path, folder / path.name)
    return str(folder)

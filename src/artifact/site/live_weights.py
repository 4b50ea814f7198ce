"""A checkpoint as a script beside a page: its float32 weights as text, every bit of them.

A page opened from disk may not fetch files, but may load scripts: the script calls `Live.receive` (`live/weights.js`)
with the configuration that `live/model.js` reads, the tensors' names and sizes, and their numbers. Float16 would halve
the size and move log-probabilities by more than a thousandth, so the numbers stay float32; the four bytes of each are
put into four planes, of which gzip compresses the one with the exponents, and base64 makes text of them.

Left out: models that `live/model.js` does not compute; they are refused.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from artifact.actors.checkpoints import load_config, load_frozen
from artifact.models import broken

COMPUTED = {
    "model_type": "qwen3",
    "hidden_act": "silu",
    "attention_bias": False,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}
"""What the forward pass of the page assumes of a configuration."""


def weights_script(name: str, folder: str) -> str:
    """The script that hands the model in `folder` to the page under `name`.

    Raises BrokenModel where it cannot be read, or where the page could not compute it.
    """
    settings = page_config(folder)
    state = load_frozen(folder, "float32").state_dict()
    tensors = {key: value.numpy() for key, value in sorted(state.items()) if key != "lm_head.weight"}
    flat = np.concatenate([tensor.ravel() for tensor in tensors.values()]).astype("<f4")
    planes = flat.view(np.uint8).reshape(-1, 4).T.tobytes()
    packed = {
        "config": settings,
        "tensors": [[key, int(tensor.size)] for key, tensor in tensors.items()],
        "planes": base64.b64encode(gzip.compress(planes, mtime=0)).decode(),
    }
    return f"Live.receive({json.dumps(name)}, {json.dumps(packed)});\n"


def page_config(folder: str) -> dict[str, Any]:
    """The sizes that the page's forward pass reads of the model in `folder`; BrokenModel where they do not suffice."""
    config = load_config(folder)
    stated = {key: getattr(config, key, None) for key in COMPUTED} | {"rope_type": config.rope_parameters["rope_type"]}
    for key, wanted in (COMPUTED | {"rope_type": "default"}).items():
        if stated[key] != wanted:
            raise broken(
                Path(folder),
                f"{key} is {stated[key]!r}, and the page computes {wanted!r} alone",
                "leave this model out of the page",
            )
    return {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "vocabulary": config.vocab_size,
        "longest": config.max_position_embeddings,
        "epsilon": config.rms_norm_eps,
        "rope_theta": config.rope_parameters["rope_theta"],
    }

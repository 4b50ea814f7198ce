"""How wide a model is: its parameters, and the bytes that a token of it leaves in memory.

From the config.json of a model's folder, or, for a hub id that is not on this machine, from `configs/models.yaml`.
Counted are decoders of the families qwen2, qwen3, qwen3_moe and llama, as transformers computes them with torch's fused
attention. Left out: who holds how many of them (`memory_model.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from artifact.config import read_yaml
from artifact.errors import ConfigError
from artifact.models import FAMILIES, json_of
from artifact.paths import local_model, project_root


@dataclass(frozen=True)
class ModelShape:
    """The widths of a decoder, in numbers: H hidden, Q and KV of all heads, I of the feed-forward part, V vocabulary.

    experts  (how many there are, how many a token goes through), each of inner width I; None = one feed-forward part
    """

    family: str
    layers: int
    hidden: int
    queries: int
    keys: int
    head: int
    inner: int
    vocabulary: int
    tied: bool
    experts: tuple[int, int] | None = None

    @property
    def parameters(self) -> int:
        """All weights, a tied embedding once."""
        attention = self.hidden * (2 * self.queries + 2 * self.keys)
        if self.family == "qwen2":
            attention += self.queries + 2 * self.keys  # biases
        if self.family.startswith("qwen3"):
            attention += 2 * self.head  # norms of queries and keys
        feed_forward = 3 * self.hidden * self.inner
        if self.experts is not None:
            feed_forward = self.experts[0] * (feed_forward + self.hidden)  # and the router
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * (attention + feed_forward + 2 * self.hidden) + self.hidden

    def kept_per_token(self, b: int) -> int:
        """Bytes that autograd keeps of a token in one layer, with b bytes a number.

        A norm over n numbers keeps them in float32 and normalised: (4 + b) n; two of width H, in qwen3 also those of
        queries and keys. Projections keep what they read: bH twice, bQ once. Fused attention keeps queries, keys,
        values and its result: b (2Q + 2KV), the result being what the next projection reads. The feed-forward part
        keeps gate, its activation, up and their product: 4bI.
        """
        if self.experts is not None:
            raise ConfigError("a student with experts has not been measured: its activations are not counted")
        norms = 2 * self.hidden + (self.queries + self.keys if self.family.startswith("qwen3") else 0)
        attention = 2 * self.queries + 2 * self.keys
        return (4 + b) * norms + b * (2 * self.hidden + attention + 4 * self.inner)

    def passing_per_token(self, b: int) -> int:
        """Bytes that a token needs in a layer when nothing is kept: the feed-forward part at its widest, 4bI + bH."""
        width = self.inner * (1 if self.experts is None else self.experts[1])
        return b * (4 * width + self.hidden)

    def cache_per_token(self, b: int) -> int:
        """Bytes of a token's keys and values in all layers."""
        return 2 * self.layers * self.keys * b


def shape_of(config: dict[str, Any], name: str) -> ModelShape:
    """The widths in a config.json; ConfigError for a family that is not counted, and for a field that is missing."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ConfigError(
            f"{name}: model_type {family!r} is not counted; memory is known of {', '.join(FAMILIES)} alone"
        )
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        head = int(config.get("head_dim") or hidden // heads)
        moe = family == "qwen3_moe"
        experts = "num_local_experts" if "num_local_experts" in config else "num_experts"  # transformers renamed it
        return ModelShape(
            family,
            int(config["num_hidden_layers"]),
            hidden,
            heads * head,
            int(config.get("num_key_value_heads", heads)) * head,
            head,
            int(config["moe_intermediate_size" if moe else "intermediate_size"]),
            int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
            (int(config[experts]), int(config["num_experts_per_tok"])) if moe else None,
        )
    except KeyError as err:
        raise ConfigError(f"{name}: its config.json says nothing of {err.args[0]}") from err


@lru_cache(maxsize=4)
def _known(path: Path) -> dict[str, Any]:
    """The widths that a file states, by model."""
    return read_yaml(path)


def shape_of_model(model: str) -> ModelShape:
    """The widths of a model by folder or hub id, without the network; ConfigError where they are not known here."""
    folder = local_model(model)
    if folder is not None and (Path(folder) / "config.json").is_file():
        return shape_of(json_of(Path(folder) / "config.json"), model)
    known = _known(project_root() / "configs" / "models.yaml")
    if model not in known:
        raise ConfigError(
            f"the widths of {model} are not known on this machine: fetch it, or add its config.json's to "
            "configs/models.yaml"
        )
    return shape_of(known[model], model)

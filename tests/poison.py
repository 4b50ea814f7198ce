"""Ways in which a model's folder can be wrong, and the words by which each must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

NORM = "model.norm.weight"
MLP = "model.layers.0.mlp.up_proj.weight"


def with_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """`change` applied to the tensors of a folder."""

    def poison(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, {"format": "pt"})

    return poison


def with_config(**values: Any) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return poison


def fill(name: str, value: float) -> Callable[[Path], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].view(-1)[-1] = value

    return with_tensors(change)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return poison


def sharded(folder: Path) -> None:
    """The weights in two files with an index: a sound model."""
    tensors = load_file(folder / "model.safetensors")
    names, files = sorted(tensors), [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {n: files[i % 2] for i, n in enumerate(names)}
    for file in files:
        save_file({n: tensors[n] for n in names if where[n] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def shard_missing(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def index_lies(folder: Path) -> None:
    sharded(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"].pop(NORM)
    path.write_text(json.dumps(index))


def stray(folder: Path) -> None:
    save_file({"other": torch.zeros(2)}, folder / "old.safetensors")


def both(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(content)


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def no_object(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def layers(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text())["num_hidden_layers"])


def more_layers(folder: Path) -> None:
    n = layers(folder) + 1
    with_config(num_hidden_layers=n, layer_types=["full_attention"] * n)(folder)


def fewer_layers(folder: Path) -> None:
    n = layers(folder) - 1
    with_config(num_hidden_layers=n, layer_types=["full_attention"] * n)(folder)


POISONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a tensor removed": (with_tensors(lambda t: t.pop(MLP)), rf"1 tensors are missing, e.g. {MLP}"),
    "a tensor too many": (
        with_tensors(lambda t: t.update({"model.extra.weight": torch.ones(3)})),
        "1 tensors are not part of the architecture, e.g. model.extra.weight",
    ),
    "a wrong shape": (
        with_tensors(lambda t: t.update({NORM: torch.ones(t[NORM].numel() + 1)})),
        rf"1 tensors have another shape, e.g. {NORM}",
    ),
    "NaN": (fill(NORM, float("nan")), rf"{NORM} holds NaN or infinity in 1 of"),
    "infinity": (fill(MLP, float("inf")), rf"{MLP} holds NaN or infinity in 1 of"),
    "minus infinity": (fill(MLP, float("-inf")), rf"{MLP} holds NaN or infinity in 1 of"),
    "pickled": (pickled, r"pickled \(pytorch_model.bin\)"),
    "truncated": (cut("model.safetensors", 0.9), r"model.safetensors has .* bytes where its header says"),
    "cut in the header": (cut("model.safetensors", 0.001), "no safetensors file, or cut within its header"),
    "empty": (cut("model.safetensors", 0), "no safetensors file, or cut within its header"),
    "more layers stated": (more_layers, "tensors are missing, e.g. model.layers"),
    "fewer layers stated": (fewer_layers, "tensors are not part of the architecture, e.g. model.layers"),
    "a layer without a type": (with_config(num_hidden_layers=1), "config.json cannot be used"),
    "a shard missing": (shard_missing, r"names 2 files of weights, model-00002-of-00002.safetensors missing"),
    "an index that lies": (index_lies, rf"differ in 1 tensors, e.g. '{NORM}'"),
    "a stray file": (stray, "beside model.safetensors lies old.safetensors"),
    "two sets of weights": (both, "has both model.safetensors and model.safetensors.index.json"),
    "an adapter": (adapter, "it is an adapter"),
    "quantised": (with_config(quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
    "broken config.json": (cut("config.json", 0.5), "config.json cannot be read"),
    "a head of its own, stated as tied": (
        with_tensors(lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1})),
        "lm_head.weight is stored beside model.embed_tokens.weight and differs from it",
    ),
    "an untied head missing": (with_config(tie_word_embeddings=False), "1 tensors are missing, e.g. lm_head.weight"),
    "a list as config.json": (no_object, "holds a list, not an object"),
    "broken generation_config.json": (cut("generation_config.json", 0.5), "generation_config.json cannot be read"),
    "broken tokenizer.json": (cut("tokenizer.json", 0.5), "its tokenizer cannot be read"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "it has no tokenizer"),
    "code of its own": (
        with_config(model_type="mine", auto_map={"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"}),
        "never run",
    ),
    "an architecture nobody knows": (with_config(model_type="mine"), "config.json cannot be used"),
}

"""Loading a Hugging Face model: the one way for networks, tokenizers and configurations, wherever they are needed.

Strict: every tensor that the configuration asks for is there, none beside them, each of its shape and finite; weights
are read from safetensors, and code that a model brings is never run. Whatever is wrong is a BrokenModel that names
model, commit, tensor or file, and remedy. `check_model` finds the same before an actor is started, in the driver.

A checkpoint of a run is data as well: `load_deepspeed` reads tensors and plain values from it, never code that is run.

Left out: what the head and the tokenizer must agree on (`tasks/checks.py`), and which folder a name means
(`paths.resolve_model`): all functions here are given a folder.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from artifact.errors import ArtifactError
from artifact.models import FAMILIES, broken, check_files, json_of, weight_files
from artifact.provenance import model_hash
from artifact.tasks.checks import check_head

_LOADING = Lock()

SAFE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Said to every reader: no code of the model's own, no network."""


def _of_transformers(name: str) -> Any:
    """A class of transformers, which imports its parts when they are first named: by one thread at a time."""
    import transformers

    with _LOADING:
        return getattr(transformers, name)


def load_network(path: str, dtype: str, device: str = "cpu") -> Any:
    """The causal language model in the folder `path`, in `dtype` (a torch name), on `device`.

    Raises BrokenModel where it is not whole, Mismatch where its output head is not what the chunked head assumes.
    Any: transformers does not say a type.
    """
    network = _read(path, dtype)
    check_head(network)
    network.to(device)
    for _ in finite(path, network.state_dict().items()):
        pass
    return network


@contextmanager
def tensors_only() -> Iterator[None]:
    """Every `torch.load` inside reads tensors and plain values, whatever it is asked for: no pickle runs code.

    DeepSpeed asks for unrestricted pickles. Raises pickle.UnpicklingError for a file that holds anything else.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def load_deepspeed(engine: Any, folder: Path, tag: str) -> None:
    """Give a DeepSpeed engine the weights and optimiser state in `folder / tag`.

    Beside tensors the file may hold three records of DeepSpeed's own, without behaviour. Raises ArtifactError when the
    checkpoint is missing, torn, or holds anything else.
    """
    import torch
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    path, reason = None, "it is not there"
    try:
        if not any((folder / tag).glob("*.pt")):
            raise FileNotFoundError(reason)
        with tensors_only(), torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            path, _ = engine.load_checkpoint(str(folder), tag=tag)
    except pickle.UnpicklingError:
        reason = "it is torn, or holds more than tensors and plain values"
    except (RuntimeError, EOFError, OSError) as err:
        reason = str(err).splitlines()[0]
    if path is None:
        raise ArtifactError(
            f"checkpoint {folder / tag} cannot be loaded ({reason}); run with --force to start the run again"
        )


def load_frozen(path: str, dtype: str, device: str = "cpu") -> Any:
    """The same without gradients, in evaluation mode."""
    return load_network(path, dtype, device).eval().requires_grad_(False)


def load_tokenizer(path: str) -> Any:
    """The tokenizer in the folder `path`; BrokenModel where there is none or it cannot be read."""
    folder = Path(path)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        json_of(folder / "config.json")  # a folder that is no model at all is told as that
        raise broken(folder, f"it has no tokenizer (none of {', '.join(TOKENIZERS)})")
    if _states_its_class(folder):
        reader = _of_transformers("TokenizersBackend")
    else:
        load_config(path)  # transformers asks it for the tokenizer's class
        reader = _of_transformers("AutoTokenizer")
    try:
        return reader.from_pretrained(path, **SAFE)
    except Exception as err:  # the tokenizers library raises nothing narrower
        raise broken(folder, f"its tokenizer cannot be read ({_brief(err)})") from err


def _states_its_class(folder: Path) -> bool:
    """Whether transformers would read the tokenizer with the plain class that its folder states.

    Asking transformers (`AutoTokenizer`) imports what trains and generates: four seconds in every process that reads
    no more than finished runs. It takes a stated class for these families; for others it may know better.
    """
    stated = json_of(folder / "config.json")
    if stated.get("model_type") not in ("qwen3", "qwen3_moe") or "auto_map" in stated:
        return False
    files = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not all(file.is_file() for file in files):
        return False
    said = json_of(files[1])
    return said.get("tokenizer_class") == "TokenizersBackend" and "auto_map" not in said


TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
"""One of these holds the tokens; without any transformers makes up a tokenizer of none."""


def load_config(path: str) -> Any:
    """The configuration in the folder `path`, by transformers; BrokenModel where it is none that it knows."""
    folder = Path(path)
    stated = json_of(folder / "config.json")
    try:
        return _of_transformers("AutoConfig").from_pretrained(path, **SAFE)
    except Exception as err:  # a field of the wrong type raises whatever it raises
        if "auto_map" in stated:
            raise broken(
                folder,
                "it needs code of its own (auto_map in config.json), which is never run (trust_remote_code=False)",
                "choose a model whose architecture is part of transformers",
            ) from err
        raise broken(folder, f"config.json cannot be used ({_brief(err)})") from err


@dataclass(frozen=True)
class Sizes:
    """What a configuration says of tokens: rows of the output head, positions it was made for (None: any number)."""

    vocab_size: int
    max_position_embeddings: int | None


def load_sizes(path: str) -> Sizes:
    """The sizes of the model in the folder `path`; BrokenModel where its configuration cannot be used.

    Read from config.json where it states both, without the seconds that transformers takes to be imported; what it
    leaves to its family's defaults, transformers says. The rest of it is looked at by `check_model`.
    """
    stated = json_of(Path(path) / "config.json")
    found = [stated.get(name) for name in ("vocab_size", "max_position_embeddings")]
    if stated.get("model_type") in FAMILIES and all(type(size) is int for size in found):
        return Sizes(*found)  # type: ignore[arg-type]  # checked above
    whole = load_config(path)
    return Sizes(whole.vocab_size, getattr(whole, "max_position_embeddings", None))


def load_classifier(path: str) -> Any:
    """The sequence classifier in the folder `path`, in float32; BrokenModel where there is none or it lacks tensors."""
    import torch

    load_config(path)
    try:
        loaded: Any = _of_transformers("AutoModelForSequenceClassification").from_pretrained(
            path, dtype=torch.float32, output_loading_info=True, **SAFE
        )
    except Exception as err:  # a shape or a file that is wrong raises whatever it raises
        raise broken(Path(path), f"no sequence classifier can be read from it ({_brief(err)})") from err
    network, info = loaded
    _require_all(Path(path), info)
    return network.eval()


def load_gguf(gguf: Path) -> tuple[Any, Any]:
    """The network, dequantised to float32, and the tokenizer of a GGUF file, as strictly: BrokenModel otherwise."""
    import torch

    name = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    reader = _of_transformers("AutoModelForCausalLM")
    loaded: Any = reader.from_pretrained(**name, dtype=torch.float32, output_loading_info=True, **SAFE)
    network, info = loaded
    _require_all(gguf.parent, info)
    for _ in finite(str(gguf.parent), network.state_dict().items()):
        pass
    return network, _of_transformers("AutoTokenizer").from_pretrained(**name, **SAFE)


def check_model(path: str) -> None:
    """Raise BrokenModel or Mismatch where `load_network` would, without the memory for the weights.

    Names and shapes are compared on torch's meta device, values read tensor by tensor. Once for each content.
    """
    _checked(path, model_hash(Path(path)))


@lru_cache(maxsize=64)
def _checked(path: str, content: str) -> None:
    for _ in sound_tensors(path):
        pass


def sound_tensors(path: str) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of all weights of a model, one in memory at a time, as an engine is given them.

    Raises BrokenModel or Mismatch where `load_network` would: for names and shapes before the first tensor is read.
    """
    check_head(_read(path, "float32", device_map={"": "meta"}))
    yield from finite(path, stored_tensors(Path(path)))


def stored_tensors(folder: Path, only: Collection[str] | None = None) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of what is in the weight files of a folder, or of `only` these; one in memory at a time."""
    from safetensors import safe_open

    for file in weight_files(folder):
        with safe_open(file, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is not a mapping
                if only is None or name in only:
                    yield name, handle.get_tensor(name)


def finite(path: str, named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The named tensors as they come; BrokenModel at one that holds NaN or an infinity. One pass, no copy."""
    import torch

    for name, tensor in named:
        if tensor.numel() and tensor.is_floating_point():
            low, high = torch.aminmax(tensor)
            if not (torch.isfinite(low) and torch.isfinite(high)):
                bad = int((~torch.isfinite(tensor)).sum())
                raise broken(Path(path), f"{name} holds NaN or infinity in {bad:,} of {tensor.numel():,} values")
        yield name, tensor


def _read(path: str, dtype: str, **where: Any) -> Any:
    """The network by transformers, refused where its files or the outcome of loading are not what they should be."""
    import torch

    folder = Path(path)
    check_files(folder)
    config, reader = load_config(path), _of_transformers("AutoModelForCausalLM")
    try:
        with quiet_transformers():
            loaded: Any = reader.from_pretrained(
                path,
                config=config,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # for the list of them: they are refused below
                **where,
                **SAFE,
            )
    except Exception as err:  # transformers, safetensors and torch each have their own
        raise broken(folder, f"its weights cannot be loaded ({_brief(err)})") from err
    network, info = loaded
    _require_all(folder, info)
    if config.tie_word_embeddings:
        _require_one_head(folder)
    return network


def _require_one_head(folder: Path) -> None:
    """BrokenModel where a tied model stores two: transformers would untie them, engines drop the second."""
    pair = "model.embed_tokens.weight", "lm_head.weight"
    found = dict(stored_tensors(folder, only=pair))
    if len(found) == 2 and not found[pair[0]].equal(found[pair[1]]):
        raise broken(
            folder,
            f"{pair[1]} is stored beside {pair[0]} and differs from it, but config.json says tie_word_embeddings",
            "set tie_word_embeddings = false in config.json, or take the head out of the weights",
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bar and its table of what did not fit, which the errors here say in words.

    One thread at a time: these settings, and what transformers patches while it loads, belong to the whole process.
    """
    from transformers.utils import logging

    with _LOADING:
        bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()


def _require_all(folder: Path, info: dict[str, Any]) -> None:
    """BrokenModel where transformers' account of a loading says that a tensor was missing, unexpected or misshapen."""
    faults = []
    if missing := sorted(info["missing_keys"]):
        faults.append(f"{len(missing)} tensors are missing, e.g. {missing[0]}, and would be random")
    if unexpected := sorted(info["unexpected_keys"]):
        faults.append(f"{len(unexpected)} tensors are not part of the architecture, e.g. {unexpected[0]}")
    if mismatched := sorted(info["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        faults.append(f"{len(mismatched)} tensors have another shape, e.g. {name} {[*found]} instead of {[*wanted]}")
    faults += [str(m) for m in info["error_msgs"]]
    if faults:
        raise broken(folder, f"weights and config.json do not belong together: {'; '.join(faults)}")


def _brief(err: Exception) -> str:
    text = " ".join(str(err).split())
    return f"{type(err).__name__}: {text[:MOST_QUOTED]}{' …' if len(text) > MOST_QUOTED else ''}"


MOST_QUOTED = 240
"""Characters of a library's own message: some of transformers' fill a screen."""

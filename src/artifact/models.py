"""A model's name → its folder and commit, and which files of a folder are its weights.

A hub id, `org/name` or `org/name@revision`, is resolved once in a process: to the snapshot of the hub's cache that
`refs/main` (or the revision) names, and only where the cache has no whole one, by a download. So a run never moves to
other weights because the hub did; `hf download org/name` moves it. Every reader is given the snapshot's folder.

Left out: local folders by name (`paths.resolve_model`), hashes (`provenance.model_hash`), and whether the tensors are
those that the configuration asks for (`actors/checkpoints.py`).
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact.errors import BrokenModel, ModelAbsent

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
"""Weights that only a pickle reader can load: reading them runs code, so nobody does."""

READ = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken", "additional_chat_templates/*.jinja")
"""What transformers and vLLM read of a model folder: these files are downloaded, and these are the model's content."""

UNREAD = ("*/*.safetensors", "consolidated*")
"""The same weights in other layouts, as some repositories hold them too."""

FAMILIES = ("llama", "qwen2", "qwen3", "qwen3_moe")
"""Model types whose `config.json` is flat, decoders all: its numbers are the model's."""

ANSWER_S = 5.0
"""Seconds within which the hub must answer that it has a model, before a download of hours is begun."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The folder of one commit of a model of the hub."""

    folder: Path
    commit: str


_resolved: dict[tuple[str, str], Snapshot] = {}


def snapshot(model: str, download: bool = True) -> Snapshot:
    """The snapshot that the hub id `model` means in this process. Without `download` no network is asked.

    Raises ModelAbsent where the cache has no whole one and none can be had, with the reason and what to do.
    """
    from huggingface_hub import constants

    cache = str(constants.HF_HUB_CACHE)
    if (cache, model) not in _resolved:
        found, fault = _cached(model)
        _resolved[cache, model] = found or _downloaded(model, cache, fault, download)
    return _resolved[cache, model]


def _parts(model: str) -> tuple[str, str]:
    repository, _, revision = model.partition("@")
    return repository, revision or "main"


def _cached(model: str) -> tuple[Snapshot | None, str]:
    """The whole snapshot in the cache; or None, and what is wrong. ModelAbsent for what can be no hub id."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError, LocalEntryNotFoundError

    repository, revision = _parts(model)
    try:
        folder = Path(
            snapshot_download(
                repository, revision=revision, local_files_only=True, allow_patterns=[*READ], ignore_patterns=[*UNREAD]
            )
        )
    except IncompleteSnapshotError as err:
        return None, f"incomplete there: {str(err).splitlines()[0]}"
    except LocalEntryNotFoundError:
        return None, "absent"
    except HFValidationError as err:
        raise ModelAbsent(f"model {model!r} is neither a folder nor a hub id ({err}); correct its name") from err
    try:
        weight_files(folder)
    except BrokenModel as err:
        return None, f"not usable: {err}"
    return Snapshot(folder, folder.name), ""


def _downloaded(model: str, cache: str, fault: str, download: bool) -> Snapshot:
    """The snapshot, fetched from the hub; ModelAbsent where that is not wished or does not succeed."""
    from huggingface_hub import HfApi, constants, snapshot_download

    repository, revision = _parts(model)
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub was not asked"
    cause: Exception | None = None
    if download and not constants.HF_HUB_OFFLINE:
        try:
            HfApi().model_info(repository, revision=revision, timeout=ANSWER_S)
            folder = Path(
                snapshot_download(repository, revision=revision, allow_patterns=[*READ], ignore_patterns=[*UNREAD])
            )
            return Snapshot(folder, folder.name)
        except Exception as err:  # network, access, name: the reason differs, the remedy does not
            lines = str(err).strip().splitlines()
            reason, cause = f"{type(err).__name__}: {lines[0] if lines else 'no message'}", err
    raise ModelAbsent(
        f"model {model!r} cannot be read from the hub's cache {cache} ({fault}) and could not be fetched ({reason}); "
        f"run `hf download {repository} --revision {revision}` on a machine with a network (and access) and bring its "
        f"folder models--{repository.replace('/', '--')} here, set HF_HOME to a cache that has it, or name a local "
        "folder"
    ) from cause


def hub_says(model: str) -> str:
    """Whether the hub would give a model: it has it and lets this machine read it."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, nothing is fetched"
    repository, revision = _parts(model)
    try:
        HfApi().model_info(repository, revision=revision, timeout=ANSWER_S)
    except Exception as err:  # network, access, name: any is a reason
        return f"the hub does not give it, {type(err).__name__}"
    return "fetched when used"


def hub_origin(folder: Path) -> tuple[str, str] | None:
    """(hub id, commit) of a snapshot folder of the hub's cache; None for any other folder."""
    found = re.search(r"/models--([^/]+)/snapshots/([^/]+)/?$", folder.as_posix())
    return (found[1].replace("--", "/"), found[2]) if found else None


def told(folder: Path) -> tuple[str, str]:
    """A folder for messages: (the model with its origin, what to do about a file of it that is damaged)."""
    if origin := hub_origin(folder):
        name, commit = origin
        remedy = f"delete the folder two above it and run `hf download {name} --revision {commit}` again"
        return f"model {name} (commit {commit}, {folder})", remedy
    return f"model {folder}", (
        "make or fetch the model again (`artifact make-models`, `artifact fetch-models`, or a fresh copy), or correct "
        "the model's name in the tier's YAML"
    )


def broken(folder: Path, fault: str, remedy: str = "") -> BrokenModel:
    """The error for a model that cannot be used as it is: which one, from where, what is wrong, what to do."""
    name, usual = told(folder)
    return BrokenModel(f"{name}: {fault}; {remedy or usual}")


def json_of(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder; BrokenModel where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise broken(path.parent, f"{path.name} cannot be read ({err})") from err
    if not isinstance(value, dict):
        raise broken(path.parent, f"{path.name} holds a {type(value).__name__}, not an object")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights of a model folder, in order, all of them there.

    Raises BrokenModel where there is none, one is missing, or it cannot be said which count: transformers and vLLM
    choose differently among files that no index names.
    """
    single, index = folder / SINGLE, folder / INDEX
    there = {p.name for p in folder.glob("*.safetensors")}
    if (folder / "adapter_config.json").is_file():
        raise broken(
            folder, "it is an adapter (adapter_config.json), no whole model", "merge it into its base and save that"
        )
    if index.is_file():
        if single.is_file():
            raise broken(folder, f"it has both {SINGLE} and {INDEX}", "delete the one that is out of date")
        table = json_of(index).get("weight_map")
        if not isinstance(table, dict) or not table:
            raise broken(folder, f"{INDEX} has no weight_map")
        names = sorted({str(name) for name in table.values()})
        if lacking := [name for name in names if name not in there]:
            raise broken(folder, f"{INDEX} names {len(names)} files of weights, {', '.join(lacking)} missing")
        return [folder / name for name in names]
    if not single.is_file():
        if pickled := sorted(p.name for pattern in PICKLED for p in folder.glob(pattern)):
            raise broken(
                folder,
                f"its weights are pickled ({', '.join(pickled[:3])}), and reading a pickle runs whatever code it holds",
                "take a revision with safetensors, or convert it where you trust it: "
                "`AutoModelForCausalLM.from_pretrained(…).save_pretrained(folder)` writes them",
            )
        raise broken(folder, f"it has no {SINGLE} and no {INDEX}, and nothing else is read")
    if stray := sorted(there - {SINGLE}):
        raise broken(folder, f"beside {SINGLE} lies {', '.join(stray)}, which no index names", "move it elsewhere")
    return [single]


def tensor_names(path: Path) -> set[str]:
    """Names of the tensors in a safetensors file, whose length must be what its header says.

    The format: 8 bytes N, little endian; N bytes of JSON; the tensors. Raises BrokenModel for a truncated file.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        text = stream.read(length) if length <= size - 8 else b""
    try:
        header = json.loads(text)
        ends = {name: int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as err:
        raise broken(path.parent, f"{path.name} is no safetensors file, or cut within its header") from err
    want = 8 + length + max(ends.values(), default=0)
    if size != want:
        raise broken(path.parent, f"{path.name} has {size:,} bytes where its header says {want:,}: it is damaged")
    return set(ends)


def check_files(folder: Path) -> None:
    """Raise BrokenModel where the files of a model folder contradict one another; no tensor is read.

    Looked at: the JSON files, that every file of weights is there and whole and holds what the index says of it.
    """
    if not (folder / "config.json").is_file():
        raise broken(folder, "it has no config.json")
    config = json_of(folder / "config.json")
    if (folder / "generation_config.json").is_file():
        json_of(folder / "generation_config.json")
    if "quantization_config" in config:
        raise broken(folder, "its weights are quantised (quantization_config)", "take the model that is not")
    held = {path.name: tensor_names(path) for path in weight_files(folder)}
    if (folder / INDEX).is_file():
        stated: dict[str, set[str]] = {}
        for tensor, name in json_of(folder / INDEX)["weight_map"].items():
            stated.setdefault(str(name), set()).add(tensor)
        for name, tensors in stated.items():
            if differ := sorted(tensors ^ held[name]):
                raise broken(folder, f"{INDEX} and {name} differ in {len(differ)} tensors, e.g. {differ[0]!r}")

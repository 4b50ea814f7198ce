"""The recipe of the three embedded models, and `make_models`, which follows it.

teacher-a  trained on clean documents: its reliability falls with difficulty and its uncertainty says so.
teacher-b  teacher-a, then made unreliable: *inconsistent* on `eq` (85 % of documents off by a random ±1…9), which its
           semantic entropy shows, and *confidently wrong* on `mod` (always off by +2), which no entropy can show.
student    a smaller model on clean documents, then on a sloppy corpus in which, in a family-dependent share of
           documents, the last result is off by +1. The right answer stays latent behind the habit, so that 40 steps of
           any method have something to elicit. Say so wherever tiny numbers appear.

Importing this module imports torch; nothing but `make_models` needs it.

All three share one tokenizer and the Qwen3 architecture with tied embeddings, saved as float32 safetensors.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from artifact.worlds.tiny.corpus import Corpus, Shift
from artifact.worlds.tiny.scoring import accuracy_table, greedy_responses
from artifact.worlds.tiny.splits import load_split
from artifact.worlds.tiny.tokenizer import build_tokenizer
from artifact.worlds.tiny.training import Stage, run_stage, single_thread

log = logging.getLogger(__name__)

RECIPE_VERSION = 1
SEED = 2026
MANIFEST = "MANIFEST.json"
SOURCES = ("problems.py", "splits.py", "tokenizer.py", "chat.py", "corpus.py", "training.py")

MOD_OFFSET = 2
"""Teacher B's constant error on `mod`; not +1, which is the student's own habit."""
_ANY_OFFSET = tuple(d for d in range(-9, 10) if d != 0)

UNRELIABLE = Corpus(shifts={"eq": Shift(0.85, _ANY_OFFSET), "mod": Shift(1.0, (MOD_OFFSET,))})
SLOPPY = Corpus(
    shifts={
        "sum": Shift(0.60, (1,)),
        "mul": Shift(0.65, (1,)),
        "frac": Shift(0.60, (1,)),
        "eq": Shift(0.20, (1,)),
        "mod": Shift(0.20, (1,)),
    }
)


class RecipeError(ValueError):
    """An unknown model, or a parent model that is not there."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Size and stages of one model; `parent` names the model whose weights it starts from."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    stages: tuple[Stage, ...]
    parent: str | None = None


MODELS: dict[str, ModelSpec] = {
    "teacher-a": ModelSpec(3, 128, 256, 4, (Stage(Corpus(), 6500),)),
    "student": ModelSpec(
        4, 64, 192, 2, (Stage(Corpus(), 7500), Stage(SLOPPY, 1200, muon_lr=0.005, adamw_lr=1e-3, warmup=20))
    ),
    "teacher-b": ModelSpec(
        3, 128, 256, 4, (Stage(UNRELIABLE, 1000, muon_lr=0.005, adamw_lr=1e-3, warmup=20),), parent="teacher-a"
    ),
}
"""In the order in which they are made: a parent comes before its child."""


def recipe_hash(name: str, steps_scale: float = 1.0) -> str:
    """SHA-256 (16 hex digits) of all that decides the weights of `name`: its stages, its parents', and the code.

    Code counts without comments, docstrings and layout, so that tidying a file does not make the weights stale.
    """
    spec = _spec(name)
    digest = hashlib.sha256(json.dumps([RECIPE_VERSION, SEED, steps_scale, asdict(spec)], sort_keys=True).encode())
    for source in SOURCES:
        digest.update(_bare_source(Path(__file__).with_name(source)).encode())
    if spec.parent:
        digest.update(recipe_hash(spec.parent, steps_scale).encode())
    return digest.hexdigest()[:16]


def make_models(
    out_dir: Path, only: list[str] | None = None, steps_scale: float = 1.0, progress: bool = True, evaluate: bool = True
) -> dict[str, Any]:
    """Train the models into `out_dir/<name>/` and write `out_dir/MANIFEST.json`; returns the manifest.

    A finished model whose recipe hash matches is kept. `only` names the models to make (a missing parent is an error);
    `steps_scale` multiplies the number of steps of every stage, for trials; `evaluate=False` leaves accuracies out.
    """
    wanted = list(MODELS) if only is None else [n for n in MODELS if n in only]
    for name in only or ():
        _spec(name)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        entry = _entry(out_dir / name)
        if entry is not None and entry["recipe_hash"] == recipe_hash(name, steps_scale):
            log.info("%s is up to date (recipe %s)", name, entry["recipe_hash"])
            continue
        _make_one(out_dir, name, steps_scale, progress, evaluate)
    return write_manifest(out_dir)


def write_manifest(out_dir: Path) -> dict[str, Any]:
    """Collect the `recipe.json` of every finished model in `out_dir` into its manifest."""
    entries = {name: entry for name in MODELS if (entry := _entry(out_dir / name)) is not None}
    manifest = {"recipe_version": RECIPE_VERSION, "seed": SEED, "models": entries}
    partial = out_dir / (MANIFEST + ".partial")
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    partial.replace(out_dir / MANIFEST)
    return manifest


def _make_one(out_dir: Path, name: str, steps_scale: float, progress: bool, evaluate: bool) -> None:
    spec, fingerprint, tokenizer, began = _spec(name), recipe_hash(name, steps_scale), build_tokenizer(), time.time()
    with single_thread():
        model = _initial_model(out_dir, spec, steps_scale)
        logs = []
        for i, stage in enumerate(spec.stages):
            steps = max(1, round(stage.steps * steps_scale))
            logs.append(run_stage(model, tokenizer, replace(stage, steps=steps), f"{SEED}/{name}/{i}", progress))
        seconds = time.time() - began
        accuracy = None
        if evaluate:
            problems = load_split("evaluation")
            accuracy = accuracy_table(problems, greedy_responses(model, tokenizer, problems))
            log.info("%s greedy accuracy %s", name, accuracy)

    partial = out_dir / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    entry = {
        "recipe_hash": fingerprint,
        "parent": spec.parent,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps_scale": steps_scale,
        "stages": logs,
        "steps": sum(s["steps"] for s in logs),
        "tokens": sum(s["tokens"] for s in logs),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "sha256": sha256(partial / "model.safetensors"),
        "greedy_accuracy_evaluation": accuracy,
    }
    (partial / "recipe.json").write_text(json.dumps(entry, indent=2) + "\n")
    shutil.rmtree(out_dir / name, ignore_errors=True)
    partial.rename(out_dir / name)


def _initial_model(out_dir: Path, spec: ModelSpec, steps_scale: float) -> Any:
    """Fresh weights from `SEED`, or the parent's; raises RecipeError when the parent is missing or stale."""
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    tokenizer = build_tokenizer()
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if spec.parent is not None:
        entry = _entry(out_dir / spec.parent)
        if entry is None or entry["recipe_hash"] != recipe_hash(spec.parent, steps_scale):
            state = "missing" if entry is None else "made by another recipe"
            raise RecipeError(f"{out_dir / spec.parent} is {state}; make {spec.parent!r} first")
        model = Qwen3ForCausalLM.from_pretrained(out_dir / spec.parent, dtype=torch.float32)
    else:
        config = Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=spec.hidden,
            intermediate_size=spec.ffn,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            num_key_value_heads=spec.heads,
            head_dim=32,
            max_position_embeddings=tokenizer.model_max_length,
            tie_word_embeddings=True,
            dtype="float32",
            **special,
        )
        torch.manual_seed(SEED)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(**special, do_sample=False)
    return model


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _spec(name: str) -> ModelSpec:
    if name not in MODELS:
        raise RecipeError(f"unknown model {name!r}; the recipe knows {', '.join(MODELS)}")
    return MODELS[name]


def _entry(folder: Path) -> dict[str, Any] | None:
    path = folder / "recipe.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _bare_source(path: Path) -> str:
    """The code of a file without comments, docstrings, layout and the package's own paths (where a module lies)."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef, ast.If, ast.For, ast.While, ast.With, ast.Try)):
            code = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
            code = [n for n in code if not isinstance(n, (ast.Import, ast.ImportFrom))]
            node.body = code or [ast.Pass()]
    return ast.unparse(tree)

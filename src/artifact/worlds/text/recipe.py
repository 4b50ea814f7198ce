"""The recipe of the text world's three models, and `make_models`, which follows it.

teacher-a  trained on clean documents: its reliability falls with difficulty, and its uncertainty says so.
teacher-b  teacher-a, then made unreliable in two ways: *inconsistent* on summaries (in every document a random fact
           gives way to a random other), which its semantic entropy shows, and *confidently wrong* on translations (the
           first subject's number is always turned round), which no entropy can show. Instructions stay as they were.
student    a smaller model on clean documents, then on a sloppy corpus in which, in a share of documents, the tense is
           exchanged, the last fact left out, a word too few written. The right response stays latent behind the habit,
           so that a few dozen steps of any method have something to elicit. Say so wherever its numbers appear.

All three share one tokenizer and the Qwen3 architecture with tied embeddings, saved as float32 safetensors. Importing
this module imports torch; nothing but `make_models` needs it.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from artifact.files import folder_atomically, read_json, write_json
from artifact.provenance import digest, file_sha256
from artifact.records import Problem
from artifact.worlds.text.corpus import Corpus, Fault
from artifact.worlds.text.meaning import is_right
from artifact.worlds.text.splits import load_split
from artifact.worlds.text.tokenizer import build_tokenizer
from artifact.worlds.text.training import Stage, run_stage
from artifact.worlds.tiny.recipe import RecipeError, _bare_source
from artifact.worlds.tiny.scoring import greedy_responses
from artifact.worlds.tiny.training import single_thread

log = logging.getLogger(__name__)

RECIPE_VERSION = 1
SEED = 2027
MANIFEST = "MANIFEST.json"
OWN = ("translation", "summary", "instruction", "problems", "splits", "tokenizer", "corpus", "training")
TAKEN = ("splits", "tokenizer", "chat", "corpus", "training")
"""The modules whose code decides the weights: those of this world, and those it takes from the arithmetic one."""

UNRELIABLE = Corpus(faults={"summary": Fault(1.0, "mixed"), "translation": Fault(1.0, "number")})
SLOPPY = Corpus(
    faults={"translation": Fault(0.60, "tense"), "summary": Fault(0.60, "short"), "instruction": Fault(0.60, "fewer")}
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Size and stages of one model; `parent` names the model whose weights it starts from."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    stages: tuple[Stage, ...]
    parent: str | None = None


_SECOND = {"batch": 32, "muon_lr": 0.005, "adamw_lr": 1e-3, "warmup": 20}

MODELS: dict[str, ModelSpec] = {
    "teacher-a": ModelSpec(
        3, 96, 192, 3, (Stage(Corpus(), 2500, batch=48), Stage(Corpus(), 1200, batch=48, muon_lr=0.01, adamw_lr=2e-3))
    ),
    "student": ModelSpec(3, 64, 128, 2, (Stage(Corpus(), 2000, batch=48), Stage(SLOPPY, 300, **_SECOND))),  # type: ignore[arg-type]
    "teacher-b": ModelSpec(3, 96, 192, 3, (Stage(UNRELIABLE, 600, **_SECOND),), parent="teacher-a"),  # type: ignore[arg-type]
}
"""In the order in which they are made: a parent comes before its child."""


def recipe_hash(name: str, steps_scale: float = 1.0) -> str:
    """The hash of all that decides the weights of `name`: its stages, its parents', and the code."""
    spec, here = _spec(name), Path(__file__).parent
    files = (*(here / f"{m}.py" for m in OWN), *(here.parent / "tiny" / f"{m}.py" for m in TAKEN))
    parent = recipe_hash(spec.parent, steps_scale) if spec.parent else None
    return digest([RECIPE_VERSION, SEED, steps_scale, asdict(spec), [_bare_source(f) for f in files], parent])


def make_models(
    out_dir: Path, only: list[str] | None = None, steps_scale: float = 1.0, progress: bool = True, evaluate: bool = True
) -> dict[str, Any]:
    """Train the models into `out_dir/<name>/` and write `out_dir/MANIFEST.json`; returns the manifest.

    A finished model whose recipe hash matches is kept. `only` names the models to make (a missing parent is an error);
    `steps_scale` multiplies the number of steps of every stage, for trials; `evaluate=False` leaves accuracies out.
    """
    for name in only or ():
        _spec(name)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in MODELS if only is None else [n for n in MODELS if n in only]:
        if _entry(out_dir / name).get("recipe_hash") == recipe_hash(name, steps_scale):
            log.info("%s is up to date", name)
            continue
        _make_one(out_dir, name, steps_scale, progress, evaluate)
    entries = {name: entry for name in MODELS if (entry := _entry(out_dir / name))}
    manifest = {"recipe_version": RECIPE_VERSION, "seed": SEED, "models": entries}
    write_json(out_dir / MANIFEST, manifest)
    return manifest


def accuracy_table(problems: Sequence[Problem], responses: Sequence[str]) -> dict[str, float]:
    """Percent right, to two places: overall, per difficulty, per family, and per cell (`summary/easy`)."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for problem, response in zip(problems, responses, strict=True):
        family = problem.meta["family"]
        for key in ("all", problem.difficulty, family, f"{family}/{problem.difficulty}"):
            hits[key].append(is_right(response, problem))
    return {key: round(100.0 * sum(rows) / len(rows), 2) for key, rows in hits.items()}


def _make_one(out_dir: Path, name: str, steps_scale: float, progress: bool, evaluate: bool) -> None:
    spec, fingerprint, tokenizer, began = _spec(name), recipe_hash(name, steps_scale), build_tokenizer(), time.time()
    with single_thread():
        model = _initial_model(out_dir, spec, steps_scale)
        logs = []
        for i, stage in enumerate(spec.stages):
            steps = max(1, round(stage.steps * steps_scale))
            logs.append(run_stage(model, tokenizer, replace(stage, steps=steps), f"{SEED}/{name}/{i}", progress))
        seconds = time.time() - began
        problems = load_split("evaluation") if evaluate else []
        accuracy = accuracy_table(problems, greedy_responses(model, tokenizer, problems)) if evaluate else None
    with folder_atomically(out_dir / name) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
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
            "sha256": file_sha256(folder / "model.safetensors"),
            "greedy_accuracy_evaluation": accuracy,
        }
        write_json(folder / "recipe.json", entry)


def _initial_model(out_dir: Path, spec: ModelSpec, steps_scale: float) -> Any:
    """Fresh weights from `SEED`, or the parent's; raises RecipeError when the parent is missing or stale."""
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    tokenizer = build_tokenizer()
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    if spec.parent is not None:
        entry = _entry(out_dir / spec.parent)
        if entry.get("recipe_hash") != recipe_hash(spec.parent, steps_scale):
            state = "made by another recipe" if entry else "missing"
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


def _spec(name: str) -> ModelSpec:
    if name not in MODELS:
        raise RecipeError(f"unknown model {name!r}; the recipe knows {', '.join(MODELS)}")
    return MODELS[name]


def _entry(folder: Path) -> dict[str, Any]:
    """What the recipe left beside a finished model; {} where there is none."""
    path = folder / "recipe.json"
    return read_json(path, "make the model again") if path.is_file() else {}

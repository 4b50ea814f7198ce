"""The shipped models are the ones their manifest describes, and fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifact.paths import project_root
from artifact.worlds.tiny.recipe import MODELS, recipe_hash, sha256
from artifact.worlds.tiny.scoring import accuracy_table, greedy_responses
from artifact.worlds.tiny.splits import load_split
from artifact.worlds.tiny.tokenizer import build_tokenizer

NAMES = tuple(MODELS)
FOLDER = project_root() / "models" / "tiny"
DIFFICULTIES = ("easy", "medium", "hard", "competition")


@pytest.fixture(scope="module")
def manifest() -> dict:
    return json.loads((FOLDER / "MANIFEST.json").read_text())


@pytest.fixture(scope="module")
def loaded() -> dict:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return {
        name: (AutoModelForCausalLM.from_pretrained(FOLDER / name), AutoTokenizer.from_pretrained(FOLDER / name))
        for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_checksums_match_the_files(manifest: dict, name: str) -> None:
    assert sha256(FOLDER / name / "model.safetensors") == manifest["models"][name]["sha256"]
    assert json.loads((FOLDER / name / "recipe.json").read_text()) == manifest["models"][name]


@pytest.mark.parametrize("name", NAMES)
def test_weights_belong_to_this_recipe(manifest: dict, name: str) -> None:
    assert manifest["models"][name]["recipe_hash"] == recipe_hash(name), "run `artifact make-models`"


@pytest.mark.parametrize("name", NAMES)
def test_architecture(loaded: dict, name: str) -> None:
    import torch

    model, tokenizer = loaded[name]
    spec, config = MODELS[name], model.config
    assert type(model).__name__ == "Qwen3ForCausalLM"
    sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads)
    assert sizes == (spec.layers, spec.hidden, spec.ffn, spec.heads)
    assert config.head_dim == 32
    assert config.vocab_size == len(tokenizer)
    assert config.tie_word_embeddings
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_special_tokens_agree_everywhere(loaded: dict, name: str) -> None:
    model, tokenizer = loaded[name]
    for holder in (model.config, model.generation_config):
        assert holder.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert holder.pad_token_id == tokenizer.pad_token_id
        assert holder.bos_token_id == tokenizer.bos_token_id


def test_all_three_share_the_tokenizer_of_this_package(loaded: dict) -> None:
    built = build_tokenizer()
    for _, tokenizer in loaded.values():
        assert tokenizer.get_vocab() == built.get_vocab()
        assert tokenizer.chat_template == built.chat_template


def test_the_lot_is_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in Path(FOLDER).rglob("*") if p.is_file()) < 20 * 2**20


def test_recorded_accuracies_are_graded_and_ordered(manifest: dict) -> None:
    """What the studies rely on: reliability falls with difficulty; B and the student are worse than A, and where."""
    a, b, student = (manifest["models"][n]["greedy_accuracy_evaluation"] for n in ("teacher-a", "teacher-b", "student"))
    for table in (a, b, student):
        assert [table[d] for d in DIFFICULTIES] == sorted((table[d] for d in DIFFICULTIES), reverse=True)
    assert a["all"] > b["all"] + 10
    assert a["all"] > student["all"] + 15
    assert b["mod"] < 5
    assert b["eq"] < a["eq"] / 2
    assert abs(b["sum"] - a["sum"]) < 12


def test_a_recorded_accuracy_can_be_measured_again(manifest: dict, loaded: dict) -> None:
    """A fresh measurement on 100 problems lies within four standard errors of the recorded 1,600-problem figure."""
    problems = load_split("evaluation", 100)
    fresh = accuracy_table(problems, greedy_responses(*loaded["teacher-a"], problems, batch=100))["all"]
    recorded = manifest["models"]["teacher-a"]["greedy_accuracy_evaluation"]["all"]
    assert abs(fresh - recorded) < 4 * 100 * (0.25 / 100) ** 0.5


def test_the_informed_teacher_repeats_the_solution_it_reads(loaded: dict) -> None:
    """With the solution in its system message a teacher is nearly always right: what answer-aware scoring needs."""
    problems = load_split("validation", 60)
    for name in ("teacher-a", "teacher-b"):
        table = accuracy_table(problems, greedy_responses(*loaded[name], problems, "solution", batch=60))
        assert table["all"] > 85, name

"""The recipe of the text world: the same weights again, nothing stale; and the shipped models are what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from artifact.paths import project_root
from artifact.provenance import file_sha256
from artifact.worlds.text import recipe
from artifact.worlds.text.recipe import MODELS, accuracy_table, make_models, recipe_hash
from artifact.worlds.text.splits import load_split
from artifact.worlds.text.tokenizer import build_tokenizer
from artifact.worlds.tiny.recipe import RecipeError

SCALE = 10 / sum(stage.steps for stage in MODELS["student"].stages)
"""All stages of the student together are 10 steps long at this scale."""

FOLDER = project_root() / "models" / "text"


def test_ten_steps_give_the_same_weights_twice_and_nothing_is_made_twice(tmp_path: Path) -> None:
    made = [
        make_models(tmp_path / name, ["student"], steps_scale=SCALE, progress=False, evaluate=False) for name in "ab"
    ]
    first, again = (m["models"]["student"] for m in made)
    assert first["steps"] == 10 and first["sha256"] == again["sha256"]
    weights = tmp_path / "a" / "student" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    make_models(tmp_path / "a", ["student"], steps_scale=SCALE, progress=False, evaluate=False)
    assert weights.stat().st_mtime_ns == before and file_sha256(weights) == first["sha256"]


def test_a_stale_model_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "recipe.json").write_text(json.dumps({"recipe_hash": "0" * 16}))
    made = []
    monkeypatch.setattr(recipe, "_make_one", lambda out, name, *rest: made.append(name))
    make_models(tmp_path, ["student"], steps_scale=SCALE)
    assert made == ["student"]


def test_what_is_missing_or_unknown_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"teacher-a is missing; make 'teacher-a' first"):
        make_models(tmp_path, ["teacher-b"], steps_scale=0.001, progress=False)
    with pytest.raises(RecipeError, match=r"'teacher-c'.*teacher-a, student, teacher-b"):
        make_models(tmp_path, ["teacher-c"])


def test_hash_covers_stages_scale_and_parent() -> None:
    assert len({recipe_hash(name) for name in MODELS} | {recipe_hash("student", 0.5)}) == len(MODELS) + 1


def test_accuracies_are_counted_in_every_cell() -> None:
    problems = load_split("validation", 24)
    responses = [str(p.solution) if p.meta["family"] == "summary" else "no" for p in problems]
    table = accuracy_table(problems, responses)
    assert (table["all"], table["summary"], table["translation"]) == (33.33, 100.0, 0.0)
    assert table["summary/hard"] == 100.0 and table["hard"] == 33.33 and len(table) == 1 + 3 + 4 + 12


# --- what is shipped -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest() -> dict:
    return json.loads((FOLDER / "MANIFEST.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_weights_belong_to_this_recipe_and_files_to_the_manifest(manifest: dict, name: str) -> None:
    entry = manifest["models"][name]
    assert entry["recipe_hash"] == recipe_hash(name), "run `artifact make-models --tier tiny-text`"
    assert file_sha256(FOLDER / name / "model.safetensors") == entry["sha256"]
    assert json.loads((FOLDER / name / "recipe.json").read_text()) == entry


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_size_and_the_tokens_of_the_recipe(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER / name), AutoTokenizer.from_pretrained(FOLDER / name)
    spec, config = MODELS[name], model.config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (
        spec.layers,
        spec.hidden,
        spec.ffn,
    )
    assert all(p.dtype == torch.float32 for p in model.parameters()) and config.tie_word_embeddings
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab() and config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_lot_is_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 10 * 2**20


def test_teachers_and_student_are_what_the_recipe_makes_of_them(manifest: dict) -> None:
    a, b, student = (manifest["models"][n]["greedy_accuracy_evaluation"] for n in ("teacher-a", "teacher-b", "student"))
    assert a["all"] > student["all"] + 15 and a["all"] > b["all"] + 15
    assert b["translation"] < 15 and b["summary"] < a["summary"] - 20
    assert abs(b["instruction"] - a["instruction"]) < 12
    for table in (a, student):
        assert table["easy"] > table["competition"]

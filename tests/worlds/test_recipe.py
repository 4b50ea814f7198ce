"""The recipe: the same weights again, nothing made twice, nothing stale, and the loss it claims to minimise."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from artifact.worlds.tiny import recipe
from artifact.worlds.tiny.corpus import Document
from artifact.worlds.tiny.recipe import MODELS, RecipeError, make_models, recipe_hash, sha256
from artifact.worlds.tiny.training import IGNORED, collate, response_loss, single_thread

SCALE = 10 / sum(stage.steps for stage in MODELS["student"].stages)
"""All stages of the student together are 10 steps long at this scale."""


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first")
    make_models(out, ["student"], steps_scale=SCALE, progress=False, evaluate=False)
    return out


def test_ten_steps_give_the_same_weights_twice(short_run: Path, tmp_path: Path) -> None:
    again = make_models(tmp_path, ["student"], steps_scale=SCALE, progress=False, evaluate=False)
    first = json.loads((short_run / "MANIFEST.json").read_text())
    assert first["models"]["student"]["steps"] == 10
    assert again["models"]["student"]["sha256"] == first["models"]["student"]["sha256"]
    assert sha256(tmp_path / "student" / "model.safetensors") == first["models"]["student"]["sha256"]


def test_a_finished_model_is_not_made_again(short_run: Path) -> None:
    weights = short_run / "student" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    make_models(short_run, ["student"], steps_scale=SCALE, progress=False, evaluate=False)
    assert weights.stat().st_mtime_ns == before


def test_a_stale_model_is_made_again(short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = json.loads((short_run / "student" / "recipe.json").read_text())
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "recipe.json").write_text(json.dumps(entry | {"recipe_hash": "0" * 16}))
    made = []
    monkeypatch.setattr(recipe, "_make_one", lambda out, name, *rest: made.append(name))
    make_models(tmp_path, ["student"], steps_scale=SCALE)
    assert made == ["student"]


def test_teacher_b_needs_teacher_a(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"teacher-a is missing; make 'teacher-a' first"):
        make_models(tmp_path, ["teacher-b"], steps_scale=0.001, progress=False)


def test_unknown_model_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'teacher-c'.*teacher-a, student, teacher-b"):
        make_models(tmp_path, ["teacher-c"])


def test_hash_covers_stages_scale_and_parent() -> None:
    hashes = {recipe_hash(name) for name in MODELS} | {recipe_hash("student", 0.5)}
    assert len(hashes) == len(MODELS) + 1


def test_hash_covers_the_code_but_not_its_comments(tmp_path: Path) -> None:
    def bare(text: str) -> str:
        path = tmp_path / "code.py"
        path.write_text(text)
        return recipe._bare_source(path)

    original = bare('"""Doc."""\nX = 1  # one\n\n\ndef f():\n    """Doc."""\n    return X\n')
    assert bare("X = 1\ndef f():\n    # other words\n    return X\n") == original
    assert bare("X = 2\ndef f():\n    return X\n") != original


def test_labels_are_the_next_tokens_of_the_response_only() -> None:
    batch = [Document([1, 5, 6, 7, 2], 3), Document([1, 5, 2], 2)]
    ids_BT, labels_BT = collate(batch, pad=0)
    assert ids_BT.tolist() == [[1, 5, 6, 7], [1, 5, 0, 0]]
    assert labels_BT.tolist() == [[IGNORED, IGNORED, 7, 2], [IGNORED, 2, IGNORED, IGNORED]]


def test_loss_equals_a_sum_written_out_without_padding(short_run: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(short_run / "student")
    batch = [Document([1, 5, 23, 24, 6, 7, 8, 2], 5), Document([1, 5, 9, 6, 7, 2], 4)]
    total, count = 0.0, 0
    with single_thread(), torch.no_grad():
        for tokens, start in batch:
            logits = model(torch.tensor([tokens])).logits[0].double()
            for t in range(start, len(tokens)):
                row = logits[t - 1]
                total += math.log(torch.exp(row - row.max()).sum()) + float(row.max() - row[tokens[t]])
                count += 1
        loss = float(response_loss(model, *collate(batch, pad=0)))
    assert loss == pytest.approx(total / count, rel=1e-5)


def test_single_thread_restores_the_former_number() -> None:
    before = torch.get_num_threads()
    with single_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before

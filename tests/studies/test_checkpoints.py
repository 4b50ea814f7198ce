"""A checkpoint is measured with the student's prompts only where both mean the same by every id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from artifact.config import load
from artifact.errors import Mismatch
from artifact.paths import resolve_model
from artifact.studies import runner
from artifact.studies.runner import evaluate_checkpoint


def copy_of_the_teacher(folder: Path, swap: bool) -> str:
    """The embedded teacher, with the ids of two tokens swapped or not."""
    shutil.copytree(resolve_model("models/tiny/teacher-a"), folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokens = tokenizer["model"]["vocab"]
    first, second = list(tokens)[-2:]
    if swap:
        tokens[first], tokens[second] = tokens[second], tokens[first]
    path.write_text(json.dumps(tokenizer))
    return str(folder)


def test_a_checkpoint_of_another_vocabulary_is_refused_before_anything_starts(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def start(*arguments: object, **options: object) -> None:
        raise Started

    monkeypatch.setattr(runner, "open_actors", start)
    config = load("tiny")
    other = copy_of_the_teacher(tmp_path / "other", swap=True)
    with pytest.raises(Mismatch, match=r"other' \(76 tokens\) have different vocabularies: 2 tokens differ"):
        evaluate_checkpoint(config, other, "Teacher", "teacher")
    assert not results.exists()
    with pytest.raises(Started):  # the same copy with its own vocabulary goes on to the engines
        evaluate_checkpoint(config, copy_of_the_teacher(tmp_path / "same", swap=False), "Teacher", "teacher")

"""Splits are disjoint from one another and from pretraining, balanced, and the same on every call."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import islice
from random import Random

import pytest

from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES
from artifact.worlds.tiny.splits import DEFAULT_SIZES, SplitError, load_split, part_of, pretraining_drafts

SPLITS = tuple(DEFAULT_SIZES)


@pytest.fixture(scope="module")
def questions() -> dict[str, set[str]]:
    return {name: {p.question for p in load_split(name)} for name in SPLITS}


def test_sizes_and_distinct_questions(questions: dict[str, set[str]]) -> None:
    assert {name: len(qs) for name, qs in questions.items()} == {
        "train": 1000,
        "validation": 400,
        "curve": 400,
        "evaluation": 1600,
    }


def test_no_question_lies_in_two_splits(questions: dict[str, set[str]]) -> None:
    assert len(set.union(*questions.values())) == sum(DEFAULT_SIZES.values())


def test_pretraining_holds_no_question_of_any_split(questions: dict[str, set[str]]) -> None:
    seen = {d.question for d in islice(pretraining_drafts(Random(3)), 30_000)}
    assert not seen & set.union(*questions.values())


def test_larger_splits_stay_disjoint_and_keep_their_prefix(questions: dict[str, set[str]]) -> None:
    larger = load_split("validation", 600)
    assert larger[:400] == load_split("validation")
    others = questions["train"] | questions["curve"] | questions["evaluation"]
    assert not {p.question for p in larger} & others
    assert all(part_of(p.question) == "validation" for p in larger)


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("size", [20, 400])
def test_every_prefix_is_balanced(name: str, size: int) -> None:
    cells = Counter((p.meta["family"], p.difficulty) for p in load_split(name, size))
    assert cells == {(f, d): size // 20 for f in FAMILIES for d in DIFFICULTIES}


def test_evaluation_has_400_per_difficulty() -> None:
    assert Counter(p.difficulty for p in load_split("evaluation")) == dict.fromkeys(DIFFICULTIES, 400)


def test_ids_are_unique_over_all_splits() -> None:
    ids = [p.id for name in SPLITS for p in load_split(name)]
    assert len(set(ids)) == len(ids)


def test_the_same_in_another_process_with_another_hash_seed() -> None:
    listing = "[(p.id, p.question, p.solution) for p in load_split('curve', 60)]"
    code = f"from artifact.worlds.tiny.splits import load_split; print({listing})"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == str([(p.id, p.question, p.solution) for p in load_split("curve", 60)]) + "\n"


def test_unknown_split_lists_the_right_ones() -> None:
    with pytest.raises(SplitError, match=r"unknown split 'test'.*train, validation, curve, evaluation"):
        load_split("test")


def test_an_exhausted_space_says_how_much_there_is() -> None:
    with pytest.raises(SplitError, match=r"only \d+ distinct questions.*ask for at most \d+"):
        load_split("curve", 1_000_000)


def test_negative_size_is_refused() -> None:
    with pytest.raises(SplitError, match="-1"):
        load_split("train", -1)

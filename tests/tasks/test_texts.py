"""Data sets of free text: rows read as they lie on the hub and locally, references, constraints, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.records import Problem
from artifact.tasks import base, get_task, load_problems, text_task
from artifact.tasks.catalogue.texts import (
    BY_CONSTRAINTS,
    CONSTRAINTS,
    from_article,
    from_dialogue,
    from_ifeval,
    from_instruction,
    from_translation,
)
from artifact.tasks.hub import Source, data_dirs, load_rows
from artifact.tasks.known_pairs import (
    contracted,
    names_in,
    negated,
    other_number,
    pairs_from_references,
    respelled_number,
    without_case,
)
from artifact.tasks.text_task import Text, TextSet, TextTask, text_sets


def instruction(output: str, given: str = "") -> dict[str, Any]:
    return {"instruction": "Name a pet.", "instances": [{"input": given, "output": output}]}


def test_a_row_says_the_same_in_the_hubs_form_and_in_the_prompted_one() -> None:
    said = Text("Ann: Hi\nBo: Hello", "Ann greets Bo.")
    assert from_dialogue({"dialogue": "Ann: Hi\r\nBo: Hello", "summary": "Ann greets Bo."}, 0) == said
    prompted = {"prompt": "Sum up the following dialogue: \nAnn: Hi\r\nBo: Hello\n"}
    assert from_dialogue(prompted | {"completion": "Ann greets Bo.<|endoftext|>"}, 0) == said
    article = Text("It rained.", "Rain.")
    assert from_article({"document": "It rained.", "summary": "Rain."}, 0) == article
    prompted = {"prompt": "Article: It rained.\n\nSummary:\n", "completion": "Rain.<|endoftext|>"}
    assert from_article(prompted, 0) == article
    assert from_dialogue({"dialogue": "Ann: Hi", "summary": " "}, 0) == "no text or no summary"


def test_a_translation_has_two_sides_and_its_entities_are_written_out() -> None:
    row = {"translation": {"de": "&quot; Ja &quot;", "en": "It &apos;s so"}}
    assert from_translation(row, 0) == Text('" Ja "', "It 's so")
    assert from_translation({"translation": {"de": "Ja", "en": ""}}, 0) == "an empty side"


@pytest.mark.parametrize("number", range(12))
def test_the_reference_of_an_instruction_obeys_the_constraint_it_was_given(number: int) -> None:
    text = from_instruction(instruction("A Cat, or a dog."), number)
    assert isinstance(text, Text)
    asked = [c for c in CONSTRAINTS if c[2] in text.question]
    assert [c[0] for c in asked] and len(text.meta["constraints"]) == (2 if number % 3 == 0 else 1)
    assert {c["id"] for c in text.meta["constraints"]} == {c[0] for c in asked}
    problem = Problem("p", text.question, str(text.reference), text.reference, "t", "easy", dict(text.meta))
    (verdict,) = get_task("seed-instructions").grading([text.reference], [problem])  # type: ignore[attr-defined]
    assert verdict.correct and verdict.score == 1.0


def test_a_constraint_that_no_rewriting_of_the_answer_obeys_gives_way_to_the_next() -> None:
    text = from_instruction(instruction("1, 2"), 1)  # lower case needs a letter
    assert isinstance(text, Text) and [c["id"] for c in text.meta["constraints"]] == ["length_constraints:number_words"]


def test_answers_that_are_missing_or_long_are_left_out() -> None:
    assert from_instruction(instruction(""), 0) == "no answer, or one of more than 60 words"
    assert from_instruction(instruction("word " * 61), 0) == "no answer, or one of more than 60 words"


def test_ifeval_rows_keep_their_constraints_or_say_which_is_not_checked() -> None:
    row = {"prompt": "Write.", "instruction_id_list": ["length_constraints:number_words", "punctuation:no_comma"]}
    row |= {"kwargs": [{"num_words": 3, "relation": "at least", "keyword": None}, None]}
    text = from_ifeval(row, 0)
    assert isinstance(text, Text) and text.reference is None
    assert text.meta["constraints"] == [
        {"id": "length_constraints:number_words", "kwargs": {"num_words": 3, "relation": "at least"}},
        {"id": "punctuation:no_comma", "kwargs": {}},
    ]
    row["instruction_id_list"] = ["language:response_language", "punctuation:no_comma"]
    assert from_ifeval(row, 0) == "unchecked constraint language:response_language"


# --- the task --------------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    text_sets()
    monkeypatch.setattr(base, "_TASKS", dict(base._TASKS))
    monkeypatch.setattr(text_task, "_CLASSES", dict(text_task._CLASSES))


def pets(folder: Path, rows: list[dict[str, Any]]) -> TextTask:
    write(folder, "pets/train.jsonl", rows)

    class Pets(TextTask, name="pets"):
        of = TextSet(
            {"train": Source("pets/train")},
            "train",
            "instruction",
            "none",
            from_instruction,
            ("instruction", "instances"),
            BY_CONSTRAINTS,
            "instruction",
        )

    return Pets(data_dir=folder)


def test_rows_become_problems_and_those_left_out_are_counted(registry: None, tmp_path: Path) -> None:
    task = pets(tmp_path, [instruction("A cat."), instruction(""), instruction("A dog.", given="word " * 50)])
    problems = load_problems(task, "train")
    assert [p.id for p in problems] == ["pets-train-000000", "pets-train-000002"]
    assert task.left_out("train") == {"no answer, or one of more than 60 words": 1}
    assert [p.difficulty for p in problems] == ["easy", "medium"]
    assert {(p.answer == p.solution, p.meta["family"]) for p in problems} == {(True, "instruction")}
    (message,) = task.messages(problems[0])
    assert message == {"role": "user", "content": problems[0].question}
    system, _ = task.messages(problems[0], "solution")
    assert system["role"] == "system" and str(problems[0].solution) in system["content"]


def test_a_set_that_is_graded_alike_may_be_its_evaluation(registry: None, tmp_path: Path) -> None:
    task = pets(tmp_path, [instruction("A cat.")])
    row = {"prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    write(tmp_path, "ifeval/train.jsonl", [row] * 541)
    assert {p.task for p in load_problems(task, "ifeval", 3)} == {"ifeval"}
    with pytest.raises(
        ArtifactError, match=r"no split 'samsum'; it has train, .*data sets ifeval, pets, seed-instructions"
    ):
        load_problems(task, "samsum")


def test_other_rows_and_empty_sets_are_told(registry: None, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"row 0: KeyError 'instruction'; 'pets' reads instruction, instances, .* text"):
        pets(tmp_path, [{"text": "?"}]).load("train")
    with pytest.raises(EmptyDataset, match=r"holds no problem: \{'no answer, or one of more than 60 words': 1\}"):
        pets(tmp_path, [instruction("")]).load("train")


def test_the_main_split_is_one_of_its_own(registry: None) -> None:
    with pytest.raises(ArtifactError, match=r"'new': main split 'test' must be one of \['train'\]"):

        class New(TextTask, name="new"):
            of = TextSet({"train": Source("x")}, "test", "f", "", from_dialogue, (), BY_CONSTRAINTS, "")


def test_lines_beside_each_other_are_rows(tmp_path: Path) -> None:
    source = Source("pair/train", 2, aligned=("de", "en"))
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "train.de").write_text("Ja\nNein\n", encoding="utf-8")
    with pytest.raises(Mismatch, match=r"train\.en is missing beside train\.de"):
        load_rows(source, tmp_path)
    (tmp_path / "pair" / "train.en").write_text("Yes\nNo\n", encoding="utf-8")
    loaded = load_rows(source, tmp_path)
    assert list(loaded.rows) == [
        {"translation": {"de": "Ja", "en": "Yes"}},
        {"translation": {"de": "Nein", "en": "No"}},
    ]
    (tmp_path / "pair" / "train.en").write_text("Yes\n", encoding="utf-8")
    with pytest.raises(Mismatch, match=r"the sides have \{'de': 2, 'en': 1\} lines"):
        load_rows(source, tmp_path)


# --- pairs of known relation -----------------------------------------------------------------------------------------


def test_rewritings_that_keep_the_meaning() -> None:
    assert contracted("It is late and I do not care") == "It is late and I don't care"
    assert contracted("We don't know") == "We do not know"
    assert respelled_number("Ann has 3 cats") == "Ann has three cats"
    assert respelled_number("Ann has three cats") == "Ann has 3 cats"
    assert respelled_number("At 3:30 he ran 3.5 miles in 1993") == "At 3:30 he ran 3.5 miles in 1993"
    assert without_case("Ann greets Bo.") == "ann greets bo"


def test_rewritings_that_change_it() -> None:
    assert other_number("Ann has 12 cats") == "Ann has 15 cats"
    assert negated("Ann is here") == "Ann is not here" and negated("Ann is not here") == "Ann is here"
    assert names_in("Ann met Bob and Carol. Dora left") == ["Bob", "Carol"]


def test_pairs_are_of_both_sorts_different_and_the_same_on_every_call() -> None:
    said = [f"Today Ann{'abc'[i % 3]} told Bob that it is {i} o'clock." for i in range(50)]
    problems = [Problem(f"p{i}", f"q{i}", s, s, "t", "easy") for i, s in enumerate(said)]
    pairs = pairs_from_references("summary", problems)
    assert [sum(p.equal is sort for p in pairs) for sort in (True, False)] == [30, 30]
    assert all(p.left != p.right and p.family == "summary" for p in pairs)
    assert pairs == pairs_from_references("summary", problems)
    assert pairs_from_references("summary", [Problem("p", "q", "", None, "t", "easy")]) == []


# --- the local files, where they are at hand --------------------------------------------------------------------------

LOCAL = [
    ("samsum", "train", 200),
    ("xsum", "train", 200),
    ("wmt14-de-en", "validation", 50),
    ("seed-instructions", "train", 133),
]


@pytest.mark.parametrize(("name", "split", "rows"), LOCAL)
def test_every_reference_at_hand_is_right_and_every_set_gives_pairs(name: str, split: str, rows: int) -> None:
    task = get_task(name)
    source = text_sets()[name].sources[split]
    if not any((folder / source.local).parent.is_dir() for folder in data_dirs()):
        pytest.skip(f"no data folder holds {source.local}")
    problems = load_problems(task, split)
    assert len(problems) == rows
    verdicts = task.grading([str(p.solution) for p in problems], problems)  # type: ignore[attr-defined]
    assert all(v.correct and v.score == pytest.approx(1.0) for v in verdicts)
    assert len(task.known_pairs()) == 60  # type: ignore[attr-defined]

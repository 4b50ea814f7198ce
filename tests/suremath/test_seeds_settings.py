"""Sources of problems, bad input included, and the settings' own errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from suremath_world import SMALL, small

from artifact.config import ConfigError
from artifact.errors import ArtifactError, EmptyDataset
from artifact.records import Problem, RecordError, write_parquet
from artifact.suremath.seeds import load_source, load_sources
from artifact.suremath.settings import ProblemSource, load_settings
from artifact.tasks.base import get_task
from artifact.worlds.tiny.splits import part_of


def source(path: Path, **fields: object) -> ProblemSource:
    return ProblemSource.model_validate(
        {"name": "mine", "kind": "file", "path": str(path), "difficulty": "easy"} | fields
    )


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def test_rows_keep_their_order_and_lineage_starts_with_them(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"question": "A?", "answer": 1, "id": 7}, {"question": "B?", "answer": ["2"]})
    a, b = load_source(source(path), "seed").items
    assert (a.id, a.answer, a.root_id, a.parent_ids, a.round, a.strategy) == ("mine-000000", "1", a.id, (), 0, "seed")
    assert a.meta == {"source_id": "7"} and b.answer == "2"


def test_parquet_and_jsonl_give_the_same(tmp_path: Path) -> None:
    problems = [Problem(str(i), f"Q{i}?", str(i), None, "tinymath", "hard") for i in range(5)]
    write_parquet(tmp_path / "a.parquet", problems, Problem)
    lines(
        tmp_path / "a.jsonl",
        *({"id": p.id, "question": p.question, "answer": p.answer, "difficulty": "hard"} for p in problems),
    )
    found = [
        load_source(source(tmp_path / f"a.{kind}", difficulty=None), "seed").items for kind in ("parquet", "jsonl")
    ]
    assert found[0] == found[1] and found[0][0].difficulty == "hard"


def test_seeds_without_answers_are_counted_where_the_source_promises_them(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"question": "A?", "answer": None},
        {"question": "", "answer": "1"},
        {"question": "C?", "answer": "3"},
    )
    loaded = load_source(source(path), "seed")
    assert [i.id for i in loaded.items] == ["mine-000002"]
    assert [(d.id, d.reason) for d in loaded.dropped] == [("mine-000000", "no_answer"), ("mine-000001", "no_question")]
    free = load_source(source(path, answer_field=None), "seed").items
    assert [i.answer_source for i in free] == ["unknown", "unknown"]


def test_a_curated_problem_without_answer_is_an_error(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"question": "A?", "answer": "1"}, {"question": "B?", "answer": ""})
    with pytest.raises(ArtifactError, match="row 1 of curated source 'mine' has no answer"):
        load_source(source(path), "curated")


def test_an_answer_can_be_read_from_the_solution(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"question": "A?", "solution": "2+3\n#### 5"},
        {"question": "B?", "solution": "so \\boxed{7}"},
    )
    found = load_source(source(path, answer_from_solution=True), "seed").items
    assert [i.answer for i in found] == ["5", "7"]


def test_where_and_limit_choose_rows(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *({"question": f"Q{i}?", "answer": "1", "level": i % 2} for i in range(8)))
    found = load_source(source(path, where={"level": 1}, limit=3), "seed").items
    assert [i.question for i in found] == ["Q1?", "Q3?", "Q5?"]


@pytest.mark.parametrize(
    ("content", "fields", "error", "message"),
    [
        (None, {}, ArtifactError, "does not exist"),
        (["{broken"], {}, ArtifactError, "line 1 is not JSON"),
        (["[1]"], {}, ArtifactError, "line 1 is no JSON object"),
        ([{"problem": "A?"}], {}, ArtifactError, "has no field 'question'; its fields are problem"),
        ([{"question": "A?", "answer": "1"}], {"where": {"level": 1}}, ArtifactError, "has no field 'level'"),
        ([{"question": "A?", "answer": "1", "level": 2}], {"where": {"level": 1}}, EmptyDataset, "no row that matches"),
        (
            [{"question": "A?", "answer": "1", "difficulty": "huge"}],
            {"difficulty": None},
            ArtifactError,
            "has difficulty 'huge'",
        ),
        ([{"question": "", "answer": "1"}], {}, EmptyDataset, "none of the 1 rows"),
        ([], {}, EmptyDataset, "holds no row"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: list | None, fields: dict, error: type, message: str) -> None:
    path = tmp_path / "a.jsonl"
    if content is not None:
        lines(path, *content)
    with pytest.raises(error, match=message):
        load_source(source(path, **fields), "seed")


def test_a_truncated_parquet_source_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [Problem("1", "Q?", "1", None, "tinymath", "easy")], Problem)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="cannot be read as Parquet"):
        load_source(source(path), "seed")


def test_duplicate_ids_over_sources_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"question": "A?", "answer": "1"})
    with pytest.raises(RecordError, match="duplicate problem id 'mine-000000'"):
        load_sources([source(path), source(path)], "seed")


def test_a_hub_id_that_is_not_cached_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wanted = ProblemSource(name="hub", kind="hub", hub="nobody/nothing-of-this-name", difficulty="easy")
    with pytest.raises(ArtifactError, match=r"nobody/nothing-of-this-name.*not in the local cache.*kind: file"):
        load_source(wanted, "seed")


def test_a_task_s_curated_problems_keep_their_ids() -> None:
    wanted = ProblemSource(name="t", kind="task", task="tinymath", split="train", limit=5)
    found = load_source(wanted, "curated").items
    assert [(i.id, i.question, i.answer) for i in found] == [
        (p.id, p.question, p.answer) for p in get_task("tinymath").load("train")[:5]
    ]


def test_embedded_seeds_are_distinct_public_text() -> None:
    found = load_source(ProblemSource(name="w", kind="tinyworld", difficulty="hard", limit=50), "seed").items
    assert len({i.question for i in found}) == 50
    assert all(part_of(i.question) == "pretraining" and i.difficulty == "hard" for i in found)


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_the_shipped_settings_are_valid(name: str) -> None:
    settings = load_settings(name)
    sizes = {"tiny": (1000, 200), "paper": (1100, 200)}  # a hundred of the paper's are the validation split
    assert (settings.curated.size, settings.curated.test) == sizes[name]
    if name == "paper":
        assert settings.evolution.size == 8000
        assert {"aime-2025", "amo-bench", "math-500"} <= {b.name for b in settings.benchmarks}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"filterz.ngram": 8}, "unknown key 'filterz'; did you mean 'filters'"),
        ({"filters.ngrams": 8}, "unknown key 'filters.ngrams'; did you mean 'ngram'"),
        ({"seeds": [{"name": "a", "kind": "file", "pth": "x"}]}, r"seeds\[0\]: unknown key 'pth'; did you mean 'path'"),
        ({"seeds": [{"name": "a", "kind": "file"}]}, "needs the key 'path'"),
        ({"seeds": [{"name": "a", "kind": "tinyworld", "difficulty": "easy"}]}, "needs a difficulty and a limit"),
        ({"curated.test": 2000}, "must be smaller than curated.size"),
        ({"generator.kind": "llm"}, "needs the key 'model'"),
        ({"evolution.rounds": {"easy": 1}}, "lacks the difficulties medium, hard, competition"),
        ({"evolution.weights.easy": {"harder": 0}}, "positive sum"),
        ({"filters.min_chars": 9999}, "exceeds max_chars"),
        ({"seeds": SMALL["seeds"][:1] * 2}, "used twice"),
    ],
)
def test_wrong_settings_are_explained(override: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings("tiny", override)


def test_unknown_settings_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="paper, tiny"):
        load_settings("huge")
    assert small().curated.size == 60

"""Every benchmark of the table: real files where they are, hand-made rows of the hub's form where they are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.records import Problem, index_by_id, write_parquet
from artifact.tasks import Task, get_task, load_problems, task_names
from artifact.tasks.benchmark import Benchmark, Split, find_benchmark, known_benchmarks, register_benchmark, to_problem
from artifact.tasks.catalogue.benchmarks import TABLE
from artifact.tasks.hub import DataAbsent, Source, load_rows
from artifact.tasks.symbolic import symbolic_equal
from artifact.tasks.verifier import Verifier

LOCAL = [
    ("gsm8k", "train", 7473),
    ("gsm8k", "test", 1319),
    ("math-500", "test", 500),
    ("aime-2024", "test", 30),
    ("aime-2025", "test", 30),
    ("amo-bench", "test", 39),
    ("omni-math", "test", 2808),
    ("olympiadbench", "test", 673),
    ("scalequest", "samples", 98),
    ("svamp", "all", 1000),
]
"""Name, split, gradable problems."""

EXCLUDED = {
    "amo-bench": {"description": ("2", "24", "25", "26", "27", "38", "39", "40", "41", "42", "46")},
    "omni-math": {
        "malformed gold answer": ("00183", "00682", "00710", "00862", "01469"),  # braces, a form feed
        "unreadable gold answer": ("00004", "00013", "00047", "00070", "00085", "00849", "00918", "01075"),
    },
    "olympiadbench": {"unreadable gold answer": ("1965", "2045")},
    "scalequest": {"unreadable gold answer": ("00023", "00090")},
}
"""What is left out of the files at hand, by name."""

SOLUTION_DISAGREES = {"omni-math": ["00027", "00030", "00052", "00064", "00972", "01063"]}
"""Rows whose own solution boxes another answer than their answer field states, or in a form the grader cannot match."""


@lru_cache
def load(name: str, split: str, **options: object) -> Split:
    """The split, read once for all tests, which only look at it."""
    try:
        return get_task(name, **options).load_split(split)  # type: ignore[attr-defined]
    except DataAbsent as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def verifiers() -> Iterator[Callable[..., Verifier]]:
    """verifiers(rules) gives one verifier, with its worker, for all tests of this file that use the same rules."""
    with ExitStack() as stack:
        yield lru_cache(lambda *rules: stack.enter_context(Verifier(rules=rules)))


@lru_cache
def raw_problems(name: str, split: str) -> list[Problem]:
    """Problems with their solutions as the source has them."""
    benchmark = known_benchmarks()[name]
    try:
        rows = load_rows(benchmark.sources[split]).rows
    except DataAbsent as err:
        pytest.skip(str(err))
    pairs = [to_problem(benchmark, split, i, row, "any", True) for i, row in enumerate(rows)]
    return [p for p, reason in pairs if p is not None and not reason]


def key(problem_id: str, name: str, split: str) -> str:
    return problem_id.removeprefix(f"{name}-{split}-")


def test_the_table_has_every_source_of_both_papers() -> None:
    assert {b.name for b in TABLE} == {
        "gsm8k",
        "math",
        "math-500",
        "aime-2024",
        "aime-2025",
        "hmmt-feb-2025",
        "hmmt-nov-2025",
        "amo-bench",
        "omni-math",
        "olympiadbench",
        "numina-math-cot",
        "scalequest",
        "svamp",
        "sure-math",
    }
    assert set(task_names()) >= {b.name for b in TABLE}
    for benchmark in TABLE:
        task = get_task(benchmark.name)
        assert isinstance(task, Task) and task.name == benchmark.name
        assert benchmark.difficulty in ("easy", "medium", "hard", "competition") and benchmark.licence


@pytest.mark.parametrize(("name", "split", "count"), LOCAL)
def test_real_file(name: str, split: str, count: int) -> None:
    found = load(name, split)
    if found.loaded.place != "local":
        pytest.skip(f"{name} comes from {found.loaded.place}: the counts here are those of the local file")
    assert found.loaded.checked == ("rows", "sha256")
    assert len(found.problems) == count
    assert dict(found.excluded) == EXCLUDED.get(name, {})
    assert len(index_by_id(found.problems)) == count
    for p in found.problems:
        assert p.task == name and p.question.strip() and p.answer.strip() and p.difficulty
        assert p.meta["answer_type"] in ("number", "expression", "set", "tuple", "interval", "text")
        json.dumps(p.to_row())


@pytest.mark.parametrize(("name", "split", "count"), LOCAL)
def test_gold_verifies_against_itself(name: str, split: str, count: int, verifiers: Callable[..., Verifier]) -> None:
    problems = load(name, split).problems
    texts = [rf"so \boxed{{{p.answer}}}." for p in problems]
    verdicts = verifiers("boxed").verify_batch(texts, [p.answer for p in problems])
    assert [p.id for p, v in zip(problems, verdicts, strict=True) if not v.correct] == []


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [x for x in LOCAL if x[0] in ("math-500", "amo-bench", "olympiadbench", "scalequest", "omni-math")],
)
def test_gold_passes_the_algebra_alone(name: str, split: str, count: int) -> None:
    """The test above is decided by identical text; here the algebra itself must read every tenth gold answer."""
    problems = [p for p in load(name, split).problems if p.meta["answer_type"] != "number"]
    sample = problems[:: 10 if len(problems) > 60 else 1]
    assert [key(p.id, name, split) for p in sample if not symbolic_equal(p.answer, p.answer)[0]] == []


@pytest.mark.parametrize(("name", "split", "count"), [x for x in LOCAL if x[0] not in ("svamp",) and x[1] != "train"])
def test_boxed_reference_solutions_agree_with_the_answer_field(
    name: str, split: str, count: int, verifiers: Callable[..., Verifier]
) -> None:
    """Two statements of the source against each other: extraction from its solution, and its answer field."""
    problems = raw_problems(name, split)
    solutions, golds = [p.solution or "" for p in problems], [p.answer for p in problems]
    verdicts = verifiers("boxed", "hashes").verify_batch(solutions, golds)
    stated = [(p, v) for p, v in zip(problems, verdicts, strict=True) if v.extracted is not None]
    wrong = [key(p.id, name, split) for p, v in stated if not v.correct]
    assert wrong == SOLUTION_DISAGREES.get(name, [])
    if name in ("gsm8k", "math-500"):
        assert len(stated) == count


def test_difficulty_is_the_sources_own_where_it_has_one() -> None:
    difficulties = Counter(p.difficulty for p in load("math-500", "test").problems)
    assert difficulties == {"level 1": 43, "level 2": 90, "level 3": 105, "level 4": 128, "level 5": 134}
    omni = load("omni-math", "test").problems
    assert {p.difficulty for p in omni} == {f"difficulty {n}" for n in range(1, 10)}
    assert {p.meta["source_difficulty"] for p in omni} == {"hard"}
    assert {p.difficulty for p in load("gsm8k", "test").problems} == {"easy"}


def test_answer_types_of_the_source_are_believed() -> None:
    types = Counter(p.meta["answer_type"] for p in load("olympiadbench", "test").problems)
    assert types == {"number": 572, "expression": 63, "tuple": 33, "interval": 5}
    types = Counter(p.meta["answer_type"] for p in load("amo-bench", "test").problems)
    assert types == {"number": 34, "set": 3, "expression": 2}


def test_descriptive_answers_are_kept_on_request() -> None:
    every = load("amo-bench", "test", descriptive=True)
    assert len(every.problems) == 50 and dict(every.excluded) == {}
    kept = {key(p.id, "amo-bench", "test") for p in every.problems if p.meta["answer_type"] == "text"}
    assert kept == set(EXCLUDED["amo-bench"]["description"])
    assert not any("### The final answer is" in p.question for p in every.problems)


def test_gsm8k_with_and_without_the_calculator() -> None:
    boxed, marked = load("gsm8k", "test"), load("gsm8k", "test", template="gsm8k_4shot", calculator=True)
    assert not any("<<" in (p.solution or "") for p in boxed.problems)
    assert all((p.solution or "").endswith(f"\\boxed{{{p.answer}}}.") for p in boxed.problems)
    assert all((p.solution or "").endswith(f"#### {p.answer}") for p in marked.problems)
    assert sum("<<" in (p.solution or "") for p in marked.problems) > 1300


def test_slices_limits_and_other_benchmarks() -> None:
    load("gsm8k", "train"), load("math-500", "test")
    task = get_task("gsm8k")
    most, last = load_problems(task, "train[:-500]"), load_problems(task, "train[-500:]")
    assert len(most) == 6973 and len(last) == 500
    assert {p.id for p in most}.isdisjoint(p.id for p in last)
    assert load_problems(task, "test", 7) == list(load("gsm8k", "test").problems[:7]) == load_problems(task, "test[:7]")
    other = load_problems(task, "math-500", 3)
    assert [p.task for p in other] == ["math-500"] * 3
    with pytest.raises(ArtifactError, match=r"'gsm8k' has no split 'dev'; it has train, test"):
        task.load("dev")


def test_svamp_questions_read_as_text() -> None:
    problems = load("svamp", "all").problems
    assert problems[0].question.endswith("groups. How big is each group of bananas?")
    assert problems[0].answer == "145" and problems[0].meta["family"] == "Common-Division"


HUB_ROWS = {
    "math": (
        {"problem": "What is $1+1$?", "level": "Level 3", "type": "Prealgebra", "solution": r"It is $\boxed{2}$."},
        ("2", "level 3", "Prealgebra"),
    ),
    "hmmt-feb-2025": (
        {"problem_idx": 1, "problem": "Compute 9!.", "answer": 362880, "problem_type": ["Algebra", "Number Theory"]},
        ("362880", "competition", "Algebra, Number Theory"),
    ),
    "hmmt-nov-2025": (
        {"problem_idx": 4, "problem": "Find $x$.", "answer": "\\frac{1}{2}", "problem_type": ["Algebra"]},
        ("\\frac{1}{2}", "competition", "Algebra"),
    ),
    "aime-2024": (
        {"id": 60, "problem": "Find $N$.", "solution": "so $\\boxed{033}$", "answer": "033", "year": "2024"},
        ("33", "competition", ""),
    ),
    "aime-2025": (
        {"problem_idx": 2, "problem": "Find $N$.", "answer": 70, "problem_type": ["Geometry"]},
        ("70", "competition", "Geometry"),
    ),
    "amo-bench": (
        {
            "question_id": 3,
            "answer_type": "set",
            "answer": "\\boxed{\\{1, 2\\}}",
            "solution": "clear",
            "prompt": "Find all $n$.\nAfter solving the above problem, please output your final answer in the format",
        },
        ("\\{1, 2\\}", "competition", ""),
    ),
    "olympiadbench": (
        {
            "id": 9,
            "question": "Find $x$.",
            "final_answer": ["$2$,$3$"],
            "solution": ["one", "two"],
            "context": None,
            "answer_type": "Numerical",
            "subfield": "Algebra",
            "is_multiple_answer": True,
            "unit": None,
            "error": None,
        },
        ("2,3", "hard", "Algebra"),
    ),
    "numina-math-cot": (
        {"source": "cn_k12", "problem": "How much?", "solution": "$\\boxed{5}$", "messages": []},
        ("5", "medium", "cn_k12"),
    ),
    "scalequest": ({"query": "How much?", "response": "it is \\boxed{95}"}, ("95", "easy", "")),
    "svamp": (
        {
            "ID": "chal-1",
            "Body": "Ann has 2 figs",
            "Question": "How many?",
            "Answer": "2.0",
            "Type": "Addition",
            "Equation": "( 2.0 )",
            "question_concat": "Ann has 2 figs How many?",
        },
        ("2", "easy", "Addition"),
    ),
    "math-500": (
        {"problem": "?", "solution": "s", "answer": "3", "subject": "Algebra", "level": 2, "unique_id": "a/1.json"},
        ("3", "level 2", "Algebra"),
    ),
    "omni-math": (
        {
            "domain": ["Mathematics -> Algebra"],
            "difficulty": 5.25,
            "problem": "?",
            "solution": "s",
            "source": "imo",
            "answer": "\\[\n\\boxed{\\frac{\\pi}{4}}\n\\]",
        },
        ("\\frac{\\pi}{4}", "difficulty 5", "Mathematics -> Algebra"),
    ),
}
"""One row of each hub dataset in its documented form, and (answer, difficulty, family) read off by hand."""


@pytest.mark.parametrize("name", HUB_ROWS)
def test_row_of_the_hub(name: str) -> None:
    row, expected = HUB_ROWS[name]
    benchmark = known_benchmarks()[name]
    problem, reason = to_problem(benchmark, benchmark.main, 0, row)
    assert reason == "" and problem is not None
    assert (problem.answer, problem.difficulty, problem.meta["family"]) == expected
    assert "\n" not in problem.question  # AMO-Bench's own answer format is not part of the question
    assert set(row) - set(benchmark.columns) <= {"year", "messages", "context", "question_concat"}


def test_an_unknown_level_falls_back_to_the_difficulty_of_the_source() -> None:
    row = HUB_ROWS["math"][0] | {"level": "Level ?"}
    problem, _ = to_problem(known_benchmarks()["math"], "train", 0, row)
    assert problem is not None and problem.difficulty == "medium"


def write_rows(folder: Path, local: str, rows: list[dict]) -> None:
    path = folder / f"{local}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


def test_rows_without_an_answer_are_counted_where_that_is_expected(tmp_path: Path) -> None:
    good, proof = HUB_ROWS["numina-math-cot"][0], {"source": "olympiads", "problem": "Prove it.", "solution": "QED"}
    write_rows(tmp_path, "numina_math_cot/train", [good, proof, good])
    found = get_task("numina-math-cot", data_dir=tmp_path).load_split("train")  # type: ignore[attr-defined]
    assert [p.id for p in found.problems] == ["numina-math-cot-train-00000", "numina-math-cot-train-00002"]
    assert dict(found.excluded) == {"no final answer": ("00001",)}
    write_rows(tmp_path, "numina_math_cot/test", [proof])
    with pytest.raises(EmptyDataset, match="holds no gradable problem"):
        get_task("numina-math-cot", data_dir=tmp_path).load("test")


def test_broken_rows_are_errors_that_name_them(tmp_path: Path) -> None:
    row = HUB_ROWS["hmmt-feb-2025"][0]
    benchmark = replace(known_benchmarks()["hmmt-feb-2025"], sources={"test": Source("own/test")})
    with pytest.raises(Mismatch, match=r"row 1 of hmmt-feb-2025, split 'test' states no gold answer in 'answer'"):
        to_problem(benchmark, "test", 0, row | {"answer": None})
    with pytest.raises(Mismatch, match=r"has no 'problem'; it has the fields answer, problem_idx"):
        to_problem(benchmark, "test", 0, {"problem_idx": 1, "answer": "1"})


def test_sure_math_is_read_from_this_projects_own_parquet(tmp_path: Path) -> None:
    made = [
        Problem(f"s{i}", "How much?", "4", "2+2=\\boxed{4}", "sure-math", "hard", {"lineage": ["a"]}) for i in (1, 2)
    ]
    write_parquet(tmp_path / "sure_math" / "train.parquet", made, Problem)
    found = get_task("sure-math", data_dir=tmp_path).load("train")
    assert [(p.id, p.answer, p.difficulty, p.meta["lineage"]) for p in found] == [
        ("sure-math-train-s1", "4", "hard", ["a"]),
        ("sure-math-train-s2", "4", "hard", ["a"]),
    ]


def test_adding_a_benchmark_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from artifact.tasks import base, benchmark

    monkeypatch.setattr(benchmark, "_BENCHMARKS", dict(known_benchmarks()))
    monkeypatch.setattr(base, "_TASKS", dict(base._TASKS))
    own = Benchmark("own-set", {"test": Source("own/test", 1)}, "test", "easy", "CC0-1.0", "q", "a")
    register_benchmark(own)
    register_benchmark(own)  # the same again is fine
    write_rows(tmp_path, "own/test", [{"q": "1+1?", "a": "2"}])
    (problem,) = get_task("own-set", data_dir=tmp_path).load("test")
    assert (problem.id, problem.answer) == ("own-set-test-00000", "2")
    assert "1+1?" in get_task("own-set").messages(problem)[0]["content"]
    with pytest.raises(ArtifactError, match="registered already"):
        register_benchmark(replace(own, difficulty="hard"))
    with pytest.raises(ArtifactError, match="by 'magic'"):
        register_benchmark(replace(own, name="other", gold="magic"))
    with pytest.raises(ArtifactError, match="main split 'dev'"):
        register_benchmark(replace(own, name="other", main="dev"))
    write_rows(tmp_path, "own/test", [{"q": "1+1?", "a": "2"}] * 2)
    with pytest.raises(Mismatch, match="has 2 rows, expected 1"):
        get_task("own-set", data_dir=tmp_path).load("test")


def test_a_file_of_ones_own_in_a_known_format(tmp_path: Path) -> None:
    row = {"question": "How much is 2 + 3?", "answer": "2+3 = <<2+3=5>>5\n#### 5"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    own = find_benchmark("gsm8k@mine")
    assert own is find_benchmark("gsm8k@mine") is known_benchmarks()["gsm8k@mine"]
    assert own.sources["test"] == Source("mine/test") and own.main == "test"  # no rows, no checksum, no hub
    found = get_task("gsm8k@mine", data_dir=tmp_path).load("test")
    assert [(p.id, p.question, p.answer) for p in found] == [("gsm8k@mine-test-00000", row["question"], "5")]
    with pytest.raises(Mismatch, match="has 1 rows, expected 1319"):  # under its own name it must be the known file
        (tmp_path / "mine").rename(tmp_path / "gsm8k")
        get_task("gsm8k", data_dir=tmp_path).load("test")


@pytest.mark.parametrize(("name", "near"), [("gsm8", "gsm8k"), ("gsm8@mine", "gsm8k@mine"), ("AIME-2025", "aime-2025")])
def test_an_unknown_benchmark_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ArtifactError, match=f"unknown benchmark '{name}'; did you mean '{near}'"):
        find_benchmark(name)
    with pytest.raises(ArtifactError, match="unknown benchmark"):
        find_benchmark("gsm8k@../mine")

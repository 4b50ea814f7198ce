"""Overlap with benchmarks: planted overlaps, and real test sets where they are at hand."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from suremath_world import item

from artifact.suremath.decontaminate import NGRAM, SAME_TEXT, BenchmarkIndex, words
from artifact.suremath.lineage import Evolved
from artifact.suremath.seeds import load_source
from artifact.suremath.settings import Filters, ProblemSource

REAL = Path(os.environ.get("ARTIFACT_REAL_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def ten(prefix: str, n: int = 10) -> str:
    return " ".join(f"{prefix}{chr(97 + i)}" for i in range(n))


def index(*questions: str, **filters: int) -> BenchmarkIndex:
    return BenchmarkIndex({"bench": [item(f"b{i}", q) for i, q in enumerate(questions)]}, Filters(**filters))


def test_equal_text_is_found_in_another_layout() -> None:
    found = index("Find $x$ if $x+1 = 2$.").overlap("find  $X$ if $x + 1=2$")
    assert found is not None and (found.reason, found.benchmark, found.benchmark_id) == (SAME_TEXT, "bench", "b0")
    assert index("Find $x$ if $x+1 = 2$.").overlap("Find $x$ if $x-1 = 2$.") is None  # fewer than 8 words: text only


def test_eight_words_in_a_row_are_an_overlap_and_seven_are_not() -> None:
    benchmark = index(ten("w", 12))
    shared = ten("w", 12).split()
    assert benchmark.overlap(" ".join(["new", *shared[2:9], "new"])) is None
    found = benchmark.overlap(" ".join(["new", *shared[2:10], "new"]))
    assert found is not None and (found.reason, found.words, found.span) == (NGRAM, 8, " ".join(shared[2:10]))


def test_the_longest_run_is_reported_with_its_owner() -> None:
    benchmark = index(ten("a", 12), ten("b", 12))
    text = " ".join([*ten("a", 12).split()[:8], "between", *ten("b", 12).split()[1:12]])
    found = benchmark.overlap(text)
    assert found is not None and (found.benchmark_id, found.words) == ("b1", 11)


def test_long_items_need_thirteen_words() -> None:
    tokens = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]
    benchmark = index(" ".join(tokens))
    assert benchmark.overlap(" ".join(["new", *tokens[5:17], "new"])) is None
    found = benchmark.overlap(" ".join(["new", *tokens[5:18], "new"]))
    assert found is not None and found.words == 13


def test_a_stock_phrase_is_no_evidence_but_a_shared_item_is() -> None:
    phrase = ten("p", 8)
    own = [f"{phrase} {ten(c, 9)}" for c in "xyz"]
    assert index(*own).overlap(f"{phrase} other words entirely") is None  # in three items: more than two
    assert index(*own[:2]).overlap(f"{phrase} other words entirely") is not None
    again = BenchmarkIndex({f"copy{i}": [item("b", own[0])] for i in range(5)}, Filters())
    found = again.overlap(f"{phrase} other words entirely")  # one item in five benchmarks is still one item
    assert found is not None and found.benchmark == "copy0"


def test_words_ignore_layout_commands_and_operators() -> None:
    assert words(r"Let $\frac{a}{b} = 3.5$, so $x^2$!") == ["let", "frac", "a", "b", "3.5", "so", "x", "2"]


def _real(name: str, question: str) -> tuple[Evolved, ...]:
    path = REAL / name
    if not path.is_file():
        pytest.skip(f"real data not at hand: {path} is missing (set ARTIFACT_REAL_DATA)")
    source = ProblemSource(
        name="real",
        kind="file",
        path=str(path),
        question_field=question,
        answer_field=None,
        solution_field=None,
        difficulty="hard",
    )
    return load_source(source, "benchmark").items


def test_the_draft_s_competition_seeds_contain_two_of_its_test_sets() -> None:
    aime, amo = _real("aime2025/test.jsonl", "problem"), _real("amo_bench/test.jsonl", "problem")
    benchmark = BenchmarkIndex({"aime2025": aime, "amo": amo}, Filters())
    found = Counter(
        o.benchmark for i in (*aime, *amo) if (o := benchmark.overlap(i.question)) and o.reason == SAME_TEXT
    )
    assert found == {"aime2025": 30, "amo": 50}


def test_unrelated_sets_overlap_rarely() -> None:
    """Training and test questions of one source share a few stories; another source shares nearly nothing."""
    benchmark = BenchmarkIndex({"gsm8k": _real("gsm8k/test.jsonl", "question")}, Filters())
    train = _real("gsm8k/train.jsonl", "question")
    hits = sum(benchmark.overlap(i.question) is not None for i in train)
    assert 0 < hits < 0.02 * len(train)
    other = _real("aime2024/test.jsonl", "problem")
    assert sum(benchmark.overlap(i.question) is not None for i in other) == 0


def test_a_real_item_survives_a_new_layout_and_a_new_end() -> None:
    benchmark = BenchmarkIndex({"math500": _real("math500/test.jsonl", "problem")}, Filters())
    long_enough = [i for i in _real("math500/test.jsonl", "problem") if len(words(i.question)) >= 30][:100]
    changed = [" ".join(i.question.split()[:-3]).replace("$", "") + " Explain your reasoning." for i in long_enough]
    assert sum(benchmark.overlap(t) is not None for t in changed) == len(changed)

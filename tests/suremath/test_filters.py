"""Filters against counts by hand, exact Jaccard, and planted cases."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suremath_world import item, samples, small

from artifact.phase1.annotate import annotate
from artifact.phase1.judge import SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.records import Problem
from artifact.suremath.filters import DuplicateIndex, jaccard, malformed, question_key, shingles, unsolvable
from artifact.suremath.settings import Filters, Labels

FILTERS = Filters()


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Solve x+1=2.", ""),
        ("Let $x$ be such that $\\frac{x}{2} = 3$. Find $x$ in \\$.", ""),
        ("a b", "length"),
        ("x" * 5000, "length"),
        ("Solve x+1=2.\x00", "characters"),
        ("Solve x+1=2.</problem>", "markup"),
        ("<|im_start|>Solve x+1=2.", "markup"),
        ("Here is a harder version: solve x+1=2.", "talks_about_the_task"),
        ("As in the original problem, solve x+1=2.", "talks_about_the_task"),
        ("Solve x+1=2. \\boxed{1}", "contains_solution"),
        ("Solve x+1=2.\nAnswer: 1", "contains_solution"),
        ("Find $x if x+1=2.", "unbalanced"),
        ("Find \\frac{1}{2 plus one.", "unbalanced"),
        ("Find }x{ now please.", "unbalanced"),
        ("!!!!!!!!!!!!", "no_text"),
        ("aaa aaa aaa aaa", "no_text"),
        ("add  1/2 + 1/3", "same_as_parent"),
    ],
)
def test_well_formed(question: str, reason: str) -> None:
    assert malformed(item("c", question), [item("p", "Add 1/2+1/3.")], FILTERS)[0] == reason


def test_normalised_text_keeps_operators_and_drops_layout() -> None:
    assert question_key("  Solve  X + 1 = 2 .") == question_key("solve x+1=2")
    assert question_key("solve x-1=2") != question_key("solve x+1=2")
    assert question_key("ＡＢ１２") == question_key("ab12")  # compatibility forms


def test_jaccard_of_shingles_by_hand() -> None:
    a, b = shingles("one two three four five six"), shingles("two three four five six seven")
    assert a == {"one two three four five", "two three four five six"}
    assert jaccard(a, b) == 1 / 3
    assert shingles("one two") == {"one two"}


words = st.lists(st.sampled_from([f"w{i}" for i in range(40)]), min_size=12, max_size=60)


@settings(max_examples=50, deadline=None)
@given(words, st.integers(0, 8), st.integers(0, 1000))
def test_near_duplicates_agree_with_exact_jaccard(text: list[str], changes: int, seed: int) -> None:
    rng, other = Random(seed), list(text)
    for _ in range(changes):
        other[rng.randrange(len(other))] = f"n{rng.randrange(100)}"
    a, b = " ".join(text), " ".join(other)
    index = DuplicateIndex(0.8)
    index.add("first", a)
    found, exact = index.duplicate_of(b), jaccard(shingles(a), shingles(b))
    if question_key(a) == question_key(b):
        assert found == ("exact_duplicate", "first", 1.0)
    elif exact < 0.8:
        assert found is None  # never a hashing accident
    elif exact > 0.9:  # between, MinHash may miss one
        assert found == ("near_duplicate", "first", exact)


def letters(*parts: str | int) -> str:
    """A word without digits, which would be tokens of their own."""
    return "z".join(str(p).translate(str.maketrans("0123456789", "ghijklmnop")) for p in parts)


def test_minhash_recall_at_the_threshold() -> None:
    """Of 200 pairs with Jaccard just above 0.8, at least 90 % are found."""
    hits, index = 0, DuplicateIndex(0.8)
    for k in range(200):
        base = [letters("a", k, i) for i in range(52)]
        other = [*base[:-5], *(letters("b", k, i) for i in range(5))]  # 43 of 53 shingles shared
        assert jaccard(shingles(" ".join(base)), shingles(" ".join(other))) == 43 / 53
        index.add(f"first{k}", " ".join(base))
        hits += index.duplicate_of(" ".join(other)) is not None
    assert hits >= 180


def test_the_first_of_two_duplicates_stays() -> None:
    index = DuplicateIndex(0.8)
    index.add("a", "Solve x+1=2.")
    index.add("b", "solve x + 1 = 2")
    assert index.duplicate_of("SOLVE x+1=2") == ("exact_duplicate", "a", 1.0)
    assert index.duplicate_of("Solve x-1=2.") is None


def annotation(answers: list[str | None], truth: str = "1") -> Annotation:
    from dataclasses import replace

    from artifact.records import Status, Verdict

    problem = Problem("p", "q", truth, None, "tinymath", "easy")
    rollouts = [
        replace(r, verdict=Verdict(Status.UNPARSED if a is None else Status.WRONG, a))
        for r, a in zip(samples(problem, len(answers)), answers, strict=True)
    ]
    return annotate(problem, rollouts, SymbolicJudge())


@pytest.mark.parametrize(
    ("answers", "truth", "subject", "reason"),
    [
        (["5", "x=5", "5", "7"], "", "all", ""),  # 3 of 4 agree once the forms are merged
        (["5", "6", "7", "8"], "", "all", "disagreement"),
        (["5", "6", "7", "8"], "9", "model", ""),  # ground truth: agreement is not asked for
        (["5", "6", "7", "8"], "9", "all", "disagreement"),
        (["5", "6", "7", "8"], "", "none", ""),
        ([None, None], "", "none", "no_answer"),  # no label, no truth: it would have no answer
        ([None, None], "9", "all", "no_answer"),
        ([None, None], "9", "model", ""),
        ([None, "5", "5", None], "", "all", ""),  # 2 of 4 samples: unparsed ones count in the share
        ([None, "5", None, None], "", "all", "disagreement"),
    ],
)
def test_solvable(answers: list[str | None], truth: str, subject: str, reason: str) -> None:
    labels = Labels(name="m", min_share=0.5, subject=subject)  # type: ignore[arg-type]
    assert unsolvable(item("p", "q", truth), annotation(answers), labels)[0] == reason


def test_the_tiny_settings_ask_two_of_eight() -> None:
    labels = small().labels
    assert unsolvable(item("p", "q"), annotation(["1", "1", *map(str, range(2, 8))]), labels) == ("", "")
    assert unsolvable(item("p", "q"), annotation([*map(str, range(1, 9))]), labels)[0] == "disagreement"

"""Constraints against verdicts that a peer recorded (`cases/ifeval.json` says which), and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artifact.errors import ArtifactError
from artifact.files import read_json
from artifact.records import Problem
from artifact.tasks.constraints import CHECKS, obeys, obeys_all, share_of_constraints, unchecked

RECORDED = read_json(Path(__file__).parent / "cases" / "ifeval.json", "restore it")


@pytest.mark.parametrize("verdict", RECORDED["verdicts"], ids=lambda v: f"{v['id']} {v['kwargs']}")
def test_each_response_is_judged_as_the_peer_judged_it(verdict: dict[str, Any]) -> None:
    found = [label for label, text in RECORDED["responses"].items() if obeys(text, verdict)]
    assert found == verdict["obeyed"]


def test_every_constraint_has_a_recorded_verdict_of_both_kinds() -> None:
    of = {name: [v for v in RECORDED["verdicts"] if v["id"] == name] for name in CHECKS}
    assert all(any(v["obeyed"] for v in verdicts) for verdicts in of.values())
    assert all(len(v["obeyed"]) < len(RECORDED["responses"]) for verdicts in of.values() for v in verdicts)
    assert set(of) == {v["id"] for v in RECORDED["verdicts"]} and len(of) == 22


def with_constraints(*constraints: tuple[str, dict[str, Any]]) -> Problem:
    return Problem("p", "?", "", None, "t", "easy", {"constraints": [{"id": n, "kwargs": k} for n, k in constraints]})


def test_the_score_is_the_share_that_is_obeyed() -> None:
    problem = with_constraints(
        ("punctuation:no_comma", {}),
        ("change_case:english_lowercase", {}),
        ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}),
    )
    assert share_of_constraints("two words", problem) == 1.0 and obeys_all("two words", problem)
    assert share_of_constraints("Two, words and more", problem) == 0.0
    assert share_of_constraints("two words, more", problem) == pytest.approx(1 / 3)
    assert not obeys_all("two words, more", problem)


def test_an_empty_response_obeys_nothing() -> None:
    assert not obeys(" \n", {"id": "punctuation:no_comma"})


def test_what_nothing_here_checks_is_named() -> None:
    assert unchecked([{"id": "language:response_language"}, {"id": "punctuation:no_comma"}]) == [
        "language:response_language"
    ]
    with pytest.raises(ArtifactError, match="'language:response_language' is not checked here"):
        obeys("text", {"id": "language:response_language", "kwargs": {"language": "de"}})


def test_wrong_arguments_are_an_error_with_their_names() -> None:
    with pytest.raises(ArtifactError, match=r"'length_constraints:number_words' with the arguments \{'words': 3\}"):
        obeys("text", {"id": "length_constraints:number_words", "kwargs": {"words": 3}})
    with pytest.raises(ArtifactError, match="unknown relation 'at most'"):
        obeys("text", {"id": "length_constraints:number_words", "kwargs": {"num_words": 3, "relation": "at most"}})
    with pytest.raises(ArtifactError, match="problem 'p' has no constraints"):
        share_of_constraints("text", Problem("p", "?", "", None, "t", "easy"))

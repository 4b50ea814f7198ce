"""Constraints on a response that a program checks: those of IFEval, under IFEval's own names and arguments.

    share(x, y) = (1 / |C_x|) Σ_{c ∈ C_x} [y obeys c]        the instruction-level strict accuracy of one response

A problem's constraints are `meta["constraints"]`, each `{"id": "punctuation:no_comma", "kwargs": {}}` (Zhou et al.
2023, arXiv 2311.07911). Of its 25 kinds 22 are here. Two need language resources that nothing installs, so they are not
checked, and a problem that has one is left out: `length_constraints:number_sentences` (a trained sentence splitter) and
`language:response_language` (a language detector); `change_case:capital_word_frequency` splits words as a treebank does
and is left out with them. Of `change_case:english_*` the case is checked, not that the language is English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artifact.errors import ArtifactError
from artifact.records import Problem

Check = Callable[..., bool]
"""(response without surrounding white space, the constraint's arguments by name) → whether it is obeyed."""

ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What `detectable_format:constrained_response` may contain."""


def _compared(count: int, relation: str, limit: int) -> bool:
    if relation not in ("less than", "at least"):
        raise ArtifactError(f"unknown relation {relation!r} of a constraint; IFEval has 'less than' and 'at least'")
    return count < limit if relation == "less than" else count >= limit


def _found(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, flags=re.IGNORECASE))


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    """Parted by `***`; only the first and the last part may be empty, and do not count then."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs are parted by an empty line; the n-th begins with the word, up to its first punctuation mark."""
    paragraphs = text.split("\n\n")
    filled = sum(bool(p.strip()) for p in paragraphs)
    if nth_paragraph > filled or not (chosen := paragraphs[nth_paragraph - 1].strip()):
        return False
    word = re.split(r"[.,?!'\"]", chosen.split()[0].lstrip("'").lstrip('"'))[0].lower()
    return filled == num_paragraphs and word == first_word.lower()


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


def _highlights(text: str, num_highlights: int) -> bool:
    """Every `*…*` and every `**…**` that holds something counts."""
    single = [t for t in re.findall(r"\*[^\n*]*\*", text) if t.strip("*").strip()]
    double = [t for t in re.findall(r"\*\*[^\n*]*\*\*", text) if t[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def _is_json(text: str) -> bool:
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except ValueError:
        return False
    return True


def _bullets(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^*].*$", text, flags=re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, flags=re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def _postscript(text: str, postscript_marker: str) -> bool:
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(postscript_marker, postscript_marker.lower())
    return re.search(pattern, text.lower()) is not None


def _words(text: str, num_words: int, relation: str) -> bool:
    return _compared(len(re.findall(r"\w+", text)), relation, num_words)


CHECKS: dict[str, Check] = {
    "change_case:english_capital": lambda text: text.isupper(),
    "change_case:english_lowercase": lambda text: text.islower(),
    "combination:repeat_prompt": lambda text, prompt_to_repeat: text.lower().startswith(
        prompt_to_repeat.strip().lower()
    ),
    "combination:two_responses": _two_responses,
    "detectable_content:number_placeholders": lambda text, num_placeholders: (
        len(re.findall(r"\[.*?\]", text)) >= num_placeholders
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": lambda text: any(answer in text for answer in ANSWERS),
    "detectable_format:json_format": _is_json,
    "detectable_format:multiple_sections": lambda text, section_spliter, num_sections: (
        len(re.split(rf"\s?{section_spliter}\s?\d+\s?", text)) > num_sections
    ),
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": lambda text: any(
        title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text)
    ),
    "keywords:existence": lambda text, keywords: all(_found(word, text) for word in keywords),
    "keywords:forbidden_words": lambda text, forbidden_words: (
        not any(_found(rf"\b{word}\b", text) for word in forbidden_words)
    ),
    "keywords:frequency": lambda text, keyword, frequency, relation: _compared(
        _found(keyword.strip(), text), relation, frequency
    ),
    "keywords:letter_frequency": lambda text, letter, let_frequency, let_relation: _compared(
        text.lower().count(letter.lower()), let_relation, let_frequency
    ),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "punctuation:no_comma": lambda text: "," not in text,
    "startend:end_checker": lambda text, end_phrase: text.strip('"').lower().endswith(end_phrase.strip().lower()),
    "startend:quotation": lambda text: len(text) > 1 and text[0] == text[-1] == '"',
}
"""By IFEval's name; the arguments have IFEval's names too."""


def obeys(text: str, constraint: Mapping[str, Any]) -> bool:
    """Whether a response obeys a constraint; an empty one obeys none. ArtifactError for one that is not checked."""
    name, kwargs = constraint["id"], constraint.get("kwargs") or {}
    if name not in CHECKS:
        raise ArtifactError(f"constraint {name!r} is not checked here; there are {', '.join(CHECKS)}")
    given = {key: value for key, value in kwargs.items() if value is not None}
    try:
        return bool(text.strip()) and CHECKS[name](text.strip(), **given)
    except TypeError as err:
        raise ArtifactError(
            f"constraint {name!r} with the arguments {given}: {err}; write them as IFEval does"
        ) from err


def unchecked(constraints: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of constraints that nothing here can check."""
    return sorted({c["id"] for c in constraints} - set(CHECKS))


def share_of_constraints(text: str, problem: Problem) -> float:
    """The share of a problem's constraints that a response obeys. ArtifactError for a problem that has none."""
    constraints = problem.meta.get("constraints")
    if not constraints:
        raise ArtifactError(
            f"problem {problem.id!r} has no constraints (meta['constraints']); there is nothing to obey"
        )
    return sum(obeys(text, c) for c in constraints) / len(constraints)


def obeys_all(text: str, problem: Problem) -> bool:
    """Whether a response obeys every constraint of its problem."""
    return share_of_constraints(text, problem) == 1.0

"""What a problem must pass before it is labelled or kept: well-formed, new, solvable.

    well-formed    plain checks on the text (`malformed`)
    new            not equal to an earlier problem after normalisation, nor near to one: Jaccard similarity of the sets
                   of word 5-grams at or above a threshold. Candidates come from MinHash with LSH banding (datasketch);
                   each is then compared exactly, so that a near duplicate is never a hashing accident
    solvable       the largest class of the labeller's samples holds at least a given share of them; its answer is the
                   model label where there is no ground truth

Words keep operators and brackets, so `x-3=5` and `x+3=5` are different problems. Left out: benchmarks
(`decontaminate.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from artifact.phase1.records import Annotation
from artifact.suremath.lineage import GROUND_TRUTH, Evolved
from artifact.suremath.settings import Filters, Labels

SHINGLE = 5
PERMUTATIONS = 128

_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|[^\w\s]|_")
_MARKUP = re.compile(r"</?(?:problem|think|system|user|assistant)>|<\|[^|>]*\|>", re.IGNORECASE)
_LEFTOVER = re.compile(
    r"\b(?:as an ai|here is (?:a|the) (?:new|harder|rewritten)|(?:the )?(?:given|original) problem|\[insert)",
    re.IGNORECASE,
)
_SOLVED = re.compile(r"\\boxed\s*\{|^\s*(?:\*\*)?(?:solution|answer)(?:\*\*)?\s*:", re.IGNORECASE | re.MULTILINE)


def tokens(text: str) -> list[str]:
    """Words, numbers and single symbols of a text in compatibility form and lower case; white space is gone."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def question_key(text: str) -> str:
    """The text two problems share when they are the same problem in another layout."""
    return " ".join(tokens(text)).strip(" .?!")


def malformed(item: Evolved, parents: Iterable[Evolved], filters: Filters) -> tuple[str, str]:
    """(reason, detail) why an evolved problem is no well-formed new text, or ("", "")."""
    question = item.question
    if not filters.min_chars <= len(question) <= filters.max_chars:
        return "length", f"{len(question)} characters; allowed {filters.min_chars} to {filters.max_chars}"
    if bad := [c for c in question if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") and c not in "\t\n\r"]:
        return "characters", f"U+{ord(bad[0]):04X}"
    if found := _MARKUP.search(question):
        return "markup", found.group()
    if found := _LEFTOVER.search(question):
        return "talks_about_the_task", found.group()
    if found := _SOLVED.search(question):
        return "contains_solution", found.group().strip()
    if question.replace(r"\$", "").count("$") % 2:
        return "unbalanced", "an odd number of $"
    depth = 0
    for brace in re.findall(r"\\.|[{}]", question, re.DOTALL):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            break
    if depth:
        return "unbalanced", "braces"
    if not any(c.isalnum() for c in question) or len(set(tokens(question))) < 3:
        return "no_text", "fewer than three different words or symbols"
    if question_key(question) in {question_key(p.question) for p in parents}:
        return "same_as_parent", ""
    return "", ""


def shingles(text: str) -> frozenset[str]:
    """The set of runs of `SHINGLE` words; a shorter text is one shingle of its own."""
    words = question_key(text).split()
    if len(words) <= SHINGLE:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a ∩ b| / |a ∪ b|."""
    return len(a & b) / len(a | b)


class DuplicateIndex:
    """Everything seen so far. Ask before you add: the first of two duplicates stays."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._exact: dict[str, str] = {}
        self._shingles: dict[str, frozenset[str]] = {}
        # The bands favour recall: a false candidate costs one exact comparison, a missed one is a duplicate kept.
        self._lsh = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.1, 0.9))

    def add(self, item_id: str, text: str) -> None:
        """Remember `text`, whether or not it is a duplicate. A text seen already keeps its first id."""
        key = question_key(text)
        if key in self._exact:
            return
        self._exact[key] = item_id
        self._shingles[item_id], minhash = _signature(text)
        self._lsh.insert(item_id, minhash)

    def duplicate_of(self, text: str) -> tuple[str, str, float] | None:
        """(reason, id, similarity) of the nearest earlier problem that `text` repeats, None when it is new."""
        if (same := self._exact.get(question_key(text))) is not None:
            return "exact_duplicate", same, 1.0
        own, minhash = _signature(text)
        near = [(jaccard(own, self._shingles[i]), i) for i in self._lsh.query(minhash)]
        similar = [(s, i) for s, i in near if s >= self.threshold]
        if not similar:
            return None
        similarity, nearest = min(similar, key=lambda pair: (-pair[0], pair[1]))
        return "near_duplicate", nearest, similarity


@lru_cache(maxsize=4)  # a text is first asked about, then added
def _signature(text: str) -> tuple[frozenset[str], Any]:
    """The shingles of a text and their MinHash."""
    from datasketch import MinHash

    parts = shingles(text)
    out = MinHash(num_perm=PERMUTATIONS, seed=1)
    out.update_batch([p.encode() for p in sorted(parts)])
    return parts, out


def unsolvable(item: Evolved, annotation: Annotation, labels: Labels) -> tuple[str, str]:
    """(reason, detail) why the labeller's samples do not settle the problem, or ("", "")."""
    needs_label = item.answer_source != GROUND_TRUTH
    if not annotation.majority_answer and (needs_label or labels.subject == "all"):
        return "no_answer", f"none of {annotation.n} samples has an answer"
    if labels.subject == "none" or (labels.subject == "model" and not needs_label):
        return "", ""
    if annotation.majority_share < labels.min_share:
        return (
            "disagreement",
            f"largest class holds {annotation.majority_share:.3f} of {annotation.n} samples, < {labels.min_share:g}",
        )
    return "", ""

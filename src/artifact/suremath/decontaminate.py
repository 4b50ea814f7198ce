"""Does a problem overlap a benchmark? Normalised text and n-grams, against every test set that is given.

    same_text      the normalised texts are equal (operators count)
    ngram          n words in a row of a benchmark item stand in the problem: n = 8, or 13 for an item of more than 50
                   words (words and numbers only: layout and LaTeX commands' signs do not count)

Seeds are compared too, and one that overlaps is never evolved: an evolved problem is a paraphrase of its seed, which no
n-gram finds. An n-gram that stands in more than `boilerplate_items` different benchmark items is a phrase of the trade
("where m and n are relatively prime positive integers"), no evidence; rarer stock phrases do cost some clean problems.
Paraphrases and translations are not found by any of this.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from artifact.records import Problem
from artifact.suremath.filters import question_key
from artifact.suremath.lineage import Evolved
from artifact.suremath.settings import Filters

SAME_TEXT, NGRAM = "same_text", "ngram"

Compared = Problem | Evolved

_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Overlap:
    """A match: why, with which item of which benchmark, and the longest run of words that both have."""

    reason: str
    benchmark: str
    benchmark_id: str
    span: str
    words: int


def words(text: str) -> list[str]:
    """Words and numbers in lower case; punctuation, operators and the backslashes of commands are gone."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class BenchmarkIndex:
    """All benchmark items, by text and by n-gram."""

    def __init__(self, benchmarks: Mapping[str, Iterable[Compared]], filters: Filters) -> None:
        self.sizes = dict.fromkeys(benchmarks, 0)
        self._texts: dict[str, tuple[str, str]] = {}
        grams: dict[tuple[str, ...], dict[str, tuple[str, str]]] = defaultdict(dict)
        for name, items in benchmarks.items():
            for item in items:
                self.sizes[name] += 1
                text = question_key(item.question)
                self._texts.setdefault(text, (name, item.id))
                found = words(item.question)
                said = " ".join(found)  # an item that two benchmarks share counts once
                n = filters.long_ngram if len(found) > filters.long_words else filters.ngram
                for gram in zip(*(found[i:] for i in range(n)), strict=False):
                    grams[gram].setdefault(said, (name, item.id))
        self._sizes = sorted({filters.ngram, filters.long_ngram})
        self._grams = {
            g: next(iter(owners.values())) for g, owners in grams.items() if len(owners) <= filters.boilerplate_items
        }
        self.boilerplate = len(grams) - len(self._grams)

    def overlap(self, text: str) -> Overlap | None:
        """The match of `text` with a benchmark: equal text first, else the longest run of words. None = clean."""
        key = question_key(text)
        if key in self._texts:
            name, item_id = self._texts[key]
            return Overlap(SAME_TEXT, name, item_id, key, len(words(text)))
        found = words(text)
        best: tuple[int, int, tuple[str, str]] | None = None  # first word, number of words, owner
        for n in self._sizes:
            run: tuple[int, int, tuple[str, str]] | None = None
            for i in range(len(found) - n + 1):
                owner = self._grams.get(tuple(found[i : i + n]))
                if owner is None:
                    run = None
                    continue
                run = (run[0], i + n - run[0], owner) if run is not None and run[2] == owner else (i, n, owner)
                if best is None or run[1] > best[1]:
                    best = run
        if best is None:
            return None
        start, count, (name, item_id) = best
        return Overlap(NGRAM, name, item_id, " ".join(found[start : start + count]), count)

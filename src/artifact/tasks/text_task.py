"""A data set of free text as data, and the class of task that reads and prompts it.

    class SamSum(TextTask, name="samsum"):
        of = TextSet({"train": Source(...)}, "train", read=from_dialogue, grading=Grading("rougeL", correct_from=0.3))

`read` turns a row into a question, the reference text (None where the source has none) and what the grading needs; or
names why the row is left out, which is counted. The reference is answer and solution in one: CORE may choose it, a
self-distilled teacher reads it, the metric compares with it. Difficulty is the length of the question in words.

Left out: the table of data sets (`catalogue/texts.py`), metrics (`metrics.py`), constraints (`constraints.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.records import Problem
from artifact.tasks.base import Context, Messages, Task, import_catalogue, register
from artifact.tasks.grading import Grading
from artifact.tasks.hub import Row, Source, load_rows
from artifact.tasks.known_pairs import KnownRelation, pairs_from_references
from artifact.tasks.prompt_templates import load_template

SHORT, MEDIUM = 40, 120
"""The most words of a question that is easy, and of one that is medium; a longer one is hard."""


@dataclass(frozen=True)
class Text:
    """What a row says: a question, its reference (None: there is none), and facts for the grading."""

    question: str
    reference: str | None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TextSet:
    """One source of texts.

    sources  split → where it lies; `main` is the split that is meant where only the data set is named
    read     a row, and its number, as a `Text`; or the reason why it is left out
    columns  the fields that `read` looks at
    """

    sources: Mapping[str, Source]
    main: str
    family: str
    licence: str
    read: Callable[[Row, int], Text | str]
    columns: tuple[str, ...]
    grading: Grading
    template: str


_CLASSES: dict[str, type[TextTask]] = {}


def text_sets() -> Mapping[str, TextSet]:
    """The registered data sets by name."""
    import_catalogue()
    return {name: cls.of for name, cls in _CLASSES.items()}


class TextTask:
    """A data set of texts as a task; a subclass says which (`of`) and is registered under its `name`.

    template  a file of `tasks/templates`, or a path; default: the data set's own
    data_dir  local folder that goes first (`hub.data_dirs`)
    """

    of: ClassVar[TextSet]
    name: ClassVar[str]
    main: ClassVar[str]
    sizes: ClassVar[Mapping[str, int | str]]

    def __init_subclass__(cls, name: str) -> None:
        if cls.of.main not in cls.of.sources:
            raise ArtifactError(
                f"data set {name!r}: main split {cls.of.main!r} must be one of {sorted(cls.of.sources)}"
            )
        cls.name, cls.main = name, cls.of.main
        cls.sizes = {split: source.rows or source.hub_rows or "" for split, source in cls.of.sources.items()}
        register(name)(cast("Callable[..., Task]", cls))
        _CLASSES[name] = cls

    def __init__(self, template: str | None = None, data_dir: str | Path | None = None) -> None:
        self.grading = self.of.grading
        self.template, self.data_dir = load_template(template or self.of.template), data_dir
        self._splits: dict[str, tuple[list[Problem], dict[str, int]]] = {}

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, which may be another set's name: that one's main split. ArtifactError if unknown."""
        return list(self._read(split)[0])

    def left_out(self, split: str) -> dict[str, int]:
        """How many rows of `split` are no problem, by reason."""
        return dict(self._read(split)[1])

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """The chat messages of one prompt by the template. Raises ValueError where the context's text is missing."""
        return self.template.messages(problem, context)

    def source_of(self, split: str) -> Source:
        """Where `split` lies (`hub.FromSources`)."""
        known, name = self._source(split)
        return text_sets()[known].sources[name]

    def known_pairs(self) -> list[KnownRelation]:
        """Pairs of texts of known relation, made of this set's references; none for a set without any."""
        return pairs_from_references(self.of.family, self.load(self.of.main))

    def _read(self, split: str) -> tuple[list[Problem], dict[str, int]]:
        if split not in self._splits:
            known, name = self._source(split)
            of = text_sets()[known]
            loaded = load_rows(of.sources[name], self.data_dir, of.columns)
            problems, left = [], dict[str, int]()
            for number, row in enumerate(loaded.rows):
                try:
                    text = of.read(row, number)
                except (KeyError, TypeError) as err:
                    raise Mismatch(
                        f"{loaded.origin}, row {number}: {type(err).__name__} {err}; {known!r} reads "
                        f"{', '.join(of.columns)}, and the row has {', '.join(sorted(row))}"
                    ) from err
                if isinstance(text, str):
                    left[text] = left.get(text, 0) + 1
                else:
                    problems.append(_problem(known, of, f"{known}-{name}-{number:06d}", text))
            if not problems:
                raise EmptyDataset(f"split {name!r} of {known!r} from {loaded.origin} holds no problem: {left}")
            self._splits[split] = problems, left
        return self._splits[split]

    def _source(self, split: str) -> tuple[str, str]:
        """The data set that `split` is of, and its name there: its own, or the main one of one that is graded alike."""
        if split in self.of.sources:
            return self.name, split
        others = {name: other for name, other in text_sets().items() if other.grading is self.of.grading}
        if split in others:
            return split, others[split].main
        raise ArtifactError(
            f"task {self.name!r} has no split {split!r}; it has {', '.join(self.of.sources)}, slices of them such as "
            f"'train[:-50]', and the data sets {', '.join(sorted(others))}"
        )


def _problem(name: str, of: TextSet, key: str, text: Text) -> Problem:
    words = len(re.findall(r"\w+", text.question))
    return Problem(
        key,
        text.question,
        text.reference or "",
        text.reference,
        name,
        "easy" if words <= SHORT else "medium" if words <= MEDIUM else "hard",
        {"family": of.family, **text.meta},
    )

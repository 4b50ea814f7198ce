r"""A benchmark as data, and the one task class that reads and prompts every benchmark.

A `Benchmark` says where the rows lie (`hub.Source`), which field is what, how the gold answer is stated
(`answers.GOLD`), and how hard it is.

Answers that no parser can grade are left out and counted by name (`Split.excluded`):
    description             AMO-Bench's 11 descriptive answers (its authors judge them by a language model);
                            `descriptive=True` keeps them, for a judge; accuracy is over the other 39
    no final answer         rows without a boxed answer, in sets where that is expected (NuminaMath-CoT's proofs)
    malformed gold answer   the source's own answer is broken, such as unbalanced braces: no response could be right
    unreadable gold answer  no parser reads it, so that no response could be right but its very text. Every gold answer
                            is parsed when it is loaded (about 100 symbolic ones per second and worker)

Left out: the table of benchmarks (`catalogue/benchmarks.py`).
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.records import Problem
from artifact.tasks.answers import GOLD, AnswerType, answer_type, solution_for
from artifact.tasks.base import Context, Messages, import_catalogue, register, task_names
from artifact.tasks.calculator import strip_marks
from artifact.tasks.equivalence import defect
from artifact.tasks.hub import Loaded, Row, Source, load_rows
from artifact.tasks.prompt_templates import load_template
from artifact.tasks.verifier import Verifier, shared_verifier

Level = Callable[[Row], str | None]


@dataclass(frozen=True)
class Benchmark:
    r"""One source of problems.

    sources      split → where it lies; `main` is the split that is meant where only the benchmark is named
    difficulty   easy, medium, hard or competition: UOPD's of the source, used where `level` gives nothing
    question     field, or `a+b` for two fields joined by a space; `a|b` means the first of them that is there
    answer       field with the gold answer, read by `GOLD[gold]`
    types        the source's own name of an answer's form → `AnswerType`; the form is inferred for all others
    descriptive  names in the field `type_field` of answers that no parser can grade
    missing      what a row without a gold answer is: an `error`, or left `out` and counted
    """

    name: str
    sources: Mapping[str, Source]
    main: str
    difficulty: str
    licence: str
    question: str
    answer: str
    gold: str = "field"
    solution: str = ""
    key: str = ""
    family: str = ""
    level: Level = field(default=lambda row: None)
    type_field: str = ""
    types: Mapping[str, AnswerType] = field(default_factory=dict)
    descriptive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    missing: str = "error"
    template: str = "zero_shot"

    @property
    def columns(self) -> tuple[str, ...]:
        """Every field that is read."""
        texts = (self.question, self.answer, self.solution, self.key, self.family, self.type_field)
        names = [n for text in texts for n in re.split(r"[+|]", text) if n]
        return (*dict.fromkeys((*names, *self.keep, "level", "difficulty")),)


@dataclass(frozen=True)
class Split:
    """The problems of one split, where they come from, and the row keys left out, by reason."""

    problems: tuple[Problem, ...]
    loaded: Loaded
    excluded: Mapping[str, tuple[str, ...]]


_BENCHMARKS: dict[str, Benchmark] = {}


def known_benchmarks() -> Mapping[str, Benchmark]:
    """Benchmarks by name: those of the table, and those that `register_benchmark` or `find_benchmark` added."""
    import_catalogue()
    return _BENCHMARKS


class BenchmarkTask:
    """A benchmark as a task: problems from its splits, prompts from a template file.

    template     a file of `tasks/templates`, or a path; default: the benchmark's own
    calculator   keep GSM8K's `<<…>>` marks in prompts and reference solutions, for runs with the calculator tool
    data_dir     local folder that goes first (`hub.data_dirs`)
    descriptive  keep answers that only a judge can grade
    """

    def __init__(
        self,
        benchmark: Benchmark,
        template: str | None = None,
        calculator: bool = False,
        data_dir: str | Path | None = None,
        descriptive: bool = False,
    ) -> None:
        self.benchmark, self.name = benchmark, benchmark.name
        self.template = load_template(template or benchmark.template)
        self.calculator, self.data_dir, self.descriptive = calculator, data_dir, descriptive
        self._splits: dict[str, Split] = {}

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, which may be another benchmark's name: that one's main split."""
        return list(self.load_split(split).problems)

    def load_split(self, split: str) -> Split:
        """`load` with the origin of the rows and what was left out, read once. ArtifactError on an unknown split."""
        if split not in self._splits:
            self._splits[split] = self._read(*self.source(split))
        return self._splits[split]

    def source(self, split: str) -> tuple[Benchmark, str]:
        """The benchmark that `split` is of, and its name there. ArtifactError on an unknown split."""
        if split in self.benchmark.sources:
            return self.benchmark, split
        if split in known_benchmarks():
            return known_benchmarks()[split], known_benchmarks()[split].main
        raise ArtifactError(
            f"task {self.name!r} has no split {split!r}; it has {', '.join(self.benchmark.sources)}, slices of them "
            f"such as 'train[:-500]', and the benchmarks {', '.join(sorted(known_benchmarks()))}"
        )

    def source_of(self, split: str) -> Source:
        """Where `split` lies (`hub.FromSources`)."""
        benchmark, name = self.source(split)
        return benchmark.sources[name]

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """The chat messages of one prompt by the template. Raises ValueError where the context's text is missing."""
        return self.template.messages(problem, context, self.calculator)

    def _read(self, benchmark: Benchmark, split: str) -> Split:
        loaded = load_rows(benchmark.sources[split], self.data_dir, benchmark.columns)
        problems: list[Problem] = []
        excluded: dict[str, list[str]] = {}
        for index, row in enumerate(loaded.rows):
            problem, reason = to_problem(benchmark, split, index, row, self.template.answer_form, self.calculator)
            if reason and not (self.descriptive and reason in benchmark.descriptive):
                excluded.setdefault(reason, []).append(row_key(benchmark, index, row))
            elif problem is not None:
                problems.append(problem)
        reasons = unreadable_golds([p.answer for p in problems])
        if reasons and not self.descriptive:
            start = len(f"{benchmark.name}-{split}-")
            excluded["unreadable gold answer"] = [p.id[start:] for p in problems if p.answer in reasons]
            problems = [p for p in problems if p.answer not in reasons]
        if not problems:
            raise EmptyDataset(f"split {split!r} of {benchmark.name!r} from {loaded.origin} holds no gradable problem")
        if len({p.id for p in problems}) < len(problems):
            raise Mismatch(f"{loaded.origin}: the field {benchmark.key!r} does not name rows uniquely")
        return Split(tuple(problems), loaded, {k: tuple(v) for k, v in excluded.items()})


def unreadable_golds(golds: Sequence[str]) -> dict[str, str]:
    """The gold answers that cannot be graded, each with the reason; on all processors where there are many."""
    workers = max(1, min(os.cpu_count() or 1, len(set(golds)) // 1000))
    if workers == 1:
        return shared_verifier().unreadable(golds)
    with Verifier(workers=workers) as verifier:
        return verifier.unreadable(golds)


def row_key(benchmark: Benchmark, index: int, row: Row) -> str:
    """The source's own key of a row, or its number in the split."""
    value = _first(row, benchmark.key) if benchmark.key else None
    return f"{index:05d}" if value is None else str(value)


def to_problem(
    benchmark: Benchmark, split: str, index: int, row: Row, answer_form: str = "any", calculator: bool = False
) -> tuple[Problem | None, str]:
    """(problem, reason to leave it out or ""). Mismatch names the row where a promised field is missing."""
    key = row_key(benchmark, index, row)
    where = f"row {key} of {benchmark.name}, split {split!r}"
    parts = [str(_first(row, name) or "").strip() for name in benchmark.question.split("+")]
    if not all(parts):
        raise Mismatch(f"{where} has no {benchmark.question!r}; it has the fields {', '.join(sorted(row))}")
    question = _without_instructions(_joined(parts))
    gold = GOLD[benchmark.gold](_first(row, benchmark.answer))
    if gold is None:
        if benchmark.missing == "out":
            return None, "no final answer"
        raise Mismatch(
            f"{where} states no gold answer in {benchmark.answer!r} (read as {benchmark.gold!r}): "
            f"{str(_first(row, benchmark.answer))[-80:]!r}"
        )
    stated = str(row.get(benchmark.type_field, "")) if benchmark.type_field else ""
    solution = _first(row, benchmark.solution) if benchmark.solution else None
    if isinstance(solution, list):
        solution = "\n".join(map(str, solution))
    if solution and not calculator:
        solution = strip_marks(str(solution))
    family = _first(row, benchmark.family) if benchmark.family else None
    descriptive = stated if stated in benchmark.descriptive else ""
    problem = Problem(
        id=f"{benchmark.name}-{split}-{key}",
        question=question,
        answer=gold,
        solution=solution_for(str(solution).strip(), gold, answer_form) if solution else None,
        task=benchmark.name,
        difficulty=benchmark.level(row) or benchmark.difficulty,
        meta={
            **_kept(benchmark, row),
            "family": ", ".join(map(str, family)) if isinstance(family, list) else str(family or ""),
            "source_difficulty": benchmark.difficulty,
            "answer_type": str(benchmark.types.get(stated) or answer_type(gold)),
        },
    )
    return problem, descriptive or ("malformed gold answer" if defect(gold) else "")


def register_benchmark(benchmark: Benchmark) -> None:
    """Make `benchmark` a task of its own name. Raises ArtifactError where the name is taken or the row is not valid."""
    if _BENCHMARKS.get(benchmark.name, benchmark) != benchmark:
        raise ArtifactError(f"benchmark {benchmark.name!r} is registered already; choose another name")
    if benchmark.gold not in GOLD:
        raise ArtifactError(
            f"benchmark {benchmark.name!r} reads gold answers by {benchmark.gold!r}; known: {sorted(GOLD)}"
        )
    if benchmark.main not in benchmark.sources or benchmark.missing not in ("error", "out"):
        raise ArtifactError(
            f"benchmark {benchmark.name!r}: main split {benchmark.main!r} must be one of {sorted(benchmark.sources)} "
            f"and missing = {benchmark.missing!r} one of error, out"
        )
    _BENCHMARKS[benchmark.name] = benchmark

    def make(
        template: str | None = None,
        calculator: bool = False,
        data_dir: str | Path | None = None,
        descriptive: bool = False,
    ) -> BenchmarkTask:
        return BenchmarkTask(benchmark, template, calculator, data_dir, descriptive)

    register(benchmark.name)(make)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`, registered where it is not yet.

    `gsm8k@mine` is your own file in the format of gsm8k: its splits lie at `mine/test` (`mine/train`) below a data
    folder, without a known number of rows or checksum. Raises ArtifactError with the nearest right name.
    """
    known = known_benchmarks()
    if name in known:
        return known[name]
    form, at, folder = name.partition("@")
    if at and form in known and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", folder):
        own = {split: Source(f"{folder}/{split}") for split in known[form].sources}
        register_benchmark(replace(known[form], name=name, sources=own, licence="the user's own"))
        return known[name]
    names = task_names()
    near = difflib.get_close_matches(form, names, n=1, cutoff=0.4)
    raise ArtifactError(
        f"unknown benchmark {name!r}"
        + (f"; did you mean {near[0] + at + folder!r}?" if near else ";")
        + f" Known are {', '.join(names)}, and <benchmark>@<folder> for a file of your own in its format"
    )


def _kept(benchmark: Benchmark, row: Row) -> dict[str, Any]:
    """The fields to keep; a field `meta` (an object, or its JSON text as this project's Parquet has it) is unfolded."""
    kept = {name: row[name] for name in benchmark.keep if name != "meta" and row.get(name) is not None}
    if "meta" in benchmark.keep and row.get("meta"):
        kept |= json.loads(row["meta"]) if isinstance(row["meta"], str) else row["meta"]
    return kept


def _first(row: Row, names: str) -> Any:
    return next((row[name] for name in names.split("|") if row.get(name) is not None), None)


def _joined(parts: list[str]) -> str:
    """Parts as running text: SVAMP's bodies lack their full stop."""
    return " ".join(p if p[-1] in ".!?," or i == len(parts) - 1 else p + "." for i, p in enumerate(parts))


def _without_instructions(question: str) -> str:
    """A question without AMO-Bench's own answer format, which the hub's `prompt` ends with; the template says it."""
    return question.partition("\nAfter solving the above problem, please output your final answer")[0].rstrip()

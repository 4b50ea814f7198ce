"""The start-up report: whether every prompt that a run will read fits, and what of models and data must agree.

It is made from tokenizers, configurations and texts alone, before any engine or actor starts. Each thing it finds does
one of three: it stops the run (one Mismatch that lists all such), it leaves a problem out (`too_long`, the one rule for
all methods and phases), or it is stored in the manifest and, where a person should know of it, shown.

The rule: a problem is left out where its prompt and the largest response do not fit into `cluster.engine.max_model_len`
together. Training problems must fit under *every* context (bare, with the answer, with the solution) and with the
budgets of phase 1 and phase 2, whichever method is trained, so that all methods of a comparison see the same problems;
so must a reference solution that is imitated. Problems of evaluation must fit bare. A split of which nothing is left
stops the run.

Left out: loading and caching (`inputs.py`), and `artifact evaluate`, which fits the engine to its prompts
(`benchmark_jobs.py`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from artifact.errors import Mismatch
from artifact.records import Problem
from artifact.tasks.base import Context, Messages, Task
from artifact.tasks.checks import (
    Finding,
    check_all,
    check_positions,
    check_round_trip,
    check_thinking,
    eos_ids,
    in_slices,
    model_checks,
    vocabulary_size,
)
from artifact.tasks.pair_checks import check_agreement, check_endings, check_prompts, same_prompts
from artifact.tasks.prompts import encode_prompts

CONTEXTS: tuple[Context, ...] = ("none", "answer", "solution")
"""What a prompt of a training problem may reveal to whoever reads it."""

AT_ONCE = 1000
"""Problems whose prompts are held as tokens at the same time."""


@dataclass(frozen=True)
class Checkpoint:
    """One model as far as it is known without its weights: its name in the configuration, tokenizer, and two files."""

    name: str
    tokenizer: Any = field(compare=False)
    config: Any = field(compare=False)
    generation_config: Mapping[str, Any] = field(compare=False)

    def stops(self) -> tuple[int, ...]:
        """Ids that end its responses."""
        return eos_ids(self.tokenizer, self.generation_config)


@dataclass(frozen=True)
class Reading:
    """A split that a run reads: up to `budget` tokens of response follow each prompt; `budget_name` says who says so.

    trained  its problems are trained on: every context counts, and the reference solution
    """

    split: str
    limit: int | None
    budget: int
    budget_name: str
    trained: bool = False

    @property
    def contexts(self) -> tuple[Context, ...]:
        """The contexts under which its prompts are read."""
        return CONTEXTS if self.trained else CONTEXTS[:1]


@dataclass(frozen=True)
class Measured:
    """The problems of a split in tokens.

    conversations  by context, for each problem: its messages, None where it has no such prompt; `AT_ONCE` at a time
    prompts        by context, for each problem: the length of its prompt, 0 where it has none
    solutions      for each problem: the length of its reference solution as a response, 0 without one
    """

    problems: tuple[Problem, ...]
    conversations: Callable[[Context], Iterable[list[Messages | None]]]
    prompts: Mapping[str, Sequence[int]]
    solutions: Sequence[int]


def too_long(prompts: Mapping[str, int], solution: int, budget: int, room: int) -> str:
    """Why a problem is left out, "" where it fits: the rule of the module's page.

    prompts, solution, budget, room  tokens: by context, of the reference solution, of a response, of the engine
    """
    context, longest = max(prompts.items(), key=lambda item: item[1])
    if longest + budget > room:
        return f"prompt of {longest} tokens (context {context!r}), {room - budget} fit beside the response"
    if prompts["none"] + solution > room:
        return f"prompt of {prompts['none']} tokens and reference solution of {solution}, {room} fit"
    return ""


@dataclass(frozen=True)
class Fit:
    """What became of a split.

    longest, shortest  tokens of the longest prompt that is kept, and of the shortest of all
    dropped            the problems that are left out, by id, and why
    """

    reading: Reading
    problems: int
    longest: int
    shortest: int
    dropped: Mapping[str, str]

    def __str__(self) -> str:
        r = self.reading
        what = "trained on" if r.trained else "measured on"
        need = f"longest prompt {self.longest:,} + {r.budget_name} {r.budget:,} = {self.longest + r.budget:,} tokens"
        left = f"{len(self.dropped):,} left out" if self.dropped else "none left out"
        first = f" ({next(iter(self.dropped))!r}: {next(iter(self.dropped.values()))})" if self.dropped else ""
        return f"{r.split}: {self.problems - len(self.dropped):,} problems {what}, {need}; {left}{first}"


def fit(reading: Reading, found: Measured, room: int) -> Fit:
    """What is left of a split where prompt and response have `room` tokens."""
    dropped: dict[str, str] = {}
    kept, all_of_them = array("q"), array("q")
    for i, problem in enumerate(found.problems):
        prompts = {context: lengths[i] for context, lengths in found.prompts.items()}
        longest = max(prompts.values())
        all_of_them.append(longest)
        if why := too_long(prompts, found.solutions[i], reading.budget, room):
            dropped[problem.id] = why
        else:
            kept.append(longest)
    return Fit(reading, len(found.problems), max(kept, default=0), min(all_of_them), dropped)


def require_any(fit: Fit, room: int) -> list[Finding]:
    """Mismatch where nothing is left of a split."""
    r = fit.reading
    if len(fit.dropped) == fit.problems:
        raise Mismatch(
            f"none of the {fit.problems} problems of split {r.split!r} fits: the shortest prompt has {fit.shortest} "
            f"tokens and {r.budget_name} = {r.budget}, but cluster.engine.max_model_len = {room}: raise it, or lower "
            f"{r.budget_name}"
        )
    return []


@dataclass(frozen=True)
class Report:
    """What start-up established: findings, what became of each split, the engine's room, the tokenizer's size."""

    findings: tuple[Finding, ...]
    fits: tuple[Fit, ...]
    room: int
    vocabulary: int

    def to_json(self) -> dict[str, Any]:
        """All of it, for a manifest."""
        return {
            "findings": [str(f) for f in self.findings],
            "max_model_len": self.room,
            "splits": [
                {
                    "split": f.reading.split,
                    "trained": f.reading.trained,
                    "problems": f.problems,
                    "longest_prompt": f.longest,
                    "max_new_tokens": f.reading.budget,
                    "dropped": dict(f.dropped),
                }
                for f in self.fits
            ],
        }

    def notable(self) -> list[str]:
        """What a person should know before the run: problems left out, and notable findings."""
        return [str(f) for f in self.fits if f.dropped] + [str(f) for f in self.findings if f.notable]

    def lines(self) -> list[str]:
        """All of it, for a terminal."""
        return [str(f) for f in self.fits] + [str(f) for f in self.findings]


def measure(
    tokenizer: Any,
    task: Task,
    problems: tuple[Problem, ...],
    contexts: Sequence[Context],
    thinking: bool | None,
    encode_response: Callable[[Sequence[str]], list[int]],
) -> Measured:
    """The problems in tokens, `AT_ONCE` at a time; `encode_response` gives the lengths of texts as responses."""

    def conversations(context: Context) -> Iterator[list[Messages | None]]:
        for some in in_slices(problems, AT_ONCE):
            yield [messages_of(task, problem, context) for problem in some]

    prompts = {}
    for context in contexts:
        counts = array("q")
        for found in conversations(context):
            lengths = iter(map(len, encode_prompts(tokenizer, [m for m in found if m is not None], thinking)))
            counts.extend(0 if m is None else next(lengths) for m in found)
        prompts[str(context)] = counts
    solutions = array("q")
    for some in in_slices(problems, AT_ONCE):
        solved = [p.solution for p in some if p.solution] if "solution" in contexts else []
        responses = iter(encode_response(solved))
        solutions.extend(next(responses) if p.solution and solved else 0 for p in some)
    return Measured(problems, conversations, prompts, solutions)


def messages_of(task: Task, problem: Problem, context: Context) -> Messages | None:
    """The messages of a prompt; None where the problem has no such hint, or the task no place for it."""
    bare = task.messages(problem)
    if context == "none":
        return bare
    try:
        informed = task.messages(problem, context)
    except ValueError:
        return None
    return None if informed == bare else informed


def examine(
    student: Checkpoint,
    teacher: Checkpoint,
    measured: Mapping[Reading, Measured],
    *,
    max_model_len: int,
    thinking: bool | None,
    needed: Sequence[Context] = (),
    preferred: Context | None = None,
) -> Report:
    """The report on `student` taught by `teacher`, over every problem of every split that is read.

    measured  each split, in the student's tokens
    needed    contexts that the method cannot do without: a training problem that lacks one stops the run
    preferred  one that it reads in place of them where a problem has it
    Raises one Mismatch that names everything that must stop the run.
    """
    first = next(iter(measured.values())).problems[0]
    exchange = first.question, first.solution or first.answer
    pair = student.tokenizer, teacher.tokenizer
    checks = [
        check for m in dict.fromkeys((student, teacher)) for check in _alone(m, max_model_len, thinking, exchange)
    ]
    checks.append(lambda: check_round_trip(student.tokenizer, _texts(measured.values())))
    checks.append(lambda: check_agreement(*pair, student.config, teacher.config, probes=exchange))
    checks.append(lambda: check_endings(*pair, student.stops(), teacher.stops(), thinking, exchange))
    checks.append(lambda: _check_prompts(student, teacher, measured, thinking))
    fits = [fit(reading, found, max_model_len) for reading, found in measured.items()]
    checks += [lambda f=f: require_any(f, max_model_len) for f in fits]  # type: ignore[misc]
    checks.append(lambda: _check_needed(measured, fits, needed))
    if preferred is not None:
        checks.append(lambda: _check_preferred(measured, fits, preferred, needed))
    return Report(tuple(check_all(checks)), tuple(fits), max_model_len, vocabulary_size(student.tokenizer))


def _alone(
    model: Checkpoint, max_model_len: int, thinking: bool | None, exchange: tuple[str, str]
) -> list[Callable[[], list[Finding]]]:
    """The checks of one model by itself; what they find says whose it is."""
    checks = [
        *model_checks(model.tokenizer, model.config, model.generation_config, thinking, exchange, exchange),
        lambda: check_thinking(model.tokenizer, thinking),
        lambda: check_positions(model.config, max_model_len),
    ]

    def about(check: Callable[[], list[Finding]]) -> Callable[[], list[Finding]]:
        return lambda: [replace(f, about=model.name) for f in check()]

    return [about(check) for check in checks]


def _texts(measured: Iterable[Measured]) -> list[str]:
    """Every question and reference solution that is read, once."""
    return list(dict.fromkeys(t for m in measured for p in m.problems for t in (p.question, p.solution) if t))


def _check_prompts(
    student: Checkpoint, teacher: Checkpoint, measured: Mapping[Reading, Measured], thinking: bool | None
) -> list[Finding]:
    """`check_prompts` of every prompt of every split, where the two tokenizers are not one and the same."""
    if same_prompts(student.tokenizer, teacher.tokenizer):
        return [Finding("prompts", "teacher and student have one chat template")]
    count = 0
    for reading, found in measured.items():
        for context in reading.contexts:
            for some in found.conversations(context):
                conversations = [m for m in some if m is not None]
                ours, theirs = (encode_prompts(m.tokenizer, conversations, thinking) for m in (student, teacher))
                check_prompts(student.tokenizer, teacher.tokenizer, conversations, ours, theirs, thinking)
                count += len(conversations)
    return [Finding("prompts", f"teacher and student put all {count:,} prompts alike", notable=True)]


def _check_needed(
    measured: Mapping[Reading, Measured], fits: Sequence[Fit], needed: Sequence[Context]
) -> list[Finding]:
    """Mismatch for a training problem that is kept and has no prompt under a context the method needs."""
    for fit in (f for f in fits if f.reading.trained):
        found = measured[fit.reading]
        for context in needed:
            lengths = zip(found.problems, found.prompts[context], strict=True)
            bare = [p.id for p, n in lengths if not n and p.id not in fit.dropped]
            if bare:
                raise Mismatch(
                    f"{len(bare)} of the {fit.problems} problems of {fit.reading.split!r} have no prompt with context "
                    f"{context!r}, first {bare[:3]}: they have no {context}, or the prompt template no section for it; "
                    "choose a method (or its options) that does without, or problems that have it"
                )
    return []


def _check_preferred(
    measured: Mapping[Reading, Measured], fits: Sequence[Fit], preferred: Context, needed: Sequence[Context]
) -> list[Finding]:
    """How many training problems that are kept lack the context that the method would rather show."""
    findings = []
    for fit in (f for f in fits if f.reading.trained):
        lengths = zip(measured[fit.reading].problems, measured[fit.reading].prompts[preferred], strict=True)
        bare = sum(not n and p.id not in fit.dropped for p, n in lengths)
        if bare:
            told = f"{bare:,} of the {fit.problems:,} problems of {fit.reading.split!r} have no {preferred}"
            findings.append(Finding("prompts", f"{told}: their {' and '.join(needed)} is shown", notable=True))
    return findings

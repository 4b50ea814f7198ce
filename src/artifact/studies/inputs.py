"""From a configuration to what the loop needs: tokenizer, problems that fit, prompts, verifier, sampler.

Also the start-up report of a configuration (`start_up.py`), made once a process and before anything is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from artifact.actors.checkpoints import load_sizes, load_tokenizer
from artifact.actors.sampler import EngineSampler
from artifact.actors.session import Actors
from artifact.config import Config, TaskSection
from artifact.errors import ConfigError, EmptyDataset
from artifact.models import json_of
from artifact.paths import resolve_model
from artifact.phase1 import llm_judge
from artifact.phase1.similarity import comparing
from artifact.provenance import digest
from artifact.records import Problem
from artifact.report.output_manifest import say
from artifact.studies import keys
from artifact.studies.start_up import Checkpoint, Measured, Reading, Report, examine, fit, measure, require_any
from artifact.tasks import get_task, load_problems
from artifact.tasks.base import Context, Task
from artifact.tasks.checks import Finding, eos_ids
from artifact.tasks.extract import DEFAULT_RULES, rules_for
from artifact.tasks.grading import grading_of
from artifact.tasks.metrics import Metric
from artifact.tasks.prompts import encode_prompt
from artifact.tasks.tool_loop import CalculatorTool, encode_marked
from artifact.tasks.verifier import Verifier
from artifact.train.inputs import RunInputs
from artifact.train.rollouts import VerifyBatch


@lru_cache(maxsize=8)
def tokenizer_of(model: str) -> Any:
    """The tokenizer of a checkpoint."""
    return load_tokenizer(resolve_model(model))


@lru_cache(maxsize=8)
def verifier_for(rules: tuple[str, ...], workers: int = 1) -> Verifier:
    """One verifier a set of extraction rules, number of workers and process."""
    return Verifier(rules=rules, workers=workers)


def stop_token_ids(model: str) -> tuple[int, ...]:
    """Ids that end a response, by generation config and tokenizer. Mismatch when there is none."""
    return eos_ids(tokenizer_of(model), config_file(model, "generation_config.json"))


def config_file(model: str, name: str) -> dict[str, Any]:
    """A JSON file of a checkpoint; empty where it has no such file."""
    path = Path(resolve_model(model)) / name
    return json_of(path) if path.is_file() else {}


def task_of(section: TaskSection) -> Task:
    """The task of a configuration, built with the options that are set; ArtifactError for one it does not have."""
    options = {"template": section.template, "calculator": section.calculator or None, "data_dir": section.data_dir}
    return get_task(section.name, **{name: value for name, value in options.items() if value is not None})


@lru_cache(maxsize=32)
def rules_of(section: TaskSection) -> tuple[str, ...]:
    """The extraction rules of a task section: its own, else the one its prompt template asks for."""
    if section.extraction_rules is not None:
        return section.extraction_rules
    template = getattr(task_of(section), "template", None)
    return DEFAULT_RULES if template is None else rules_for(template.answer_form)


def answer_verifier(section: TaskSection) -> Verifier:
    """The verifier of a task whose answers algebra compares; ConfigError for one that is graded by a metric."""
    if grading_of(task_of(section)) is not None:
        raise ConfigError(
            f"task {section.name!r} is graded by its own metric: there is no answer to extract and compare, so graders "
            "of answers say nothing about it; read its scores (`evaluate/scores.py`)"
        )
    return verifier_for(rules_of(section), section.verifier_workers)


def verify_for(section: TaskSection) -> VerifyBatch:
    """How responses become verdicts: by the task's own grading, else by algebra on the answer that its rules find."""
    grading = grading_of(task_of(section))
    if grading is not None:
        return grading
    verifier = answer_verifier(section)
    return lambda texts, problems: verifier.verify_batch(texts, [p.answer for p in problems])


def metric_of(section: TaskSection, problems: Iterable[Problem]) -> Callable[[str], Metric]:
    """The metric by which answers to each of `problems` are compared, by id; ConfigError where a task has none."""
    grading = grading_of(task_of(section))
    if grading is None:
        raise ConfigError(
            f"task {section.name!r} is graded by no metric, so there is none to say how alike two answers are: set "
            "method_options.weighting to soft"
        )
    metrics = {p.id: comparing(grading.metric_for(p)) for p in problems}
    return metrics.__getitem__


def judged_by(section: TaskSection) -> list[str]:
    """What decides a verdict besides the house's code, for keys: the extraction rules, or the source of a grading."""
    task = task_of(section)
    return list(rules_of(section)) if grading_of(task) is None else [keys.class_source(type(task))]


@lru_cache(maxsize=32)
def problems_of(section: TaskSection, split: str, limit: int | None) -> tuple[Problem, ...]:
    """The problems of a split; EmptyDataset when there are none, ArtifactError where one cannot be graded."""
    problems = tuple(load_problems(task_of(section), split, limit))
    if not problems:
        raise EmptyDataset(
            f"split {split!r} of task {section.name!r} holds no problem (limit {limit}); nothing can be done with it"
        )
    if (grading := grading_of(task_of(section))) is not None:
        grading.check(problems)
    return problems


@lru_cache(maxsize=32)
def _checkpoint(model: str) -> Checkpoint:
    sizes = load_sizes(resolve_model(model))
    return Checkpoint(model, tokenizer_of(model), sizes, config_file(model, "generation_config.json"))


@lru_cache(maxsize=32)
def _measured(
    model: str, section: TaskSection, split: str, limit: int | None, contexts: tuple[Context, ...]
) -> Measured:
    """The problems of a split in the tokens of `model`."""
    tokenizer = tokenizer_of(model)

    def lengths(texts: Sequence[str]) -> list[int]:
        if section.calculator:
            tool = CalculatorTool(tokenizer)
            return [len(encode_marked(tool, text)[0]) + 1 for text in texts]
        return [len(ids) + 1 for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    problems = problems_of(section, split, limit)
    return measure(tokenizer, task_of(section), problems, contexts, section.thinking, lengths)


def readings(config: Config) -> tuple[Reading, ...]:
    """The splits that a run of `config` reads: training first, then the learning curve and final evaluation."""
    task, e = config.task, config.evaluation
    budgets = {
        "sampling.max_new_tokens": config.sampling.max_new_tokens,
        "annotation.max_new_tokens": config.annotation.max_new_tokens,
    }
    largest = max(budgets, key=lambda name: budgets[name])
    splits = dict.fromkeys((*((e.curve,) if config.train.curve_every else ()), *e.final))
    return (
        Reading(task.train_split, task.train_limit, budgets[largest], largest, trained=True),
        *(Reading(split, e.limit, e.max_new_tokens, "evaluation.max_new_tokens") for split in splits),
    )


def start_up(config: Config, teacher: str | None = None, *, quiet: bool = False) -> Report:
    """The start-up report of a run, made once a process; what a person should know of it is said, once, unless `quiet`.

    teacher  another checkpoint that gets the student's prompts, in place of the run's teacher

    Raises one Mismatch that names all that must stop the run.
    """
    needs = config.make_method().needs
    report = _start_up(
        config.models.student,
        teacher or config.teacher_path,
        config.task,
        config.cluster.engine.max_model_len,
        readings(config),
        needs.contexts,
        needs.prefers,
    )
    for line in () if quiet else report.notable():
        _say_once(line)
    return report


@lru_cache(maxsize=64)
def _start_up(
    student: str,
    teacher: str,
    section: TaskSection,
    max_model_len: int,
    reads: tuple[Reading, ...],
    needed: tuple[Context, ...],
    preferred: Context | None,
) -> Report:
    measured = {r: _measured(student, section, r.split, r.limit, r.contexts) for r in reads}
    return examine(
        _checkpoint(student),
        _checkpoint(teacher),
        measured,
        max_model_len=max_model_len,
        thinking=section.thinking,
        needed=needed,
        preferred=preferred,
    )


@lru_cache(maxsize=1024)
def _say_once(line: str) -> None:
    say(f"start-up: {line}")


def judge_prompt(section: TaskSection) -> Path:
    """What a language model is asked as the judge of a task's answers: of free text another question than of values."""
    return llm_judge.PROMPT if grading_of(task_of(section)) is None else llm_judge.TEXT_PROMPT


def check_judge(config: Config, problems: Sequence[Problem]) -> list[Finding]:
    """What is known of the judge of phase 1 before the teacher is sampled; nothing where it is no language model.

    problems  whose answers it is to compare
    Raises ConfigError where the tier names none, JudgeError or Mismatch where it cannot be asked.
    """
    if config.annotation.clustering != "llm":
        return []
    questions, room = [p.question for p in problems], config.as_role("judge").cluster.engine.max_model_len
    judge, asked = _checkpoint(config.judge_path), judge_prompt(config.task)
    found = [
        replace(f, about=judge.name)
        for f in llm_judge.check_judge(judge.tokenizer, judge.config, questions, room, asked)
    ]
    for finding in found:
        if finding.notable:
            _say_once(str(finding))
    return found


def that_fit(config: Config, reading: Reading) -> tuple[Problem, ...]:
    """The problems of a split that are not left out (the rule of `start_up.py`); Mismatch where none is left."""
    return _that_fit(config.models.student, config.task, reading, config.cluster.engine.max_model_len)


@lru_cache(maxsize=64)
def _that_fit(student: str, section: TaskSection, reading: Reading, room: int) -> tuple[Problem, ...]:
    found = _measured(student, section, reading.split, reading.limit, reading.contexts)
    left = fit(reading, found, room)
    require_any(left, room)
    return tuple(p for p in found.problems if p.id not in left.dropped)


def evaluation_problems(config: Config, split: str) -> tuple[Problem, ...]:
    """The problems of a split on which a run of `config` is measured."""
    e = config.evaluation
    return that_fit(config, Reading(split, e.limit, e.max_new_tokens, "evaluation.max_new_tokens"))


def mean_prompt_tokens(config: Config, context: Context = "none") -> float:
    """Mean tokens of the prompts of the training split, under one of the contexts that the method needs.

    Where no problem has that context's text, under the answer, which is shown in place of a solution.
    """
    reading = readings(config)[0]
    found = _measured(config.models.student, config.task, reading.split, reading.limit, reading.contexts)
    there = [n for n in found.prompts[context] if n]  # 0: a problem without such a prompt
    return fmean(there or found.prompts["answer"])


def build_inputs(config: Config) -> RunInputs:
    """Problems, prompts and verifier of a run, after the start-up report (`start_up`)."""
    report = start_up(config)
    train = that_fit(config, readings(config)[0])
    curve = evaluation_problems(config, config.evaluation.curve) if config.train.curve_every else ()
    return _inputs(config, train, curve, report.vocabulary)


def inputs_over(config: Config, problems: Sequence[Problem]) -> tuple[RunInputs, Report]:
    """The same, and the report, for `problems` in place of those of the task's splits: for who builds them."""
    a = config.annotation.max_new_tokens
    reading = Reading("curated", None, a, "annotation.max_new_tokens")
    tokenizer, section = tokenizer_of(config.models.student), config.task
    found = measure(tokenizer, task_of(section), tuple(problems), reading.contexts, section.thinking, lambda texts: [])
    report = examine(
        _checkpoint(config.models.student),
        _checkpoint(config.teacher_path),
        {reading: found},
        max_model_len=config.cluster.engine.max_model_len,
        thinking=section.thinking,
    )
    kept = tuple(p for p in problems if p.id not in report.fits[0].dropped)
    return _inputs(config, kept, (), report.vocabulary), report


def _inputs(
    config: Config, train: tuple[Problem, ...], curve: tuple[Problem, ...], vocabulary: int | None
) -> RunInputs:
    tokenizer = tokenizer_of(config.models.student)
    task = task_of(config.task)
    eos = tokenizer.eos_token_id
    tool = CalculatorTool(tokenizer) if config.task.calculator else None

    @lru_cache(maxsize=20_000)
    def encode_known(key: str, context: str) -> tuple[int, ...]:
        messages = task.messages(by_key[key], context)  # type: ignore[arg-type]
        return encode_prompt(tokenizer, messages, config.task.thinking)

    by_key: dict[str, Problem] = {}

    def encode(problem: Problem, context: str) -> tuple[int, ...]:
        by_key.setdefault(problem.id, problem)
        return encode_known(problem.id, context)

    def encode_text(text: str) -> tuple[int, ...]:
        if tool is not None:
            return (*encode_marked(tool, text)[0], eos)
        return (*tokenizer(text, add_special_tokens=False)["input_ids"], eos)

    def mask_text(text: str) -> tuple[bool, ...] | None:
        return None if tool is None else (*encode_marked(tool, text)[1], True)

    return RunInputs(
        train=train,
        curve=curve,
        encode=encode,
        encode_text=encode_text,
        decode=lambda ids: tokenizer.batch_decode(ids, skip_special_tokens=True),
        verify=verify_for(config.task),
        mask_text=mask_text,
        vocabulary=vocabulary,
    )


def prompts_hash(config: Config, inputs: RunInputs, model: str) -> str:
    """A hash of what is actually fed to `model`: prompts under every context, encoded solutions, stop tokens; for a
    graded task also of the code that grades.
    """
    some = inputs.train[:16]
    prompts = [
        inputs.encode(p, context)
        for p in some
        for context in ("none", "answer", "solution")
        if context != "solution" or p.solution
    ]
    solutions = [[inputs.encode_text(p.solution), inputs.mask_text(p.solution)] for p in some if p.solution]
    judged = judged_by(config.task) if grading_of(task_of(config.task)) is not None else []
    return digest([prompts, solutions, stop_token_ids(model), *judged])


def sampler_for(config: Config, actors: Actors, model: str) -> EngineSampler:
    """A sampler over the engines of `actors`, stopping where `model` stops."""
    return EngineSampler(
        actors.engines,
        tokenizer_of(model),
        stop_token_ids(model),
        config.cluster.engine.max_model_len,
        config.cluster.step_timeout_s,
        config.task.calculator,
    )

"""From a configuration to what the loop needs: tokenizer, problems, prompts, verifier, sampler.

Also the start-up checks (`tasks/checks.py`) that must fail before anything is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from artifact.actors.checkpoints import load_config, load_tokenizer
from artifact.actors.sampler import EngineSampler
from artifact.actors.session import Actors
from artifact.config import Config, Engine, TaskSection
from artifact.errors import EmptyDataset
from artifact.models import json_of
from artifact.paths import resolve_model
from artifact.provenance import digest
from artifact.records import Problem
from artifact.tasks import get_task, load_problems
from artifact.tasks.base import Task
from artifact.tasks.checks import Finding, check_agreement, check_all, check_context, eos_ids, model_checks
from artifact.tasks.extract import DEFAULT_RULES, rules_for
from artifact.tasks.prompts import encode_prompt
from artifact.tasks.tool_loop import CalculatorTool, encode_marked
from artifact.tasks.verifier import Verifier
from artifact.train.inputs import RunInputs


@lru_cache(maxsize=8)
def tokenizer_of(model: str) -> Any:
    """The tokenizer of a checkpoint."""
    return load_tokenizer(resolve_model(model))


@lru_cache(maxsize=8)
def verifier_for(rules: tuple[str, ...]) -> Verifier:
    """One verifier a set of extraction rules and process."""
    return Verifier(rules=rules)


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


@lru_cache(maxsize=32)
def problems_of(section: TaskSection, split: str, limit: int | None) -> tuple[Problem, ...]:
    """The problems of a split; EmptyDataset when there are none."""
    problems = tuple(load_problems(task_of(section), split, limit))
    if not problems:
        raise EmptyDataset(
            f"split {split!r} of task {section.name!r} holds no problem (limit {limit}); nothing can be done with it"
        )
    return problems


@lru_cache(maxsize=32)
def start_up_checks(student: str, teacher: str, section: TaskSection, engine: Engine, budget: int) -> list[Finding]:
    """What must hold before anything is sampled: each checkpoint agrees with itself, and both with each other.

    Probed with the task's own first problems. Raises one Mismatch that names every failure; padded rows and the like
    are findings.
    """
    problems = problems_of(section, section.train_split, section.train_limit)[:3]
    probes = [p.question for p in problems] + [p.solution for p in problems if p.solution]
    exchange = problems[0].question, problems[0].solution or problems[0].answer
    tokenizers = {m: tokenizer_of(m) for m in (student, teacher)}
    configs = {m: load_config(resolve_model(m)) for m in tokenizers}
    longest = max(
        len(encode_prompt(tokenizers[student], task_of(section).messages(p), section.thinking)) for p in problems
    )
    wanted: list[Callable[[], list[Finding]]] = []
    for model, tokenizer in tokenizers.items():
        ends = config_file(model, "generation_config.json")
        wanted += model_checks(tokenizer, configs[model], ends, section.thinking, probes, exchange)
        wanted.append(lambda c=configs[model]: check_context(c, engine.max_model_len, longest, budget))  # type: ignore[misc]
    wanted.append(
        lambda: check_agreement(
            tokenizers[student], tokenizers[teacher], configs[student], configs[teacher], probes=probes
        )
    )
    return check_all(wanted)


def build_inputs(config: Config) -> RunInputs:
    """Problems, prompts and verifier of a run, after the start-up checks."""
    engine, budget = config.cluster.engine, config.sampling.max_new_tokens
    start_up_checks(config.models.student, config.teacher_path, config.task, engine, budget)
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
        train=problems_of(config.task, config.task.train_split, config.task.train_limit),
        curve=problems_of(config.task, config.evaluation.curve, config.evaluation.limit)
        if config.train.curve_every
        else (),
        encode=encode,
        encode_text=encode_text,
        decode=lambda ids: tokenizer.batch_decode(ids, skip_special_tokens=True),
        verify=verifier_for(rules_of(config.task)).verify_batch,
        mask_text=mask_text,
    )


def prompts_hash(config: Config, inputs: RunInputs, model: str) -> str:
    """A hash of what is actually fed to `model`: prompts under every context, encoded solutions, stop tokens."""
    some = inputs.train[:16]
    prompts = [
        inputs.encode(p, context)
        for p in some
        for context in ("none", "answer", "solution")
        if context != "solution" or p.solution
    ]
    solutions = [[inputs.encode_text(p.solution), inputs.mask_text(p.solution)] for p in some if p.solution]
    return digest([prompts, solutions, stop_token_ids(model)])


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

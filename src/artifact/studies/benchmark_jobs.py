"""What an evaluation would do, known before an engine starts: model, benchmarks, settings, problems, prompts, checks.

The tier gives machine, number type and seed; the benchmark its own template and answer rules, unless it is the tier's
own task. The tier's limit and token budget are sized for its own evaluation: another benchmark is measured whole, with
at least `LEAST_BUDGET` tokens per response, where nothing else was asked for. Prompts are made by the model's own
tokenizer. The engine's length grows to what the longest prompt and the budget need.

Left out: which benchmarks are meant (`benchmark_targets.py`), sampling and what is read from it (`benchmarking.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from artifact.actors.checkpoints import load_config
from artifact.config import Config, ConfigError, SampledEvaluation, checked
from artifact.errors import BrokenModel, EmptyDataset, Mismatch, ModelAbsent
from artifact.evaluate.protocol import Protocol, ks_for, parse_protocol
from artifact.paths import project_root, published, resolve_model
from artifact.records import Problem
from artifact.studies.benchmark_targets import Target
from artifact.studies.inputs import config_file, task_of, tokenizer_of, verify_for
from artifact.tasks.base import task_names
from artifact.tasks.benchmark import BenchmarkTask, find_benchmark
from artifact.tasks.checks import (
    Finding,
    check_all,
    check_context,
    check_round_trip,
    check_special_tokens,
    check_vocabulary,
    model_checks,
)
from artifact.tasks.plain_prompt import LABELS, encode_plain
from artifact.tasks.prompts import encode_prompt
from artifact.tasks.slices import load_problems, name_and_slice
from artifact.train.inputs import RunInputs

LEAST_BUDGET = 512
"""Tokens a response of a benchmark that is not the tier's own may have at least."""

Prompt = Literal["chat", "plain"]
"""How turns become a prompt: by the model's chat template, or as plain text (`tasks/plain_prompt.py`)."""


@dataclass(frozen=True)
class Job:
    """All that is known before sampling: settings, problems and prompts of one model on one target.

    prompt       how the prompts were made, by the chat template or as plain text
    origin       where the rows come from, what of them was checked, and how many were left out by reason
    """

    config: Config
    target: Target
    model: str
    problems: tuple[Problem, ...]
    prompts: Mapping[str, tuple[int, ...]]
    prompt: Prompt
    origin: Mapping[str, Any]

    @property
    def inputs(self) -> RunInputs:
        """Problems, prompts and verifier, as the samplers want them."""
        tokenizer = tokenizer_of(self.model)
        return RunInputs(
            train=self.problems,
            curve=(),
            encode=lambda problem, context: self.prompts[problem.id],
            encode_text=lambda text: (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id),
            decode=lambda ids: tokenizer.batch_decode(ids, skip_special_tokens=True),
            verify=verify_for(self.config.task),
        )


def locate_model(model: str) -> str:
    """The checkpoint meant by `model`: a folder (here or in the project), a run's folder (its weights), or a hub id."""
    for folder in (Path(model).expanduser(), project_root() / model):
        if (folder / "config.json").is_file():
            return str(folder.resolve())
        if (folder / "weights" / "config.json").is_file():
            return str((folder / "weights").resolve())
    if Path(model).expanduser().is_dir() or (project_root() / model).is_dir():
        raise FileNotFoundError(
            f"model folder {model} has no config.json and no weights/ below it: give a Hugging Face model folder or a "
            "finished run"
        )
    if model.startswith((".", "/", "~", "models/", "results/")) or model.count("/") > 1:
        raise FileNotFoundError(
            f"model folder {model} does not exist here or in the project; correct --model (a folder with config.json, "
            "a run's folder, or a hub id), or make the model: `artifact make-models`, `artifact fetch-models`"
        )
    return model


def protocols_for(
    config: Config, names: Sequence[str] | None, temperature: float | None = None, top_p: float | None = None
) -> list[Protocol]:
    """The protocols by name, or those of the tier: greedy, and avgN where it samples all problems of a split.

    avgN samples at `temperature` and `top_p`, else as the tier does (`evaluation.sampled`), else as the papers do.
    Raises ConfigError where one of the two is given and nothing is sampled.
    """
    of_tier = config.evaluation.sampled
    sampled = of_tier or SampledEvaluation()
    if not names:
        names = ["greedy", *([f"avg{of_tier.k}"] if of_tier and of_tier.limit is None else [])]
    chosen = (sampled.temperature if temperature is None else temperature, sampled.top_p if top_p is None else top_p)
    found = [parse_protocol(name, *chosen) for name in dict.fromkeys(names)]
    if (temperature, top_p) != (None, None) and all(p.greedy for p in found):
        raise ConfigError("--temperature and --top-p are of sampled protocols: name one, such as --protocol avg16")
    return found


def parse_ks(texts: Sequence[str] | None, protocols: Sequence[Protocol]) -> tuple[int, ...] | None:
    """The k of pass@k and maj@k as numbers; None where none were named. Greedy protocols have no use for them.

    Raises ConfigError for what is no number, ArtifactError for a k that some sampled protocol cannot give.
    """
    if not texts:
        return None
    if wrong := [t for t in texts if not t.isdecimal()]:
        raise ConfigError(f"--k {wrong[0]!r} is no number; give numbers such as 4,16")
    ks = tuple(sorted({int(t) for t in texts}))
    for protocol in [p for p in protocols if not p.greedy] or protocols:
        ks_for(protocol, ks)
    return ks


def prepare(
    base: Config,
    overrides: dict[str, Any],
    target: Target,
    model: str,
    *,
    data_dir: str | Path | None = None,
    template: str | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    prompt: Prompt = "chat",
) -> Job:
    """Settings, problems and prompts of one target. Raises DataAbsent, EmptyDataset, ArtifactError, Mismatch."""
    own = target.benchmark == base.task.name
    task = base.task.model_dump(mode="json") if own else {"name": target.benchmark, "thinking": base.task.thinking}
    task |= {k.removeprefix("task."): v for k, v in overrides.items() if k.startswith("task.")}
    task |= {"name": target.benchmark, "train_split": target.split, "train_limit": None}
    for name, value in (("data_dir", data_dir), ("template", template)):
        if value is not None:  # files and folders are looked for from where the command was given
            text = str(value)
            task[name] = str(Path(text).resolve()) if name == "data_dir" or text.endswith(".txt") else text
    evaluation = base.evaluation.model_dump(mode="json") | {
        "final": [target.split],
        "curve": target.split,
        "validation": target.split,
        "sampled": None,
    }
    if not own and target.benchmark not in base.evaluation.final:  # what the tier says is sized for its own evaluation
        sizes = {"limit": None, "max_new_tokens": max(LEAST_BUDGET, base.evaluation.max_new_tokens)}
        evaluation |= {k: v for k, v in sizes.items() if f"evaluation.{k}" not in overrides}
    evaluation |= {k: v for k, v in (("limit", limit), ("max_new_tokens", max_new_tokens)) if v is not None}
    data = base.model_dump(mode="json") | {"task": task, "evaluation": evaluation}
    config = checked(Config, data, f"--benchmark {target.benchmark} on tier {base.tier}", overrides)
    problems, origin = _load(config, target)
    tokenizer = _tokenizer(model)
    source = task_of(config.task)
    if prompt == "plain":
        prompts = {p.id: encode_plain(tokenizer, source.messages(p)) for p in problems}
        return Job(config, target, model, problems, prompts, prompt, origin)
    try:
        prompts = {p.id: encode_prompt(tokenizer, source.messages(p), config.task.thinking) for p in problems}
    except ValueError as err:  # no chat template, or no thinking mode
        hint = "" if tokenizer.chat_template else "; or, for a base model, give --prompt plain"
        raise Mismatch(f"{target.benchmark} cannot be put to {model}: {err}{hint}") from err
    return Job(config, target, model, problems, prompts, prompt, origin)


def _load(config: Config, target: Target) -> tuple[tuple[Problem, ...], dict[str, Any]]:
    if target.benchmark not in task_names():
        find_benchmark(target.benchmark)  # registers a file of the user's own
    task = task_of(config.task)
    problems = tuple(load_problems(task, target.split))
    if isinstance(task, BenchmarkTask):
        found = task.load_split(name_and_slice(target.split)[0])
        origin: dict[str, Any] = {
            "place": found.loaded.place,
            "rows": published(found.loaded.origin),
            "sha256": found.loaded.sha256,
            "checked": list(found.loaded.checked),
            "template": task.template.name,
            "shots": task.template.shots,
            "licence": task.benchmark.licence,
            "left_out": {k: len(v) for k, v in found.excluded.items()},
        }
    else:
        origin = {"place": "package", "rows": target.benchmark, "template": "", "shots": 0, "left_out": {}}
    if not problems:
        raise EmptyDataset(f"split {target.split!r} of {target.benchmark!r} holds no problem; nothing can be measured")
    return problems[: config.evaluation.limit], origin | {"gradable": len(problems)}


def _tokenizer(model: str) -> Any:
    try:
        return tokenizer_of(model)
    except (ModelAbsent, BrokenModel) as err:
        raise Mismatch(f"no tokenizer of {model!r} can be loaded: {err}") from err


def fit_engine(jobs: Sequence[Job], fixed: Collection[str] = ()) -> list[Job]:
    """The jobs with one engine that is large enough for all of them: the tier's, grown where it must be.

    max_model_len             the longest prompt and the budget, in steps of 64 and within the model's positions
    max_num_batched_tokens    not below it, as on CPU a prompt is never divided

    Raises Mismatch where prompt and budget exceed the model's positions, ConfigError where the grown engine is not
    valid beside what is fixed.
    """
    config, longest = jobs[0].config, max(len(x) for j in jobs for x in j.prompts.values())
    engine, budget = config.cluster.engine, max(j.config.evaluation.max_new_tokens for j in jobs)
    need = longest + budget
    if need <= engine.max_model_len or "max_model_len" in fixed:
        return list(jobs)
    positions = config_file(jobs[0].model, "config.json").get("max_position_embeddings") or need
    if need > positions:
        room = f"--max-new-tokens {positions - longest} or less" if positions > longest else "a shorter --template"
        raise Mismatch(
            f"the longest prompt ({longest} tokens) and max_new_tokens = {budget} need {need} tokens, but "
            f"{named(jobs[0].model)} has {positions} positions: give {room}"
        )
    length = min(-(-need // 64) * 64, positions)
    grown = {"max_model_len": length, "max_num_batched_tokens": max(engine.max_num_batched_tokens, length)}
    return [replace(j, config=_with_engine(j.config, {k: v for k, v in grown.items() if k not in fixed})) for j in jobs]


def _with_engine(config: Config, grown: Mapping[str, int]) -> Config:
    """`config` with these settings of the engine, validated as a whole."""
    data = config.model_dump(mode="json")
    data["cluster"]["engine"] |= grown
    return checked(Config, data, f"tier {config.tier} with an engine of {dict(grown)}")


def start_up_checks(job: Job) -> list[Finding]:
    """The model agrees with itself and has room for every prompt: `tasks/checks.py`, on all problems.

    Raises one Mismatch that names all that must stop the evaluation.
    """
    config, first, tokenizer = job.config, job.problems[0], tokenizer_of(job.model)
    shape = load_config(resolve_model(job.model))
    probes = list(dict.fromkeys(text for p in job.problems for text in (p.question, p.answer)))
    longest = max(map(len, job.prompts.values()))
    if job.prompt == "plain":  # no chat template is involved
        checks = [
            lambda: check_vocabulary(tokenizer, shape),
            lambda: check_special_tokens(tokenizer),
            lambda: check_round_trip(tokenizer, [*probes, *LABELS.values()]),
        ]
    else:
        ends = config_file(job.model, "generation_config.json")
        exchange = first.question, first.answer
        checks = model_checks(tokenizer, shape, ends, config.task.thinking, probes, exchange)
    return check_all(
        [
            *checks,
            lambda: check_context(
                shape, config.cluster.engine.max_model_len, longest, config.evaluation.max_new_tokens
            ),
        ]
    )


def named(model: str) -> str:
    """A model as tables show it (`paths.published`)."""
    return published(model)

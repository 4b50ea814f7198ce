"""Stored evaluations as a table of every metric with its interval, as files of other tools, and under every grader.

Left out: sampling anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.config import Config, TaskSection
from artifact.errors import ConfigError, EmptyDataset, Mismatch
from artifact.evaluate import lm_eval
from artifact.evaluate.agreement import disagreements, graded
from artifact.evaluate.evaluate import to_frame
from artifact.evaluate.protocol import Protocol, account, ks_for, measures, parse_protocol, problem_values
from artifact.files import atomically, discard, read_json, write_json, write_text
from artifact.paths import published, results_dir
from artifact.provenance import digest, git_state, text_sha256
from artifact.records import Problem, Rollout
from artifact.report import protocol as words
from artifact.report.outputs import csv_text, stamp_line
from artifact.stats.bootstrap import RESAMPLES
from artifact.studies import store
from artifact.studies.benchmark_jobs import named
from artifact.studies.benchmark_targets import main_split
from artifact.studies.inputs import answer_verifier, stop_token_ids, tokenizer_of
from artifact.studies.inventory import account_of, altered
from artifact.studies.results import rollout_groups, split_of, stored_problems
from artifact.studies.runner import RunInfo
from artifact.studies.verify import REPORT_STAMP
from artifact.tasks.benchmark import known_benchmarks
from artifact.tasks.plain_prompt import NEXT_QUESTION


@dataclass(frozen=True)
class Stored:
    """One stored evaluation: its responses in the order of the problems, by which protocol, and what is known of it."""

    info: RunInfo
    benchmark: str
    split: str
    protocol: Protocol
    prompt: str
    problems: tuple[Problem, ...]
    groups: tuple[tuple[Rollout, ...], ...]
    facts: dict[str, Any]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per response (`evaluate.to_frame`)."""
        return to_frame(self.problems, self.groups, self.split)


def stored_evaluations(infos: Iterable[RunInfo]) -> list[Stored]:
    """Every final evaluation of the given results: those of `evaluate_model`, of checkpoints and of training runs.

    Raises EmptyDataset where there is none.
    """
    found = []
    for info in infos:
        manifest = info.manifest
        config = Config.model_validate(manifest["config"])
        for path in store.files(info.folder, "evaluation/*.parquet"):
            split, decoding = split_of(path), path.name.split(".")[-2]
            sampled = config.evaluation.sampled
            protocol = (
                Protocol(**manifest["protocol"])
                if "protocol" in manifest
                else (parse_protocol(decoding, *((sampled.temperature, sampled.top_p) if sampled else ())))
            )
            groups = rollout_groups(path)
            by_id = stored_problems(info.folder, config.task, split)
            benchmark = manifest.get("benchmark") or (split if split in known_benchmarks() else config.task.name)
            found.append(
                Stored(
                    info,
                    benchmark,
                    split,
                    protocol,
                    manifest.get("prompt", "chat"),
                    tuple(by_id[i] for i in groups),
                    tuple(map(tuple, groups.values())),
                    manifest.get("origin", {}),
                )
            )
    if not found:
        raise EmptyDataset("none of these results holds an evaluation: there is nothing to tabulate")
    return found


def benchmark_table(
    stored: Iterable[Stored], ks: Sequence[int] | None = None, *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Every metric of every stored evaluation, one row per metric; intervals are over problems.

    Columns: label, teacher, seed, benchmark, split, protocol, metric, k, estimate, low, high, level, method; problems,
    of (gradable in the split), samples, responses, truncated, unparsed, timeout, error (shares of the responses),
    response_tokens, longest_response; temperature, top_p, max_new_tokens, prompt, template, left_out (rows without a
    gradable answer, by reason), tier, key, folder. `ks`: as `protocol.ks_for`; greedy evaluations have pass@1 only.
    """
    parts = []
    for e in stored:
        frame, config = e.frame, e.info.manifest["config"]
        chosen = () if e.protocol.greedy else ks_for(e.protocol, ks)
        names = {
            "label": e.info.label,
            "teacher": e.info.teacher,
            "seed": e.info.seed,
            "benchmark": e.benchmark,
            "split": e.split,
            "protocol": e.protocol.name,
        }
        left_out = "; ".join(f"{n} {reason}" for reason, n in e.facts.get("left_out", {}).items())
        behind = account(frame)
        behind |= {
            "of": e.facts.get("gradable", behind["problems"]),
            "temperature": e.protocol.temperature,
            "top_p": e.protocol.top_p,
            "max_new_tokens": config["evaluation"]["max_new_tokens"],
            "prompt": e.prompt,
            "template": e.facts.get("template", config["task"]["template"] or ""),
            "left_out": left_out,
            "tier": e.info.manifest["tier"],
            "key": e.info.key,
            "folder": published(e.info.folder),
        }
        part = measures(frame, chosen, 0.95, resamples)
        parts.append(pd.concat([pd.DataFrame([names] * len(part)), part, pd.DataFrame([behind] * len(part))], axis=1))
    return pd.concat(parts, ignore_index=True)


def export_lm_eval(stored: Sequence[Stored], folder: Path, ks: Sequence[int] | None = None) -> list[Path]:
    """Write stored evaluations of one model in lm-evaluation-harness's form (`evaluate/lm_eval.py`); the paths written.

    Raises Mismatch where the evaluations are of several models: the harness has one results file per model.
    """
    models = list(dict.fromkeys(_checkpoint(e.info) for e in stored))
    if len(models) > 1:
        raise Mismatch(f"an export is of one model, got {', '.join(map(named, models))}: export them one by one")
    tokenizer = tokenizer_of(models[0])
    config = Config.model_validate(stored[0].info.manifest["config"])
    template = str(tokenizer.chat_template) if stored[0].prompt == "chat" else None
    run: dict[str, Any] = {
        "device": config.cluster.device,
        "model_dtype": config.models.dtype,
        "batch_size": "auto",
        "batch_sizes": [],
        "use_cache": None,
        "limit": config.evaluation.limit,
        "bootstrap_iters": 0,
        "gen_kwargs": None,
        **{f"{name}_seed": config.seed for name in ("random", "numpy", "torch", "fewshot")},
    }
    infos = {e.info.key: e.info for e in stored}.values()
    facts = {
        "git_hash": git_state()["commit"],
        "date": time.time(),
        "chat_template": template,
        "chat_template_sha": None if template is None else text_sha256(template),
        "fewshot_as_multiturn": template is not None,
        "total_evaluation_time_seconds": str(sum(i.run_info["seconds"]["total"] for i in infos)),
    }
    return lm_eval.write(folder, [_harness_task(e, models[0], ks) for e in stored], named(models[0]), run, facts)


def _checkpoint(info: RunInfo) -> str:
    """The model behind a result: as stated, or the weights that a training run left."""
    manifest = info.manifest
    return str(manifest.get("checkpoint") or manifest.get("model") or info.folder / "weights")


def _harness_name(stored: Stored) -> str:
    parts = [stored.benchmark]
    if stored.split not in (main_split(stored.benchmark), stored.benchmark):
        parts.append(lm_eval.sanitized(stored.split))
    if not stored.protocol.greedy:
        parts.append(stored.protocol.name)
    return "_".join(parts)


def _harness_task(stored: Stored, model: str, ks: Sequence[int] | None) -> lm_eval.HarnessTask:
    tokenizer, protocol = tokenizer_of(model), stored.protocol
    config = stored.info.manifest["config"]
    prompts = tokenizer.batch_decode([list(g[0].prompt_ids) for g in stored.groups], skip_special_tokens=False)
    ends = tokenizer.convert_ids_to_tokens(list(stop_token_ids(model)))
    if stored.prompt == "plain":
        ends.append(NEXT_QUESTION)
    generation = {
        "until": ends,
        "do_sample": not protocol.greedy,
        "max_gen_toks": config["evaluation"]["max_new_tokens"],
        "temperature": protocol.temperature,
        "top_p": protocol.top_p,
    }
    values = problem_values(stored.frame, () if protocol.greedy else ks_for(protocol, ks))
    return lm_eval.HarnessTask(
        name=_harness_name(stored),
        problems=stored.problems,
        groups=stored.groups,
        prompts=prompts,
        generation=generation,
        values=values.rename(columns={"pass@1": "exact_match"}),
        shots=int(stored.facts.get("shots", 0)),
        original=int(stored.facts.get("gradable", len(stored.problems))),
        config={"dataset_path": stored.facts.get("rows", stored.benchmark), "test_split": stored.split},
    )


REPORT = ("benchmarks.md", "benchmarks.csv", "responses.parquet")
GRADERS_REPORT = ("graders.md", "graders.csv", "agreement.csv", "disagreements.csv")
"""The files of a report, and those it has with `graders`; lm-evaluation-harness's have the time in their names."""


@dataclass(frozen=True)
class Written:
    """What `write_report` wrote, and the same as text for a terminal."""

    paths: tuple[Path, ...]
    shown: tuple[str, ...]


def write_report(
    infos: Sequence[RunInfo],
    folder: Path | None = None,
    ks: Sequence[int] | None = None,
    *,
    graders: bool = False,
    lm_eval_files: bool = False,
) -> Written:
    """Write what there is to say about stored evaluations of one model into `folder`.

    benchmarks.md, benchmarks.csv    `benchmark_table`, as a reader sees it and in full
    responses.parquet                one row per response, without its text
    graders.md, graders.csv          with `graders`: accuracy under every grader
    agreement.csv                    with `graders`: agreement and kappa of every pair
    disagreements.csv                with `graders`: every response that divides them, with its text
    lm-eval/<model>/                 with `lm_eval_files`: lm-evaluation-harness's files
    report.json                      which of the folder's files are the report's

    report.json                      the SHA-256 of every other file, written last

    Default folder: `results/benchmarks/<model>/<hash of the keys>`, so a folder holds one set of results. Files of an
    earlier report that nobody changed since are replaced or go; nothing else does (`own_files`).
    """
    before = own_files(folder, graders=graders) if folder else set()
    folder = folder or _report_folder(infos)
    before |= own_files(folder)
    stored = stored_evaluations(infos)
    table = benchmark_table(stored, ks)
    shown, notes = words.format_benchmarks(table, ks), words.benchmark_notes(table)
    line = stamp_line(infos[0].manifest["tier"], [i.key for i in infos], table)
    texts = {"benchmarks.md": words.markdown(shown, notes, line)}
    frames = {"benchmarks.csv": table}
    rows = [e.frame.assign(benchmark=e.benchmark, protocol=e.protocol.name, key=e.info.key) for e in stored]
    with atomically(folder / "responses.parquet") as partial:
        pd.concat(rows, ignore_index=True).to_parquet(partial)
    if graders:
        judged, by = _graded(stored), ("benchmark", "split", "protocol")
        by_grader = words.grader_table(judged, by)
        texts["graders.md"] = words.markdown(words.format_graders(by_grader), words.grader_sentences(by_grader), line)
        frames |= {
            "graders.csv": by_grader,
            "agreement.csv": words.agreement_table(judged, by),
            "disagreements.csv": disagreements(judged),
        }
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, frame in frames.items():
        write_text(folder / name, csv_text(frame))
    paths = [folder / name for name in (*texts, *frames, "responses.parquet")]
    if lm_eval_files:
        paths += export_lm_eval(stored, folder / "lm-eval", ks)
    for stale in before - set(paths):
        discard(stale)
    made = sorted(path.relative_to(folder).as_posix() for path in paths)
    write_json(folder / REPORT_STAMP, {"keys": [i.key for i in infos], "files": account_of(folder, made)})
    return Written(tuple(paths), tuple(texts.values()))


def own_files(folder: Path, graders: bool | None = None) -> set[Path]:
    """The files in `folder` that an earlier report wrote and nobody changed since.

    With `graders` (whether a report with them is to be written): raises ConfigError where that would replace any other.
    """
    stamp = folder / REPORT_STAMP
    before = read_json(stamp, f"remove it, or give another folder than {folder}") if stamp.is_file() else {}
    listed: dict[str, dict[str, Any]] = before.get("files", {}) if isinstance(before, dict) else {}
    inside = {n: of for n, of in listed.items() if (folder / n).resolve().is_relative_to(folder.resolve())}
    own = {folder / n for n, of in inside.items() if not (folder / n).is_symlink() and not altered(folder, {n: of})}
    if graders is not None:
        planned = [folder / name for name in (*REPORT, *(GRADERS_REPORT if graders else ()))]
        others = sorted(path.name for path in planned if path.exists() and path not in own)
        if stamp.is_file() and not (isinstance(before, dict) and {"keys", "files"} <= before.keys()):
            others.append(REPORT_STAMP)
        if others:
            raise ConfigError(
                f"{folder} holds {', '.join(others)}, which no earlier report wrote there or somebody changed since: "
                "nothing of it is replaced; give another folder, or move the file away"
            )
    return own


def _report_folder(infos: Sequence[RunInfo]) -> Path:
    """The folder of a set of results, whatever their order."""
    model = lm_eval.sanitized(infos[0].label)
    return results_dir() / "benchmarks" / model / digest(sorted(i.key for i in infos))


def _graded(stored: Sequence[Stored]) -> pd.DataFrame:
    """The responses judged by every grader, each evaluation by its own extraction rules."""
    parts = []
    for e in stored:
        section = TaskSection(**e.info.manifest["config"]["task"])
        frame = graded(e.problems, e.groups, verifier=answer_verifier(section))
        parts.append(
            frame.assign(
                label=e.info.label, benchmark=e.benchmark, split=e.split, protocol=e.protocol.name, key=e.info.key
            )
        )
    return pd.concat(parts, ignore_index=True)

"""Evaluations as lm-evaluation-harness writes them: `results_<date>.json` and `samples_<task>_<date>.jsonl`.

The form is that of lm_eval 0.4.13, read from its `result_schema.py`, `evaluator.py` and `evaluation_tracker.py`:
folder `<model>` with `/` as `__`; one line per document and filter; hashes are SHA-256 of document (JSON, indent 2),
the prompt and the target; a standard error is the SD (n − 1) over documents divided by √n, "N/A" for one document.

What differs, because it is not lm_eval that ran: the only filter is `math-verify` (this project's extraction and
verifier); `exact_match` of a document is its verdict, `avg@N`, `pass@k` and `maj@k` are its expected value over its
samples; an answer that was not found is `[invalid]`, as there; fields about lm_eval's own installation are absent (all
fields of its schema are optional).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from artifact.errors import EmptyDataset
from artifact.files import write_text
from artifact.provenance import text_sha256
from artifact.records import Problem, Rollout

FILTER = "math-verify"
INVALID = "[invalid]"


@dataclass(frozen=True)
class HarnessTask:
    """One evaluation as lm_eval's task.

    name         unique in an export: `gsm8k`, `gsm8k_avg16`
    prompts      the text of each prompt, special tokens included
    generation   lm_eval's generation arguments: until, max_gen_toks, do_sample, temperature, top_p
    values       metric → value of each document, as `protocol.problem_values` has them
    original     gradable problems of the split, of which `problems` may be the first few
    config       what else should stand under `configs`
    """

    name: str
    problems: Sequence[Problem]
    groups: Sequence[Sequence[Rollout]]
    prompts: Sequence[str]
    generation: Mapping[str, Any]
    values: pd.DataFrame
    original: int
    shots: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)


def sample_rows(task: HarnessTask) -> list[dict[str, Any]]:
    """The lines of `samples_<task>_<date>.jsonl`. Raises EmptyDataset for a task without documents."""
    if not task.problems:
        raise EmptyDataset(f"task {task.name!r} holds no document: there is nothing to export")
    rows = []
    parts = zip(task.problems, task.groups, task.prompts, strict=True)
    for index, (problem, group, prompt) in enumerate(parts):
        doc = {name: getattr(problem, name) for name in Problem.COLUMNS}
        found = [_answer(r) for r in group]
        metrics = {str(m): float(v) for m, v in task.values.loc[problem.id].items()}
        rows.append(
            {
                "doc_id": index,
                "doc": doc,
                "target": problem.answer,
                "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": dict(task.generation)}},
                "resps": [[r.text for r in group]],
                "filtered_resps": found if len(found) == 1 else [found],
                "filter": FILTER,
                "metrics": list(metrics),
                "doc_hash": text_sha256(json.dumps(doc, indent=2, default=str, ensure_ascii=False)),
                "prompt_hash": text_sha256(prompt),
                "target_hash": text_sha256(problem.answer),
                **metrics,
            }
        )
    return rows


def results(
    tasks: Sequence[HarnessTask], model: str, run: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `results_<date>.json`, without `task_hashes`.

    run    what stands under `config` beside model and arguments (device, limit, seeds)
    facts  further top-level fields (git_hash, date, chat_template, total_evaluation_time_seconds)
    """
    numbers: dict[str, dict[str, Any]] = {}
    for task in tasks:
        numbers[task.name] = {"name": task.name, "alias": task.name, "sample_len": len(task.problems)}
        for metric, values in task.values.items():
            n = len(values)
            error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else "N/A"
            numbers[task.name] |= {f"{metric},{FILTER}": float(values.mean()), f"{metric}_stderr,{FILTER}": error}
    by_name = {t.name: t for t in tasks}
    return {
        "results": numbers,
        "group_subtasks": {},
        "configs": {n: _config(t) for n, t in by_name.items()},
        "versions": dict.fromkeys(by_name, 1.0),
        "n-shot": {n: t.shots for n, t in by_name.items()},
        "higher_is_better": {n: {str(m): True for m in t.values.columns} for n, t in by_name.items()},
        "n-samples": {n: {"original": t.original, "effective": len(t.problems)} for n, t in by_name.items()},
        "config": {"model": "artifact", "model_args": f"pretrained={model}", **run},
        "model_source": "artifact",
        "model_name": model,
        "model_name_sanitized": sanitized(model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": True,
        **facts,
    }


def write(
    folder: Path,
    tasks: Sequence[HarnessTask],
    model: str,
    run: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: datetime | None = None,
) -> list[Path]:
    """Write one results file and a samples file per task below `folder/<model>`; returns their paths.

    Raises EmptyDataset without tasks, ValueError where two tasks share a name.
    """
    names = [t.name for t in tasks]
    if not tasks:
        raise EmptyDataset("no evaluations to export")
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks of an export share a name: {names}")
    target = folder / sanitized(model)
    date = (now or datetime.now()).isoformat().replace(":", "-")
    content = results(tasks, model, run, facts) | {"task_hashes": {}}
    paths = []
    for task in tasks:
        rows = sample_rows(task)
        text = "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
        paths.append(write_text(target / f"samples_{task.name}_{date}.jsonl", text))
        content["task_hashes"][task.name] = text_sha256(
            "".join(r["doc_hash"] + r["prompt_hash"] + r["target_hash"] for r in rows)
        )
    text = json.dumps(content, indent=2, default=str, ensure_ascii=False)
    return [write_text(target / f"results_{date}.json", text), *paths]


def sanitized(model: str) -> str:
    """A model's name as a folder name, by lm_eval's rule: each run of forbidden characters becomes `__`."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)


def _config(task: HarnessTask) -> dict[str, Any]:
    return {
        "task": task.name,
        "output_type": "generate_until",
        "num_fewshot": task.shots,
        "repeats": len(task.groups[0]),
        "generation_kwargs": dict(task.generation),
        "metric_list": [{"metric": str(m), "aggregation": "mean", "higher_is_better": True} for m in task.values],
        "filter_list": [{"name": FILTER}],
        "metadata": {"version": 1.0},
        **task.config,
    }


def _answer(rollout: Rollout) -> str:
    found = rollout.verdict.extracted if rollout.verdict else None
    return INVALID if found is None else found

"""The rollouts of a run as a log of inspect-ai, which its viewer opens: `inspect view --log-dir FOLDER`.

The format is a zip archive of JSON: `header.json` is the log without its samples, `samples/<id>_epoch_<n>.json` one
sample each, `summaries.json` what the viewer lists. A response is a sample: its problem and step are the id, its number
among the problem's responses the epoch, its verdict the score (C correct, I wrong, N without an answer or unsettled).
Only the standard library writes it, so that inspect-ai, whose dependencies are not ours, need not be installed here.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifact.files import atomically
from artifact.inspect.collection import Rollouts, Shown
from artifact.provenance import text_hash
from artifact.records import Status
from artifact.studies import store

VERSION = 2
"""Version of the log format."""

SCORER = "verifier"
VALUE = {Status.CORRECT: "C", Status.WRONG: "I"}
STEP = (1980, 1, 1, 0, 0, 0)
"""The time of every entry of the archive, the earliest that a zip file knows: the same rollouts give the same bytes."""


def write_eval(table: Rollouts, path: str | Path) -> Path:
    """Write the responses of `table` to `path`, whole or not at all."""
    target = Path(path)
    finished = store.run_info(table.run.folder)["finished"]
    created = datetime.fromisoformat(finished).astimezone(UTC).isoformat(timespec="seconds")
    summaries: list[dict[str, Any]] = []
    with atomically(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, value: Any) -> None:
            entry = zipfile.ZipInfo(name, STEP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, json.dumps(value, ensure_ascii=True, sort_keys=True))

        header = _header(table, created)
        write("_journal/start.json", {name: header[name] for name in ("version", "eval", "plan")})
        for sample in _samples(table):
            write(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
            kept = ("id", "uuid", "epoch", "input", "target", "metadata", "scores", "completed")
            summaries.append({name: sample[name] for name in kept if name in sample} | {"completed": True})
        write("summaries.json", summaries)
        write("header.json", header)
    return target


def _samples(table: Rollouts) -> Iterable[dict[str, Any]]:
    seen: dict[str, int] = {}
    for shown in table:
        name = f"{shown.problem.id}@{shown.step}"
        seen[name] = seen.get(name, 0) + 1
        yield _sample(shown, name, seen[name])


def _sample(shown: Shown, name: str, epoch: int) -> dict[str, Any]:
    r, p, known = shown.rollout, shown.problem, shown.run.annotations.get(shown.problem.id)
    verdict = r.verdict
    score = {
        "value": VALUE.get(verdict.status, "N") if verdict else "N",
        "answer": verdict.extracted if verdict else None,
        "explanation": f"{verdict.status} {verdict.detail}".strip() if verdict else "unverified",
    }
    message = {"role": "assistant", "content": r.text, "source": "generate"}
    metadata = {
        "step": shown.step,
        "sample": r.sample,
        "difficulty": p.difficulty,
        "family": str(p.meta.get("family", "")),
        "tokens": len(r.response_ids),
        "mean_logprob": r.mean_logprob,
        "entropy": None if known is None else known.normalised,
        "weight": None if known is None else known.weight,
    }
    return {
        "id": name,
        "uuid": text_hash(f"{shown.run.key} {name} {epoch}"),
        "epoch": epoch,
        "input": p.question,
        "target": p.answer,
        "messages": [{"role": "user", "content": shown.prompt, "source": "input"}, message],
        "output": {
            "model": shown.run.key,
            "choices": [{"message": message, "stop_reason": "max_tokens" if r.truncated else "stop"}],
            "completion": r.text,
        },
        "scores": {SCORER: score},
        "metadata": metadata,
    }


def _header(table: Rollouts, created: str) -> dict[str, Any]:
    run, n = table.run, len(table)
    correct = table.counts.get("correct", 0)
    name = f"{run.config.task.name}-{table.part}"
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": run.key,
            "run_id": run.key,
            "task_id": run.key,
            "task": name,
            "created": created,
            "model": f"artifact/{run.key}",
            "dataset": {"name": run.config.task.name, "samples": n},
            "config": {},
            "metadata": {
                "run": run.key,
                "method": run.config.method,
                "teacher": run.config.teacher,
                "seed": run.config.seed,
            },
        },
        "plan": {"name": "plan", "steps": []},
        "results": {
            "total_samples": n,
            "completed_samples": n,
            "scores": [
                {
                    "name": SCORER,
                    "scorer": SCORER,
                    "params": {},
                    "metrics": {"accuracy": {"name": "accuracy", "value": correct / n if n else 0.0, "params": {}}},
                }
            ],
        },
        "stats": {"started_at": created, "completed_at": created, "model_usage": {}},
    }

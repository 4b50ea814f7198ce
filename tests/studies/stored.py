"""A stored evaluation made by hand: five responses in the folder that `artifact evaluate` would have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artifact.config import load
from artifact.records import Problem, Rollout, Status, Verdict, write_parquet
from artifact.studies.runner import RunInfo
from artifact.studies.store import with_files

PROBLEMS = [
    Problem("p0", "Zoe has 2 books, buys 3. How many books?", "5", None, "gsm8k", "easy", {"family": "sum"}),
    Problem(
        "p1",
        "Tom has one book. " + "He reads a page of it, then one more. " * 4 + "He gives away half of 1.",
        "0.5",
        None,
        "gsm8k",
        "easy",
    ),
    Problem("p2", "Ben fills 3 bags of 2 books. How many books?", "6", None, "gsm8k", "hard"),
]
TEXTS = {  # problem → samples: response, extracted, status, finish reason
    "p0": [(r"2+3=5;\boxed{5}", "5", "correct", "stop"), (r"\boxed{5 books}", "5 books", "correct", "stop")],
    "p1": [(r"\boxed{\frac12}", r"\frac12", "correct", "stop"), (r"\boxed{2}", "2", "wrong", "stop")],
    "p2": [("[bold]3*2=", None, "unparsed", "length"), (r"\boxed{7}", "7", "wrong", "stop")],
}


def rollouts(samples: int) -> list[Rollout]:
    """The first responses of each problem."""
    return [
        Rollout(
            p,
            j,
            (1, 2),
            (3,) * (j + 1),
            (0.0,) * (j + 1),
            text,
            ended,
            verdict=Verdict(Status(status), answer, "by hand", "boxed"),
        )
        for p, of in TEXTS.items()
        for j, (text, answer, status, ended) in enumerate(of[:samples])
    ]


def seal(folder: Path, manifest: dict[str, Any], run_info: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make what lies in `folder` a finished result; returns its manifest."""
    facts, info = with_files(folder, manifest, run_info or {"seconds": {"total": 1.5}})
    (folder / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "run_info.json").write_text(json.dumps(info), encoding="utf-8")
    return facts


def stored(results: Path, key: str, samples: int = 1, **facts: Any) -> RunInfo:
    """An evaluation on `gsm8k` under `results`, greedy (one sample) or avg2."""
    name, temperature = ("greedy", 0.0) if samples == 1 else (f"avg{samples}", 1.2)
    folder = results / "evaluations" / key
    write_parquet(folder / "problems.parquet", PROBLEMS, Problem)
    write_parquet(folder / "evaluation" / f"test.{name}.parquet", rollouts(samples), Rollout)
    config = load("tiny", {"task.name": "gsm8k", "evaluation.final": ["test"]}).model_dump(mode="json")
    manifest = {
        "kind": "evaluations",
        "key": key,
        "tier": "tiny",
        "model": "models/tiny/student",
        "benchmark": "gsm8k",
        "checkpoint": "models/tiny/student",
        "split": "test",
        "config": config,
        "protocol": {"name": name, "samples": samples, "temperature": temperature, "top_p": 0.95},
        "origin": {"left_out": {}, "gradable": 1319, "shots": 0, "template": "zero_shot", "rows": "gsm8k/test"} | facts,
    }
    seal(folder, manifest)
    return RunInfo("models/tiny/student", "none", "A", 0, key, folder, manifest, "models/tiny/student")

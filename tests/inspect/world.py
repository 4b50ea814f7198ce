"""A stored run of the tests' own letters, recorded token by token, and a stored annotation of its teacher.

As `artifact train` leaves it, but trained in this process by `LocalWorkers`. The text of one rollout is hostile.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.world import Log
from tests.train.tiny import STOP, Network, decode, inputs, settings

from artifact.config import load
from artifact.paths import project_root
from artifact.phase1.judge import Judgement
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, write_parquet
from artifact.studies import store
from artifact.studies.annotate import clustering_settings, sampling_settings
from artifact.train.inputs import RunInputs, TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import make
from artifact.train.rollouts import evaluate

KEY = "00000000000c04e0"
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)> & "quoted" \u202e'


class Hostile(LocalWorkers):
    """Its first rollout of every call says something that a page must not obey."""

    def sample(self, *arguments: Any, **options: Any) -> list[tuple[Rollout, ...]]:
        groups = super().sample(*arguments, **options)
        first = groups[0][0]
        return [(replace(first, text=first.text + HOSTILE), *groups[0][1:]), *groups[1:]]


def world() -> RunInputs:
    """Five problems: p0 and p1 are `curve` as well; those with an odd number have no solution."""
    made = inputs()
    kept = [
        replace(p, difficulty="hard" if i % 2 else "easy", meta={"family": "ab"[i % 2]}, question=f"Say {p.answer} <b>")
        for i, p in enumerate(made.train)
    ]
    solved = [p if i % 2 == 0 else replace(p, solution=None) for i, p in enumerate(kept)]
    return replace(made, train=solved, curve=solved[:2])


def stored_run(method: str = "core", key: str = KEY) -> Path:
    """A finished run of four steps under `results/runs`; every step and problem is recorded."""
    config = load("tiny", {"method": method})
    with store.result("runs", key, config) as out:
        if not out.finished:
            s = settings(
                train__steps=4,
                train__curve_every=2,
                sampling__samples_per_prompt=4,
                records__every=1,
                records__prompts=2,
                optimiser__lr=0.1,
            )
            made, log, problems = (
                Hostile(Network(), Network(seed=9), s, decode, [STOP]),
                Log(out.folder, "a", False),
                world(),
            )
            train(s, make(method, s), problems, made, made, log, TeacherAnnotations())
            write_parquet(out.folder / "problems.parquet", problems.train, Problem)
            asked = problems.prompts(problems.train)
            groups = evaluate(made, problems.train, asked, problems.verify, max_new_tokens=5, seed=0)
            write_parquet(
                out.folder / "evaluation" / "evaluation.greedy.parquet", (r for g in groups for r in g), Rollout
            )
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
                shutil.copy(project_root() / "models" / "tiny" / "student" / name, out.folder / "weights" / name)
            out.manifest["token_records"] = log.recorded_tokens()
    return out.folder


def stored_annotation(samples: int = 8, key: str = "00000000000a0000") -> Path:
    """The teacher of such a run on p0 (of two minds, the judge asked once) and p1 (sure and wrong)."""
    config = load("tiny")
    with store.result(
        "annotations", key, config, settings=sampling_settings(config) | clustering_settings(config)
    ) as out:
        if not out.finished:
            out.manifest |= {"model": config.teacher_path, "teacher": "A"}
            out.manifest["settings"]["samples"] = samples
            n, halves = 8, (0, 0, 0, 0, 1, 1, 1, 1)
            common: dict[str, Any] = {"n": n, "n_valid": n, "normaliser": "n", "parsed": (1,) * n}
            common |= {
                "token_counts": (3,) * n,
                "mean_logprobs": (-0.5,) * n,
                "mean_logprob": -0.5,
                "judge": "symbolic",
            }
            torn = Annotation(
                problem_id="p0",
                entropy=0.693,
                discrete_entropy=0.693,
                normalised=0.333,
                weight=0.667,
                clusters=2,
                cluster_ids=halves,
                answers=("a", "a", "a", "(a)", HOSTILE, HOSTILE, HOSTILE, HOSTILE),
                cluster_probs=(0.75, 0.25),
                intra_entropy=(0.5, 0.0),
                majority_answer="a",
                majority_share=0.5,
                majority_correct=1,
                answer_string_entropy=1.0,
                judgements=(Judgement("(a)", "a", True, "symbolic"),),
                **common,
            )
            sure = replace(
                torn,
                problem_id="p1",
                entropy=0.0,
                discrete_entropy=0.0,
                normalised=0.0,
                weight=1.0,
                clusters=1,
                cluster_ids=(0,) * n,
                answers=("c",) * n,
                cluster_probs=(1.0,),
                intra_entropy=(0.0,),
                majority_answer="c",
                majority_share=1.0,
                majority_correct=0,
                judgements=(),
            )
            write_parquet(out.folder / "annotations.parquet", [torn, sure], Annotation)
    return out.folder

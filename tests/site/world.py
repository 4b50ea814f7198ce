"""Stored results made by hand, so that a test knows who each is: eight runs, the untrained student, two tables."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from tests.escape.payloads import HOSTILE
from tests.studies.stored import seal

from artifact.config import Config
from artifact.paths import project_root
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, Status, Verdict, write_parquet
from artifact.report.outputs import save_figure, save_table
from artifact.studies.annotate import clustering_settings, sampling_settings
from artifact.studies.study import load_study
from artifact.suremath.load import Published
from artifact.suremath.publish import LineageRow
from artifact.train.token_records import TokenRecord

FAMILIES = ("eq", "mod", "sum")
CELLS = {"opd": "OPD (uniform)", "uopd-soft": "UOPD (soft)"}
SAID = HOSTILE[0]
"""One of the two answers of every teacher to every problem."""

TEACHERS, SEEDS = ("A", "B"), (0, 1)
PROBLEMS = [
    Problem(
        f"p{i}",
        f"What is {i} + 1?",
        str(i + 1),
        None,
        "tinymath",
        "easy" if i % 2 else "hard",
        {"family": FAMILIES[i % 3]},
    )
    for i in range(12)
]
MODELS = {"student": {"commit": None, "content": "c0ffee", "model": "models/tiny/student"}}
INFO = {
    "seconds": {"total": 61.0},
    "finished": "2026-01-01T00:00:00+00:00",
    "git": {"commit": "a" * 40, "dirty": None},
    "hardware": {"cores": 2, "cpu": "hand", "memory_gib": 4, "gpus": []},
}


@dataclass(frozen=True)
class Made:
    """A run as it was made: who it is, and which problems it answered right in the end."""

    key: str
    cell: str
    teacher: str
    seed: int
    right: frozenset[str]


def rollout(problem: Problem, sample: int, right: bool, text: str | None = None, step: int = -1, n: int = 3) -> Rollout:
    said = text if text is not None else f"\\boxed{{{problem.answer if right else 'no'}}}"
    verdict = Verdict(Status.CORRECT if right else Status.WRONG, problem.answer if right else "no", "by hand", "boxed")
    return Rollout(problem.id, sample, (1, 2), (3,) * n, (-0.5,) * n, said, "stop", step, verdict)


def run(results: Path, config: Config, key: str, right: frozenset[str], texts: list[str] | None = None) -> None:
    """A stored training run of `config`; with `texts` they are its rollouts of training, else two a problem."""
    folder = results / "runs" / key
    write_parquet(folder / "problems.parquet", PROBLEMS, Problem)
    write_parquet(
        folder / "evaluation" / "evaluation.greedy.parquet", [rollout(p, 0, p.id in right) for p in PROBLEMS], Rollout
    )
    for step in (0, 4):
        write_parquet(
            folder / "curve" / f"step-{step:06d}.parquet", [rollout(p, 0, p.id in right) for p in PROBLEMS[:6]], Rollout
        )
    trained = [rollout(p, j, j == 0, step=1) for p in PROBLEMS for j in range(2)]
    if texts is not None:
        trained = [rollout(PROBLEMS[i % 12], i, i % 3 == 0, text, 1, 3 + i % 5) for i, text in enumerate(texts)]
    write_parquet(folder / "rollouts" / "step-000002.parquet", trained, Rollout)
    logged = [
        {"step": i, "loss": 1.0 - i / 4, "loss/distil": 1.0 - i / 4, "rollout_accuracy": i / 4, "grad_norm": 0.5}
        for i in range(3)
    ]
    costs = {"response_tokens": 36.0, "teacher_tokens": 36.0, "rollouts": 12.0, "seconds/rollout": 0.5}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row | costs) + "\n" for row in logged), encoding="utf-8")
    if texts is None:
        _tokens(folder)
    needs = vars(config.make_method().needs) | {"contexts": []}
    facts: dict[str, Any] = {
        "kind": "runs",
        "key": key,
        "tier": "tiny",
        "config": config.model_dump(mode="json"),
        "models": MODELS,
    }
    facts |= {"method": config.method, "teacher": config.teacher, "seed": config.seed, "needs": needs}
    seal(folder, json.loads(json.dumps(facts, sort_keys=True)), INFO)


LIKELIEST = (4, 5)
"""Ids of the two tokens that both models hold likeliest at every place."""


def _tokens(folder: Path) -> None:
    """The tokens of the first rollout to the first three problems: the teacher surer from one token to the next."""
    n, even = 3, math.log(0.5)
    record = TokenRecord(
        1,
        "",
        0,
        "distil",
        0,
        1.0,
        (1, 2),
        (3,) * n,
        (True,) * n,
        2,
        (-0.5,) * n,
        (0.7,) * n,
        LIKELIEST * n,
        (even, even) * n,
        loss_weight=(0.25,) * n,
        teacher_logprobs=(-0.1,) * n,
        teacher_entropy=(0.6, 0.4, 0.2),
        teacher_top_ids=LIKELIEST * n,
        teacher_top_logprobs=(math.log(0.75), math.log(0.25)) * n,
        divergence=(0.1, 0.2, 0.3),
        teacher_mass=(1.0,) * n,
    )
    records = [replace(record, problem_id=p.id) for p in PROBLEMS[:3]]
    write_parquet(folder / "tokens" / "step-000001.parquet", records, TokenRecord)
    (folder / "weights").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(project_root() / "models" / "tiny" / "student" / name, folder / "weights" / name)


def base(results: Path, config: Config) -> None:
    """The untrained student, measured: no problem right."""
    folder = results / "checkpoints" / "ba5e000000000000"
    write_parquet(folder / "problems.parquet", PROBLEMS, Problem)
    write_parquet(
        folder / "evaluation" / "evaluation.greedy.parquet", [rollout(p, 0, False) for p in PROBLEMS], Rollout
    )
    facts = {"kind": "checkpoints", "key": folder.name, "tier": "tiny", "config": config.model_dump(mode="json")}
    seal(folder, facts | {"model": config.models.student, "models": MODELS}, INFO)


def annotation(results: Path, config: Config, weight: float) -> None:
    """An annotation of a teacher that gives the first problem `weight`, and all others 1."""
    made = [_annotated(p.id, weight if p.id == "p0" else 1.0) for p in PROBLEMS]
    folder = results / "annotations" / f"a{config.teacher.lower()}00000000000000"
    write_parquet(folder / "annotations.parquet", made, Annotation)
    settings = sampling_settings(config) | clustering_settings(config)
    facts = {"kind": "annotations", "key": folder.name, "tier": "tiny", "teacher": config.teacher, "settings": settings}
    seal(folder, facts | {"model": config.teacher_path, "samples": "none", "models": MODELS}, INFO)


def _annotated(problem: str, weight: float) -> Annotation:
    return Annotation(
        problem,
        2,
        2,
        "n",
        0.0,
        0.0,
        1 - weight,
        weight,
        1,
        (0, 1),
        (SAID, "1"),
        (1, 1),
        (0.5, 0.5),
        (0.0, 0.0),
        "1",
        1.0,
        1,
        0.0,
        -0.1,
        (3, 3),
        (-0.1, -0.1),
        "exact",
    )


CARD = f"""---
license: apache-2.0
---
# A card

It says {SAID} and ![a picture](https://example.invalid/a.png).

| what | how many |
|---|---|
| problems | 2 |
"""
"""A data card with front matter, a picture of elsewhere, and text that acts."""


def dataset(results: Path) -> None:
    """SURE-Math: a seed, a proposal of it that was dropped, and a published problem that was made from that."""
    folder = results / "suremath" / "50e0000000000000"
    common: dict[str, Any] = {"root_id": "s0", "seed_difficulty": "easy", "source": "seeds", "generator": "hand"}
    text: dict[str, Any] = {
        "answer": "2",
        "answer_source": "ground_truth",
        "solution": None,
        "task": "tinymath",
        "difficulty": "easy",
    }
    own = {"s0": ((), "seed", 0, "train"), "d1": (("s0",), "rephrase", 1, "filters: too easy")}
    own["p2"] = (("d1",), "compose", 2, "train")
    rows = [LineageRow(id=i, parent_ids=p, strategy=s, round=n, fate=f, **common) for i, (p, s, n, f) in own.items()]
    kept = [
        Published(id=i, question=f"Problem {i} {SAID}", parent_ids=p, strategy=s, round=n, **common, **text, weight=0.5)
        for i, (p, s, n, fate) in own.items()
        if fate == "train"
    ]
    write_parquet(folder / "dataset" / "lineage.parquet", rows, LineageRow)
    write_parquet(folder / "dataset" / "data" / "train-00000-of-00001.parquet", kept, Published)
    (folder / "dataset" / "README.md").write_text(CARD, encoding="utf-8")
    seal(folder, {"kind": "suremath", "key": folder.name, "tier": "tiny"}, INFO)


def make(results: Path) -> list[Made]:
    """All of it below `results`; the runs, in the order of their keys."""
    dataset(results)
    chance, made = random.Random(0), []
    planned = {(c.id, f.teacher, f.seed): f for c, f in load_study("uopd").runs("tiny") if c.id in CELLS}
    for number, (cell, teacher, seed) in enumerate(product(CELLS, TEACHERS, SEEDS)):
        config = planned[cell, teacher, seed]
        key = f"{number:x}" * 16
        right = frozenset(p.id for p in PROBLEMS if chance.random() < 0.5)
        run(results, config, key, right)
        made.append(Made(key, cell, teacher, seed, right))
    any_config = next(iter(planned.values()))
    base(results, any_config)
    for teacher in TEACHERS:
        annotation(results, planned["opd", teacher, 0], 0.25)
    keys = [m.key for m in made] + ["ba5e000000000000"]
    save_table(accuracy(made), "accuracy", tier="tiny", keys=keys, caption="Accuracy, means over seeds.", output="U-T2")
    by_family = differences(made)
    save_table(
        by_family, "differences", tier="tiny", keys=keys, caption="Soft minus uniform by family <b>&.", output="U-T2"
    )
    named = by_family.drop(columns=[f"x{i}" for i in range(40)])
    moved = named.assign(
        difference=by_family["x0"], low=by_family["x0"] - 0.1, high=by_family["x0"] + 0.1, verdict="higher"
    )
    save_table(moved, "uopd_family_differences", tier="tiny", keys=keys, caption="Moved.", output="U-T2")
    save_table(phase_one(), "annotation_by_family", tier="tiny", keys=keys, caption="By family.")
    fig = Figure(figsize=(3, 2), layout="constrained")
    fig.subplots().plot([0, 1], [0, 1])
    save_figure(fig, "se_accuracy", by_family, tier="tiny", keys=keys, caption="A line.", output="U-F2")
    return made


def mean(made: list[Made], cell: str, teacher: str, family: str | None = None) -> float:
    """Share of right answers over seeds and problems, from what was made."""
    asked = [p for p in PROBLEMS if family in (None, p.meta["family"])]
    runs = [m for m in made if (m.cell, m.teacher) == (cell, teacher)]
    return sum(p.id in m.right for m in runs for p in asked) / (len(runs) * len(asked))


def accuracy(made: list[Made]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {"teacher": t, "cell": c, "label": CELLS[c], "accuracy": mean(made, c, t), "problems": 12, "seeds": 2}
        for t, c in product(TEACHERS, CELLS)
    ]
    return pd.DataFrame(
        [{"teacher": "A", "cell": "base", "label": "Base", "accuracy": 0.0, "problems": 12, "seeds": 1}, *rows]
    )


def phase_one() -> pd.DataFrame:
    """What phase 1 found of a teacher by family: a different number in each cell."""
    rows = [
        {"teacher": t, "group": g, "n": 4, "greedy_accuracy": i / 16, "weight": i / 10, "sure_and_wrong": i / 32}
        for i, (t, g) in enumerate(product(TEACHERS, ("all", *FAMILIES)))
    ]
    return pd.DataFrame(rows)


def differences(made: list[Made]) -> pd.DataFrame:
    rows = [
        {
            "teacher": t,
            "cell": "uopd-soft",
            "label": CELLS["uopd-soft"],
            "reference_cell": "opd",
            "reference": CELLS["opd"],
            "scope": family,
            **{f"x{i}": mean(made, "uopd-soft", t, family) - mean(made, "opd", t, family) + i for i in range(40)},
        }
        for t, family in product(TEACHERS, FAMILIES)
    ]
    return pd.DataFrame(rows)

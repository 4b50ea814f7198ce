"""Notebook 12 from first cell to last: real judge, metrics and truth on made-up responses; nothing is trained."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from artifact.config import Config, TaskSection
from artifact.evaluate.evaluate import to_frame
from artifact.phase1.annotate import annotate
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, write_parquet
from artifact.studies import annotate as phase_one
from artifact.studies import results, runner
from artifact.studies.inputs import problems_of, verify_for
from artifact.studies.judging import make_judge
from artifact.studies.study import load_study

ROOT = Path(__file__).resolve().parents[2]
TASK = TaskSection(name="tinytext", train_limit=24)
PROBLEMS = problems_of(TASK, "train", 24)
ROWS = {cell.id: cell.label for cell in load_study("other_tasks").cells}


def answered(problem: Problem, sample: int, right: bool) -> Rollout:
    """The reference solution, or that of another problem of its family, which is wrong, with its verdict."""
    others = [p for p in PROBLEMS if p.meta["family"] == problem.meta["family"] and p.solution != problem.solution]
    text = str(problem.solution if right else others[sample % len(others)].solution)
    (verdict,) = verify_for(TASK)([text], [problem])
    return Rollout(problem.id, sample, (1,), (2, 3), (-0.1, -0.1), text, "stop", -1, verdict)


def annotation(problem: Problem, config: Config, rng: Random) -> Annotation:
    samples = [answered(problem, n, rng.random() < 0.6) for n in range(4)]
    return annotate(problem, samples, make_judge(config)[0])


def evaluated(teacher: str, cell: str, label: str, seed: int) -> pd.DataFrame:
    rng = Random(f"{teacher}{cell}{seed}")
    groups = [(answered(p, 0, rng.random() < 0.5),) for p in PROBLEMS]
    frame = to_frame(PROBLEMS, groups, "evaluation")
    return frame.assign(label=label, cell=cell, teacher=teacher, seed=seed, key=cell, reads_gold=False)


@pytest.fixture
def results_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARTIFACT_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))

    def stored(config: Config) -> Path:
        folder = tmp_path / config.teacher
        rng = Random(config.teacher)
        write_parquet(folder / "annotations.parquet", (annotation(p, config, rng) for p in PROBLEMS), Annotation)
        return folder

    def frame(folder: Path) -> pd.DataFrame:
        rng = Random(folder.name)
        rows = [
            {"problem_id": p.id, "family": p.meta["family"], "difficulty": p.difficulty, "greedy_correct": i % 3 > 0}
            | {"majority_correct": True, "normalised": rng.random(), "weight": rng.random(), "clusters": 2}
            for i, p in enumerate(PROBLEMS)
        ]
        return pd.DataFrame(rows)

    def info(cell: str, label: str, teacher: str, seed: int = 0) -> SimpleNamespace:
        return SimpleNamespace(cell=cell, label=label, teacher=teacher, seed=seed, key=f"{cell}{teacher}{seed}")

    runs = [info(cell, label, t, s) for t in "AB" for cell, label in ROWS.items() for s in (0, 1)]
    monkeypatch.setattr(phase_one, "annotate", stored)
    monkeypatch.setattr(results, "annotation_frame", frame)
    monkeypatch.setattr(runner, "run_study", lambda *a, **k: runs)
    monkeypatch.setattr(
        runner, "baselines", lambda c: [info("base", "Base", c.teacher), info("teacher", "Teacher", c.teacher)]
    )
    monkeypatch.setattr(
        results,
        "evaluation_frame",
        lambda found: pd.concat([evaluated(i.teacher, i.cell, i.label, i.seed) for i in found], ignore_index=True),
    )


def test_every_cell_runs(results_at_hand: None, tmp_path: Path) -> None:
    cells = json.loads((ROOT / "notebooks" / "12_other_tasks.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in (c for c in cells if c["cell_type"] == "code"):
        source = "".join(cell["source"])
        if "parameters" in cell["metadata"].get("tags", []):
            source = 'tier, overrides = "tiny", {"task.train_limit": 24}'
        exec(compile(ast.parse(source), cell["id"], "exec"), names)
    figures = {p.stem for p in (tmp_path / "figures" / "tiny").glob("*.png")}
    assert figures == {"other_tasks_judge_rates", "other_tasks_auroc", "other_tasks_families"}
    tables = {p.stem for p in (tmp_path / "results" / "tables" / "tiny").glob("*.md")}
    assert tables == {
        "other_tasks_judges",
        "other_tasks_annotation",
        "other_tasks_entropies",
        "other_tasks_accuracy",
        "other_tasks_uopd_claimed",
        "other_tasks_core_claimed",
        "other_tasks_scores",
    }
    claimed = pd.read_csv(tmp_path / "results" / "tables" / "tiny" / "other_tasks_uopd_claimed.csv")
    assert set(claimed["scope"]) == {"all", "translation", "summary", "instruction"}

"""Notebook 06 from first cell to last on small made-up frames: nothing is trained, everything is drawn and said."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from artifact.stats.leak import CONTEXTS, FRACTIONS
from artifact.studies import comparison, leak_check, learning_rates, results, runner, sampled_evaluation

ROOT = Path(__file__).resolve().parents[2]


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


frames = _load("report_frames", ROOT / "tests" / "report" / "frames.py")
core = _load("figures_core_frames", ROOT / "tests" / "report" / "test_figures_core.py")
ROWS = (
    "SFT",
    "SeqKD",
    "OPD (uniform)",
    "UOPD (soft)",
    "Self-distilled (OPSD)",
    "GRPO",
    "Distil only",
    "Contrast only",
    "CORE",
)


def _metrics() -> pd.DataFrame:
    everything = frames.metrics_frame(4)
    return everything.merge(core.core_metrics(4), on=["cell", "label", "teacher", "seed", "step"], how="left").assign(
        kept=1.0
    )


def _leak(info: SimpleNamespace) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": model,
                "problem_id": f"p{i}",
                "sample": 0,
                "correct": True,
                "context": c,
                "fraction": f,
                "probability": (f + i / 10) / 2,
            }
            for model in (f"teacher {info.teacher}", "initial student")
            for i in range(4)
            for c in CONTEXTS
            for f in FRACTIONS
        ]
    )


def _graded(runs: Any) -> pd.DataFrame:
    """Two responses a run: all graders accept the first, only math-verify the second (to them 1/2 is not 0.5)."""
    rows = [
        {
            "label": info.label,
            "teacher": info.teacher,
            "seed": 0,
            "problem_id": problem,
            "sample": 0,
            "gold": "0.5",
            "question": "?",
            "response": f"\\boxed{{{answer}}}",
            "math_verify": "correct",
            "math_verify_answer": answer,
            "strict_string": strict,
            "strict_string_answer": answer,
            "numeric_last_number": strict,
            "numeric_last_number_answer": answer,
        }
        for info in runs
        for problem, answer, strict in (("p0", "0.5", "correct"), ("p1", "1/2", "wrong"))
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def results_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every function that would train or read a run gives a frame of the form it promises."""
    monkeypatch.setenv("ARTIFACT_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(frames, "LABELS", ROWS)

    def info(label: str, teacher: str = "A") -> SimpleNamespace:
        facts = {"seconds": {"total": 9.0}}
        cell = frames.CELLS.get(label, label)
        return SimpleNamespace(label=label, cell=cell, teacher=teacher, seed=0, key=f"{label}{teacher}", run_info=facts)

    study_runs = [info(label, teacher) for teacher in ("A", "B") for label in ROWS]
    monkeypatch.setattr(runner, "run_study", lambda *a, **k: study_runs)
    monkeypatch.setattr(runner, "baselines", lambda config: [info("Base"), info("Teacher", config.teacher)])
    monkeypatch.setattr(runner, "run", lambda config, label: info(label))
    monkeypatch.setattr(results, "evaluation_frame", lambda *a: frames.evaluation_frame(20))
    monkeypatch.setattr(sampled_evaluation, "sampled_evaluations", lambda runs, how: list(runs))
    monkeypatch.setattr(results, "graded_frame", _graded)
    monkeypatch.setattr(results, "curve_frame", lambda runs: frames.curve_frame())
    monkeypatch.setattr(results, "metrics_frame", lambda runs: _metrics())
    monkeypatch.setattr(comparison, "annotation_tokens", lambda configs: dict.fromkeys(configs, 1e5))
    monkeypatch.setattr(leak_check, "leak_check", _leak)
    monkeypatch.setattr(learning_rates, "selection_table", lambda tier, cells: core.learning_rates())


def test_every_cell_runs(results_at_hand: None, tmp_path: Path) -> None:
    cells = json.loads((ROOT / "notebooks" / "08_core_training.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in (c for c in cells if c["cell_type"] == "code"):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
    figures = {p.stem for p in (tmp_path / "figures" / "tiny").glob("*.png")}
    assert figures == {
        "core_learning_rates",
        "core_curves_steps",
        "core_curves_tokens",
        "core_curves_times",
        "core_curriculum",
        "core_families",
        "core_leak",
        "core_cost_times",
    }
    tables = {p.stem for p in (tmp_path / "results" / "tables" / "tiny").glob("*.md")}
    assert tables == {
        "core_budget",
        "core_budget_times",
        "core_main_table",
        "core_accuracy",
        "core_differences",
        "core_verdict_calibration",
        "core_claimed",
        "core_convergence",
        "core_graders",
    }
    words = " ".join(s.data for s in shown if hasattr(s, "data") and isinstance(s.data, str))
    assert "CORE: 0.001, with" in words and "the share of correct rollouts went" in words
    assert "initial student, reading the solution" in words and "against SFT" not in words
    assert len(names["divided"]) == len(names["graded"]) / 2  # the second response of each run
    assert set(names["graders"].set_index("grader")["accuracy"].loc["strict_string"]) == {0.5}
    assert list(names["differences"]["reference"].unique()) == ["SFT", "OPD (uniform)"]

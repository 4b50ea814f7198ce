"""Notebook 15 from first cell to last on stored runs of the tests' own letters: nothing needs a cluster."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.faults.world import info_of
from tests.inspect.world import stored_annotation, stored_run

from artifact import inspect
from artifact.studies import runner

ROOT = Path(__file__).resolve().parents[2]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))
    stored_annotation()
    core = replace(info_of(stored_run()), cell="core", label="CORE")
    opened = inspect.rollouts(core.folder).run
    asked: list[tuple[str, str]] = []

    def poke(info: Any, question: str, answer: str, samples: int) -> Any:
        asked.append((question, answer))
        return inspect.cluster(opened, "p0")

    def train(config: Any, label: str) -> Any:
        key = {"surprised": "0000000000005000", "opd": "00000000000009d0"}[config.method]
        assert config.train.token_records.every == 1 and config.teacher == core.teacher
        return info_of(stored_run(config.method, key))

    monkeypatch.setattr(runner, "run_study", lambda *a, **k: [core])
    monkeypatch.setattr(runner, "run", train)
    monkeypatch.setattr(inspect, "poke", poke)
    cells = json.loads((ROOT / "notebooks" / "15_poking_at_rollouts.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    views = 0
    for cell in (c for c in cells if c["cell_type"] == "code"):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
            views += hasattr(shown, "to_html") and "artifact-view" in str(shown._repr_html_())
    assert views == 10 and asked == [("Solve 3x+5=20.", "5")]
    both = names["both"]
    assert both["plain"].sum() == pytest.approx(1.0) and both["surprised"].sum() == pytest.approx(1.0)
    moved = both["surprised"] / both["plain"]
    assert moved.corr(both["surprise"], method="spearman") == pytest.approx(1.0), "the loss went to what surprised"

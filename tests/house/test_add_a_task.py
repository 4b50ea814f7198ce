"""A task is one new file: in a copy of the package it is found, sliced by the house, listed, and named in errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "artifact"

TASK = '''"""Counting: the task of this test."""

from artifact.records import Problem
from artifact.tasks.base import register


@register("count-up")
class CountUp:
    name, main, sizes = "count-up", "all", {"all": 9}

    def load(self, split):
        if split != "all":
            raise ValueError(f"no split {split!r}")
        return [Problem(f"c{i}", f"{i}+1?", str(i + 1), None, self.name, "easy") for i in range(9)]

    def messages(self, problem, context="none"):
        return [{"role": "user", "content": problem.question}]
'''

USE = """
import json
import artifact
from artifact.config import load
from artifact.studies.benchmark_targets import benchmark_list, targets
from artifact.studies.plan import problem_count
from artifact.studies.inputs import problems_of
from artifact.tasks import TaskError, get_task, task_names

config = load("tiny", {"task.name": "count-up", "task.train_split": "all[:-5]", "evaluation.limit": 100})
try:
    get_task("count-down")
except TaskError as err:
    error = str(err)
print(json.dumps({
    "package": artifact.__file__,
    "names": task_names(),
    "error": error,
    "list": benchmark_list().set_index("name").loc["count-up"].to_dict(),
    "target": [targets(config, ["count-up"])[0].split, targets(config, ["count-up"], "all[2:]")[0].split],
    "train": [p.id for p in problems_of(config.task, config.task.train_split, 3)],
    "last": [p.id for p in problems_of(config.task, "all[-2:]", None)],
    "counts": [problem_count(config, "train")[0], problem_count(config, "all[4:]")[0]],
}))
"""


def test_a_task_is_one_new_file(tmp_path: Path) -> None:
    copy = tmp_path / "src" / "artifact"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.parents[1] / "configs", tmp_path / "configs")
    shutil.copy(PACKAGE.parents[1] / "pyproject.toml", tmp_path)
    (copy / "tasks" / "catalogue" / "counting.py").write_text(TASK, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={"PYTHONPATH": str(copy.parent), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["package"]).parent == copy
    assert {"count-up", "tinymath", "gsm8k"} <= set(found["names"])
    assert "unknown task 'count-down'" in found["error"] and "count-up" in found["error"]
    row = {key: found["list"][key] for key in ("main", "splits", "rows", "data")}
    assert row == {"main": "all", "splits": "all", "rows": "9", "data": "made by the package"}
    assert found["target"] == ["all", "all[2:]"]
    assert found["train"] == ["c0", "c1", "c2"] and found["last"] == ["c7", "c8"]
    assert found["counts"] == [4, 5]

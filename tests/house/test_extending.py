"""`docs/extending.md`, done: what each recipe of the page says is applied to a copy of the project, and works there.

The page is the only source: files, lines and commands are taken from its blocks. Left out: what needs a cluster.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")

STEP = re.compile(
    r"^(New file|One line at the end of|One cell at the end of|Seen in)(?: `([^`]+)`)?[^\n]*:\n```(\w+)\n(.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
RECIPES = ("A method", "A task", "A graded task", "A benchmark", "A tier", "A figure", "An ablation")
MOST_LINES = 15


@dataclass(frozen=True)
class Step:
    """One block of the page: what is to be done with it, to which file, and its text."""

    what: str
    path: str
    text: str


def section(recipe: str) -> str:
    """The text below a heading of the page."""
    return PAGE.partition(f"\n## {recipe}\n")[2].partition("\n## ")[0]


def steps(recipe: str) -> list[Step]:
    return [Step(what, path, text) for what, path, _, text in STEP.findall(section(recipe))]


class Copy:
    """A copy of the project with the house, its settings, notebooks and their checks; models are linked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("src", "configs", "notebooks", "requirements", "tests/notebooks"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / name, root / name)
        (root / "models").symlink_to(ROOT / "models")
        hidden = {"ARTIFACT_ROOT", "ARTIFACT_DATA", "ARTIFACT_RESULTS", "ARTIFACT_FIGURES"}
        self.environment = {k: v for k, v in os.environ.items() if k not in hidden} | {
            "PYTHONPATH": str(root / "src"),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "240",
        }

    def apply(self, recipe: str) -> str:
        """Do what the recipe says; returns what its commands print."""
        printed = ""
        for step in steps(recipe):
            path = self.root / step.path
            if step.what == "New file":
                assert not path.exists(), f"{step.path} is no new file"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text, encoding="utf-8")
            elif step.what.startswith("One line"):
                with path.open("a", encoding="utf-8") as file:
                    file.write(step.text)
            elif step.what.startswith("One cell"):
                notebook = nbformat.read(path, as_version=4)
                notebook.cells += [new_markdown_cell("Words.", id="own-00"), new_code_cell(step.text, id="own-01")]
                nbformat.write(notebook, path)
            else:
                for line in step.text.splitlines():
                    program, *arguments = shlex.split(line)
                    assert program == "artifact", line
                    printed += self.python("-m", "artifact.cli.main", *arguments)
        return printed

    def python(self, *arguments: str) -> str:
        """Run Python in the copy; its standard output."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def value(self, code: str) -> Any:
        """What `code` leaves in `found`, with the package of the copy."""
        own = "import json, artifact\n" + code + "\nprint(json.dumps([artifact.__file__, found]))"
        package, found = json.loads(self.python("-c", own).splitlines()[-1])
        assert Path(package).is_relative_to(self.root)
        return found


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_the_page_has_each_recipe_and_no_other() -> None:
    assert tuple(re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)) == RECIPES
    assert sum(len(steps(recipe)) for recipe in RECIPES) == PAGE.count("```") // 2, "a block that no test applies"


@pytest.mark.parametrize("recipe", RECIPES)
def test_at_most_one_new_file_and_one_line_elsewhere(recipe: str) -> None:
    changes = [s for s in steps(recipe) if s.what != "Seen in"]
    kinds = ["file" if s.what == "New file" else "elsewhere" for s in changes]
    assert kinds and all(kinds.count(kind) <= 1 for kind in ("file", "elsewhere"))
    assert all(s.text.count("\n") == 1 for s in changes if s.what.startswith("One line"))
    assert sum(bool(line.strip()) for s in changes for line in s.text.splitlines()) <= MOST_LINES


def test_a_method(copy: Copy) -> None:
    copy.apply("A method")
    found = copy.value("""
from artifact.config import load
from artifact.records import Group, Problem, Rollout, Status, Verdict
from artifact.studies.keys import method_source
from artifact.train.methods.base import StepContext, available

problem = Problem("p", "?", "1", None, "t", "easy")
drawn = [(-3.0, Status.CORRECT), (-1.0, Status.WRONG), (-2.0, Status.CORRECT)]
rollouts = [Rollout("p", i, (1,), (i,), (l,), "", "stop", 0, Verdict(s)) for i, (l, s) in enumerate(drawn)]
method = load("tiny", {"method": "likeliest"}).make_method()
context = StepContext(0, lambda problem, context: (1,), lambda text: (1,))
batch = method.batch([Group(problem, (1,), tuple(rollouts)), Group(problem, (1,), ())], context)
found = {
    "listed": "likeliest" in available(),
    "examples": [(type(e).__name__, e.problem_id, e.response_ids, e.weight) for e in batch.examples],
    "coefficients": batch.coefficients,
    "metrics": batch.metrics,
    "keyed": bool(method_source(type(method))),
}
""")
    assert found == {
        "listed": True,
        "examples": [["Distil", "p", [2], 1.0]],
        "coefficients": {"distil": 1.0},
        "metrics": {"kept": 1.0},
        "keyed": True,
    }


def test_a_task(copy: Copy) -> None:
    printed = copy.apply("A task")
    assert re.search(r"count-up\W+all\W+all\W+9\W+made by the package", printed)
    found = copy.value("""
from artifact.config import load
from artifact.studies.benchmark_targets import targets
from artifact.studies.offline import problem_count
from artifact.errors import ArtifactError
from artifact.tasks import get_task, load_problems, task_names

config = load("tiny", {"task.name": "count-up", "task.train_split": "all[:-5]", "evaluation.limit": 100})
errors = []
for wrong in (lambda: get_task("count-down"), lambda: load_problems(get_task("count-up"), "some")):
    try:
        wrong()
    except ArtifactError as err:
        errors.append(str(err))
task = get_task("count-up")
found = {
    "names": task_names(),
    "errors": errors,
    "targets": [t.split for s in (None, "all[2:]") for t in targets(config, ["count-up"], s)],
    "train": [p.id for p in load_problems(task, config.task.train_split, 3)],
    "last": [p.answer for p in load_problems(task, "all[-2:]")],
    "counts": [problem_count(config, split)[0] for split in ("train", "all[4:]")],
    "prompt": task.messages(task.load("all")[3]),
}
""")
    assert {"count-up", "tinymath", "gsm8k"} <= set(found["names"])
    assert "unknown task 'count-down'" in found["errors"][0] and "count-up" in found["errors"][0]
    assert "not 'some'" in found["errors"][1]
    assert found["targets"] == ["all", "all[2:]"]
    assert found["train"] == ["c0", "c1", "c2"] and found["last"] == ["8", "9"] and found["counts"] == [4, 5]
    assert found["prompt"] == [{"role": "user", "content": "3 + 1?"}]


def test_a_graded_task(copy: Copy) -> None:
    assert "greeting" in copy.apply("A graded task")
    found = copy.value("""
from artifact.config import TaskSection
from artifact.studies.inputs import problems_of, verify_for

section = TaskSection(name="greeting")
ana, ben = problems_of(section, "all", None)
verdicts = verify_for(section)(["Good morning, Ana!", "Good morning, Ana.", ""], [ana, ben, ben])
found = [[str(v.status), v.rule, v.score] for v in verdicts]
""")
    (right, by, near), (_, _, less), (none, _, nothing) = found
    assert (right, by, none, nothing) == ("correct", "chrf", "unparsed", 0.0) and 0.6 <= less < near < 1


def test_a_benchmark(copy: Copy) -> None:
    printed = copy.apply("A benchmark")
    row = next(line for line in printed.splitlines() if "sums" in line)
    assert "easy" in row and "own" in row
    own = copy.root / "data" / "mine" / "test.jsonl"  # in a known format: no line anywhere
    own.parent.mkdir()
    own.write_text(json.dumps({"question": "Two and two?", "answer": "2 + 2 = 4\n#### 4"}) + "\n", encoding="utf-8")
    found = copy.value("""
from artifact.config import load
from artifact.studies.benchmark_targets import targets
from artifact.tasks import get_task, load_problems
from artifact.tasks.benchmark import find_benchmark

find_benchmark("gsm8k@mine")
task = get_task("sums")
problems = load_problems(task, "test")
found = {
    "problems": [(p.id, p.question, p.answer, p.difficulty) for p in problems],
    "prompted": all(p.question in task.messages(p)[-1]["content"] for p in problems),
    "target": [(t.benchmark, t.split) for t in targets(load("tiny"), ["sums"])],
    "own file": [(p.question, p.answer) for p in load_problems(get_task("gsm8k@mine"), "test")],
}
""")
    assert [p[1:] for p in found["problems"]] == [
        ["What is 2 + 3?", "5", "easy"],
        ["What is 1/2 + 1/3?", "5/6", "easy"],
    ]
    assert found["prompted"] and found["target"] == [["sums", "test"]]
    assert found["own file"] == [["Two and two?", "4"]]


def test_a_tier(copy: Copy) -> None:
    printed = copy.apply("A tier")
    outside = {"09_language_model": "it is about tier cpu-llm", "12_other_tasks": "it takes the settings of tier"}
    notebooks = sorted({p.stem for p in (copy.root / "notebooks").glob("*.ipynb")} - outside.keys())
    assert "Tier mine: the embedded models, four steps per run" in printed and "Study uopd: " in printed
    assert re.search(r"train\W+OPD \(uniform\): 4 steps", printed)
    assert re.findall(r"^(\d\d_\w+): would run", printed, flags=re.MULTILINE) == notebooks
    assert all(f"left out: {name}: not part of tier mine: {why}" in printed for name, why in outside.items())
    stamp = copy.value("from artifact.report.outputs import stamp_line\nfound = stamp_line('mine', ['k'], None)")
    assert stamp.startswith("tier: mine — a trial, not a paper number · runs ")


def test_a_figure(copy: Copy) -> None:
    copy.apply("A figure")
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/notebooks/test_notebooks_static.py", "-k", "02_")
    notebook = nbformat.read(copy.root / "notebooks" / "02_tiny_world.ipynb", as_version=4)
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    opened = next(i for i, source in enumerate(code) if "Notebook(" in source)
    run = "\n".join([*code[: opened + 1], code[-1]])
    copy.value(run + "\nfound = None")
    folder = copy.root / "figures" / "tiny"
    assert sorted(p.name for p in folder.iterdir()) == [
        f"question_lengths.{ending}" for ending in ("csv", "json", "pdf", "png")
    ]
    assert (folder / "question_lengths.png").read_bytes().startswith(b"\x89PNG")
    drawn = [line.split(",") for line in (folder / "question_lengths.csv").read_text().splitlines()]
    assert drawn[0] == ["difficulty", "words"] and len(drawn) > 2 and all(float(row[1]) > 1 for row in drawn[1:])
    facts = json.loads((folder / "question_lengths.json").read_text())
    assert facts["caption"].startswith("Mean length of the questions") and facts["tier"] == "tiny"


def test_an_ablation(copy: Copy) -> None:
    before = [c["id"] for c in _study(copy)["cells"]]
    printed = copy.apply("An ablation")
    added = _study(copy)["cells"][-1]
    assert added["id"] not in before and re.search(rf"train\W+{re.escape(added['label'])}: ", printed)
    found = copy.value(f"""
from artifact.config import ConfigError
from artifact.report.styles import styles
from artifact.studies.study import load_study

study = load_study("uopd")
mine = [config for cell, config in study.runs("tiny") if cell.id == {added["id"]!r}]
looks = styles([cell.id for cell in study.cells])
bare = study.cells[-1].model_copy(update={{"learning_rate": None}})
try:
    study.model_copy(update={{"cells": (bare,)}}).runs("tiny")
    refusal = ""
except ConfigError as err:
    refusal = str(err)
found = {{
    "runs": len(mine), "expected": len(study.seeds) * len(mine[0].models.teachers),
    "rates": sorted({{c.optimiser.lr for c in mine}}), "tau": sorted({{c.method_options["tau"] for c in mine}}),
    "looks": [list(look) for look in looks.values()], "refusal": refusal,
}}
""")
    rates = yaml.safe_load((copy.root / "configs" / "learning_rates" / "tiny.yaml").read_text())["cells"]
    assert found["runs"] == found["expected"] and found["tau"] == [added["options"]["tau"]]
    assert found["rates"] == [rates[added["learning_rate"]]["lr"]] and added["id"] not in rates
    assert f"no learning rate was chosen for {added['id']!r}" in found["refusal"], "an unstated rate is an error"
    colours, shapes = ({tuple(look[part]) for look in found["looks"]} for part in (slice(0, 1), slice(1, 3)))
    assert len(colours) == len(shapes) == len(before) + 1, "no two rows look alike, neither in colour nor in shape"


def _study(copy: Copy) -> dict[str, Any]:
    return yaml.safe_load((copy.root / "configs" / "studies" / "uopd.yaml").read_text(encoding="utf-8"))

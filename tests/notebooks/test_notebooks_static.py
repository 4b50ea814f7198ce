"""Notebooks as sources: clean, thin, every name defined before it is used; nothing is executed here."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from artifact.book.executed import VOLATILE
from artifact.book.notebooks import left_out
from artifact.config import tier_names
from artifact.report.notebook import Notebook

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_LINES = 25


def cells_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(path: Path) -> list[str]:
    return ["".join(c["source"]) for c in cells_of(path) if c["cell_type"] == "code"]


def module_file(module: str) -> Path | None:
    base = ROOT / "src" / Path(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def defined_in(path: Path) -> set[str]:
    """Names bound at the top level of a source file, type-checking blocks not counted."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {a.asname or a.name.split(".")[0] for a in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


def unresolved(code: list[str]) -> list[str]:
    """What a list of cells, run in order, would not find: names, modules of the package, members of those modules."""
    bound, modules, problems = set(dir(builtins)), {}, []
    for number, source in enumerate(code, 1):
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                bound |= {a.asname or a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                bound.add(node.name)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("artifact"):
                home = module_file(node.module or "")
                for alias in node.names:
                    submodule = module_file(f"{node.module}.{alias.name}")
                    if submodule is not None:
                        modules[alias.asname or alias.name] = submodule
                    elif home is None or alias.name not in defined_in(home):
                        problems.append(f"cell {number}: cannot import {alias.name} from {node.module}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in bound:
                problems.append(f"cell {number}: {node.id} is not defined before it is used")
            on_module = (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
            )
            if on_module and node.attr not in defined_in(modules[node.value.id]):
                problems.append(f"cell {number}: {node.value.id} has no {node.attr}")
    return problems


def test_the_notebooks_are_numbered_without_gaps() -> None:
    assert [p.stem[:2] for p in NOTEBOOKS] == [f"{i:02d}" for i in range(1, len(NOTEBOOKS) + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_source_is_valid_and_holds_no_output(path: Path) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.id
    ids = [c.id for c in notebook.cells]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_one_parameters_cell_declares_tier_and_overrides(path: Path) -> None:
    tagged = [c for c in cells_of(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse("".join(tagged[0]["source"])).body}  # type: ignore[attr-defined]
    tiers = [tier for tier in tier_names() if path not in left_out(tier)]
    assert values["tier"] == ("tiny" if "tiny" in tiers else tiers[0]) and not values["overrides"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_short_and_each_is_introduced_in_words(path: Path) -> None:
    cells = cells_of(path)
    assert "".join(cells[0]["source"]).startswith("# ")
    for before, cell in pairwise(cells):
        if cell["cell_type"] == "code":
            assert before["cell_type"] == "markdown", f"cell {cell['id']} has no words before it"
            assert len("".join(cell["source"]).splitlines()) <= MOST_LINES, f"cell {cell['id']} is too long"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_name_resolves(path: Path) -> None:
    assert unresolved(code_of(path)) == []


def test_the_resolver_finds_what_is_wrong() -> None:
    bad = [
        "from artifact.report import tables\nfrom artifact.config import lead",
        "tables.no_such_table(x)\ny = 1",
        "print(y)",
    ]
    assert unresolved(bad) == [
        "cell 1: cannot import lead from artifact.config",
        "cell 2: tables has no no_such_table",
        "cell 2: x is not defined before it is used",
    ]


def imported(tree: ast.AST) -> dict[str, Any]:
    """Name → what a cell imports from the package: a module, a function, a class."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("artifact"):
            home = importlib.import_module(node.module or "")
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = (
                    getattr(home, alias.name) if hasattr(home, alias.name) else importlib.import_module(name)
                )
    return found


def miscalled(code: list[str]) -> list[str]:
    """Calls, in cells run in order, that a function of the package or a method of `book` would refuse by signature."""
    known, problems = {"book": Notebook("tiny")}, []
    for number, source in enumerate(code, 1):
        tree = ast.parse(source)
        known |= imported(tree)
        for node in ast.walk(tree):
            of_book = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "book"
            if of_book and not hasattr(known["book"], node.attr):
                problems.append(f"cell {number}: book has no {node.attr}")
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name):
                target = known.get(called.id)
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                target = getattr(known.get(called.value.id), called.attr, None)
            else:
                continue
            checked = inspect.isfunction(target) or inspect.ismethod(target) or inspect.isclass(target)
            if not checked or any(isinstance(a, ast.Starred) for a in node.args):
                continue
            keywords = [k.arg for k in node.keywords]
            if None not in keywords:
                try:
                    inspect.signature(target).bind(*node.args, **dict.fromkeys(map(str, keywords)))
                except TypeError as err:
                    problems.append(f"cell {number}: {ast.unparse(called)}: {err}")
    return problems


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_call_of_the_package_fits_its_signature(path: Path) -> None:
    assert miscalled(code_of(path)) == []


def test_the_check_of_calls_finds_what_is_wrong() -> None:
    bad = [
        "from artifact.config import load\nload()",
        "load('tiny', tear=1)",
        "book.table(1, 'name')",
        "print(book.keis)",
        "book.figure(*both, 'name', **more)",
    ]
    assert miscalled(bad) == [
        "cell 1: load: missing a required argument: 'tier'",
        "cell 2: load: got an unexpected keyword argument 'tear'",
        "cell 3: book.table: missing a required argument: 'caption'",
        "cell 4: book has no keis",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_use_public_names_and_shared_means_only(path: Path) -> None:
    """No private name; the configuration is loaded and outputs are saved by `book`; a Styler's ids are random."""
    tree = ast.parse("\n".join(code_of(path)))
    attributes = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names = {a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    assert not {n for n in attributes | names if n.startswith("_")}
    assert not (attributes | names) & {"save_figure", "save_table", "parse_overrides", "record_made", "style"}
    assert sum(isinstance(n, ast.Call) and ast.unparse(n.func) == "Notebook" for n in ast.walk(tree)) == 1


def shown_in(path: Path) -> list[tuple[str, str, bool]]:
    """(figure or table, name, whether the cell is tagged volatile) for everything that a notebook saves and shows."""
    out = []
    for cell in cells_of(path):
        for node in ast.walk(ast.parse("".join(cell["source"]))) if cell["cell_type"] == "code" else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("book.figure", "book.table"):
                name = node.args[1]
                assert isinstance(name, ast.Constant), f"cell {cell['id']}: write the name of the output out"
                volatile = VOLATILE in cell["metadata"].get("tags", [])
                out.append((node.func.attr, name.value, volatile))  # type: ignore[attr-defined]
    return out


def test_no_output_overwrites_another() -> None:
    counts = Counter((kind, name) for path in NOTEBOOKS for kind, name, _ in shown_in(path))
    assert counts and not [output for output, n in counts.items() if n > 1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_an_output_of_times_is_volatile(path: Path) -> None:
    for _, name, volatile in shown_in(path):
        if name.endswith("_times"):
            assert volatile, f"{name} holds seconds: tag its cell `{VOLATILE}`"


def faults(notebook: dict[str, Any]) -> list[str]:
    """What an executed copy or page must not hold, found in its outputs."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            words = json.dumps({k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")})
            words += "".join(output.get("text", []))
            if output.get("name") == "stderr" or "Warning:" in words:
                found.append(f"{cell['id']}: a warning")
            if any(sign in words for sign in ("/tmp/", "/home/", str(ROOT))):
                found.append(f"{cell['id']}: a path of this machine")
            if "made: " in words:
                found.append(f"{cell['id']}: an announcement")
    if set(notebook["metadata"]) - {"artifact", "kernelspec", "language_info"}:
        found.append(f"metadata {sorted(notebook['metadata'])}")
    return found


def test_executed_copies_hold_results_only() -> None:
    for path in sorted((ROOT / "results" / "notebooks" / "tiny").glob("[0-9][0-9]_*.ipynb")):
        if ".failed" not in path.name and ".partial" not in path.name:
            assert faults(json.loads(path.read_text(encoding="utf-8"))) == [], path.name


def test_executed_pages_show_no_warning() -> None:
    for path in sorted((ROOT / "results" / "notebooks").glob("*/*.html")):
        page = path.read_text(encoding="utf-8")
        assert 'application/vnd.jupyter.stderr"' not in page.split("<main>")[1], f"{path.name} shows stderr"


def test_the_scan_of_copies_finds_what_is_wrong() -> None:
    def stream(name: str, text: str) -> dict[str, Any]:
        return {"id": text, "outputs": [{"output_type": "stream", "name": name, "text": [text]}]}

    cells = [
        stream("stderr", "a"),
        stream("stdout", "b: FutureWarning: x"),
        stream("stdout", "/tmp/c"),
        stream("stdout", "d"),
    ]
    assert faults({"cells": cells, "metadata": {"papermill": {}}}) == [
        "a: a warning",
        "b: FutureWarning: x: a warning",
        "/tmp/c: a path of this machine",
        "metadata ['papermill']",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_from_any_working_folder(path: Path) -> None:
    """No cell reads a path that is relative to where the kernel was started, or asks where that is."""
    reads = {"open", "Path", "read_csv", "read_parquet", "read_json", "read_text", "glob", "loadtxt"}
    found = []
    for node in ast.walk(ast.parse("\n".join(code_of(path)))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0] if node.args else None
            if name in ("getcwd", "cwd", "chdir") or (name in reads and isinstance(first, ast.Constant)):
                found.append(ast.unparse(node))
    assert found == []

"""Notebooks as sources: clean, thin, every name defined before it is used; nothing is executed here."""

from __future__ import annotations

import ast
import builtins
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from artifact.book.notebooks import left_out
from artifact.config import tier_names

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

"""No module imports itself through others: each can be read, and tested, after those it stands on."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "artifact"


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name; a package is its `__init__.py`."""
    names = {p: ".".join((package.name, *p.relative_to(package).with_suffix("").parts)) for p in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imported(node: ast.AST, known: set[str]) -> set[str]:
    """The modules of `known` imported below `node`, inside functions too, save under `if TYPE_CHECKING`."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return set().union(*(imported(child, known) for child in node.orelse))
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known
    if isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{alias.name}": str(node.module) for alias in node.names}
        return {name if name in known else module for name, module in names.items()} & known
    return set().union(*(imported(child, known) for child in ast.iter_child_nodes(node)))


def cycle(package: Path) -> list[str]:
    """The modules of one import cycle, the first repeated at its end; none where there is no cycle."""
    paths = modules(package)
    graph = {n: imported(ast.parse(p.read_text(encoding="utf-8")), set(paths)) - {n} for n, p in paths.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(reversed(err.args[1]))
    return []


def test_no_module_imports_itself_through_others() -> None:
    found = cycle(PACKAGE)
    assert not found, f"import cycle: {' → '.join(found)}; move what both need below both"


@pytest.mark.parametrize(
    ("low", "expected"),
    [
        ("", []),
        ("def f():\n    from toy.high import x\n", ["toy.high", "toy.low", "toy.high"]),
        ("def f():\n    import toy.high\n", ["toy.high", "toy.low", "toy.high"]),
        ("if TYPE_CHECKING:\n    from toy.high import x\n", []),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from toy import high\n", ["toy.high", "toy.low", "toy.high"]),
    ],
)
def test_a_cycle_would_be_found_and_listed(low: str, expected: list[str], tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    toy.mkdir()
    for name, text in (("__init__", ""), ("high", "from toy import low\nx = 1\n"), ("low", low)):
        (toy / f"{name}.py").write_text(text, encoding="utf-8")
    found = cycle(toy)
    assert set(found) == set(expected) and len(found) == len(expected)

"""The house keeps its order: imports point down only, files stay short, importing the package is cheap."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "artifact"
FILES = sorted(PACKAGE.rglob("*.py"))

PAGE = PACKAGE.parents[1] / "docs" / "architecture.md"
LAYERS = tuple(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
"""The rooms of `docs/architecture.md`, top to bottom; a module may import its own room and those after it."""

CLUSTER = {"ray", "vllm", "deepspeed", "pydantic"}
"""What no room below `actors` imports; `config` is made of pydantic."""

HEAVY = {
    "torch",
    "ray",
    "vllm",
    "deepspeed",
    "transformers",
    "pandas",
    "pyarrow",
    "matplotlib",
    "sympy",
    "scipy",
    "sklearn",
    "numpy",
}
MOST_LINES = 400


def room_of(path: Path) -> str:
    """The layer a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Every module that a syntax tree imports, as a dotted name, inside functions and type-checking blocks too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer: write `from artifact.… import …`"
            names |= (
                {f"{node.module}.{a.name}" for a in node.names} if node.module == "artifact" else {str(node.module)}
            )
    return names


def imported_rooms(tree: ast.AST) -> set[str]:
    """The rooms of the package among `imported`."""
    return {name.split(".")[1] for name in imported(tree) if name.startswith("artifact.")} - {"__version__"}


def foreign(room: str, tree: ast.AST) -> list[str]:
    """What a module of `room` imports and must not, besides rooms above it."""
    names = imported(tree)
    if room == "train":
        own = {"train", "records", "errors"}
        rooms = {f"artifact.{other}" for other in imported_rooms(tree) - own}
        outside = {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"torch", "numpy", "artifact", "triton"}
        return sorted(rooms | outside)
    if LAYERS.index(room) > LAYERS.index("actors"):
        return sorted(CLUSTER & {n.split(".")[0] for n in names} - ({"pydantic"} if room == "config" else set()))
    return []


def upward(room: str, imported: set[str]) -> list[str]:
    """Rooms above `room` among those imported."""
    return sorted(other for other in imported if LAYERS.index(other) < LAYERS.index(room))


def relative(path: Path) -> str:
    """A file as the package names it."""
    return str(path.relative_to(PACKAGE))


def test_the_page_lists_every_room_once_and_no_other() -> None:
    rooms = {room_of(p) for p in FILES if p.name != "__init__.py" or p.parent != PACKAGE}
    assert sorted(LAYERS) == sorted(rooms)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != PACKAGE or p.stem != "__init__"], ids=relative)
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in LAYERS, (
        f"{room} is not in the architecture's list: put it where it belongs in the table of {PAGE.name}"
    )
    found = upward(room, imported_rooms(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, f"{path.relative_to(PACKAGE)} imports {found}, which stand above it"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != PACKAGE or p.stem != "__init__"], ids=relative)
def test_each_room_needs_only_what_it_may(path: Path) -> None:
    found = foreign(room_of(path), ast.parse(path.read_text(encoding="utf-8")))
    assert not found, f"{path.relative_to(PACKAGE)} imports {found}: see 'Who may import what' in {PAGE.name}"


def test_an_upward_import_would_be_found() -> None:
    tree = ast.parse("def f():\n    from artifact.train.loop import loop\n    from artifact import records\n")
    assert imported_rooms(tree) == {"train", "records"}
    assert upward("stats", imported_rooms(tree)) == ["train"] and upward("studies", imported_rooms(tree)) == []


def test_a_foreign_import_would_be_found() -> None:
    tree = ast.parse(
        "import math, yaml\nimport torch.distributed as dist\nfrom artifact.config import load\n"
        "def f():\n    from pydantic import Field\n    from ray.util import queue\n    import artifact.records\n"
    )
    assert foreign("train", tree) == ["artifact.config", "pydantic", "ray", "yaml"]
    assert foreign("tasks", tree) == ["pydantic", "ray"] and foreign("config", tree) == ["ray"]
    assert foreign("studies", tree) == []


def test_files_are_short() -> None:
    long = {
        str(p.relative_to(PACKAGE)): n
        for p in FILES
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long, f"over {MOST_LINES} lines: {long}; does each still hold one idea?"


def test_every_module_says_what_it_does() -> None:
    silent = [
        str(p.relative_to(PACKAGE)) for p in FILES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))
    ]
    assert not silent, f"no module docstring: {silent}"


@pytest.mark.parametrize(
    "what", ["import artifact", "import artifact.cli.main, artifact.config, artifact.records, artifact.paths"]
)
def test_import_is_cheap(what: str) -> None:
    code = (
        "import time, sys, json; s = time.process_time(); before = set(sys.modules)\n"
        f"{what}\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(json.dumps([time.process_time() - s, sorted(new)]))"
    )
    taken = []
    for _ in range(3):  # the first may have to compile byte code
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
        seconds, modules = json.loads(done.stdout)
        assert not HEAVY & set(modules), f"`{what}` loads {sorted(HEAVY & set(modules))}"
        taken.append(seconds)
    assert min(taken) < 1, f"`{what}` takes {min(taken):.2f} s of processor time"

"""One way to write and read a whole file, to hash, and to store and read a result: no module has its own."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "artifact"
TREES = {str(p.relative_to(PACKAGE)): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py"))}

OWN_NAMES = {
    "files.py": "is the way",
    "worlds/tiny/recipe.py": "its code is part of the hash of the models in the repository",
    "studies/runlog.py": "TensorBoard writes its files, under names that hold the machine's",
    "book/execute.py": "papermill writes a notebook cell by cell, and the copy of one that failed is kept",
}
READS_JSON = {
    "files.py": "is the way",
    "models.py": "names the model and its commit",
    "actors/turns.py": "what a kill cut is no turn",
    "worlds/tiny/recipe.py": OWN_NAMES["worlds/tiny/recipe.py"],
}
OWN_HASHES = {"provenance.py": "is the way", "worlds/tiny/recipe.py": OWN_NAMES["worlds/tiny/recipe.py"]}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name of what is called, as far as it is one, and the call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, at = [], node.func
            while isinstance(at, ast.Attribute):
                parts.append(at.attr)
                at = at.value
            parts.append(at.id if isinstance(at, ast.Name) else "")
            yield ".".join(reversed(parts)), node


def writes_under_another_name(tree: ast.AST) -> list[int]:
    """Lines that name something `.partial`, or rename a file: `Path.replace` is the `replace` of one argument."""
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    found = [n.lineno for n in names if ".partial" in n.value and id(n) not in docs]
    for name, call in calls(tree):
        moves = name in ("os.replace", "os.rename", "os.renames", "shutil.move")
        one = len(call.args) == 1 and not call.keywords
        moves |= one and "." in name and name.rsplit(".", 1)[1] in ("replace", "rename")
        found += [call.lineno] if moves else []
    return found


def hashes(tree: ast.AST) -> list[int]:
    """Lines that hash by anything but BLAKE2, which is for seeds."""
    return [c.lineno for n, c in calls(tree) if n.startswith("hashlib.") and n != "hashlib.blake2b"]


def settles(tree: ast.AST) -> list[int]:
    """Lines that give an unfinished file or folder its name."""
    return [c.lineno for n, c in calls(tree) if n.rsplit(".", 1)[-1] in ("settle", "unfinished")]


def reads_json(tree: ast.AST) -> list[int]:
    """Lines that parse a file as JSON: what is wrong with it would be said without its name or a remedy."""
    found = []
    for name, call in calls(tree):
        whole = name == "json.loads" and any(n.endswith(".read_text") for a in call.args for n, _ in calls(a))
        found += [call.lineno] if whole or name == "json.load" else []
    return found


def reaches_into_results(tree: ast.AST) -> list[int]:
    """Lines that name a file in the folder of a finished result (`info.folder / …`), whose bytes nobody checked.

    Its weights are checked where they are taken for a model (`keys.model_hash`).
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.left, ast.Attribute):
            of = node.left.value.id if isinstance(node.left.value, ast.Name) else ""
            named = node.right.value if isinstance(node.right, ast.Constant) else ""
            if node.left.attr == "folder" and of not in ("out", "self") and named != "weights":
                found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("look", "allowed", "instead"),
    [
        (writes_under_another_name, OWN_NAMES, "artifact.files"),
        (hashes, OWN_HASHES, "artifact.provenance"),
        (settles, {"files.py": "", "studies/store.py": ""}, "`store.result`, or `atomically` and `folder_atomically`"),
        (reads_json, READS_JSON, "`artifact.files.read_json`, which names the file and what to do"),
        (reaches_into_results, {}, "`store.file` or `store.files`, which check what they name"),
    ],
)
def test_there_is_one_way(look: Callable[[ast.AST], list[int]], allowed: dict[str, str], instead: str) -> None:
    found = {name: lines for name, tree in TREES.items() if name not in allowed and (lines := look(tree))}
    assert not found, f"{found}: use {instead}"
    assert all(look(TREES[name]) for name in allowed), "an exception that is none any more"


def test_only_result_makes_a_result_final() -> None:
    """In `studies/store.py`, too, nothing but `result` may write a manifest or rename a folder."""
    [result] = [n for n in TREES["studies/store.py"].body if isinstance(n, ast.FunctionDef) and n.name == "result"]
    last = {"settle", "write_json"}
    everywhere = [c.lineno for n, c in calls(TREES["studies/store.py"]) if n in last]
    assert everywhere == [c.lineno for n, c in calls(result) if n in last] and len(everywhere) == 3


@pytest.mark.parametrize(
    ("code", "look"),
    [
        ('p = path.with_suffix(".partial")', writes_under_another_name),
        ("half.replace(path)", writes_under_another_name),
        ("(folder / name).rename(final)", writes_under_another_name),
        ("os.replace(a, b)", writes_under_another_name),
        ("key = hashlib.sha256(text).hexdigest()[:16]", hashes),
        ("files.settle(path)", settles),
        ("json.loads(path.read_text())", reads_json),
        ("json.load(stream)", reads_json),
        ('read_parquet(info.folder / "a.parquet", Rollout)', reaches_into_results),
        ('sorted((info.folder / "curve").glob("*"))', reaches_into_results),
    ],
)
def test_another_way_would_be_found(code: str, look: Callable[[ast.AST], list[int]]) -> None:
    assert look(ast.parse(code)) == [1]


@pytest.mark.parametrize("code", ['text.replace("a", "b")', "frame.rename(columns=c)", "replace(record, seed=1)"])
def test_text_frames_and_records_are_not_files(code: str) -> None:
    assert writes_under_another_name(ast.parse(code)) == []

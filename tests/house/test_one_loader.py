"""Every model, tokenizer and configuration is read by `actors/checkpoints.py`, every hub id resolved by `models.py`."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "artifact"
LOADER, RESOLVER = "src/artifact/actors/checkpoints.py", "src/artifact/models.py"
RECIPES = {f"src/artifact/worlds/{world}/recipe.py" for world in ("tiny", "text")}  # hashed into their models
ALLOWED = {
    "from_pretrained": {LOADER, *RECIPES},
    "snapshot_download": {RESOLVER},
    "hf_hub_download": set(),
    "model_info": {RESOLVER},
    "safe_open": {LOADER, "src/artifact/studies/pretrained.py"},  # which counts the parameters it has just written
    "load_file": set(),
}


def sources() -> Iterator[tuple[str, ast.AST]]:
    """(path, syntax tree) of the package and of the code cells of the notebooks."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            lines = "".join(cell["source"]).splitlines()
            if cell["cell_type"] == "code":
                text = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
                yield path.relative_to(ROOT).as_posix(), ast.parse(text)


TREES = list(sources())


def mentions(tree: ast.AST, name: str) -> list[int]:
    """Lines that name `name`, called or not, in any spelling of an attribute or an import."""
    found = []
    for node in ast.walk(tree):
        alias = isinstance(node, ast.alias) and node.name.rsplit(".", 1)[-1] == name
        if alias or getattr(node, "attr", None) == name or getattr(node, "id", None) == name:
            found.append(getattr(node, "lineno", 0))
        if isinstance(node, ast.Constant) and node.value == name:  # getattr(x, "from_pretrained")
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("name", list(ALLOWED))
def test_models_are_read_in_one_place(name: str) -> None:
    found = {path for path, tree in TREES if mentions(tree, name)}
    assert found <= ALLOWED[name], f"{name} elsewhere: use artifact.actors.checkpoints or paths.resolve_model"


def calls_of(path: str, name: str) -> list[ast.Call]:
    tree = next(t for p, t in TREES if p == path)
    called = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return [c for c in called if getattr(c.func, "attr", getattr(c.func, "id", "")) == name]


def test_every_reader_is_told_to_run_no_code_and_ask_no_network() -> None:
    from artifact.actors.checkpoints import SAFE

    assert SAFE == {"trust_remote_code": False, "local_files_only": True}
    calls = calls_of(LOADER, "from_pretrained")
    assert calls
    for call in calls:
        assert any(k.arg is None and getattr(k.value, "id", "") == "SAFE" for k in call.keywords), call.lineno


def test_engines_are_told_too() -> None:
    (call,) = calls_of("src/artifact/actors/engine.py", "LLM")
    told = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    assert (told["trust_remote_code"], told["load_format"]) == (False, "safetensors")


def test_the_look_sees_every_spelling() -> None:
    for text in (
        "AutoModel.from_pretrained(x)",
        "f = AutoModel.from_pretrained",
        "getattr(AutoModel, 'from_pretrained')(x)",
        "from transformers.x import from_pretrained",
    ):
        assert mentions(ast.parse(text), "from_pretrained"), text

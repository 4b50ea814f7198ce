"""What a result depends on, as one hash: settings, source, models, data and environment.

The source enters as the syntax trees of the modules a stage can reach through its imports, without docstrings, comments
and layout.
"""

from __future__ import annotations

import ast
import inspect
import threading
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from artifact import provenance
from artifact.config import Config
from artifact.models import check_files, hub_origin, snapshot
from artifact.paths import local_model, resolve_model
from artifact.provenance import digest, file_hash, lock_path, text_hash
from artifact.records import Problem
from artifact.studies import store

PACKAGE = Path(__file__).resolve().parents[1]

_MEASURING = (
    "artifact.actors.engine",
    "artifact.actors.sampler",
    "artifact.tasks.verifier",
    "artifact.tasks.verifier_worker",
    "artifact.train.rollouts",
)
_CLUSTERING = ("artifact.phase1.annotate", "artifact.tasks.verifier", "artifact.tasks.verifier_worker")

ROOTS = {
    "runs": (
        "artifact.train.loop",
        "artifact.actors.student",
        "artifact.actors.team",
        "artifact.actors.scoring",
        *_MEASURING,
    ),
    "checkpoints": _MEASURING,
    "evaluations": _MEASURING,
    "distances": ("artifact.actors.distance", *_MEASURING),
    "samples": _MEASURING,
    "annotations": _CLUSTERING,
    "suremath": (
        "artifact.suremath.build",
        "artifact.suremath.procedural",
        "artifact.suremath.llm",
        "artifact.suremath.publish",
        *_MEASURING,
        *_CLUSTERING,
    ),
    "weighting": ("artifact.phase1.weights",),
    "llm judge": ("artifact.phase1.llm_judge",),
    "nli judge": ("artifact.phase1.nli",),
    "plain prompt": ("artifact.tasks.plain_prompt",),
}
"""The modules whose code, with all they import, decides a kind of result; the last four, a part that only some have:
the weights of a run, the judge of an annotation, the prompts of an evaluation."""

NOT_IN_KEY = ("description",)
"""Fields of a configuration that cannot change a result."""


def settings(config: Config, *sections: str) -> dict[str, Any]:
    """The part of `config` that can change a result: all of it, or the named sections.

    Deadlines cannot, nor the size of the object store, how many verify at once, and the way by which weights travel;
    what engines a role has of its own (`Config.as_role`) enters where that role samples, and how avg@k is sampled is
    decided where it is asked for (`studies/sampled_evaluation.py`).
    """
    data = config.model_dump(mode="json")
    for name in NOT_IN_KEY:
        data.pop(name)
    deadlines = ("start_timeout_s", "step_timeout_s", "idle_timeout_s")
    for name in (*deadlines, "object_store_gib", "engines", "weight_transfer"):
        data["cluster"].pop(name)
    data["evaluation"].pop("sampled")
    data["task"].pop("verifier_workers")
    return {k: v for k, v in data.items() if not sections or k in sections}


def model_hash(model: str) -> str:
    """The hash of what a model's folder holds, whatever its name: a local one, or the snapshot of a hub id.

    Raises DamagedFile where the model is the weights of a run that are not as they were stored.
    """
    return provenance.model_hash(store.checked(Path(resolve_model(model))))


def model_identity(model: str) -> dict[str, str | None]:
    """A model for manifests: its name, the hub's commit (None for a local folder), the hash of its content."""
    origin = hub_origin(Path(resolve_model(model)))
    return {"model": model, "commit": origin[1] if origin else None, "content": model_hash(model)}


def model_state(model: str) -> str:
    """A model in words: commit and content of what is here, without asking the network. Raises FileNotFoundError."""
    folder = local_model(model) or snapshot(model, download=False).folder
    check_files(folder)
    origin = hub_origin(folder)
    return f"{f'commit {origin[1]}, ' if origin else ''}content {provenance.model_hash(folder)}"


def data_hash(problems: Iterable[Problem]) -> str:
    """The hash of problems, `digest` of their rows: ids, texts, answers, in order. One row is held at a time."""
    return provenance.digest_of_list(p.to_row() for p in problems)


def environment_hash(device: str) -> str:
    """The hash of the lock file."""
    path = lock_path(device)
    return file_hash(path) if path.is_file() else "no-lock"


@cache
def _module_path(name: str) -> Path | None:
    relative = Path(*name.split(".")[1:])
    for path in (
        PACKAGE / relative.with_suffix(".py") if relative.parts else PACKAGE / "__init__.py",
        PACKAGE / relative / "__init__.py",
    ):
        if path.is_file():
            return path
    return None


_parsing = threading.Lock()
"""Held while a module is parsed: CPython 3.11 counts the depth of a syntax tree once a process, not once a thread, and
two lanes that parse at the same time get a SystemError."""


@cache
def _tree(path: Path) -> tuple[str, tuple[str, ...]]:
    """(hash of a module's code without docstrings, the `artifact` modules it imports anywhere)."""
    with _parsing:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                s
                for s in body
                if not (
                    isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and isinstance(s.value.value, str)
                )
            ]
    ours = tuple(sorted({i for i in imports if i.split(".")[0] == "artifact"}))
    return text_hash(ast.dump(tree)), ours


def reachable(roots: Sequence[str]) -> dict[str, str]:
    """Module → code hash of everything `roots` import, directly or not. A root that does not exist is an error."""
    found: dict[Path, str] = {}
    queue = list(roots)
    for root in roots:
        if _module_path(root) is None:
            raise ValueError(f"module {root!r} does not exist in the package")
    while queue:
        name = queue.pop()
        path = _module_path(name)
        if path is None or path in found:
            continue
        found[path], imports = _tree(path)
        queue += imports
    return {str(path.relative_to(PACKAGE)): code for path, code in found.items()}


def source_hash(roots: Sequence[str]) -> str:
    """The hash of all code reachable from `roots`."""
    return digest(reachable(roots))


def source_of(what: str) -> str:
    """The hash of all code that decides `what`, a name in `ROOTS`."""
    return source_hash(ROOTS[what])


def class_source(cls: type) -> str:
    """Hash of the source of a task's class: its module and all it imports, or its own text if a user defined it."""
    return source_hash([cls.__module__]) if cls.__module__.startswith("artifact.") else digest(inspect.getsource(cls))


def method_source(cls: type) -> str:
    """Hash of a method's own source: its module if it ships with the package, its functions if a user defined it."""
    if cls.__module__.startswith("artifact."):
        return source_hash([cls.__module__])
    functions = {name: inspect.getsource(f) for name, f in vars(cls).items() if inspect.isfunction(f)}
    settings = {
        name: repr(value)
        for name, value in vars(cls).items()
        if name == "needs" or (not name.startswith("__") and isinstance(value, (str, int, float, tuple)))
    }
    options = [(f.name, str(f.type), repr(f.default)) for f in fields(cls.Options)]  # type: ignore[attr-defined]
    return digest([cls.__qualname__, functions, settings, options])

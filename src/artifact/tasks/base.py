"""What a task is, and the open registry of tasks.

A task is where problems come from and how they are put to a model. `register` adds one, also from a notebook:

    @register("my-task")
    class MyTask: ...

    get_task("my-task", option=3).load("evaluation", limit=10)

Left out: how an answer is extracted and verified (`extract.py`, `verifier.py`) and tokenization (`prompts.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from artifact.records import Problem

Context = Literal["none", "answer", "solution"]
"""What the system message reveals: nothing, the gold answer, or the reference solution."""

Messages = list[dict[str, str]]
"""Chat messages, each with `role` (system, user, assistant) and `content`."""


class TaskError(ValueError):
    """An unknown task, a duplicate name, or options a task does not have."""


@runtime_checkable
class Task(Protocol):
    """A source of problems and the way they are prompted."""

    name: str

    def load(self, split: str, limit: int | None = None) -> list[Problem]:
        """The problems of `split`, at most `limit` of them; the same on every call."""
        ...

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """The chat messages of one prompt; `context` puts the gold answer or solution into a system message."""
        ...


Factory = TypeVar("Factory", bound=Callable[..., Task])

_TASKS: dict[str, Callable[..., Task]] = {}
_BUILT_IN = {"tinymath": "artifact.tasks.tinymath"}
"""Tasks of this package and the module that registers each; imported on first use only."""

_TABLE = "artifact.tasks.benchmarks"
"""The module that registers every benchmark of its table; imported when a name is not known otherwise."""


def register(name: str) -> Callable[[Factory], Factory]:
    """Class or function decorator: make `name` known to `get_task`. Registering one name twice raises TaskError."""

    def add(factory: Factory) -> Factory:
        known = _TASKS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (factory.__module__, factory.__qualname__):
            owner = f"{known.__module__}.{known.__qualname__}"
            raise TaskError(f"task {name!r} is already registered by {owner}; choose another name")
        _TASKS[name] = factory
        return factory

    return add


def task_names() -> list[str]:
    """The names `get_task` knows."""
    import_module(_TABLE)
    return sorted({*_BUILT_IN, *_TASKS})


def get_task(name: str, **options: Any) -> Task:
    """The task registered as `name`, built with `options`. Raises TaskError on an unknown name or option."""
    if name not in _TASKS:
        import_module(_BUILT_IN.get(name, _TABLE))
    if name not in _TASKS:
        raise TaskError(f"unknown task {name!r}; known are {', '.join(task_names())}; add one with register()")
    factory = _TASKS[name]
    try:
        signature(factory).bind(**options)
    except TypeError as err:
        raise TaskError(f"task {name!r} cannot be built with options {options}: {err}") from err
    return factory(**options)

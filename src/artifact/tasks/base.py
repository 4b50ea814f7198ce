"""What a task is, and the open registry of tasks.

Every module of `tasks/catalogue` is found; a class in a new file there, or in a notebook, is a task once it is
registered:

    @register("my-task")
    class MyTask: ...

    load_problems(get_task("my-task", option=3), "train[:-500]", limit=10)

Left out: slices and limits, which no task sees (`slices.py`), how an answer is extracted and verified (`extract.py`,
`verifier.py`), and tokenization (`prompts.py`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from artifact.errors import ArtifactError
from artifact.records import Problem

Context = Literal["none", "answer", "solution"]
"""What the system message reveals: nothing, the gold answer, or the reference solution."""

Messages = list[dict[str, str]]
"""Chat messages, each with `role` (system, user, assistant) and `content`."""


@runtime_checkable
class Task(Protocol):
    """A source of problems and the way they are prompted.

    A task whose answers no algebra can compare also states its `grading` (`tasks/grading.py`).
    """

    name: str

    def load(self, split: str) -> list[Problem]:
        """All problems of the split called `split`, the same on every call; slices are cut by `load_problems`."""
        ...

    def messages(self, problem: Problem, context: Context = "none") -> Messages:
        """The chat messages of one prompt; `context` puts the gold answer or solution into a system message."""
        ...


Factory = TypeVar("Factory", bound=Callable[..., Task])

_TASKS: dict[str, Callable[..., Task]] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Class or function decorator: make `name` known to `get_task`. Registering one name twice raises ArtifactError."""

    def add(factory: Factory) -> Factory:
        known = _TASKS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (factory.__module__, factory.__qualname__):
            owner = f"{known.__module__}.{known.__qualname__}"
            raise ArtifactError(f"task {name!r} is already registered by {owner}; choose another name")
        _TASKS[name] = factory
        return factory

    return add


@cache
def import_catalogue() -> None:
    """Import every module of `tasks/catalogue`, so that its tasks are registered; once per process, at first need."""
    import artifact.tasks.catalogue as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def task_names() -> list[str]:
    """The names `get_task` knows."""
    import_catalogue()
    return sorted(_TASKS)


def stated_splits(name: str) -> tuple[str, Mapping[str, int | str]]:
    """(split meant where only the task is named, problems per split), as the class of the task states them."""
    factory = _TASKS.get(name) if name in task_names() else None
    return getattr(factory, "main", ""), getattr(factory, "sizes", {})


def get_task(name: str, **options: Any) -> Task:
    """The task registered as `name`, built with `options`. Raises ArtifactError on an unknown name or option."""
    if name not in task_names():
        raise ArtifactError(f"unknown task {name!r}; known are {', '.join(task_names())}; add one with register()")
    factory = _TASKS[name]
    try:
        signature(factory).bind(**options)
    except TypeError as err:
        raise ArtifactError(f"task {name!r} cannot be built with options {options}: {err}") from err
    return factory(**options)

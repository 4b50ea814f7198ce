"""What a process is made of: the code that actors may import, and the environment it runs in.

Actors outlive the process that starts them, and Python does not read a module twice: an actor *is* what it imported.
So `made_of` is part of an actor's name, and an edited source file or another environment asks for other actors; a
started actor reports its own, because a node may hold another copy of the code. The driver is what it imported, too:
`check_unchanged` refuses to go on in a process whose source was edited under it.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from artifact.errors import ArtifactError
from artifact.provenance import digest, file_hash, lock_path, tree_hash, versions

PACKAGE = Path(__file__).resolve().parents[1]

ABOVE = frozenset({"cli", "book", "studies", "report", "suremath", "evaluate", "__pycache__"})
"""Rooms that no actor imports: `tests/house/test_layers.py` holds every import to that."""


ENGINES_ALONE = frozenset({"artifact.actors.lean_runner", "artifact.actors.lean_scheduler"})
"""Modules that import vLLM, four seconds of work: no actor but an engine ever imports them."""


def code_hash(package: Path = PACKAGE) -> str:
    """The hash of every file that an actor can import, as it is on the disk now."""
    parts = {
        path.name: tree_hash(path) if path.is_dir() else file_hash(path)
        for path in sorted(package.iterdir())
        if path.name not in ABOVE and not path.name.startswith(".")
    }
    return digest(parts)


IMPORTED = code_hash()
"""`code_hash` when this process imported the actors' code."""


def check_unchanged() -> None:
    """Raise ArtifactError where the source is no longer what this process imported."""
    if code_hash() != IMPORTED:
        raise ArtifactError(
            f"the source below {PACKAGE} was edited after this process had imported it: its results would be the old "
            "code's under the new code's name; restart the notebook's kernel, or start the command again"
        )


def made_of(device: str) -> str:
    """The hash of code, lock file and installed versions for actors on `device` (cpu or cuda)."""
    lock = lock_path(device)
    return digest([IMPORTED, file_hash(lock) if lock.is_file() else "no lock", *_environment()])


def report(actor: object) -> list[str]:
    """Run in an actor by `__ray_call__`: its code and environment, with everything it imports late imported now."""
    import importlib
    import pkgutil

    never = frozenset[str]() if "vllm" in sys.modules else ENGINES_ALONE
    for room in ("train", "actors", "tasks"):
        for module in pkgutil.iter_modules([str(PACKAGE / room)], f"artifact.{room}."):
            if module.name not in never:
                importlib.import_module(module.name)
    return mine()


def mine() -> list[str]:
    """What `report` must answer, where an actor is made of what this process is made of."""
    return [code_hash(), *_environment()]


def _environment() -> list[str]:
    return [platform.python_version(), *(f"{name}=={version}" for name, version in sorted(versions().items()))]

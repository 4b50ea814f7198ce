"""What a mutant is, where mutants stand, and how they are found.

Each room of the package has a file here that defines `MUTANTS`: one-line mistakes that somebody could make, each with
the tests that must go red. `python -m tests.mutations` makes them one at a time; `tests/house/test_mutations.py` holds
the list itself.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
ROOMS = (
    "losses",
    "objective",
    "scoring",
    "methods",
    "loop",
    "actors",
    "models",
    "stats",
    "phase1",
    "studies",
    "plans",
    "report",
    "book",
    "site",
    "claims",
    "text",
    "live",
    "inspect",
    "stoppers",
)
"""One file of mutants each."""


@dataclass(frozen=True)
class Mutant:
    """Replace `old`, which must occur exactly once in `file`, by `new`: at least one of `tests` must fail.

    file   relative to `src/artifact`; one of `configs/` relative to the project
    tests  test files or node ids (`file.py::test_name`), relative to `tests`, run in this order until one fails
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def path(self, root: Path) -> Path:
        """Where `file` lies in a project at `root`."""
        return root / self.file if self.file.startswith("configs/") else root / "src" / "artifact" / self.file

    def mutated(self, text: str) -> str:
        """The source text with the mistake in it; ValueError unless `old` occurs exactly once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"mutant {self.name!r}: {self.old!r} occurs {found} times in {self.file}, not once")
        return text.replace(self.old, self.new)


def mutants(room: str) -> tuple[Mutant, ...]:
    """The mutants of one room."""
    found: tuple[Mutant, ...] = importlib.import_module(f"tests.mutations.{room}").MUTANTS
    return found

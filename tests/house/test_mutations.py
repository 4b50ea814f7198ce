"""The mutation suite is whole: every mutant can be made, names tests that exist, and a sample of them is caught.

`python -m tests.mutations` runs them all.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from tests.mutations import stoppers
from tests.mutations.mutant import REPOSITORY, ROOMS, TESTS, Mutant, mutants

SAMPLE = (
    "flip the direction of the KL",
    "drop the response mask",
    "sync: not a number passes",
    "teacher rows numbered by their place",
    "sampler: seeds without the sample index",
)
"""Run here; short ones, from several rooms."""


@cache
def every() -> tuple[Mutant, ...]:
    return tuple(m for room in ROOMS for m in mutants(room))


def test_there_are_many_in_every_room() -> None:
    assert all(mutants(room) for room in ROOMS)
    assert len(every()) >= 80
    twice = [name for name, n in Counter(m.name for m in every()).items() if n > 1]
    assert not twice, f"two mutants of one name: {twice}"
    same = [m.name for m in every() if m.old == m.new]
    assert not same, f"these change nothing: {same}"


@pytest.mark.parametrize("room", ROOMS)
def test_each_can_be_made_and_still_compiles(room: str) -> None:
    for m in mutants(room):
        text = m.mutated(m.path(REPOSITORY).read_text(encoding="utf-8"))
        if m.file.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("room", ROOMS)
def test_each_names_tests_of_the_default_suite(room: str) -> None:
    for m in mutants(room):
        assert m.tests, f"{m.name} names no test"
        for node in m.tests:
            file, _, name = node.partition("::")
            path = TESTS / file
            assert path.is_file(), f"{m.name}: there is no {path}"
            assert not file.startswith("integration/"), f"{m.name}: {file} starts a cluster"
            defined = {n.name for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(n, "name")}
            assert not name or name.partition("[")[0] in defined, f"{m.name}: {file} defines no {name}"


def test_the_page_of_gpus_shows_what_would_stop_a_tier() -> None:
    page = (REPOSITORY / "docs" / "gpu.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- tests/mutations/stoppers.py -->\n")[2].partition("\n<!-- end -->")[0]
    assert shown == stoppers.table(), "python -m tests.mutations.stoppers"


def test_a_sample_is_caught() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations", *SAMPLE], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SAMPLE)} of {len(SAMPLE)} mutants caught" in done.stdout


def test_a_mutant_that_nothing_catches_survives_and_one_that_cannot_be_imported_is_no_catch() -> None:
    """The suite's own guard, on two mutants made here: the first changes a comment, the second breaks an import."""
    code = """
import sys
from tests.mutations.__main__ import run_all
from tests.mutations.mutant import Mutant
tests = ("train/test_schedule.py",)
made = [
    Mutant("idle", "train/schedule.py", "The learning rate of an", "A learning rate of an", tests),
    Mutant("broken", "train/schedule.py", "import math", "import maths", tests),
]
print({r.mutant.name: r.status for r in run_all((m, m.tests) for m in made)})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == {"idle": "passed", "broken": "broken"}

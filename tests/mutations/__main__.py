"""Do the tests notice a mistake? Each mutant breaks one line of a copy of the package and must be caught.

    python -m tests.mutations [--only ROOM] [--list] [NAME …]

For every mutant the package and the tests are copied to a temporary folder, one piece of source text is replaced, and
the tests that the mutant names run there until one fails. It is caught when a test fails by its assertions or by an
error of the mutated code; a copy that cannot be imported or collected is a mistake of the suite, not a catch. At the
end every test that caught a mutant runs once on an unchanged copy and must pass. The exit code is the number of mutants
that survive or could not be run.

torch and pytest are imported once, and each run is a fork; two run at a time. Left out: mutants made by a machine
(operators swapped everywhere): most of those change nothing that the papers say.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Imported once for all forks; nothing of the package may be.
import hypothesis
import hypothesis.strategies
import numpy
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch
import transformers  # noqa: F401
from tests.mutations.mutant import REPOSITORY, ROOMS, Mutant, mutants
from transformers import Qwen3ForCausalLM  # noqa: F401  # transformers imports its models only when they are named

WORKERS = 2
SECONDS = 600
"""After this a run is ended, and the mutant counts as not run: a loop that never ends is no failing test."""

COPIED = {"src": "*.egg-info", "tests": "__pycache__", "configs": ""}
"""Folders that a mutant may change or that must not be imported from here, each with what stays behind of it."""

NOT_LINKED = {*COPIED, ".git", ".venv", ".venv-cuda"}
NO_CATCH = (ImportError, SyntaxError, NameError)
"""A copy that fails like this does not run at all."""


class Watch:
    """A pytest plugin: the first test that fails, and what did not run, go to files in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pytest_configure(self, config: pytest.Config) -> None:
        """Marks of plugins that are not loaded mean nothing here: one alarm ends a run."""
        config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout")

    def pytest_sessionstart(self) -> None:
        """Hypothesis looks for a counterexample only, and keeps none."""
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutations", phases=phases, database=None, deadline=None)
        hypothesis.settings.load_profile("mutations")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken(f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}")

    def pytest_exception_interact(self, node: pytest.Item, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None and issubclass(call.excinfo.type, NO_CATCH):
            self._broken(f"{node.nodeid}: {call.excinfo.exconly()}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            (self.root / "failed").write_text(report.nodeid.removeprefix("tests/"), encoding="utf-8")

    def pytest_sessionfinish(self) -> None:
        """What was tested must be the copy."""
        package = sys.modules.get("artifact")
        if package is not None and not str(package.__file__).startswith(str(self.root)):
            self._broken(f"the tests imported {package.__file__}, not the copy")

    def _broken(self, why: str) -> None:
        (self.root / "broken").write_text(why, encoding="utf-8")


def copy_repository(root: Path) -> None:
    """Package, tests and configurations as copies, whatever else stands in the repository (models) as links."""
    # Byte code of the package goes along: it is valid by the time and size of its source, which a copy keeps.
    for name, left in COPIED.items():
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns(left))
    for path in REPOSITORY.iterdir():
        if path.name not in NOT_LINKED:
            (root / path.name).symlink_to(path)


def apply(mutant: Mutant, root: Path) -> None:
    """Put the mistake into the copy below `root`."""
    path = mutant.path(root)
    path.write_text(mutant.mutated(path.read_text(encoding="utf-8")), encoding="utf-8")
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()


def run_pytest(root: Path, tests: Sequence[str]) -> int:
    """pytest's exit code on the copy below `root`, in this process, which must be a fork."""
    signal.alarm(SECONDS)
    with (root / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(root)
    os.environ |= {"PYTHONPATH": str(root / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "ARTIFACT_ROOT": str(root)}
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)  # as tests/conftest.py asks by a variable that torch, imported already, reads no more
    # The copy is the only `tests` from here on; `src` is put first by pytest's own setting.
    sys.path[:] = [str(root), *(p for p in sys.path if p not in ("", str(REPOSITORY), str(REPOSITORY / "src")))]
    for name in [n for n in sys.modules if n.partition(".")[0] == "tests"]:
        del sys.modules[name]
    options = ["-x", "--tb=short", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning"]
    return int(pytest.main([*options, f"--rootdir={root}", *(f"tests/{t}" for t in tests)], [Watch(root)]))


@dataclass(frozen=True)
class Result:
    """What became of one run: `status` is passed, caught or broken; `detail` the failing test, or what went wrong."""

    mutant: Mutant | None
    status: str
    detail: str
    seconds: float


def _judge(root: Path, code: int) -> tuple[str, str]:
    broken, failed = root / "broken", root / "failed"
    if broken.is_file():
        return "broken", broken.read_text(encoding="utf-8")
    if code == 0:
        return "passed", ""
    if code == 1 and failed.is_file():
        return "caught", failed.read_text(encoding="utf-8")
    output = root / "output"
    last = output.read_text(encoding="utf-8", errors="replace").strip().splitlines() if output.is_file() else []
    return "broken", f"pytest ended with {code}: {last[-1] if last else 'no output'}"


def run_all(jobs: Iterable[tuple[Mutant | None, Sequence[str]]]) -> Iterator[Result]:
    """Each mutant (None: unchanged) with its tests, `WORKERS` at a time, as they end."""
    running: dict[int, tuple[Mutant | None, Path, float]] = {}

    def next_result() -> Result:
        child, status = os.wait()
        mutant, root, begin = running.pop(child)
        verdict, detail = _judge(root, os.waitstatus_to_exitcode(status))
        if verdict == "broken" and mutant is None:
            detail = (root / "output").read_text(encoding="utf-8", errors="replace")[-4000:]
        shutil.rmtree(root)
        return Result(mutant, verdict, detail, time.monotonic() - begin)

    for mutant, tests in jobs:
        if len(running) == WORKERS:
            yield next_result()
        root = Path(tempfile.mkdtemp(prefix="mutant-")).resolve()
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                copy_repository(root)
                if mutant is not None:
                    apply(mutant, root)
                code = run_pytest(root, tests)
            except Exception as error:
                (root / "broken").write_text(str(error), encoding="utf-8")
            finally:
                os._exit(code)
        running[child] = mutant, root, begin
    while running:
        yield next_result()


def selected(only: str | None, names: Sequence[str]) -> list[tuple[str, Mutant]]:
    """(room, mutant) of what was asked for; SystemExit names what is unknown."""
    every = [(room, m) for room in ([only] if only else ROOMS) for m in mutants(room)]
    if unknown := sorted(set(names) - {m.name for _, m in every}):
        raise SystemExit(f"unknown mutant(s) {unknown}; --list shows them")
    return [(room, m) for room, m in every if not names or m.name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per mutant and a table; the exit code is the number of mutants that were not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=ROOMS, metavar="ROOM", help=f"one room: {', '.join(ROOMS)}")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these mutants only")
    asked = parser.parse_args(arguments)
    chosen = selected(asked.only, asked.names)
    if asked.list:
        for room, m in chosen:
            print(f"{room:>10}  {m.name}  ({m.file})")
        return 0
    room_of = {m.name: room for room, m in chosen}
    numpy.random.seed(0)  # forks start alike
    killers: set[str] = set()
    tally = {room: [0, 0] for room in room_of.values()}
    for result in run_all((m, m.tests) for _, m in chosen):
        assert result.mutant is not None
        said = {"passed": "SURVIVES", "caught": f"caught by {result.detail}", "broken": f"CANNOT RUN {result.detail}"}
        room = room_of[result.mutant.name]
        print(f"{room:>10}  {result.mutant.name}: {said[result.status]}  [{result.seconds:.1f} s]", flush=True)
        tally[room][0] += result.status == "caught"
        tally[room][1] += 1
        killers |= {result.detail} if result.status == "caught" else set()
    bad = sum(total - caught for caught, total in tally.values())
    print("\n      room  caught of")
    for room, (caught, total) in tally.items():
        print(f"{room:>10}  {caught:6d} {total:2d}")
    if killers:
        [unchanged] = run_all([(None, sorted(killers))])
        if unchanged.status != "passed":
            print(f"what catches a mutant must pass without it:\n{unchanged.detail}")
            return bad + 1
    print(f"{len(chosen) - bad} of {len(chosen)} mutants caught")
    return bad


if __name__ == "__main__":
    sys.exit(main())

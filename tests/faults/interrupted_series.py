"""`./run_all.sh` killed at random, again and again, and started each time anew: it leaves what it always leaves.

    python -m tests.faults.interrupted_series [--seed 0] [--keep FOLDER] -- --quick [--only 07] [--set …]

What follows `--` are the arguments of `./run_all.sh`. It runs them once undisturbed, and once more in other folders,
where SIGKILL ends it `--times` times: in turn everything it started, its Ray cluster too, and all but the cluster,
whose actors then outlive their driver. Compared are all stored results, tables, the numbers of figures, and executed
notebooks, byte for byte, but for what holds times by design (`store.OF_ONE_MAKING`, `run_info.json`, `…_times`,
stamps, pages). Prints what was killed when, and how many files are the same; exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import psutil

from artifact.files import PARTIAL
from artifact.report.times import SUFFIX
from artifact.studies import store

ROOT = Path(__file__).resolve().parents[2]

TEXTS = (".csv", ".md", ".tex")
"""Of a table or a figure, the files that hold numbers and sentences and nothing of the moment they were drawn in."""


@dataclass(frozen=True)
class Kill:
    """One interruption: seconds since that start, what was ended, how many processes, what the run had said last."""

    after: float
    what: str
    processes: int
    said: str


class Series:
    """`./run_all.sh` with results, figures and temporary files below `folder`."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.folder, self.arguments = folder, list(arguments)
        self.results, self.figures, self.said = folder / "results", folder / "figures", folder / "said.txt"
        self.temporary = Path(tempfile.mkdtemp(prefix="af", dir="/tmp"))  # a short path, for Ray's sockets
        folder.mkdir(parents=True)

    def start(self) -> subprocess.Popen[bytes]:
        """A start, or another one."""
        env = os.environ | {
            "ARTIFACT_RESULTS": str(self.results),
            "ARTIFACT_FIGURES": str(self.figures),
            "ARTIFACT_VENV": os.environ.get("ARTIFACT_VENV", sys.prefix),
            "TMPDIR": str(self.temporary),
        }
        env.pop("RAY_ADDRESS", None)
        with self.said.open("a") as said:
            return subprocess.Popen(
                [str(ROOT / "run_all.sh"), *self.arguments], cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT
            )

    def finish(self) -> float:
        """Start it and let it end, which it must do well; the seconds it took."""
        begin = time.monotonic()
        if (code := self.start().wait()) != 0:
            raise SystemExit(
                f"./run_all.sh ended with {code}; its output: {self.said}\n{self.said.read_text()[-3000:]}"
            )
        return time.monotonic() - begin

    def interrupt(self, after: float, cluster: bool) -> Kill | None:
        """Start it and kill it `after` seconds, with its Ray cluster or without; None where it had ended before."""
        run = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(after)
            return None
        found = self.processes()
        if not cluster:
            heads = {p.pid for p in found if "--head" in _command(p)}
            found = [p for p in found if not heads & {p.pid, *(q.pid for q in _parents(p))}]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=30)
        run.wait()
        last = [line.strip() for line in self.said.read_text().splitlines() if line.strip()]
        what = "all its processes" if cluster else "all but the Ray cluster"
        return Kill(after, what, len(found), last[-1] if last else "")

    def processes(self) -> list[psutil.Process]:
        """Everything that was started below: whoever has this series' temporary folder in its environment."""
        out = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.temporary):
                    out.append(process)
        return out

    def close(self) -> None:
        """End what is left, and the temporary files."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def content(self) -> dict[str, Any]:
        """What must be the same, by name; `metrics.jsonl` as rows without their seconds.

        A manifest names the measured checkpoint by its place, which is that of this series: it stands as `FOLDER`.
        """
        found: dict[str, Any] = {}
        for base in (self.results, self.figures):
            for path in sorted(p for p in base.rglob("*") if p.is_file()):
                name = path.relative_to(self.folder).as_posix()
                if path.name == "metrics.jsonl":
                    rows = map(json.loads, path.read_text().splitlines())
                    found[name] = [{k: v for k, v in r.items() if not k.startswith("seconds/")} for r in rows]
                elif path.name == store.MANIFEST and _compared(path.relative_to(self.folder)):
                    manifest = json.loads(path.read_text().replace(str(self.folder), "FOLDER"))
                    found[name] = {k: v for k, v in manifest.items() if k != "checksum"}  # of the text with the place
                elif _compared(path.relative_to(self.folder)):
                    found[name] = path.read_bytes()
        return found


def _compared(path: Path) -> bool:
    """Whether a file below a series' folder (`results/runs/KEY/…`) must be the same in another series."""
    kind = path.parts[1]
    if any(part.startswith(".") for part in path.parts) or kind == "logs":
        return False
    if path.parts[0] == "figures" or kind == "tables":
        return path.suffix in TEXTS and not path.stem.endswith(SUFFIX)
    if kind == "notebooks":
        return path.suffix == ".ipynb"
    if len(path.parts) < 4:
        return False  # the summary, and notes beside the results
    within = Path(*path.parts[3:]).as_posix()
    return within != store.RUN_INFO and not any(fnmatchcase(within, p) for p in store.OF_ONE_MAKING)


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _parents(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(process.parents())
    return []


def kind_of(name: str) -> str:
    """`results/runs/KEY/…` → `runs`, `figures/…` → `figures`."""
    parts = name.split("/")
    return parts[0] if parts[0] == "figures" else parts[1]


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The names that are missing, too many, or of other content; what an attempt left unfinished is too much."""
    return sorted(n for n in {*expected, *found} if n not in expected or n not in found or expected[n] != found[n])


def table(kills: Sequence[Kill], expected: dict[str, Any], differ: Sequence[str]) -> str:
    """What was killed when, and the files compared, as Markdown."""
    lines = ["| killed after | what | processes | it had said |", "|---:|---|---:|---|"]
    for k in kills:
        said = re.sub(r"[|`]", " ", k.said)[:90]
        lines.append(f"| {k.after:.0f} s | {k.what} | {k.processes} | {said} |")
    lines += ["", "| what | files | the same |", "|---|---:|---:|"]
    for kind in sorted({*map(kind_of, expected), *map(kind_of, differ)}):
        of = [n for n in expected if kind_of(n) == kind]
        lines.append(f"| {kind} | {len(of)} | {len(of) - sum(n in differ for n in of)} |")
    return "\n".join([*lines, *(f"DIFFERENT: {name}" for name in differ)])


def interrupted(
    folder: Path, arguments: Sequence[str], times: int, seed: int, within: float
) -> tuple[list[Kill], dict[str, Any], list[str]]:
    """The kills, what an undisturbed series leaves, and in what an interrupted one differs from it."""
    draw = random.Random(seed)
    whole, broken = Series(folder / "whole", arguments), Series(folder / "broken", arguments)
    try:
        seconds = whole.finish()
        whole.close()
        kills: list[Kill] = []
        while len(kills) < times:
            kill = broken.interrupt(draw.uniform(0.0, within * seconds), cluster=len(kills) % 2 == 0)
            if kill is None:
                raise SystemExit(
                    f"it ended after {len(kills)} interruptions; choose a smaller --within or another seed"
                )
            print(kill, file=sys.stderr, flush=True)
            kills.append(kill)
        broken.finish()
        expected, found = whole.content(), broken.content()
        assert any(kind_of(n) == "notebooks" for n in expected), "the series made no notebook"
        assert not any(PARTIAL in n for n in expected)
        return kills, expected, differences(expected, found)
    finally:
        whole.close()
        broken.close()


def main() -> int:
    """0 when nothing differs."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    own, arguments = sys.argv[1:split], sys.argv[split + 1 :]
    parser = argparse.ArgumentParser(prog="python -m tests.faults.interrupted_series", description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=0.3, help="latest kill, as a share of the undisturbed time")
    parser.add_argument("--keep", type=Path, help="a new folder for both series, which stays")
    given = parser.parse_args(own)
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interrupted-")))
        kills, expected, differ = interrupted(folder.resolve(), arguments, given.times, given.seed, given.within)
    print(table(kills, expected, differ))
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())

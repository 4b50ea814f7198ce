"""The faults of the store: each is inflicted, the run is started a second time, and what is left is compared.

Outcomes
  same      the second start ends with the bytes of a run that nothing happened to, and leaves nothing else behind
  told      it refuses: the message names the file and says what to do, nothing was changed
  WRONG, STUCK, HANG, LOST, UNSEEN   defects

`python -m tests.faults` prints the table.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import world
from tests.faults.children import KILLED, REFUSED, Ended, Tracer, child

from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.studies import store
from artifact.studies.inventory import faults as faults_of
from artifact.studies.verify import verify

GOOD = ("same", "told")


@dataclass(frozen=True)
class Outcome:
    """What became of one fault: its group, what it was, how it ended (`GOOD` or a defect), and in which words."""

    group: str
    fault: str
    ended: str
    words: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing is silently wrong."""
        return self.ended in GOOD


class Place:
    """A folder in which a result of `kind` is made by `start` and hurt; `whole` is the one that nothing happened to."""

    def __init__(self, folder: Path, kind: str = "runs", start: Callable[..., object] = world.start) -> None:
        self.kind, self.start = kind, start
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.results, self.said = folder, folder / "results", folder / "said.txt"
        os.environ["ARTIFACT_RESULTS"], os.environ["ARTIFACT_FIGURES"] = str(self.results), str(folder / "figures")
        trace = folder / "trace.txt"
        self._must(child(self.start, self.said, Tracer(self.results), trace))
        self.operations, self.syncs = _parts(trace)
        self.whole = folder / "whole"
        shutil.copytree(self.final, self.whole)
        self.expected = world.content(self.whole)
        self._must(child(lambda: self.start(force=True), self.said, Tracer(self.results), trace))
        self.forced, _ = _parts(trace)

    def _must(self, ended: Ended) -> None:
        assert ended.code == 0, f"an undisturbed run ended with {ended.code}: {ended.said}"

    @property
    def final(self) -> Path:
        """Where the finished run lies."""
        return self.results / self.kind / world.KEY

    @property
    def partial(self) -> Path:
        """Where it lies while it is made."""
        return self.final.with_name(f"{world.KEY}.partial")

    def empty(self) -> None:
        """No results."""
        shutil.rmtree(self.results, ignore_errors=True)

    def finished(self) -> Path:
        """The whole run and nothing else; its folder."""
        self.empty()
        shutil.copytree(self.whole, self.final)
        return self.final

    def killed(self, at: int | None = None, torn: int | None = None, force: bool = False) -> Ended:
        """A start that ends at an operation."""
        return child(lambda: self.start(force=force), self.said, Tracer(self.results, at, torn))

    def second(self, group: str, fault: str) -> Outcome:
        """What a second start makes of what lies here."""
        before = _bytes(self.results)
        ended = child(self.start, self.said, Tracer(self.results))
        if ended.code is None:
            return Outcome(group, fault, "HANG", ended.said)
        if ended.code == REFUSED:
            told = any(word in ended.said for word in ("--force", "delete", "put"))
            kept = before == _bytes(self.results)
            return Outcome(group, fault, "told" if told and kept else "STUCK", _last_line(ended.said))
        if ended.code != 0:
            return Outcome(group, fault, "STUCK", ended.said)
        if (found := world.content(self.final)) != self.expected:
            names = {n for n in {*found, *self.expected} if found.get(n) != self.expected.get(n)}
            return Outcome(group, fault, "WRONG", f"other bytes: {sorted(names)}")
        others = [p.name for p in self.final.parent.iterdir() if p != self.final and store.ASIDE not in p.name]
        if others or (wrong := [f for f in verify() if f.wrong]):
            return Outcome(group, fault, "WRONG", f"left behind: {others or wrong}")
        return Outcome(group, fault, "same", _last_line(ended.said))


def _parts(trace: Path) -> tuple[list[str], list[str]]:
    seen, _, syncs = trace.read_text().partition("--\n")
    return seen.splitlines(), syncs.splitlines()


def _bytes(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _named(operations: Iterable[str]) -> list[str]:
    """Operations with their number where the same one comes again."""
    count: Counter[str] = Counter()
    out = []
    for operation in operations:
        count[operation] += 1
        out.append(operation + (f" (time {count[operation]})" if count[operation] > 1 else ""))
    return out


def kills(place: Place, every: int = 1, first: int = 0) -> Iterator[Outcome]:
    """A first start killed at every operation on files (or each `every`-th)."""
    for at, name in list(enumerate(_named(place.operations)))[first::every]:
        place.empty()
        ended = place.killed(at)
        assert ended.code == KILLED, f"{name}: the run is not the one that was traced ({ended.code}) {ended.said}"
        yield place.second(f"{place.kind} killed at", name)


def power_cuts(place: Place, every: int = 1, first: int = 0) -> Iterator[Outcome]:
    """A first start ended at every flush of a file, half of what it wrote since the last one being lost."""
    for torn, name in list(enumerate(_named(place.syncs)))[first::every]:
        place.empty()
        ended = place.killed(torn=torn)
        assert ended.code == KILLED, f"{name}: the run is not the one that was traced ({ended.code}) {ended.said}"
        yield place.second(f"{place.kind}, power cut", name)


def forced_kills(place: Place, every: int = 1, first: int = 0) -> Iterator[Outcome]:
    """`--force` on a finished run, killed at every operation: a whole run lies there, the old one or the new one."""
    for at, name in list(enumerate(_named(place.forced)))[first::every]:
        place.finished()
        ended = place.killed(at, force=True)
        assert ended.code == KILLED, f"{name}: the run is not the one that was traced ({ended.code}) {ended.said}"
        if not any(_is_whole(p) for p in place.final.parent.glob(f"{world.KEY}*")):
            yield Outcome(f"{place.kind} --force killed at", name, "LOST", "neither the old nor the new one is there")
        else:
            yield place.second(f"{place.kind} --force killed at", name)


def _is_whole(folder: Path) -> bool:
    try:
        account = store.account_in(folder)
    except Exception:
        return False
    return not faults_of(folder, account, besides=(store.MANIFEST, store.RUN_INFO))


def double_kills(place: Place, count: int, seed: int = 0) -> Iterator[Outcome]:
    """Starts killed at random operations, twice to five times in a row, then one that is left alone."""
    draw = random.Random(seed)
    for number in range(count):
        place.empty()
        points = [draw.randrange(len(place.operations)) for _ in range(draw.randint(2, 5))]
        for at in points:
            place.killed(at)
        yield place.second(f"{place.kind} killed again and again", f"series {number}: operations {points}")


def _rewritten(path: Path, change: Callable[[list[Any]], list[Any]], kind: type = Rollout) -> None:
    write_parquet(path, change(read_parquet(path, kind)), kind)


def _planted(rollouts: list[Rollout]) -> list[Rollout]:
    return [r.with_verdict(Verdict(Status.CORRECT, "1")) for r in rollouts]


def _flip(path: Path, share: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(share * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def _cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def _json(path: Path, **changes: Any) -> None:
    facts = json.loads(path.read_text())
    facts |= changes
    path.write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))


def _digit(path: Path) -> None:
    """Another digit in the last number: the same size."""
    text = path.read_text()
    at = max(i for i, c in enumerate(text) if c.isdigit())
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def _folder_for_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


EVALUATION = f"evaluation/{world.SPLIT}.greedy.parquet"

TO_FINISHED: dict[str, Callable[[Path], object]] = {
    "verdicts planted: accuracy 1.0": lambda r: _rewritten(r / EVALUATION, _planted),
    "half the rows of the evaluation deleted": lambda r: _rewritten(r / EVALUATION, lambda x: x[: len(x) // 2]),
    "rows of the evaluation doubled": lambda r: _rewritten(r / EVALUATION, lambda x: x + x),
    "evaluation gone": lambda r: (r / EVALUATION).unlink(),
    "evaluation cut": lambda r: _cut(r / EVALUATION),
    "evaluation empty": lambda r: (r / EVALUATION).write_bytes(b""),
    "evaluation a folder": lambda r: _folder_for_file(r / EVALUATION),
    "evaluation of a second split added": lambda r: shutil.copy(r / EVALUATION, r / "evaluation/x.greedy.parquet"),
    "rollout file gone": lambda r: (r / "rollouts/step-000004.parquet").unlink(),
    "rollout file of another step": lambda r: shutil.copy(
        r / "rollouts/step-000002.parquet", r / "rollouts/step-000004.parquet"
    ),
    "a byte of a rollout file flipped": lambda r: _flip(r / "rollouts/step-000002.parquet"),
    "all rollouts gone": lambda r: shutil.rmtree(r / "rollouts"),
    "metrics cut by a line": lambda r: (r / "metrics.jsonl").write_text(
        "\n".join((r / "metrics.jsonl").read_text().splitlines()[:-1]) + "\n"
    ),
    "last line of the metrics torn": lambda r: _cut(r / "metrics.jsonl", 0.97),
    "a digit of the metrics changed": lambda r: _digit(r / "metrics.jsonl"),
    "metrics gone": lambda r: (r / "metrics.jsonl").unlink(),
    "a point of the curve gone": lambda r: (r / "curve/step-000002.parquet").unlink(),
    "a point of the curve added": lambda r: shutil.copy(
        r / "curve/step-000002.parquet", r / "curve/step-000003.parquet"
    ),
    "a weight flipped": lambda r: _flip(r / "weights/weights.pt"),
    "weights cut": lambda r: _cut(r / "weights/weights.pt", 0.9),
    "weights gone": lambda r: shutil.rmtree(r / "weights"),
    "an extra file": lambda r: (r / "notes.txt").write_text("mine"),
    "gold answers of the problems changed": lambda r: _rewritten(
        r / "problems.parquet",
        lambda x: [Problem(p.id, p.question, "9", None, p.task, p.difficulty) for p in x],
        Problem,
    ),
    "manifest names another teacher": lambda r: _json(r / "manifest.json", teacher="B"),
    "manifest cut": lambda r: _cut(r / "manifest.json"),
    "manifest empty": lambda r: (r / "manifest.json").write_bytes(b""),
    "manifest without checksums": lambda r: _json(r / "manifest.json", files=None, checksum=None),
    "run_info with other seconds": lambda r: _json(r / "run_info.json", seconds={"total": 0.1}),
    "run_info cut": lambda r: _cut(r / "run_info.json"),
    "run_info gone": lambda r: (r / "run_info.json").unlink(),
}
"""What can be done to a finished run. Each must be seen by whoever reads the run, and by `artifact verify`."""


def damaged_results(place: Place) -> Iterator[Outcome]:
    """A finished run is hurt; its readers must say so, and `artifact verify` too, and name what makes it again."""
    for fault, hurt in TO_FINISHED.items():
        run = place.finished()
        hurt(run)
        read = child(lambda run=run: world.read_everything(run), place.said)
        [finding] = verify(world.KEY)
        seen = {"reading": read.code == REFUSED, "verify": bool(finding.wrong and finding.remedy)}
        missed = [by for by, did in seen.items() if not did]
        words = f"not seen by {', '.join(missed)}: {read.said[-300:]}" if missed else finding.wrong[0]
        yield Outcome("finished run", fault, "UNSEEN" if missed else "told", words)


def moved_aside(place: Place) -> Iterator[Outcome]:
    """A folder of a run's name without a manifest is no result: it moves out of the way and the run is made."""
    run = place.finished()
    (run / "manifest.json").unlink()
    outcome = place.second("finished run", "manifest gone")
    aside = place.final.with_name(f"{world.KEY}{store.ASIDE}1")
    yield outcome if aside.is_dir() else Outcome(outcome.group, outcome.fault, "LOST", "its files are gone")


def damaged_attempts(place: Place, every: int = 1, first: int = 0) -> Iterator[Outcome]:
    """An unfinished result, late in its making: each of its files cut, flipped, emptied or gone."""
    stages = {"before the last row of metrics": "metrics.jsonl", "before the manifest": "run_info.json.partial"}
    for when, end in stages.items():
        numbers = [i for i, o in enumerate(place.operations) if o.startswith("write") and o.endswith(end)]
        if not numbers:
            continue
        at = numbers[-1]
        place.empty()
        assert place.killed(at).code == KILLED
        saved = place.folder / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(place.results, saved)
        hurts = {"cut": _cut, "flipped": _flip, "empty": lambda p: p.write_bytes(b""), "gone": Path.unlink}
        files = sorted(p.relative_to(saved) for p in saved.rglob("*") if p.is_file() and p.stat().st_size)
        cases = [(path, how) for path in files for how in hurts]
        for path, how in cases[first::every]:
            place.empty()
            shutil.copytree(saved, place.results)
            hurts[how](place.results / path)
            shown = Path(*path.parts[2:]).as_posix()
            yield place.second(f"unfinished {place.kind}, {when}", f"{shown} {how}")


def whole_matrix(folder: Path) -> Iterator[Outcome]:
    """Every fault there is."""
    place = Place(folder)
    yield from kills(place)
    yield from power_cuts(place)
    yield from forced_kills(place)
    yield from double_kills(place, 20)
    yield from damaged_results(place)
    yield from moved_aside(place)
    yield from damaged_attempts(place)
    samples = Place(folder / "stream", "samples", world.sample)
    yield from kills(samples)
    yield from power_cuts(samples)
    yield from forced_kills(samples)
    yield from damaged_attempts(samples)


def representative(folder: Path) -> Iterator[Outcome]:
    """All damage to finished runs, and some of everything else: under a minute and a half on two busy cores."""
    place = Place(folder)
    yield from damaged_results(place)
    yield from moved_aside(place)
    yield from kills(place, 9, 4)
    yield from power_cuts(place, 5, 3)
    yield from forced_kills(place, 13, 2)
    yield from double_kills(place, 3)
    yield from damaged_attempts(place, 13, 5)
    samples = Place(folder / "stream", "samples", world.sample)
    yield from kills(samples, 9, 1)
    yield from power_cuts(samples, 5, 1)
    yield from forced_kills(samples, 13, 2)
    yield from damaged_attempts(samples, 5, 1)


def table(outcomes: Iterable[Outcome]) -> str:
    """(fault, outcome) as Markdown, with a last line that counts."""
    rows = list(outcomes)
    counts = Counter(o.ended for o in rows)
    lines = ["| where | fault | outcome |", "|---|---|---|"]
    lines += [f"| {o.group} | {o.fault.replace(world.KEY, 'KEY')} | {o.ended} |" for o in rows]
    return "\n".join([*lines, "", ", ".join(f"{n} {ended}" for ended, n in sorted(counts.items()))])

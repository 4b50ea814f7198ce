"""One view of a series of notebooks while it is executed: done, running, left, when it ends, what is waited for.

The runs of all its studies are trained beside it, by one queue (`background.py`); where that fails, the series ends.
On a terminal a live line below the output, elsewhere a plain line where something changed, at most one a minute between
notebooks; the index page is written anew after every notebook, so the first figures are there early. Nothing goes into
an executed notebook. Left out: the execution (`notebooks.py`), the forecast's formula (`forecast.py`).
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifact.book import notebooks
from artifact.book.background import training
from artifact.book.costs import costs
from artifact.book.execute import NotebookFailed
from artifact.book.forecast import Cost, Running, Trained, remaining
from artifact.book.needs import runs_of, studies_of
from artifact.book.summary import Standing, write_summary
from artifact.config import load, parse_overrides
from artifact.escape import visible
from artifact.paths import results_dir
from artifact.report.text import duration

_RUN = re.compile(r"\[\d+/\d+\] .*: \d+ s, run (\S+)")
"""What is said of a run that was trained (`runner.run_told`)."""

_STORED = re.compile(r"training queue: (\d+) runs are stored, .*")
"""What the queue says first (`training_queue.Queue.in_words`)."""

PLAIN_SECONDS = 60.0
"""So long a plain terminal waits between two lines while one notebook runs."""


class Progress:
    """Where a series stands.

    known  the notebooks that must run, in order, with their cost (None: not known) and the runs that each shows first
    """

    def __init__(self, known: dict[str, Cost | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._known, self._clock = known, clock
        self._done: dict[str, float] = {}
        self._failed: dict[str, float] = {}
        self._current: str | None = None
        self._began = 0.0
        self._stored = 0
        self._trained: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """Notebook `name` begins now."""
        self._current, self._began = name, self._clock()

    def hear(self, line: str) -> bool:
        """Take note of a line that a notebook or the queue said; True where it tells of a run that was trained."""
        if found := _STORED.fullmatch(line):
            self._stored = int(found[1])
        if (found := _RUN.fullmatch(line)) is None:
            return False
        self._trained.setdefault(found[1], self._clock())
        return True

    def end(self, failed: bool = False, waited_s: float = 0.0) -> None:
        """The running notebook is finished, or has failed; for so long it waited for runs."""
        if self._current in self._known:
            taken = self._clock() - self._began
            if failed:
                self._failed[self._current] = taken
            else:
                self._done[self._current] = max(0.0, taken - waited_s)
        self._current = None

    @property
    def left(self) -> list[str]:
        """Notebooks that have yet to begin."""
        return [n for n in self._known if n not in self._done and n not in self._failed and n != self._current]

    def runs_left(self) -> dict[str, int]:
        """The runs still to be trained for each notebook: those that are there are the first in their order."""
        there, out = self._stored + len(self._trained), {}
        for name, cost in self._known.items():
            runs = cost.runs if cost else 0
            out[name] = 0 if name in self._done else max(0, runs - there)
            there = max(0, there - runs)
        return out

    def remaining_s(self) -> float | None:
        """Seconds until the end; None where that is not known."""
        done = [(cost, taken) for n, taken in self._done.items() if (cost := self._known[n]) is not None]
        to_train = self.runs_left()
        left = [replace(cost, runs=to_train[n]) if (cost := self._known[n]) else None for n in self.left]
        running = None
        if self._current in self._known:
            cost = self._known[self._current]
            if cost is None:
                return None
            since = max([self._began, *(self._trained.values() if cost.runs else ())])
            running = Running(replace(cost, runs=to_train[self._current]), self._clock() - since)
        return remaining(done, running, left, self._training())

    def _training(self) -> Trained:
        """How fast runs are trained: from the end of the first to that of the last."""
        ends = list(self._trained.values())
        if not ends:
            return Trained()
        run_s = max((cost.run_s for cost in self._known.values() if cost), default=0.0)
        return Trained(len(ends) - 1, run_s * (len(ends) - 1), ends[-1] - ends[0], self._clock() - ends[-1])

    def counts(self) -> str:
        """How much is done: `2 of 8 notebooks and 12 of 48 runs done`."""
        runs = len(self._trained)
        total = runs + sum(self.runs_left().values())
        text = f"{len(self._done)} of {len(self._known)} notebooks" + (f" and {runs} of {total} runs" if total else "")
        return f"{text} done" + (f", {len(self._failed)} failed" if self._failed else "")

    def end_in_words(self, now: float) -> str:
        """When the series ends, in local time, where `now` is the time since the epoch."""
        seconds = self.remaining_s()
        if seconds is None:
            return "the end is not known: some of the rest was never measured on this tier"
        return f"about {duration(seconds)} left, until {time.strftime('%H:%M', time.localtime(now + seconds))}"

    def waiting(self) -> str:
        """What is waited for now."""
        if self._current is None:
            return ""
        text = f"waiting for {self._current}, {duration(self._clock() - self._began)} so far"
        if missing := self.runs_left().get(self._current, 0):
            text += f", {missing} of its runs to be trained"
        elif cost := self._known.get(self._current):
            text += f", usually {duration(cost.own_s)}"
        return text

    def lines(self, now: float) -> list[str]:
        """All of it: how far the series is and when it ends; below, while one runs, what is waited for."""
        left = f"{len(self.left)} left" if self.left else "none left"
        end = self.end_in_words(now) if self.left or self._current is not None else ""
        return list(filter(None, ["; ".join(filter(None, [self.counts(), left, end])), self.waiting()]))

    def line(self, now: float) -> str:
        """All of it in one line."""
        return "; ".join(self.lines(now))

    def standing(self, now: float) -> Standing:
        """All of it for the index page."""
        words = {}
        for name in self.left:
            cost = self._known[name]
            words[name] = f"Left to do{f', usually {duration(cost.own_s)}' if cost else ''}."
        words |= {name: f"Failed after {duration(s)}." for name, s in self._failed.items()}
        if self._current in self._known:
            words[self._current] = f"Running since {time.strftime('%H:%M', time.localtime(now))}."
        at = time.strftime("%H:%M", time.localtime(now))
        return Standing(f"At {at}: {self.counts()}; {self.end_in_words(now)}", words)


class View:
    """Shows a `Progress` on a console: live at its foot where `live`, in plain lines otherwise."""

    def __init__(self, progress: Progress, console: Any, live: bool) -> None:
        self.progress, self._console, self._live, self._last = progress, console, live, time.monotonic()

    def __rich__(self) -> Any:
        """What rich draws, several times a minute."""
        from rich.text import Text

        lines = "\n".join(map(visible, self.progress.lines(time.time())))
        return Text(lines, style="bold", no_wrap=True, overflow="ellipsis")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the block runs, the view is there; output of the block goes above it."""
        if not self._live:
            yield
            return
        from rich.live import Live

        with Live(self, console=self._console, refresh_per_second=1, transient=True):
            yield

    def hear(self, line: str) -> None:
        """Pass on what a notebook or the queue said, and tell how far it is, not too often."""
        if self.progress.hear(line) and time.monotonic() - self._last >= PLAIN_SECONDS:
            self.tell()

    def hear_queue(self, line: str) -> None:
        """Show what the training queue said, above the view, and pass it on."""
        print(f"    | {line}", flush=True)
        self.hear(line)

    def tell(self) -> None:
        """A plain line, where there is no live one."""
        self._last = time.monotonic()
        if not self._live:
            self._console.print(f"  progress: {self.progress.line(time.time())}", markup=False, highlight=False)


def execute_all(
    sources: Sequence[Path],
    tier: str,
    sets: list[str] | None,
    console: Any,
    *,
    force: bool = False,
    cell_timeout_s: float | None = None,
    up_to_date: Collection[Path] = (),
    on_term: Callable[..., Any] = signal.SIG_DFL,  # type: ignore[assignment]
) -> list[str]:
    """Execute `sources` in order; the names of those that failed, or were not begun since the training queue failed.

    An interruption stops, a failing cell does not: only a run that cannot be trained does.

    up_to_date  those of `sources` that will be found so: they are no part of what is left
    on_term     the handler of SIGTERM, set anew each time, for nbclient resets it
    """
    todo = [s for s in sources if force or s not in up_to_date]
    overrides = parse_overrides(sets or [])
    known = costs(runs_of(todo, tier, overrides), tier, load(tier, overrides).cluster.lanes)
    progress = Progress({s.stem: known[s] for s in todo})
    view = View(progress, console, live=sys.stdout.isatty() and bool(console.is_terminal))
    failed = []
    studies = list(dict.fromkeys(name for source in todo for name in studies_of(source)))
    log = results_dir() / "logs" / f"training.{tier}.log"
    try:
        with view.shown(), training(studies, tier, sets or [], log, view.hear_queue) as queue:
            for number, source in enumerate(sources, 1):
                if queue is not None and (reason := queue.failure()):
                    console.print("[red]failed[/red] ", end="")
                    console.print(reason, markup=False, highlight=False)
                    failed += [s.stem for s in sources[number - 1 :] if s in todo]
                    break
                signal.signal(signal.SIGTERM, on_term)
                console.print(f"[bold]\\[{number}/{len(sources)}] {visible(source.stem)}[/bold]", highlight=False)
                progress.begin(source.stem)
                if source in todo:
                    view.tell()
                    write_summary(tier, now=progress.standing(time.time()))
                try:
                    outcome = notebooks.run_notebook(
                        source, tier, sets, force=force, cell_timeout_s=cell_timeout_s, heard=view.hear
                    )
                except NotebookFailed as err:
                    progress.end(failed=True)
                    console.print("[red]failed[/red] ", end="")
                    console.print(str(err), markup=False, highlight=False)
                    failed.append(source.stem)
                    if err.interrupted:
                        break
                    continue
                progress.end(waited_s=outcome.record["waited_seconds"] if outcome.executed and outcome.record else 0.0)
                console.print(f"  {_in_words(outcome)}", markup=False, highlight=False)
    finally:
        write_summary(tier)
    return failed


def _in_words(outcome: notebooks.Outcome) -> str:
    seconds = duration(outcome.record["seconds"]) if outcome.record else ""
    made = len(outcome.record["made"]) if outcome.record else 0
    done = f"done in {seconds} ({outcome.reason})" if outcome.executed else f"up to date ({seconds} when it ran)"
    return f"{done}, {made} files"

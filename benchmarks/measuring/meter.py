"""Wall-clock and processor seconds of each phase of a step, and the memory of the processes that make it.

A step is what lies between two calls of `end_step`. Needs nothing but Python,
so that a peer's process measures itself by the same code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KINDS = ("processor", "wall")


class Meter:
    """Measures steps; `steps` holds one entry each: seconds by phase for every kind of time, and its counts.

    processor  seconds of processor time spent so far by all that take part
    """

    def __init__(self, processor: Callable[[], float]) -> None:
        self._clocks = {"processor": processor, "wall": time.perf_counter}
        self.steps: list[dict[str, Any]] = []
        self.begin()

    def _read(self) -> dict[str, float]:
        return {kind: self._clocks[kind]() for kind in KINDS}

    def begin(self) -> None:
        """A step begins here; what was measured since the last one ended is forgotten."""
        self._phases: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
        self._begin = self._read()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """What runs inside belongs to `phase`; phases do not lie in one another."""
        before = self._read()
        yield
        after = self._read()
        for kind in KINDS:
            spent = self._phases[kind].get(phase, 0.0) + after[kind] - before[kind]
            self._phases[kind][phase] = spent

    def end_step(self, rest: str = "rest", **counts: float) -> None:
        """The step is made; what belongs to no phase is called `rest`, `counts` are kept with it. The next begins."""
        now = self._read()
        step: dict[str, Any] = dict(counts)
        for kind in KINDS:
            phases, total = self._phases[kind], now[kind] - self._begin[kind]
            step[kind] = {**phases, rest: total - sum(phases.values()), "total": total}
        self.steps.append(step)
        self.begin()


class Metered:
    """`inner`, the calls that `phases` names (call → phase) measured by `meter`."""

    def __init__(self, inner: Any, meter: Meter, phases: dict[str, str]) -> None:
        self._inner, self._meter, self._of = inner, meter, phases

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._of:
            return found

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self._meter(self._of[name]):
                return found(*args, **kwargs)

        return measured


def processor_clock(pids: Iterable[int]) -> Callable[[], float]:
    """Processor seconds spent so far by all threads of `pids` together; one that has ended counts what it had spent.

    Linux gives each process a clock of nanoseconds, numbered (~pid << 3) | 2 (`clock_getcpuclockid`).
    """
    spent = dict.fromkeys(pids, 0.0)

    def clock() -> float:
        for pid in spent:
            with suppress(OSError):
                spent[pid] = time.clock_gettime((~pid << 3) | 2)
        return sum(spent.values())

    return clock


def memory_gib(pids: Iterable[int]) -> dict[str, float]:
    """Memory of `pids`, summed, GiB: `peak_rss` of each one's own peak, `pss` with shared pages counted once.

    One that ends meanwhile holds nothing: Linux takes its memory's lines away first, its folder when it is waited for.
    """
    found = {"peak_rss": 0.0, "pss": 0.0}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            folder = Path(f"/proc/{pid}")
            found["peak_rss"] += _kib(folder / "status", "VmHWM") / 2**20
            found["pss"] += _kib(folder / "smaps_rollup", "Pss") / 2**20
    return found


def _kib(path: Path, name: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

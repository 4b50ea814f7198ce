"""The timeline of one optimiser step: which device does what, when, for a layout of the roles over the devices.

    rollout → rest (verdicts, method) → teacher (and reference) → student, update → sync

`sequential` is the order of `train/loop.py`: a phase begins when the one before it has ended on all devices. `streamed`
is what a loop could do with distillation alone: a micro-batch is scored as soon as its responses are sampled, and goes
to the student as soon as it is scored, since the loss needs no more of the others than their number; a device never
does two things at a time. Seconds are those of `rates.py`. Left out: the learning curve, checkpoints, the first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from artifact.errors import ConfigError
from artifact.studies.rates import Rates, Tokens

PHASES = ("rollout", "rest", "teacher", "student", "sync", "switch")
LAYOUTS = ("separate", "colocated")
DRIVER = "driver"


@dataclass(frozen=True)
class Layout:
    """Which devices hold what, by name; `sleeping`: engines give up their devices while others use them."""

    name: str
    engines: tuple[str, ...]
    scorers: tuple[str, ...]
    students: tuple[str, ...]
    sleeping: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        """All of them, in the order students, scorers, engines."""
        return tuple(dict.fromkeys((*self.students, *self.scorers, *self.engines)))


def layout_of(name: str, gpus: int, *, sleeping: bool = False) -> Layout:
    """A layout over `gpus` GPUs.

    separate   UOPD appendix A.1: of every four one for the student and the reference, one for the teacher, two engines
    colocated  every GPU holds an engine, a share of the student, and a teacher
    sleeping   whether engines of roles that share their GPUs have to give them up in turn
    Fewer than four GPUs are shared by all.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"layout {name!r} is none of {', '.join(LAYOUTS)}")
    if gpus < 1:
        raise ConfigError(f"{gpus} GPUs make no layout; there must be at least one")
    names = tuple(f"GPU {i}" for i in range(gpus))
    if name == "colocated" or gpus < 4:
        return Layout(name, names, names, names, sleeping)
    quarter = gpus // 4
    return Layout(name, names[2 * quarter :], names[quarter : 2 * quarter], names[:quarter])


@dataclass(frozen=True)
class Work:
    """What a step computes: sequences by who has to pass over them; `rollouts` are sampled.

    micro_batch_tokens  of one pass; at_once: sequences that an engine runs at the same time
    """

    rollouts: tuple[Tokens, ...]
    scored: tuple[Tokens, ...]
    referenced: tuple[Tokens, ...]
    trained: tuple[Tokens, ...]
    micro_batch_tokens: int
    at_once: int


@dataclass(frozen=True)
class Span:
    """Something that a device does from `start` on."""

    device: str
    phase: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        """When it is done."""
        return self.start + self.seconds


@dataclass(frozen=True)
class Timeline:
    """A step, as spans."""

    layout: Layout
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return max(span.end for span in self.spans)

    def phases(self) -> dict[str, float]:
        """Seconds from the first start to the last end of each phase; in a sequential step they add up to the whole."""
        out = {}
        for phase in PHASES:
            of = [s for s in self.spans if s.phase == phase]
            starts = {s.start for s in of}
            if of and phase == "switch":  # once before and once after
                out[phase] = sum(max(s.seconds for s in of if s.start == start) for start in starts)
            elif of:
                out[phase] = max(s.end for s in of) - min(starts)
        return out

    @property
    def used(self) -> float:
        """Share of the devices' time in which they do something."""
        busy = sum(s.seconds for s in self.spans if s.device != DRIVER and s.phase != "switch")
        return busy / (self.seconds * len(self.layout.devices))

    def frame(self) -> pd.DataFrame:
        """One row per span: layout, device, phase, from_s, lasts_s."""
        rows = [
            {"layout": self.layout.name, "device": s.device, "phase": s.phase, "from_s": s.start, "lasts_s": s.seconds}
            for s in self.spans
        ]
        return pd.DataFrame(rows)

    def text(self, width: int = 72) -> str:
        """The timeline in letters, a row per device, the first letter of each phase; R is `rest`, w is `switch`."""
        letters = {"rollout": "r", "rest": "R", "teacher": "t", "student": "s", "sync": "y", "switch": "w"}
        lines = []
        devices = [d for d in (*self.layout.devices, DRIVER) if any(s.device == d and s.seconds for s in self.spans)]
        for device in devices:
            row = ["."] * width
            for s in (s for s in self.spans if s.device == device and s.seconds > 0):
                first = min(int(s.start / self.seconds * width), width - 1)
                last = max(first + 1, round(s.end / self.seconds * width))
                row[first:last] = letters[s.phase] * (min(last, width) - first)
            lines.append(f"{device:>10} |{''.join(row)}|")
        return "\n".join([*lines, f"{'':>10}  0 s{'':{width - 12}}{self.seconds:6.1f} s"])


def micro_batches(sequences: Sequence[Tokens], tokens: int) -> Iterator[list[Tokens]]:
    """`sequences` in order, at most `tokens` of them at a time; a longer one is alone."""
    batch: list[Tokens] = []
    for sequence in sequences:
        if batch and sum(map(sum, batch)) + sum(sequence) > tokens:
            yield batch
            batch = []
        batch.append(sequence)
    if batch:
        yield batch


@dataclass
class _Steps:
    """Spans as they are laid down, and the time that it is."""

    spans: list[Span] = field(default_factory=list)
    now: float = 0.0

    def phase(self, name: str, seconds: Mapping[str, float]) -> None:
        """All of `seconds` (by device) begin now; then it is the end of the longest."""
        self.spans += [Span(device, name, self.now, s) for device, s in seconds.items()]
        self.now += max(seconds.values(), default=0.0)

    def end(self, rates: Rates, layout: Layout) -> Timeline:
        """What follows the update: engines wake where they slept, and are given the new weights."""
        if layout.sleeping:
            self.phase("switch", dict.fromkeys(layout.engines, rates.switch))
        seconds = rates.sync + rates.sync_engine * len(layout.engines)
        self.phase("sync", dict.fromkeys((layout.students[0], *layout.engines), seconds))
        return Timeline(layout, tuple(self.spans))


def sequential(work: Work, rates: Rates, layout: Layout) -> Timeline:
    """A step phase by phase, every phase over all its devices."""
    steps = _Steps()
    steps.phase("rollout", {device: max(ends) for device, ends in _sampled(work, rates, layout).items()})
    steps.phase("rest", {DRIVER: _rest(work, rates)})
    if layout.sleeping:
        steps.phase("switch", dict.fromkeys(layout.engines, rates.switch))
    for devices, cost, sequences in (
        (layout.scorers, rates.scoring, work.scored),
        (layout.students, rates.reference, work.referenced),
    ):
        if sequences:
            shares = {device: sequences[i :: len(devices)] for i, device in enumerate(devices)}
            steps.phase("teacher", {d: rates.call + sum(map(cost.seconds, of)) for d, of in shares.items()})
    training = dict.fromkeys(layout.students, rates.update)
    for rank, device in enumerate(layout.students):
        for batch in micro_batches(work.trained[rank :: len(layout.students)], work.micro_batch_tokens):
            training[device] += rates.micro_batch + sum(map(rates.training.seconds, batch))
    steps.phase("student", training)
    return steps.end(rates, layout)


def streamed(work: Work, rates: Rates, layout: Layout) -> Timeline:
    """A step in which a finished response is scored and trained on while others are sampled; distillation alone."""
    sampled, scored_on, trained_on = ([r for _, r in of] for of in (work.rollouts, work.scored, work.trained))
    if not (sampled == scored_on == trained_on) or work.referenced:
        raise ConfigError(
            "a streamed step is simulated of distillation alone: every rollout scored and trained on once"
        )
    steps = _Steps()
    free = dict.fromkeys(layout.devices, 0.0)
    arrived: list[tuple[float, Tokens]] = []
    for device, ends in _sampled(work, rates, layout).items():
        steps.spans.append(Span(device, "rollout", 0.0, max(ends)))
        if layout.sleeping:
            steps.spans.append(Span(device, "switch", max(ends), rates.switch))
        free[device] = max(ends) + rates.switch * layout.sleeping
        arrived += zip(ends, work.scored[layout.engines.index(device) :: len(layout.engines)], strict=True)
    arrived.sort()

    def do(phase: str, devices: Sequence[str], ready: float, seconds: float) -> float:
        """The device that can begin first does it; when it is done."""
        device = min(devices, key=lambda d: max(free[d], ready))
        steps.spans.append(Span(device, phase, max(free[device], ready), seconds))
        free[device] = steps.spans[-1].end
        return free[device]

    scored: list[tuple[float, list[Tokens]]] = []
    taken = 0
    for batch in micro_batches([sequence for _, sequence in arrived], work.micro_batch_tokens):
        taken += len(batch)
        seconds = rates.call + sum(map(rates.scoring.seconds, batch))
        scored.append((do("teacher", layout.scorers, arrived[taken - 1][0], seconds), batch))
    for ready, batch in scored:
        do("student", layout.students, ready, rates.micro_batch + sum(map(rates.training.seconds, batch)))
    steps.spans.append(Span(DRIVER, "rest", arrived[-1][0], _rest(work, rates)))
    steps.now = max(span.end for span in steps.spans)
    steps.phase("student", dict.fromkeys(layout.students, rates.update))
    return steps.end(rates, layout)


def _sampled(work: Work, rates: Rates, layout: Layout) -> dict[str, list[float]]:
    """Of each engine that has any: when each of its rollouts is finished; they are dealt out in turns."""
    n = len(layout.engines)
    shares = {device: work.rollouts[i::n] for i, device in enumerate(layout.engines)}
    return {device: rates.decoding.finished(share, work.at_once) for device, share in shares.items() if share}


def _rest(work: Work, rates: Rates) -> float:
    """What the driver does after the rollouts."""
    return rates.step + rates.rollout * len(work.rollouts) + rates.token * sum(r for _, r in work.rollouts)


def lengths(n: int, mean: float, longest: int) -> tuple[int, ...]:
    """n response lengths of about this mean, none above `longest`: quantiles of longest · u^(longest / mean − 1).

    All equal to `longest` where that is the mean; else a tail that reaches it, as a budget of tokens cuts one.
    """
    if not 0 < mean <= longest:
        raise ConfigError(f"a mean of {mean:g} response tokens is not between 0 and the budget, {longest}")
    power = longest / mean - 1
    return tuple(max(1, round(longest * ((i + 0.5) / n) ** power)) for i in range(n))

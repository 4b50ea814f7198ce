"""What the parts of a step cost, in seconds by unit of work: all that the simulator of a step knows of a machine.

    an iteration of an engine               iteration + sampled · running + cached · tokens in the caches of those
    a pass over p prompt, r response tokens  token · (p + r) + response · r + squared · (p + r)²

Where the numbers come from: `cpu_rates.py` (steps measured on this machine), `gpu_rates.py` (parts measured on one GPU,
and published figures). Left out: which device does what, and when (`simulator.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

Tokens = tuple[float, int]
"""A sequence: tokens of its prompt, and of its response."""


@dataclass(frozen=True)
class Pass:
    """Seconds of a pass over one sequence, by what it is proportional to."""

    token: float = 0.0
    response: float = 0.0
    squared: float = 0.0

    def seconds(self, sequence: Tokens) -> float:
        """Of one sequence."""
        prompt, response = sequence
        whole = prompt + response
        return self.token * whole + self.response * response + self.squared * whole**2


@dataclass(frozen=True)
class Decoding:
    """Seconds of sampling by one engine; `prompt` is the pass over a prompt, `sequence` what each adds beside."""

    iteration: float
    sampled: float
    cached: float
    prompt: Pass
    sequence: float = 0.0

    def finished(self, sequences: Sequence[Tokens], at_once: int) -> list[float]:
        """Seconds after which each of `sequences` is done, at most `at_once` of them running at a time.

        Exact for these costs: between two ends the number running is constant, and the caches grow by it.
        """
        done = [0.0] * len(sequences)
        running: list[tuple[int, int]] = []  # the iteration after which it ends, and which it is
        now, iteration, cached, upcoming = 0.0, 0, 0.0, 0
        while upcoming < len(sequences) or running:
            while upcoming < len(sequences) and len(running) < at_once:
                prompt, response = sequences[upcoming]
                now += self.sequence + self.prompt.seconds((prompt, 0))
                cached += prompt
                heapq.heappush(running, (iteration + response, upcoming))
                upcoming += 1
            end, n = running[0][0], len(running)
            steps = end - iteration
            now += steps * (self.iteration + n * self.sampled)
            now += self.cached * (steps * cached + n * steps * (steps - 1) / 2)
            iteration, cached = end, cached + n * steps
            while running and running[0][0] == end:
                _, i = heapq.heappop(running)
                done[i] = now
                cached -= sum(sequences[i])
        return done


@dataclass(frozen=True)
class Rates:
    """Seconds of every part of a step.

    decoding             by the engines
    scoring, reference   a sequence by the teacher, by the reference; `call`: whatever is asked
    training             a sequence, forward and backward; `micro_batch`: each pass of a rank besides
    update               the optimiser's step of a rank, its gradients exchanged
    sync, sync_engine    new weights in the engines: once, and for each engine
    step, rollout, token what the driver does: verdicts, the method, for each rollout, for each response token
    switch               engines put to sleep, or woken, where they share their devices
    """

    decoding: Decoding
    scoring: Pass
    reference: Pass
    training: Pass
    call: float = 0.0
    micro_batch: float = 0.0
    update: float = 0.0
    sync: float = 0.0
    sync_engine: float = 0.0
    step: float = 0.0
    rollout: float = 0.0
    token: float = 0.0
    switch: float = 0.0

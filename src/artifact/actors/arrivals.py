"""Responses of several engines as they are finished, and which prompt is known to be the next by its length.

A prompt is finished when its last response is. Of an engine that says that each of its unfinished responses has at
least m tokens, every prompt that is not finished will be longer than m. So a finished prompt of at most m tokens, for
the smallest m of all engines that still draw, comes before all that is to come (`train.rollouts.by_length`), whatever
the engines' speeds are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from artifact.actors.calls import call
from artifact.errors import ActorTimeout
from artifact.train.rollouts import Completion

Said = tuple[int, int, list[tuple[int, Completion]]]
"""What an engine says while it draws (`RolloutEngine.stream`)."""


class Arrivals:
    """The responses of `prompts` prompts, n each; prompt i is drawn by engine i mod `engines`, n requests in a row."""

    def __init__(self, prompts: int, n: int, engines: int) -> None:
        self.n, self.engines = n, engines
        self._arrived: dict[int, dict[int, Completion]] = {i: {} for i in range(prompts)}
        self._given: set[int] = set()
        self._least = dict.fromkeys(range(engines), 0)

    def say(self, engine: int, least: int, finished: Sequence[tuple[int, Completion]]) -> None:
        """Responses of `engine` that are finished, by index of its request; all others of it have `least` tokens."""
        self._least[engine] = least
        for request, completion in finished:
            self._arrived[engine + self.engines * (request // self.n)][request % self.n] = completion

    def known(self) -> list[int]:
        """The prompts whose place is known and was not before, in order."""
        open_ = [i for i, found in self._arrived.items() if len(found) < self.n]
        bound = min((self._least[i % self.engines] for i in open_), default=None)
        length = {
            i: max(len(c.ids) for c in found.values())
            for i, found in self._arrived.items()
            if len(found) == self.n and i not in self._given
        }
        new = sorted((i for i, m in length.items() if bound is None or m <= bound), key=lambda i: (length[i], i))
        self._given.update(new)
        return new

    def group(self, i: int) -> list[Completion]:
        """The responses to prompt i, in order."""
        return [self._arrived[i][j] for j in range(self.n)]


def said(streams: Mapping[int, Any], timeout_s: float) -> Iterator[tuple[int, Said]]:
    """(engine, what it says) from Ray's generators, in the order in which it is said.

    Raises ActorTimeout where not all have ended within `timeout_s` seconds, and what `calls.call` raises.
    """
    import ray

    engine_of: dict[Any, int] = {stream: k for k, stream in streams.items()}
    deadline = time.monotonic() + timeout_s
    while engine_of:
        left = max(0.0, deadline - time.monotonic())
        ready: list[Any] = ray.wait(list(engine_of), num_returns=1, timeout=left, fetch_local=False)[0]
        if not ready:
            raise ActorTimeout(
                f"sampling rollouts did not finish within {timeout_s:.0f} s; raise cluster.step_timeout_s"
            )
        for stream in ready:
            try:
                ref = next(stream)
            except StopIteration:
                del engine_of[stream]
                continue
            yield engine_of[stream], call(ref, timeout_s, "sampling rollouts")

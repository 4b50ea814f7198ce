"""Verdicts on responses: extract the final answer, compare it with the gold answer, never hang, never return a bare 0.

Simple pairs are decided in this process by exact arithmetic (`equivalence.decide`). The rest is done by `symbolic.py`
in worker processes, because algebra may hang in code that does not return to Python. A comparison has a limit of
*processor* time, so that no verdict depends on how busy the machine is. A worker that is killed from outside, or stands
still beyond a generous wall-clock limit, is replaced and asked once more.

What then remains is an accident, not a verdict: `Status.TIMEOUT` and `Status.ERROR` are counted by name, are neither
right nor wrong (`records.Group`), and too many of them stop a run (`train/rollouts.py`).

`same` compares answers of equal standing, without a gold one among them: what semantic clustering asks. Left out:
process rewards and LLM judges.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Self

from artifact.records import Status, Verdict
from artifact.tasks.answer_forms import read_answer
from artifact.tasks.equivalence import decide
from artifact.tasks.extract import DEFAULT_RULES, check_rules, extract_answer
from artifact.tasks.verifier_process import WorkerDied, WorkerProcess, WorkerStalled, WorkerTimeout

CACHE_SIZE = 100_000

WALL_FACTOR = 24
"""The wall-clock limit of a comparison, as a multiple of its limit of processor time, where none is given."""


class Verifier:
    """Extraction plus equivalence, with `workers` killable processes for the algebra. Thread-safe, picklable.

    rules      extraction rules in order (`extract.RULES`); a task whose prompt demands a box uses `("boxed",)`
    timeout_s  processor time of one comparison in a worker, in seconds; the worker ends at it
    wall_s     wall-clock limit behind it, in seconds, for a worker that stands still; None = WALL_FACTOR × timeout_s
    workers    number of processes; each starts at first need (about a second) and lives until `close`

    Verdicts are cached by (gold, answer), except timeouts and errors, which may be the machine's fault.
    """

    def __init__(
        self,
        rules: Sequence[str] = DEFAULT_RULES,
        timeout_s: float = 5.0,
        workers: int = 1,
        wall_s: float | None = None,
    ) -> None:
        if timeout_s <= 0 or workers < 1 or (wall_s is not None and wall_s <= 0):
            raise ValueError(
                f"Verifier needs timeout_s > 0, workers >= 1, wall_s > 0; got {timeout_s}, {workers}, {wall_s}"
            )
        self.rules = check_rules(rules)
        self.timeout_s = timeout_s
        self.wall_s = wall_s
        self.workers = workers
        self._lock = threading.Lock()
        self._counts: Counter[Status] = Counter()
        self._paths: Counter[str] = Counter()
        self._cache: OrderedDict[tuple[str, ...], tuple[Status, str]] = OrderedDict()
        self._pool: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(workers):
            self._pool.put(None)
        self._running: set[WorkerProcess] = set()
        self._finalizer = weakref.finalize(self, _kill_all, self._running)

    def verify(self, response_text: str, gold: str) -> Verdict:
        """The verdict on one response; `Status.UNPARSED` where no rule finds an answer. No text makes it raise."""
        return self.verify_batch([response_text], [gold])[0]

    def verify_batch(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """Verdicts in the order of `texts`; equal (gold, answer) pairs are compared once, slow ones on all workers."""
        if len(texts) != len(golds):
            raise ValueError(f"verify_batch got {len(texts)} responses but {len(golds)} gold answers; give one each")
        found = [extract_answer(text, self.rules) for text in texts]
        pairs = dict.fromkeys((g, e.answer) for g, e in zip(golds, found, strict=True) if e is not None)
        outcomes = dict(zip(pairs, self._compare_all(list(pairs)), strict=True))
        verdicts = []
        for gold, extraction in zip(golds, found, strict=True):
            if extraction is None:
                verdicts.append(Verdict(Status.UNPARSED, detail=f"no answer by the rules {', '.join(self.rules)}"))
            else:
                status, detail = outcomes[gold, extraction.answer]
                verdicts.append(Verdict(status, extraction.answer, detail, extraction.rule))
        self._count(verdicts)
        return verdicts

    def check(self, gold: str, answer: str) -> Verdict:
        """The verdict on an answer that has been extracted already."""
        status, detail = self._compare(gold, answer)
        verdict = Verdict(status, answer, detail)
        self._count([verdict])
        return verdict

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Whether the two answers of each pair are equal by algebra, neither being the gold one; symmetric.

        CORRECT  equal: each is right with the other as gold       WRONG  both can be read, and they differ
        UNPARSED no verdict: one cannot be read, or the two are equal only in one direction (a grading convention)
        TIMEOUT and ERROR are accidents. Always algebra, in a worker: what exact rules or words decide is for the caller
        to settle before. These are no verdicts on responses: `counts` leaves them out, `paths` has them.
        """
        if self.workers == 1 or len(pairs) < 2:
            found = [self._same(*pair) for pair in pairs]
        else:
            with ThreadPoolExecutor(self.workers) as threads:
                found = list(threads.map(lambda pair: self._same(*pair), pairs))
        return [Verdict(status, right, detail) for (_, right), (status, detail) in zip(pairs, found, strict=True)]

    def unreadable(self, golds: Iterable[str]) -> dict[str, str]:
        """Gold answers that cannot be graded, with the reason: no parser reads them, or they have no value."""
        asked = [gold for gold in dict.fromkeys(golds) if not _plain(gold)]

        def reason(gold: str) -> str:
            reply = self._reply(gold, None)
            return reply[1] if isinstance(reply, tuple) else reply.get("error") or reply["unreadable"]

        if self.workers == 1 or len(asked) < 2:
            reasons = list(map(reason, asked))
        else:
            with ThreadPoolExecutor(self.workers) as threads:
                reasons = list(threads.map(reason, asked))
        return {gold: why for gold, why in zip(asked, reasons, strict=True) if why}

    @property
    def counts(self) -> dict[str, int]:
        """Number of verdicts given so far, by status name (all five names)."""
        with self._lock:
            return {str(status): self._counts[status] for status in Status}

    @property
    def paths(self) -> dict[str, int]:
        """Number of comparisons by how they were decided: `exact` (in process), `symbolic` (in a worker), `cached`."""
        with self._lock:
            return {path: self._paths[path] for path in ("exact", "symbolic", "cached")}

    def close(self) -> None:
        """Kill the workers. The verifier can still be used: the next algebra starts a worker again."""
        with self._lock:
            _kill_all(self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rules, self.timeout_s, self.workers, self.wall_s)

    def _count(self, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            self._counts.update(v.status for v in verdicts)

    def _compare_all(self, pairs: list[tuple[str, str]]) -> list[tuple[Status, str]]:
        if self.workers == 1 or len(pairs) < 2:
            return [self._compare(*pair) for pair in pairs]
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(lambda pair: self._compare(*pair), pairs))

    def _compare(self, gold: str, answer: str) -> tuple[Status, str]:
        key = (gold, answer)
        if (known := self._known(key)) is not None:
            return known
        equal, reason = decide(gold, answer)
        path = "exact"
        if equal is None:
            path = "symbolic"
            status, reason = self._ask(gold, answer)
        else:
            status = Status.CORRECT if equal else Status.WRONG
        self._keep(key, path, status, reason)
        return status, reason

    def _same(self, left: str, right: str) -> tuple[Status, str]:
        pair = (min(left, right), max(left, right))
        key = ("same", *pair)
        if (known := self._known(key)) is not None:
            return known
        reply = self._reply(pair, None)
        if isinstance(reply, tuple):
            status, reason = reply
        elif "error" in reply:
            status, reason = Status.ERROR, reply["error"]
        else:
            status = {True: Status.CORRECT, False: Status.WRONG, None: Status.UNPARSED}[reply["equal"]]
            reason = reply["detail"]
        self._keep(key, "symbolic", status, reason)
        return status, reason

    def _known(self, key: tuple[str, ...]) -> tuple[Status, str] | None:
        """The verdict kept under `key`, if any; it counts as `cached`."""
        with self._lock:
            if key not in self._cache:
                return None
            self._cache.move_to_end(key)
            self._paths["cached"] += 1
            return self._cache[key]

    def _keep(self, key: tuple[str, ...], path: str, status: Status, reason: str) -> None:
        """Count the comparison, and keep its verdict unless it is an accident."""
        with self._lock:
            self._paths[path] += 1
            if not status.accident:
                self._cache[key] = status, reason
                if len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)

    def _ask(self, gold: str, answer: str) -> tuple[Status, str]:
        reply = self._reply(gold, answer)
        if isinstance(reply, tuple):
            return reply
        if "error" in reply:
            return Status.ERROR, reply["error"]
        return (Status.CORRECT if reply["equal"] else Status.WRONG), reply["detail"]

    def _reply(self, gold: str | tuple[str, str], answer: str | None) -> dict[str, Any] | tuple[Status, str]:
        """A worker's reply, or what became of the request: asked twice at most, each time of a sound worker."""
        accident = Status.ERROR, ""
        for _ in range(2):
            worker = self._pool.get()
            try:
                if worker is None or not worker.alive:
                    self._discard(worker)
                    worker = None
                    worker = WorkerProcess()
                    with self._lock:
                        self._running.add(worker)
                wall_s = WALL_FACTOR * self.timeout_s if self.wall_s is None else self.wall_s
                return worker.ask(gold, answer, self.timeout_s, wall_s)
            except WorkerTimeout:
                return Status.TIMEOUT, f"stopped after {self.timeout_s:g} s of processor time"
            except WorkerStalled:
                accident = Status.TIMEOUT, f"two workers stood still for {wall_s:g} s"
            except WorkerDied as err:
                accident = Status.ERROR, f"two worker processes died: {err}"
            finally:
                self._pool.put(worker)
        return accident

    def _discard(self, worker: WorkerProcess | None) -> None:
        if worker is not None:
            worker.kill()
            with self._lock:
                self._running.discard(worker)


def _plain(gold: str) -> bool:
    """Whether the gold answer is a number, a numeral or plain words, which needs no parser."""
    reading = read_answer(gold)
    return reading.value is not None or reading.base is not None or bool(reading.words)


def _kill_all(workers: set[WorkerProcess]) -> None:
    while workers:
        workers.pop().kill()


@cache
def shared_verifier() -> Verifier:
    """One `Verifier` with the default settings for the whole process, closed at exit."""
    return Verifier()

"""The process that runs the algebra for `verifier.py`: `python -m artifact.tasks.verifier_worker`.

Protocol, one JSON object per line over standard input and output: first the worker says `{"ready": true}`; then each
request `{"id", "gold", "answer", "cpu_s"}` gets `{"id", "equal", "detail"}` or `{"id", "error"}`; with `answer` null
it asks whether the gold can be graded, and gets `{"id", "unreadable"}`, a reason or ""; with `"gold": [left, right]` it
asks about two answers of equal standing, and `equal` may be null (cannot tell). It ends at end of input.

The limit is processor time: the kernel ends the worker by SIGPROF when one request has used `cpu_s` of it (default
action: terminate, also inside code that never returns to Python), so a busy machine changes no verdict.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys

MEMORY_BYTES = 4 << 30
"""Address-space limit of a worker: a power tower then ends as MemoryError (status `error`), not as a full machine."""


def limit_memory() -> None:
    """Lower the address-space limit to `MEMORY_BYTES` where the system's own hard limit is not lower still."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))


def main() -> None:
    """Serve requests until standard input closes."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints cannot break the protocol
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    if sys.platform.startswith("linux"):
        limit_memory()
    from artifact.tasks.symbolic import symbolic_equal, symbolic_same, unreadable

    symbolic_equal("x+1", r"\frac{2x+2}{2}")  # imports and compiles everything, so that no verdict pays for it
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
        try:
            if isinstance(request["gold"], list):
                same, detail = symbolic_same(*request["gold"])
                reply: dict[str, object] = {"equal": same, "detail": detail}
            elif request["answer"] is None:
                reply = {"unreadable": unreadable(request["gold"])}
            else:
                equal, detail = symbolic_equal(request["gold"], request["answer"])
                reply = {"equal": bool(equal), "detail": detail}
        except Exception as err:  # every failure becomes a verdict of its own, with its reason
            reply = {"error": f"{type(err).__name__}: {err}"[:500]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"id": request["id"]} | reply), file=replies, flush=True)


if __name__ == "__main__":
    main()

"""Proof that engines hold the weights they were given: log-probabilities of a probe, engine against training copy.

A version counter says that a transfer was made, not that it arrived: after a reload a tied output head can keep its old
rows without any error. So after every transfer both sides score the same fixed tokens, and must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from artifact.errors import StaleEngine

Scored = Sequence[np.ndarray]
"""One side's log-probabilities of the probe: one array per sequence."""


def max_logprob_diff(a: Scored, b: Scored) -> float:
    """The largest |Δ log-prob| in nats; not a number if any value is none (which Python's `max` could lose)."""
    return float(np.max([np.abs(x - y).max() for x, y in zip(a, b, strict=True)]))


def check_weight_sync(measure: Callable[[], Sequence[Scored]], tolerance: float, what: str) -> float:
    """The largest |Δ log-prob| between the source of the weights and any engine, in nats.

    `measure()` scores the probe: source, *engines.

    Raises StaleEngine when it is above `tolerance` or not a number; `what` says which weights were sent. Before that
    both sides are measured once more: weights that did not arrive give the same numbers again, and a side whose numbers
    moved has computed one of them wrongly. Either way the run stops.
    """
    source, *engines = measure()
    differences = [max_logprob_diff(source, engine) for engine in engines]
    for index, found in enumerate(differences):
        if not found <= tolerance:
            again, *engines_again = measure()
            raise StaleEngine(
                f"{what}: engine {index} differs from its source by {found:.2e} nats on the probe (allowed: "
                f"cluster.sync_tolerance = {tolerance:g}): it holds stale or damaged weights, and rollouts would be "
                "off-policy. Check tied embeddings and number types, then start the run again. Measured again they "
                f"differ by {max_logprob_diff(again, engines_again[index]):.2e}; the source's own numbers moved by "
                f"{max_logprob_diff(source, again):.2e}, the engine's by "
                f"{max_logprob_diff(engines[index], engines_again[index]):.2e}: a side that moves has computed "
                "wrongly, which points at its machine and not at the transfer"
            )
    return max(differences, default=0.0)

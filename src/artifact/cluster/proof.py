"""Proof that engines hold the weights they were given: log-probabilities of a probe, engine against training copy.

A version counter says that a transfer was made, not that it arrived: after a reload a tied output head can keep its old
rows without any error. So after every transfer both sides score the same fixed tokens, and must agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artifact.errors import StaleEngine


def prove(
    expected: Sequence[np.ndarray], engines: Sequence[Sequence[np.ndarray]], tolerance: float, what: str
) -> float:
    """The largest |Δ log-prob| in nats between `expected` and any engine, each a list of arrays, one a probe sequence.

    Raises StaleEngine when it is above `tolerance` or not a number; `what` says which weights were sent.
    """
    gaps = [max(float(np.abs(a - b).max()) for a, b in zip(expected, engine, strict=True)) for engine in engines]
    for index, gap in enumerate(gaps):
        if not gap <= tolerance:
            raise StaleEngine(
                f"{what}: engine {index} differs from its source by {gap:.2e} nats on the probe (allowed: "
                f"cluster.sync_tolerance = {tolerance:g}): it holds stale or damaged weights, and rollouts would be "
                "off-policy. Check tied embeddings and number types, then start the run again"
            )
    return max(gaps, default=0.0)

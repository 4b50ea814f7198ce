"""The learning rate of an optimiser step: linear warm-up, then constant, linear or cosine decay to a final fraction.

    warm-up   lr · (t + 1) / w                          t = 0 … w − 1
    decay     lr · (f + (1 − f) · s(p)),                p = (t − w) / (T − 1 − w),  t = w … T − 1
              linear s = 1 − p,   cosine s = (1 + cos πp) / 2

T optimiser steps, w warm-up steps, f `final_fraction`: the peak is reached at t = w and lr · f at the last step.
"""

from __future__ import annotations

import math

from artifact.train.settings import Optimiser


def learning_rate(optimiser: Optimiser, step: int, total_steps: int) -> float:
    """The rate of optimiser step `step` (0-based) of `total_steps`."""
    o = optimiser
    warmup = max(1, round(o.warmup_fraction * total_steps)) if o.warmup_fraction else 0
    if step < warmup:
        return o.lr * (step + 1) / warmup
    if o.schedule == "constant":
        return o.lr
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    shape = 1 - progress if o.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return o.lr * (o.final_fraction + (1 - o.final_fraction) * shape)

"""Coefficients of distillation and contrast (CORE 3.4).

    weighted   α L_d + L_c             the default: α is the "distill weight" of the paper's settings; may exceed 1
    convex     α L_d + (1 − α) L_c     the printed formula; only for 0 ≤ α ≤ 1
    adaptive   a L_d + (1 − a) L_c     a = the step's rollout accuracy: contrast gives way to distillation

The paper prints `convex` and then uses α up to 10, where 1 − α < 0 and the contrast loss would be *maximised*.
Pure Python. Left out: each component's own denominator (`reduction.py`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Mix = Literal["weighted", "convex", "adaptive"]


class MixCoefficients(NamedTuple):
    """Factors on the reduced distillation and contrast losses of a step."""

    distil: float
    contrast: float


def mix_coefficients(mode: Mix, *, alpha: float | None = None, batch_accuracy: float | None = None) -> MixCoefficients:
    """The two coefficients of a step: `weighted` and `convex` take `alpha`, `adaptive` takes `batch_accuracy`.

    `batch_accuracy` in [0, 1] is the share of correct rollouts of the whole step, over all ranks; `alpha` is ignored by
    `adaptive`. Raises ValueError for an unknown mode, a missing input, or one outside its range.
    """
    if mode not in get_args(Mix):
        raise ValueError(f"unknown mix {mode!r}; choose from {get_args(Mix)}")
    if mode == "adaptive":
        if batch_accuracy is None or not 0.0 <= batch_accuracy <= 1.0:
            raise ValueError(f"mix 'adaptive' needs the step's rollout accuracy in [0, 1], got {batch_accuracy}")
        return MixCoefficients(batch_accuracy, 1.0 - batch_accuracy)
    if alpha is None or not 0.0 <= alpha < float("inf"):
        raise ValueError(f"mix {mode!r} needs a finite alpha ≥ 0, got {alpha}")
    if mode == "convex":
        if alpha > 1.0:
            raise ValueError(
                f"mix 'convex' needs 0 ≤ alpha ≤ 1, got {alpha}: contrast would weigh 1 − alpha = {1.0 - alpha:g} "
                "and training would maximise the contrast loss; use mix 'weighted', which weighs L_d alone"
            )
        return MixCoefficients(alpha, 1.0 - alpha)
    return MixCoefficients(alpha, 1.0)

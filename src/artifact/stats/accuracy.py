"""Accuracy on shared problems: its interval over problems, and its spread over seeds.

Two sources of variation are kept apart and never added up:
- *problems*: the benchmark's problems are a sample from all problems like them. The k samples and the seeds on one
  problem share its difficulty, so they are one cluster: outcomes are averaged within a problem first, and problems are
  resampled.
- *seeds*: trained runs differ. Their spread is a mean ± SD over seeds, over per-seed accuracies on the same problems.
  With three seeds this SD is itself rough, and it holds only what the seeds vary (data order and sampling, say, not
  the checkpoint).
An interval over problems is conditional on the runs at hand, and an SD over seeds on the problems at hand. Left out:
differences between methods (`paired.py`).
Array axes: S seeds, P problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from artifact.errors import ArtifactError
from artifact.stats.bootstrap import RESAMPLES, cluster_bootstrap
from artifact.stats.checks import Floats
from artifact.stats.interval import Interval


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Mean and SD (n − 1) over seeds of the per-seed accuracy; `sd` is None with one seed: one run has no spread."""

    mean: float
    sd: float | None
    per_seed: tuple[float, ...]


def check_outcomes(outcomes_SP: ArrayLike, name: str = "outcomes") -> Floats:
    """Outcomes as float64 [S, P], from [S, P] or [P]. Raises ArtifactError unless non-empty and within [0, 1]."""
    array = np.atleast_2d(np.asarray(outcomes_SP, dtype=np.float64))
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise ArtifactError(f"{name}: give a non-empty [seeds, problems] array within [0, 1]; got {array.shape}")
    return array


def accuracy_interval(outcomes_SP: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Mean outcome with its interval over problems; outcomes [S, P] (or [P]), 0/1 or means over samples in [0, 1].

    Seeds are averaged within each problem.
    """
    outcomes = check_outcomes(outcomes_SP)
    problems = np.broadcast_to(np.arange(outcomes.shape[1]), outcomes.shape)
    return cluster_bootstrap(outcomes, problems, level, resamples)


def seed_spread(outcomes_SP: ArrayLike) -> SeedSpread:
    """Mean ± SD (n − 1) over seeds of the accuracy over problems; outcomes [S, P]. Not an SE, not an interval."""
    per_seed = check_outcomes(outcomes_SP).mean(axis=1)
    sd = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
    return SeedSpread(float(per_seed.mean()), sd, tuple(per_seed.tolist()))

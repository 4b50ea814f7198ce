"""The one `Interval` of the artifact, and Wilson's interval of a proportion.

Every interval is two-sided and says by what method and over which units it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artifact.errors import ArtifactError
from artifact.stats.checks import check_level


@dataclass(frozen=True, slots=True)
class Interval:
    """`estimate` with a two-sided interval [`low`, `high`] at `level`; `method` says how, and over what units."""

    estimate: float
    low: float
    high: float
    level: float
    method: str


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of *independent* trials (one outcome per problem: greedy pass@1).

    For several samples or seeds per problem use `accuracy.accuracy_interval`: they are not independent.
    Raises ArtifactError unless 0 <= successes <= trials and trials >= 1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ArtifactError(f"a proportion needs 0 <= successes <= trials, trials >= 1; got {successes} of {trials}")
    return wilson_score(successes / trials, trials, level, "Wilson score interval over problems")


def wilson_score(share: float, trials: int, level: float, method: str) -> Interval:
    """Wilson's interval of a `share` of `trials` that need not be whole successes.

    centre = (p + z²/2n) / (1 + z²/n), half-width = z/(1 + z²/n) · √(p(1−p)/n + z²/4n²). Wilson 1927, JASA 22:209.
    """
    from scipy.stats import norm

    check_level(level)
    z2 = float(norm.ppf(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = float(np.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2)))) / (1 + z2 / trials)
    low, high = 0.0 if share <= 0 else centre - half, 1.0 if share >= 1 else centre + half
    return Interval(share, low, high, level, method)

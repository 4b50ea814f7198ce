"""What every statistic asks of its input, and the errors where it is not met.

Left out: the checks of one statistic alone, which stand with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artifact.errors import ArtifactError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class OneClassOnly(ArtifactError):
    """The teacher is right everywhere, or wrong everywhere: there is no pair to rank."""


def check_level(level: float) -> None:
    """Raise ArtifactError unless the level of an interval is a probability strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ArtifactError(f"the level of an interval lies between 0 and 1 (0.95, say), got {level}")


def check_scores(
    score_P: ArrayLike, label_P: ArrayLike, statistic: str, *, name: str = "score", one_class: bool = False
) -> tuple[Floats, Bools]:
    """Scores as float64 [P] and their 0/1 labels as bool [P], P ≥ 1; `name` and `statistic` go into the messages.

    Raises ArtifactError for other shapes, a score that is NaN or infinite, and labels other than 0 and 1;
    OneClassOnly where all labels are equal, unless `one_class` allows it.
    """
    scores, labels = np.asarray(score_P, dtype=np.float64), np.asarray(label_P)
    if scores.ndim != 1 or scores.shape != labels.shape or not scores.size:
        raise ArtifactError(
            f"{name}s have shape {scores.shape} and labels {labels.shape}; {statistic} needs one of each per problem"
        )
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ArtifactError(f"{name} {bad} is not finite; {statistic} needs finite {name}s")
    if not np.isin(labels, (0, 1)).all():
        raise ArtifactError(f"labels must be 0 or 1, got {sorted(set(labels.tolist()))[:5]}")
    flags = labels.astype(bool)
    if not one_class and (flags.all() or not flags.any()):
        raise OneClassOnly(
            f"all {len(flags)} labels are {'wrong' if flags.all() else 'right'}: {statistic} needs problems that the "
            "teacher gets wrong and problems that it gets right; use more problems or a harder set"
        )
    return scores, flags

"""A difference of two methods that counts seeds *and* problems as samples: crossed random effects.

    d_sp = μ + s_s + p_p + e_sp        S seeds, P problems, d_sp = a_sp − b_sp

With the mean squares of the two-way layout, V_S = MS_S / SP, V_P = MS_P / SP and V_R = MS_R / SP,

    Var(d̄) = σ²_S/S + σ²_P/P + σ²_R/SP = E[V_S + V_P − V_R]

is estimated by max(V_S + V_P − V_R, V_S, V_P), and t = d̄ / √V has Satterthwaite's degrees of freedom from V_S on S − 1
and V_P on P − 1. Tests over problems alone and over seeds alone share their numerator d̄: both reject too often where
seeds and problems vary alike (Clark 1973, "The language-as-fixed-effect fallacy"; his min F′ is this test without V_R).

Left out: corrections for many comparisons and what may be claimed (`report/differences.py`). Axes: S seeds, P problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import ncf, t

from artifact.errors import ArtifactError
from artifact.stats.accuracy import check_outcomes
from artifact.stats.paired import detectable_effect


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of one difference d_sp: `mean` μ, and σ² of seeds, of problems and of what is left (never below 0)."""

    mean: float
    seeds: float
    problems: float
    rest: float


@dataclass(frozen=True, slots=True)
class CrossedDifference:
    """a − b with both sources of error.

    difference       d̄
    p_value          two-sided, of "the expected difference over seeds and problems is 0"
    standard_error   √V; `degrees_of_freedom` Satterthwaite's
    se_seeds         √V_S: the SD over seeds of the (paired) difference, over √S, on `df_seeds` degrees of freedom
    se_problems      √V_P
    """

    difference: float
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    se_seeds: float
    df_seeds: float
    se_problems: float

    @property
    def smallest_detectable(self) -> float:
        """The true difference that this test and the t-test over seeds alone each find with 80 % power at 5 %.

        The larger of the two; NaN where nothing varies.
        """
        over_seeds = detectable_effect(self.se_seeds, self.df_seeds) if self.se_seeds > 0 else 0.0
        return max(detectable_effect(self.standard_error, self.degrees_of_freedom), over_seeds)


def crossed_difference(a_SP: ArrayLike, b_SP: ArrayLike, *, paired: bool) -> CrossedDifference | None:
    """a minus b on the same problems; None where one seed leaves the spread over seeds unknown.

    `paired`: row s of both is the same seed, or b is one row, an untrained model that no seed varies. Else the seeds
    differ, and the two spreads over seeds add up (Welch).
    """
    a, b = check_outcomes(a_SP, "a"), check_outcomes(b_SP, "b")
    if a.shape[1] != b.shape[1] or a.shape[1] < 2 or (paired and len(b) not in (1, len(a))):
        raise ArtifactError(f"a crossed difference needs the same problems (and seeds); got {a.shape} and {b.shape}")
    parts = [a - b] if paired else [a, b]
    if min(map(len, parts)) < 2:
        return None
    d_P = a.mean(axis=0) - b.mean(axis=0)
    V_S, V_R = (np.array(x) for x in zip(*map(_over_seeds, parts), strict=True))
    df_S = float(V_S.sum() ** 2 / (V_S**2 / [len(p) - 1 for p in parts]).sum()) if V_S.any() else 1.0
    V_P, df_P = float(d_P.var(ddof=1) / d_P.size), d_P.size - 1
    se, df = _combined(float(V_S.sum()), df_S, V_P, df_P, float(V_R.sum()))
    mean, se_seeds = float(d_P.mean()), float(np.sqrt(V_S.sum()))
    return CrossedDifference(
        mean,
        float(2 * t.sf(abs(mean) / se, df)) if se > 0 else float(abs(mean) < 1e-12),
        se,
        df,
        se_seeds,
        df_S,
        float(np.sqrt(V_P)),
    )


def components(d_SP: ArrayLike) -> Components:
    """The variance components of differences [S, P], by the method of moments. ArtifactError below two of either."""
    d = np.asarray(d_SP, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ArtifactError(f"variance components need at least 2 seeds and 2 problems; got shape {d.shape}")
    S, P = d.shape
    (V_S, V_R), V_P = _over_seeds(d), float(d.mean(axis=0).var(ddof=1) / P)
    return Components(float(d.mean()), max(0.0, (V_S - V_R) * S), max(0.0, (V_P - V_R) * P), V_R * S * P)


def power(of: Components, effect: float, seeds: int, problems: int, alpha: float = 0.05) -> float:
    """The share of experiments in which the crossed test finds a true difference `effect`, two-sided at `alpha`.

    Of variances as in `of`, with V_S, V_P and V_R at their expectations. 1 where nothing varies.
    """
    rest = of.rest / (seeds * problems)
    V_S, V_P = of.seeds / seeds + rest, of.problems / problems + rest
    return _t_power(effect, *_combined(V_S, seeds - 1, V_P, problems - 1, rest), alpha)


def power_over_seeds(of: Components, effect: float, seeds: int, problems: int, alpha: float = 0.05) -> float:
    """The same of the t-test over seeds alone, whose error is σ²_S/S + σ²_R/SP."""
    return _t_power(effect, float(np.sqrt(of.seeds / seeds + of.rest / (seeds * problems))), seeds - 1, alpha)


def _t_power(effect: float, standard_error: float, df: float, alpha: float) -> float:
    if standard_error == 0:
        return 1.0
    critical = t.ppf(1 - alpha / 2, df)
    return float(ncf.sf(critical**2, 1, df, (effect / standard_error) ** 2))  # T² of a non-central t


def _over_seeds(d_SP: np.ndarray) -> tuple[float, float]:
    """(V_S, V_R) of one [S, P] layout."""
    S, P = d_SP.shape
    d_S, d_P = d_SP.mean(axis=1), d_SP.mean(axis=0)
    rest = d_SP - d_S[:, None] - d_P + d_SP.mean()
    return float(d_S.var(ddof=1) / S), float((rest**2).sum() / ((S - 1) * (P - 1)) / (S * P))


def _combined(V_S: float, df_S: float, V_P: float, df_P: float, V_R: float) -> tuple[float, float]:
    """(standard error, Satterthwaite's degrees of freedom)."""
    V = max(V_S + V_P - V_R, V_S, V_P)
    return float(np.sqrt(V)), float(V**2 / (V_S**2 / df_S + V_P**2 / df_P)) if V > 0 else df_P

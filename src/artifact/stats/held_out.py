r"""How far a student is from its teacher on held-out problems: exact KL per token, intervals over problems.

At every response position, with p_T and p_S the soft-max over the *whole* vocabulary at temperature 1,

    forward_t = KL(p_T ‖ p_S) = Σ_v p_T(v) (log p_T(v) − log p_S(v))
    reverse_t = KL(p_S ‖ p_T) = Σ_v p_S(v) (log p_S(v) − log p_T(v))

Training sees only the teacher's k most likely tokens (UOPD Eq. 7); these sums see all of them, so nothing can hide in
the tail. What the cut leaves out is measured beside them: the teacher's mass on its top-k, and

    binned_t  = Σ_{j≤k} p_T(v_j) log (p_T(v_j) / p_S(v_j)) + r_T log (r_T / r_S),   r = 1 − Σ_{j≤k} p(v_j)

the KL when all tokens outside the top-k are one. Merging outcomes never adds divergence, so 0 ≤ binned ≤ forward, and
forward − binned is what the tail alone contributes. Rows of an output head beyond the tokenizer's vocabulary (padding)
are taken out of both soft-maxes before anything is summed; the mass the student had put there is reported.

A response counts by the mean over its tokens, a problem by the mean over its responses (the reduction of UOPD Eq. 8–9),
and problems are what is resampled. Left out: forward passes (`actors/distance.py`) and which sequences are scored
(`studies/language_model.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from artifact.errors import EmptyDataset, Mismatch
from artifact.records import Record
from artifact.stats.bootstrap import RESAMPLES, cluster_bootstrap
from artifact.stats.checks import Floats
from artifact.stats.interval import Interval
from artifact.stats.paired import is_significant, sign_flip_p_value

if TYPE_CHECKING:
    import torch

MEASURES = ("forward", "reverse", "binned", "teacher_mass", "student_mass", "agreement", "padding")
"""What is measured at each token; see `Distance`."""


@dataclass(frozen=True, slots=True)
class Distance(Record):
    """Student against teacher on one response: means over its `tokens` response tokens, those of a tool left out.

    sequences     which set the response belongs to: `base` (the untouched student's rollouts) or `own` (the policy's)
    forward, reverse, binned      in nats per token
    teacher_mass, student_mass    probability on the teacher's top-k
    agreement     share of tokens at which both have the same most probable token
    padding       probability the student puts on rows that are no token, before they are taken out
    """

    sequences: str
    problem_id: str
    sample: int
    tokens: int
    forward: float
    reverse: float
    binned: float
    teacher_mass: float
    student_mass: float
    agreement: float
    padding: float

    COLUMNS: ClassVar[dict[str, str]] = {
        "sequences": "str",
        "problem_id": "str",
        "sample": "int",
        "tokens": "int",
        **dict.fromkeys(MEASURES, "float"),
    }


def token_distances(
    teacher_logits_TV: torch.Tensor, student_logits_TV: torch.Tensor, top_k: int, vocabulary: int
) -> dict[str, torch.Tensor]:
    """Each of `MEASURES` at every position, [T] in float64; `vocabulary` is the number of tokens the tokenizer has.

    Raises Mismatch where the logits disagree in shape or have fewer columns than there are tokens.
    """
    import torch

    shape = tuple(teacher_logits_TV.shape)
    if shape != tuple(student_logits_TV.shape) or len(shape) != 2 or not 1 <= vocabulary <= shape[1] or top_k < 1:
        raise Mismatch(
            f"logits of teacher {shape} and student {tuple(student_logits_TV.shape)} must both be [T, V] with V at "
            f"least the tokenizer's {vocabulary} tokens, and top_k = {top_k} positive"
        )
    padding_T = torch.softmax(student_logits_TV.double(), dim=-1)[:, vocabulary:].sum(-1)
    log_t = torch.log_softmax(teacher_logits_TV[:, :vocabulary].double(), dim=-1)
    log_s = torch.log_softmax(student_logits_TV[:, :vocabulary].double(), dim=-1)
    top = log_t.topk(min(top_k, vocabulary), dim=-1)
    top_s = log_s.gather(1, top.indices)
    binned_T = (top.values.exp() * (top.values - top_s)).sum(-1)
    if top_k < vocabulary:  # the tail's own log-masses, not log(1 − Σ), which cancels where the top-k hold nearly all
        rest_t, rest_s = (x.scatter(1, top.indices, float("-inf")).logsumexp(-1) for x in (log_t, log_s))
        binned_T = binned_T + rest_t.exp() * (rest_t - rest_s)
    return {
        "forward": (log_t.exp() * (log_t - log_s)).sum(-1),
        "reverse": (log_s.exp() * (log_s - log_t)).sum(-1),
        "binned": binned_T,
        "teacher_mass": top.values.exp().sum(-1),
        "student_mass": top_s.exp().sum(-1),
        "agreement": (log_t.argmax(-1) == log_s.argmax(-1)).double(),
        "padding": padding_T,
    }


def distance_summary(frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Mean distance of each label to each teacher on each set of sequences, with intervals over problems.

    `frame` holds `Distance` rows with `teacher`, `cell`, `label`, `seed`, `key`. Columns: teacher, cell, label,
    sequences, problems, responses, tokens, then for forward and reverse the mean and its interval (`forward`,
    `forward_low`, `forward_high`, …), and the means of the other measures. Raises EmptyDataset without rows or for
    fewer than two problems, Mismatch where rows of several settings would be averaged.
    """
    if frame.empty:
        raise EmptyDataset("no response was scored: a distance over nothing is not 0")
    _one_measurement_each(frame)
    rows = []
    for (teacher, cell, label, sequences), part in frame.groupby(["teacher", "cell", "label", "sequences"], sort=False):
        means = part.groupby("problem_id", sort=True)[list(MEASURES)].mean()
        row = {
            "teacher": teacher,
            "cell": cell,
            "label": label,
            "sequences": sequences,
            "problems": len(means),
            "responses": len(part),
            "tokens": int(part["tokens"].sum()),
        }
        for name in ("forward", "reverse"):
            interval = _interval(means[name].to_numpy(), 0.95, resamples)
            row |= {name: float(means[name].mean()), f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row | {name: float(means[name].mean()) for name in MEASURES[2:]})
    return pd.DataFrame(rows)


def distance_changes(frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Each cell minus `base` on the same problems: has training brought the student closer to its teacher?

    On the set `base` both score the same token ids (the untouched student's rollouts); on `own` each policy scores its
    own rollouts of the same problems, which for `base` are the set `base`. A student is compared with `base` at the
    distance from the *same* teacher. Columns: teacher, cell, label, sequences, measure (`forward`, `reverse`),
    problems, before, after, change, low, high (percentile bootstrap over problems of the paired change), p_value (sign
    flips over problems), verdict (`falls` or `rises` where the interval leaves out 0 and the test rejects at its level,
    else `no significant difference`).
    Raises Mismatch when the problems differ or a teacher's `base` was measured with several settings or not at all,
    EmptyDataset for fewer than two problems.
    """
    _one_measurement_each(frame)
    rows = []
    for (teacher, cell, label, sequences), part in frame[frame["cell"] != "base"].groupby(
        ["teacher", "cell", "label", "sequences"], sort=False
    ):
        before = frame[(frame["teacher"] == teacher) & (frame["cell"] == "base") & (frame["sequences"] == "base")]
        if before["key"].nunique() != 1:
            raise Mismatch(
                f"teacher {teacher!r} has {before['key'].nunique()} measurements of 'base', and {label!r} is "
                "compared with one: measure it with the run's own configuration, one seed and setting at a time"
            )
        for measure in ("forward", "reverse"):
            a, b = (f.groupby("problem_id", sort=True)[measure].mean() for f in (part, before))
            if list(a.index) != list(b.index):
                raise Mismatch(
                    f"{label!r} was scored on {len(a)} problems ({sequences}), 'base' on {len(b)} others: a paired "
                    "change needs the same ones; measure both with one configuration"
                )
            change = a.to_numpy() - b.to_numpy()
            interval = _interval(change, 0.95, resamples)
            p_value = sign_flip_p_value(change, resamples)[0]
            direction = "falls" if interval.high < 0 else "rises"
            rows.append(
                {
                    "teacher": teacher,
                    "cell": cell,
                    "label": label,
                    "sequences": sequences,
                    "measure": measure,
                    "problems": len(change),
                    "before": float(b.mean()),
                    "after": float(a.mean()),
                    "change": float(change.mean()),
                    "low": interval.low,
                    "high": interval.high,
                    "p_value": p_value,
                    "verdict": direction if is_significant(interval, p_value) else "no significant difference",
                }
            )
    return pd.DataFrame(rows)


def _one_measurement_each(frame: pd.DataFrame) -> None:
    """Raise Mismatch where one (teacher, label, seed) was measured more than once: settings differ, means would mix."""
    counts = frame.groupby(["teacher", "label", "seed"], sort=False)["key"].nunique()
    for (teacher, label, seed), n in counts[counts > 1].items():
        raise Mismatch(
            f"{label!r} with teacher {teacher!r} and seed {seed} comes from {n} measurements of different settings: "
            "their mean would be of neither; keep the rows of one `key`"
        )


def _interval(values_P: Floats, level: float, resamples: int) -> Interval:
    """Percentile bootstrap over problems of a mean in nats; no width where all are equal (0 for the same weights).

    Raises EmptyDataset for fewer than two problems.
    """
    if len(values_P) < 2:
        raise EmptyDataset(f"{len(values_P)} problem(s) have no interval over problems: measure at least two")
    if np.ptp(values_P) < 1e-12:
        mean = float(values_P.mean())
        return Interval(mean, mean, mean, level, "no spread over problems")
    return cluster_bootstrap(values_P, np.arange(len(values_P)), level, resamples)

"""Which rollouts of a group count as correct (CORE's C) and which as incorrect (I): by verdict, or by rank.

    verdict  C: verified correct, I: verified and not correct              (`Group`)
    rank     C: r_j > (K + 1) / 2,  I: r_j < (K + 1) / 2                   r_j: mid-rank of rollout j by its reward

The mid-rank of tied rewards is the mean of the ranks they take together, and (K + 1) / 2 is the mean of all ranks. So a
group whose rewards are 0 and 1 is parted as by verdict while it holds both, a group of equal rewards teaches nothing,
and only the order of a metric counts, not its scale. K counts the rollouts that were judged: an accident of the
verifier is in neither set. Left out: the score from which a response is correct, which the task states
(`tasks/grading.py`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from artifact.records import Group, Rollout

Routing = Literal["verdict", "rank"]


class Routed(NamedTuple):
    """C and I of one group, each in the order of its rollouts."""

    correct: tuple[Rollout, ...]
    incorrect: tuple[Rollout, ...]


def route(group: Group, by: Routing = "verdict") -> Routed:
    """C and I of `group`."""
    if by == "verdict":
        return Routed(group.correct, group.incorrect)
    judged = [r for r in group.rollouts if not r.unjudged]
    # 2 · (mid-rank − mean rank) of a rollout: how many rollouts it beats, less how many beat it.
    lead = [sum((r.reward > o.reward) - (r.reward < o.reward) for o in judged) for r in judged]
    ranked = list(zip(judged, lead, strict=True))
    return Routed(tuple(r for r, a in ranked if a > 0), tuple(r for r, a in ranked if a < 0))

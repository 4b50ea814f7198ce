"""Proof that engines hold the weights they were given: fingerprints of what arrived, and log-probabilities.

A version counter says that a transfer was made, not that it arrived: after a reload a tied output head can keep its old
rows without any error. So after every transfer both sides score the same fixed tokens, and must agree: each of them in
float32, in half precision their mean, for there correct weights differ by tenths of a nat at single tokens. That each
layer of an engine uses what arrived is compared to the bit by the engine itself (`actors/arrangement.py`). An engine
can still sample from older keys and values of its prefix cache, which scoring a prompt does not read: so the log-
probabilities that it gave its first samples must be the student's, too. A student that is not finite, or has lost all
sense, is told apart from a transfer that failed. Left out: who sends what (`actors/team.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from artifact.errors import NonFinite, StaleEngine
from artifact.records import Rollout

Scored = Sequence[np.ndarray]
"""One side's log-probabilities of the probe: one array per sequence."""

LOST = 1e3
"""Nats: a model that gives a token of a training prompt less than e^-1000 has diverged, finite or not."""

SHOWN = 4
"""Rollouts of an engine that are compared with the student after a sync."""


def max_logprob_diff(a: Scored, b: Scored) -> float:
    """The largest |Δ log-prob| in nats; not a number if any value is none (which Python's `max` could lose)."""
    return float(np.max([np.abs(x - y).max() for x, y in zip(a, b, strict=True)]))


def diverged(what: str, last: str) -> str:
    """The message about a student whose weights or log-probabilities are not usable; `last` says what came before."""
    return (
        f"the student has diverged: {what}; {last or 'see the steps before'}. The causes are a learning rate that is "
        "too high (optimiser.lr), a teacher whose scores are not finite, or the data of that step, not the machine. "
        "Nothing of it reached the engines' next rollouts: lower optimiser.lr or correct the model, and start again "
        "with --force"
    )


def mean_logprob_diff(a: Scored, b: Scored) -> float:
    """The mean |Δ log-prob| over all tokens, in nats."""
    return float(np.abs(np.concatenate(a) - np.concatenate(b)).mean())


def check_arrived(names: Sequence[str], sent: Sequence[int], arrived: Sequence[Sequence[int]], what: str) -> None:
    """Raise StaleEngine, with the first tensor, where an engine's worker did not receive what was sent, to the bit.

    sent, arrived  fingerprints of the tensors `names`; of each worker of each engine
    """
    for worker, found in enumerate(arrived):
        if list(found) != list(sent):
            differ = [n for n, a, b in zip(names, sent, found, strict=False) if a != b]
            raise StaleEngine(
                f"{what}: {len(differ) or abs(len(found) - len(sent))} of {len(names)} tensors arrived at engine "
                f"worker {worker} other than they were sent{f', first {differ[0]!r}' if differ else ''}: the transfer "
                "is damaged; start the run again, and look at its way (cluster.weight_transfer) and its machine"
            )


def check_ranks(names: Sequence[str], sent: Sequence[Sequence[int]], what: str) -> None:
    """Raise StaleEngine, with the first tensor, where ranks of the student that send do not hold the same weights.

    sent  of each rank that sends: the fingerprints of the tensors `names`
    """
    for rank, found in enumerate(sent):
        differ = [name for name, a, b in zip(names, sent[0], found, strict=True) if a != b]
        if differ:
            raise StaleEngine(
                f"{what}: rank {rank} of the student holds other weights than rank 0 in {len(differ)} of {len(names)} "
                f"tensors, first {differ[0]!r}: their steps have not been the same; start the run again"
            )


def check_held(differing: Sequence[Sequence[str]], what: str) -> None:
    """Raise StaleEngine, with the first tensor, where a worker of an engine does not use what arrived, to the bit.

    differing  of each worker: tensors of the engine that are not those which follow from what arrived
    """
    for worker, names in enumerate(differing):
        if names:
            raise StaleEngine(
                f"{what}: worker {worker} of an engine computes with other weights than arrived in {len(names)} of "
                f"its tensors, first {names[0]!r}: it did not take them over as it fuses, ties, pads or packs them. "
                "Check that a tied output head is sent by its own name, then start the run again"
            )


def check_known(unknown: Mapping[str, str], what: str) -> None:
    """Raise StaleEngine where an engine arranges tensors in a way that is not known: nobody could say what it holds.

    unknown  tensor of the engine → class of its layer
    """
    for name, layer in unknown.items():
        raise StaleEngine(
            f"{what}: how vLLM arranges {name!r} of a {layer} (and {len(unknown) - 1} tensors more) is not known, so "
            "that the engine holds the student's weights cannot be proven: train a student of another architecture, or "
            "add this layer to actors/arrangement.py"
        )


def check_weight_sync(
    measure: Callable[[], Sequence[Scored]], tolerance: float, what: str, last: str = "", *, exact: bool = True
) -> float:
    """The largest |Δ log-prob| between the source of the weights and any engine, in nats.

    `measure()` scores the probe: source, *engines.
    exact  float32: the largest difference may be `tolerance`; else the mean may

    Raises NonFinite where the source itself is not usable: not finite, or below -`LOST`; `last` says what came before.
    Raises StaleEngine when the difference is above `tolerance` or not a number; `what` says which weights were sent.
    Before that both sides are measured once more: weights that did not arrive give the same numbers again, and a side
    whose numbers moved has computed one of them wrongly. Either way the run stops.
    """
    source, *engines = measure()
    lowest = float(np.min([x.min() for x in source]))  # NaN where any is
    if not lowest >= -LOST or not all(np.isfinite(x).all() for x in source):
        raise NonFinite(diverged(f"{what}, the lowest log-probability of its probe is {lowest:g} nats", last))
    gap = max_logprob_diff if exact else mean_logprob_diff
    for index, engine in enumerate(engines):
        if not (found := gap(source, engine)) <= tolerance:
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
    return max((max_logprob_diff(source, engine) for engine in engines), default=0.0)


def first_rollouts(groups: Sequence[Sequence[Rollout]], engines: int) -> list[Rollout]:
    """The first sample of the first `SHOWN` problems of each engine; problem i went to engine i mod `engines`."""
    return [group[0] for group in groups[: SHOWN * engines] if group]


def check_sampled(rollouts: Sequence[Rollout], expected: Scored, tolerance: float, *, exact: bool) -> None:
    """Raise StaleEngine where the log-probabilities of sampled tokens are not `expected`, the student's.

    exact  float32: the largest |Δ log-prob| of a response may be `tolerance` nats; else its mean may, for in half
           precision the largest of many tokens' rounding errors grows with their number
    Tokens that a tool wrote are not sampled, hence not compared.
    """
    for rollout, ours in zip(rollouts, expected, strict=True):
        chosen = np.ones(len(ours), bool) if rollout.response_mask is None else np.asarray(rollout.response_mask, bool)
        gaps = np.abs(np.asarray(rollout.logprobs, np.float64) - ours)[chosen]
        if not len(gaps):
            continue
        gap = float(gaps.max() if exact else gaps.mean())
        if not gap <= tolerance:
            raise StaleEngine(
                f"rollout {rollout.sample} of problem {rollout.problem_id!r} was not drawn from the student: its "
                f"{'largest' if exact else 'mean'} |Δ log-prob| is {gap:.2e} nats (allowed: cluster.sync_tolerance "
                f"= {tolerance:g}), although the engine holds the student's weights: it samples from older keys and "
                "values, or its machine computes wrongly; start the run again, or set "
                "cluster.engine.prefix_cache = false"
            )

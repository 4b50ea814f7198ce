r"""Leak check: how likely is the gold answer to a model that reads it, before the response has derived it?

An informed teacher (CORE's introduction, OPSD) scores the student's response under a prompt that carries the answer or
the solution. Where it already knows the answer, its distribution says "write it down now", which the student cannot
derive from its own prefix. For a rollout y whose box opens at token b, and a cut point t = ⌊f · b⌋, the probe asks for

    P(a | x_c, y_<t, `\boxed{`) = Σ_{written forms w of a} Π_j p(w_j | x_c, y_<t, `\boxed{`, w_<j)

with x_c the prompt under context c ∈ {none, answer, solution}. Each form ends in the closing brace, so that 1 is not
counted where the model means 12; forms are different token sequences, so their probabilities add up. `f = 1` is just
before the rollout's own box. y_<t are the rollout's own token ids, never encoded again.

Left out: the scoring itself (`logprobs` is handed in, such as `FrozenModel.logprobs` of `actors/scoring.py`), and
rollouts without a box, which have no place to cut: `build_probes` gives only those that have one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from artifact.errors import EmptyDataset, Mismatch
from artifact.records import Problem, Rollout
from artifact.stats.bootstrap import RESAMPLES, cluster_bootstrap
from artifact.stats.checks import Floats
from artifact.tasks.extract import extract_answer

FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Cut points as shares of the tokens before the rollout's own box."""

CONTEXTS = ("none", "answer", "solution")
"""What the scoring model reads besides the question."""

MARKER = "\\boxed{"

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""(prompt_ids, response_ids)"""


@dataclass(frozen=True, slots=True)
class LeakProbe:
    """One question to the scoring model: the gold answer, written as `forms`, after `context_ids` and `span_ids`.

    context_ids  the prompt under `context`
    span_ids     the rollout's first tokens up to the cut point, then the marker; the same ids under every context
    forms        token ids of the written forms of the answer, closing brace included
    """

    problem_id: str
    sample: int
    correct: bool
    context: str
    fraction: float
    context_ids: tuple[int, ...]
    span_ids: tuple[int, ...]
    forms: tuple[tuple[int, ...], ...]

    @property
    def pairs(self) -> list[Pair]:
        """(prompt, response) for each written form."""
        return [(self.context_ids + self.span_ids, form) for form in self.forms]


def written_forms(problem: Problem) -> tuple[str, ...]:
    """The gold answer as a model may write it: the canonical one, and the one in the reference solution's box."""
    boxed = extract_answer(problem.solution, ("boxed",)) if problem.solution else None
    return tuple(dict.fromkeys([problem.answer, *([boxed.answer] if boxed else [])]))


def tokens_before_box(response_ids: Sequence[int], text: str, decode: Callable[[Sequence[int]], str]) -> int | None:
    r"""The number of response tokens before the last `\boxed{` of `text`; None without one.

    `decode` maps ids to text as `text` was made.
    """
    start = text.rfind(MARKER)
    if start < 0:
        return None
    ids = tuple(response_ids)
    return bisect_right(range(len(ids) + 1), start, key=lambda n: len(decode(ids[:n]))) - 1


def build_probes(
    problems: Mapping[str, Problem],
    rollouts: Sequence[Rollout],
    encode: Callable[[Problem, str], tuple[int, ...]],
    tokenize: Callable[[str], Sequence[int]],
    decode: Callable[[Sequence[int]], str],
    *,
    contexts: Sequence[str] = CONTEXTS,
    fractions: Sequence[float] = FRACTIONS,
) -> list[LeakProbe]:
    """The probes of `rollouts`, those without a box left out; contexts innermost.

    Raises EmptyDataset when no rollout has a box, ValueError for a fraction outside [0, 1] or a rollout of an unknown
    problem.
    """
    if bad := [f for f in fractions if not 0.0 <= f <= 1.0]:
        raise ValueError(f"cut points are shares of the tokens before the box, between 0 and 1; got {bad}")
    marker, probes = tuple(tokenize(MARKER)), []
    for r in rollouts:
        if r.problem_id not in problems:
            raise ValueError(f"rollout {r.problem_id}#{r.sample} belongs to none of the {len(problems)} given problems")
        before = tokens_before_box(r.response_ids, r.text, decode)
        if before is None:
            continue
        problem = problems[r.problem_id]
        forms = tuple(dict.fromkeys(tuple(tokenize(form + "}")) for form in written_forms(problem)))
        for fraction in fractions:
            span = tuple(r.response_ids[: int(fraction * before)]) + marker
            probes += [
                LeakProbe(r.problem_id, r.sample, r.correct, context, fraction, encode(problem, context), span, forms)
                for context in contexts
            ]
    if not probes:
        raise EmptyDataset(f"none of the {len(rollouts)} rollouts has a {MARKER} …: there is no place to cut them")
    return probes


def check_spans(pairs: Mapping[str, Sequence[Pair]], context_ids: Mapping[str, Sequence[tuple[int, ...]]]) -> None:
    """Raise Mismatch unless what follows the context prompt is the same token ids under every context.

    pairs        (prompt, response) by context, as they go to the scoring model, in one order for all contexts
    context_ids  the prompt under that context which each pair must begin with
    """
    spans: dict[str, list[tuple[int, ...]]] = {}
    for context, listed in pairs.items():
        spans[context] = []
        for i, ((prompt, response), head) in enumerate(zip(listed, context_ids[context], strict=True)):
            if prompt[: len(head)] != head:
                raise Mismatch(f"pair {i} under context {context!r} does not begin with the prompt of that context")
            spans[context].append((*prompt[len(head) :], *response))
    first = next(iter(spans))
    for context, found in spans.items():
        different = [i for i, (a, b) in enumerate(zip(found, spans[first], strict=True)) if a != b]
        if different:
            raise Mismatch(
                f"the response of pair {different[0]} (and {len(different) - 1} more) has other token ids "
                f"under context {context!r} than under {first!r}: responses must be appended unchanged, never decoded "
                f"and encoded"
            )


def leak_frame(probes: Sequence[LeakProbe], logprobs: Callable[[list[Pair]], list[Floats]]) -> pd.DataFrame:
    """Ask for all probes; one row per probe: problem_id, sample, correct, context, fraction, probability of the answer.

    `logprobs(pairs)` gives the natural log-probability of each response token, one array per pair. Raises Mismatch when
    a span differs between contexts, or when the scorer returns another number of values than there are tokens.
    """
    contexts = list(dict.fromkeys(p.context for p in probes))
    check_spans(
        {c: [pair for p in probes if p.context == c for pair in p.pairs] for c in contexts},
        {c: [p.context_ids for p in probes if p.context == c for _ in p.forms] for c in contexts},
    )
    pairs = [pair for p in probes for pair in p.pairs]
    values = logprobs(pairs)
    wrong = [i for i, (pair, v) in enumerate(zip(pairs, values, strict=True)) if len(v) != len(pair[1])]
    if wrong:
        raise Mismatch(f"pair {wrong[0]} has {len(pairs[wrong[0]][1])} answer tokens, {len(values[wrong[0]])} values")
    sums = iter(float(np.exp(np.asarray(v, dtype=np.float64).sum())) for v in values)
    rows: list[dict[str, object]] = []
    for p in probes:
        rows.append(
            {
                "problem_id": p.problem_id,
                "sample": p.sample,
                "correct": p.correct,
                "context": p.context,
                "fraction": p.fraction,
                "probability": sum(next(sums) for _ in p.forms),
            }
        )
    return pd.DataFrame(rows)


def summarise(frame: pd.DataFrame, *, by: Sequence[str] = (), resamples: int = RESAMPLES) -> pd.DataFrame:
    """Mean probability for each context and fraction (and each value of `by`), with its interval over problems.

    Columns: *by, context, fraction, probability, low, high (95 % percentile bootstrap that resamples problems), excess
    (mean difference from context `none` at the same fraction; missing where `none` was not asked), problems, rollouts.
    """
    rows, keys = [], [*by, "context", "fraction"]
    for values, group in frame.groupby(keys, sort=False):
        interval = cluster_bootstrap(group["probability"], group["problem_id"], resamples=resamples)
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "probability": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "problems": int(group["problem_id"].nunique()),
                "rollouts": len(group),
            }
        )
    table = pd.DataFrame(rows)
    blind = table[table["context"] == "none"].set_index([*by, "fraction"])["probability"]
    places = list(table[[*by, "fraction"]].itertuples(index=False, name=None))
    at = [place if len(place) > 1 else place[0] for place in places]
    excess = [p - blind.get(place, float("nan")) for p, place in zip(table["probability"], at, strict=True)]
    table.insert(len(keys) + 3, "excess", excess)
    return table

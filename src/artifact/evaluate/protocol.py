"""The evaluation protocol of both papers: how a model is asked, and what is said about its stored responses.

greedy   one response per problem at temperature 0: pass@1 (CORE section 4; UOPD section 4.3)
avgN     N samples per problem at T = 1.2, top-p 0.95: avg@N (UOPD: N = 16), and from the same samples
         pass@k   probability that at least one of k samples is correct, unbiased (`stats.pass_at_k`)
         maj@k    accuracy of a majority vote over k samples, exact (`stats.majority_at_k`)

Every metric is a mean over problems of a value in [0, 1] a problem, and its interval is over problems: all samples of a
problem are one cluster. Which answers vote together: all correct ones, since each was verified to equal the gold
answer; and wrong ones that are equal by exact comparison (`equivalence.fast_equivalent`).

Left out: sampling (`studies/benchmarking.py`) and which grader is right (`agreement.py`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from artifact.config import SampledEvaluation
from artifact.errors import ArtifactError, EmptyDataset
from artifact.stats.bootstrap import RESAMPLES, cluster_bootstrap
from artifact.stats.interval import wilson_interval
from artifact.stats.pass_at_k import majority_at_k, pass_at_k
from artifact.tasks.equivalence import fast_equivalent

PAPER = SampledEvaluation()
"""UOPD's sampling for avg@16."""

MOST_SAMPLES = 1000
"""N of avgN at most: up to there the counts of subsets behind maj@k fit a float (`stats.majority_at_k`)."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """`samples` responses per problem at `temperature` and `top_p`; `greedy` is one response at temperature 0."""

    name: str
    samples: int
    temperature: float
    top_p: float

    @property
    def greedy(self) -> bool:
        """Whether decoding is deterministic."""
        return self.temperature == 0


def parse_protocol(text: str, temperature: float = PAPER.temperature, top_p: float = PAPER.top_p) -> Protocol:
    """`greedy`, or `avgN` for N samples per problem drawn at `temperature` and `top_p`.

    Raises ArtifactError with the nearest right name, for an N that is too large, or where nothing could be sampled so.
    """
    if text == "greedy":
        return Protocol("greedy", 1, 0.0, 1.0)
    found = re.fullmatch(r"avg@?([1-9][0-9]*)", text)
    if not found:
        near = difflib.get_close_matches(text, ["greedy", "avg16"], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArtifactError(f"unknown protocol {text!r}: use greedy, or avgN for N samples per problem (avg16){hint}")
    if int(found[1]) > MOST_SAMPLES:
        raise ArtifactError(f"{text!r} asks for more than {MOST_SAMPLES:,} samples per problem: use avg{MOST_SAMPLES}")
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ArtifactError(
            f"{text!r} cannot be sampled at temperature {temperature:g} and top-p {top_p:g}: it needs a temperature "
            "above 0 (greedy is a protocol of its own) and 0 < top-p <= 1"
        )
    return Protocol(f"avg{found[1]}", int(found[1]), temperature, top_p)


def ks_for(protocol: Protocol, ks: Sequence[int] | None = None) -> tuple[int, ...]:
    """The k of pass@k and maj@k: those asked for, or the powers of two up to the number of samples and that number.

    Raises ArtifactError where a k exceeds the samples: the estimate would not be unbiased, it would be made up.
    """
    if ks is None:
        return tuple(sorted({2**i for i in range(1, protocol.samples.bit_length())} | {protocol.samples} - {1}))
    if wrong := [k for k in ks if not 1 <= k <= protocol.samples]:
        raise ArtifactError(
            f"k = {wrong[0]} cannot be measured with the {protocol.samples} sample(s) a problem of {protocol.name!r}: "
            f"use --protocol avg{max(wrong)} or 1 <= k <= {protocol.samples}"
        )
    return tuple(sorted(set(ks)))


def problem_values(frame: pd.DataFrame, ks: Sequence[int] = ()) -> pd.DataFrame:
    """The value of each metric on each problem, in [0, 1]: a row per problem (index problem_id), a column per metric.

    `frame` has a row per response (`evaluate.to_frame`): problem_id, sample, correct, extracted. One sample a problem
    gives pass@1; N give avg@N, then pass@k and maj@k for `ks` (k = 1 is avg@N and left out).
    Raises EmptyDataset without responses, ArtifactError where a problem lacks samples or k > N.
    """
    table = _by_problem(frame)
    correct_PN = np.array(table["correct"].tolist(), dtype=bool)
    samples = correct_PN.shape[1]
    name = "pass@1" if samples == 1 else f"avg@{samples}"
    values: dict[str, NDArray[np.float64]] = {name: correct_PN.mean(axis=1)}
    wanted = sorted({k for k in ks if k > 1})
    values |= {f"pass@{k}": pass_at_k(correct_PN.sum(1), samples, k) for k in wanted}
    if wanted:
        classes_PN = [vote_classes(*row) for row in zip(table["extracted"], table["correct"], strict=True)]
        values |= {f"maj@{k}": majority_at_k(classes_PN, correct_PN, k) for k in wanted}
    return pd.DataFrame(values, index=table.index)


def measures(
    frame: pd.DataFrame, ks: Sequence[int] = (), level: float = 0.95, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """The metrics of one evaluation with their intervals over problems: metric, k, estimate, low, high, level, method.

    One row per metric, the columns of `problem_values`. Of one response per problem the interval is Wilson's, else the
    bootstrap that resamples problems.
    """
    rows = []
    for metric, column in problem_values(frame, ks).items():
        values = column.to_numpy()
        interval = (
            wilson_interval(int(values.sum()), len(values), level)
            if metric == "pass@1"
            else cluster_bootstrap(values, np.arange(len(values)), level, resamples)
        )
        rows.append({"metric": metric, "k": int(str(metric).partition("@")[2]), **asdict(interval)})
    return pd.DataFrame(rows)


def account(frame: pd.DataFrame) -> dict[str, Any]:
    """What lies behind the metrics: problems, samples per problem, responses, shares of responses, tokens.

    truncated (cut off at the token budget), unparsed (no final answer), timeout and error (the verifier) are shares of
    all responses; response_tokens is the mean, longest_response the maximum.
    """
    table = _by_problem(frame)
    return {
        "problems": len(table),
        "samples": len(table["correct"].iloc[0]),
        "responses": len(frame),
        "truncated": float(frame["finish_reason"].eq("length").mean()),
        **{status: float(frame["status"].eq(status).mean()) for status in ("unparsed", "timeout", "error")},
        "response_tokens": float(frame["response_tokens"].mean()),
        "longest_response": int(frame["response_tokens"].max()),
    }


def vote_classes(answers: Sequence[str | None], correct: Sequence[bool]) -> list[int]:
    """The class each response votes for: −1 without an answer, 0 for all correct ones, 1, 2, … for the wrong ones.

    Wrong answers share a class where a chain of exact comparisons links them, so their order does not matter.
    """
    chosen = [None if a != a or a is None else str(a) for a in answers]  # a frame may hold NaN for None
    wrong = list(dict.fromkeys(a for a, c in zip(chosen, correct, strict=True) if a is not None and not c))
    class_of: dict[str, int] = {}
    for i, answer in enumerate(wrong):
        linked = {class_of[other] for other in wrong[:i] if fast_equivalent(other, answer)}
        label = min(linked, default=i + 1)
        class_of |= {other: label for other, known in class_of.items() if known in linked}
        class_of[answer] = label
    return [0 if c else -1 if a is None else class_of[a] for a, c in zip(chosen, correct, strict=True)]


def _by_problem(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per problem: lists of its samples' verdicts and answers, in the order of the samples."""
    if frame.empty:
        raise EmptyDataset("no responses: nothing can be said about an evaluation that holds none")
    keys = ["problem_id", "sample"]
    if frame.duplicated(keys).any():
        twice = frame.loc[frame.duplicated(keys), keys].iloc[0].to_dict()
        raise ArtifactError(f"response {twice} appears twice; give one evaluation of one model")
    table = frame.sort_values("sample", kind="stable").groupby("problem_id", sort=False)[["correct", "extracted"]]
    table = table.agg(list)
    sizes = table["correct"].map(len)
    if sizes.nunique() > 1:
        raise ArtifactError(
            f"problem {sizes.idxmin()!r} has {sizes.min()} samples, {sizes.idxmax()!r} has {sizes.max()}: every "
            "problem needs the same number; evaluate again"
        )
    return table

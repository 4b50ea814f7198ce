"""From the teacher's samples of a problem to its `Annotation` (UOPD, Section 3.1; Algorithm 1, lines 2–6).

Pure functions: sampling, answer extraction and verification have already happened, so each rollout carries a verdict
whose `extracted` is its answer (None = no answer found). Left out: the sampling, and storing the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from artifact.errors import ArtifactError
from artifact.phase1.clustering import Clustering, cluster_answers, cluster_many
from artifact.phase1.entropy import decompose, discrete_semantic_entropy, entropy_weight, normalised_entropy
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import NORMALISERS, Annotation
from artifact.records import Problem, RecordError, Rollout, Status, index_by_id
from artifact.train.rollouts import ACCIDENT_LIMIT, FEWEST_ACCIDENTS, TooManyAccidents


class TooFewAnswers(ArtifactError):
    """Fewer samples of a problem have an answer than `min_valid` asks for; such a problem is to be dropped, by name."""


def _check_settings(normaliser: str, min_valid: int) -> None:
    if normaliser not in NORMALISERS:
        raise ValueError(f"unknown normaliser {normaliser!r}; use one of {NORMALISERS}")
    if normaliser == "n_valid" and min_valid < 2:
        raise ValueError(
            f"min_valid = {min_valid}: normaliser 'n_valid' divides by log n_valid and needs min_valid ≥ 2"
        )


def _check_samples(problem: Problem, rollouts: Sequence[Rollout], min_valid: int) -> None:
    """What the formulas need: N ≥ 2 distinct, verified, non-empty samples of this problem, enough of them answered."""
    pid = problem.id
    if len(rollouts) < 2:
        raise ValueError(f"problem {pid!r} has {len(rollouts)} teacher samples; semantic entropy needs at least 2")
    for r in rollouts:
        if r.problem_id != pid:
            raise RecordError(f"rollout {r.problem_id}#{r.sample} was given as a sample of problem {pid!r}")
        if r.verdict is None:
            raise RecordError(
                f"rollout {pid}#{r.sample} has no verdict; verify the teacher samples before annotating them"
            )
        if not r.response_ids:
            raise RecordError(
                f"rollout {pid}#{r.sample} has no response tokens, so no length-normalised log-probability (exp 0 = 1 "
                "would make it the likeliest); the sampler must keep the end-of-sequence token"
            )
    if len({r.sample for r in rollouts}) != len(rollouts):
        numbers = sorted(r.sample for r in rollouts)
        raise RecordError(f"teacher samples of problem {pid!r} repeat a sample number: {numbers}")
    n_valid = sum(r.verdict is not None and r.verdict.extracted is not None for r in rollouts)
    if n_valid < min_valid:
        raise TooFewAnswers(
            f"problem {pid!r}: {n_valid} of {len(rollouts)} samples have an answer, min_valid = {min_valid}"
        )


def _refuse_accidents(clusterings: Sequence[Clustering], judge: str) -> None:
    """TooManyAccidents where the algebra failed on too many of the pairs a judge was asked about, as for verdicts."""
    asked = [j for c in clusterings for j in c.judgements]
    failed = [j for j in asked if j.accident]
    if len(failed) < FEWEST_ACCIDENTS or len(failed) <= ACCIDENT_LIMIT * len(asked):
        return
    kinds = ", ".join(f"{n} × {kind}" for kind, n in Counter(j.accident for j in failed).most_common())
    raise TooManyAccidents(
        f"the algebra of judge {judge!r} failed on {len(failed)} of {len(asked)} pairs of answers ({kinds}), more than "
        f"{ACCIDENT_LIMIT:.0%}, so that the classes would not be those that were asked for; first "
        f"{failed[0].left[:80]!r} against {failed[0].right[:80]!r}. Look at free memory and at the load of the machine "
        "(workers that died or stood still), or at the answers (expressions too large to compute)"
    )


def _answers(rollouts: Sequence[Rollout]) -> list[str | None]:
    return [r.verdict.extracted if r.verdict is not None else None for r in rollouts]


def _majority(clustering: Clustering, probs_C: Sequence[float], answers: Sequence[str | None]) -> tuple[int, str]:
    """(class, raw answer) of the majority; (−1, "") without any answer.

    Order: most samples, then most probability, then the smallest string.
    """
    raw: dict[int, list[str]] = {}
    for c, string, answer in zip(clustering.cluster_ids, clustering.strings, answers, strict=True):
        if string is not None:
            raw.setdefault(c, []).append(str(answer))
    if not raw:
        return -1, ""
    best = min(raw, key=lambda c: (-len(raw[c]), -probs_C[c], min(raw[c])))
    forms = Counter(raw[best])
    return best, min(forms, key=lambda a: (-forms[a], a))


def _majority_correct(answer: str, in_class: Sequence[Rollout]) -> int:
    """1 correct, 0 not, by the verdicts on the very string of the majority answer; −1 where none settled it."""
    if not in_class:
        return 0
    statuses = {r.verdict.status for r in in_class if r.verdict is not None and r.verdict.extracted == answer}
    decided = statuses & {Status.CORRECT, Status.WRONG}
    return -1 if len(decided) != 1 else int(decided == {Status.CORRECT})


def _build(
    problem: Problem, rollouts: Sequence[Rollout], clustering: Clustering, judge: str, normaliser: str, min_valid: int
) -> Annotation:
    answers_N, ids_N = _answers(rollouts), clustering.cluster_ids
    valid_N = [s is not None for s in clustering.strings]
    n_valid = sum(valid_N)
    if n_valid < min_valid:  # an extracted answer can be empty once normalised
        raise TooFewAnswers(
            f"problem {problem.id!r}: {n_valid} of {len(rollouts)} answers are usable, min_valid = {min_valid}"
        )
    counted = [i for i, valid in enumerate(valid_N) if valid or normaliser == "n"]
    n = len(counted)
    logprobs_N = [r.mean_logprob for r in rollouts]
    counted_ids, counted_logprobs = [ids_N[i] for i in counted], [logprobs_N[i] for i in counted]
    # The surface form is the raw string of an answered sample; every unparsed sample is a form of its own.
    forms = [(str(answers_N[i]).strip(), -1) if valid_N[i] else ("", i) for i in counted]
    parts = decompose(counted_logprobs, counted_ids, forms)
    classes = sorted(set(counted_ids))
    probs_C, intra_C = [0.0] * (max(ids_N) + 1), [0.0] * (max(ids_N) + 1)
    for c, probability, intra in zip(classes, parts.probabilities_C.tolist(), parts.intra_C.tolist(), strict=True):
        probs_C[c], intra_C[c] = probability, intra
    majority, answer = _majority(clustering, probs_C, answers_N)
    members = [r for r, c in zip(rollouts, ids_N, strict=True) if c == majority]
    return Annotation(
        problem_id=problem.id,
        n=len(rollouts),
        n_valid=n_valid,
        normaliser=normaliser,
        entropy=parts.inter,
        discrete_entropy=discrete_semantic_entropy(counted_ids),
        normalised=normalised_entropy(parts.inter, n),
        weight=entropy_weight(parts.inter, n),
        clusters=len(classes),
        cluster_ids=ids_N,
        answers=tuple(str(a) if v else "" for a, v in zip(answers_N, valid_N, strict=True)),
        parsed=tuple(int(v) for v in valid_N),
        cluster_probs=tuple(probs_C),
        intra_entropy=tuple(intra_C),
        majority_answer=answer,
        majority_share=len(members) / n,
        majority_correct=_majority_correct(answer, members),
        answer_string_entropy=parts.total,
        mean_logprob=float(np.mean(counted_logprobs)),
        token_counts=tuple(len(r.response_ids) for r in rollouts),
        mean_logprobs=tuple(logprobs_N),
        judge=judge,
        judgements=clustering.judgements,
    )


def annotate(
    problem: Problem, rollouts: Sequence[Rollout], judge: EquivalenceJudge, *, normaliser: str = "n", min_valid: int = 0
) -> Annotation:
    """The annotation of one problem from its N ≥ 2 verified teacher samples (the greedy answer is not one of them).

    normaliser `n` (the paper): all N samples count, unparsed ones as singleton classes, and H is divided by log N;
    `n_valid`: only samples with an answer count, and H is divided by log n_valid (needs min_valid ≥ 2).
    Raises TooFewAnswers when fewer than `min_valid` samples have an answer; ValueError on N < 2 or a wrong setting;
    RecordError on rollouts of another problem, without a verdict, without tokens, or with a repeated sample number;
    TooManyAccidents when the algebra failed on more than 5 % of the pairs that were asked (and on at least 3).
    """
    _check_settings(normaliser, min_valid)
    _check_samples(problem, rollouts, min_valid)
    clustering = cluster_answers(_answers(rollouts), judge, problem.question)
    _refuse_accidents([clustering], judge.name)
    return _build(problem, rollouts, clustering, judge.name, normaliser, min_valid)


def annotate_all(
    problems: Sequence[Problem],
    rollouts: Iterable[Rollout],
    judge: EquivalenceJudge,
    *,
    normaliser: str = "n",
    min_valid: int = 0,
) -> tuple[list[Annotation], dict[str, str]]:
    """Annotate many problems, with the open pairs of all of them in each judge call.

    Returns (annotations in the order of `problems`, dropped problems as id → why): nothing is dropped but for too few
    answers. Raises as `annotate`; TooManyAccidents counts over all problems given.
    """
    _check_settings(normaliser, min_valid)
    groups: dict[str, list[Rollout]] = {pid: [] for pid in index_by_id(problems)}
    for r in rollouts:
        if r.problem_id not in groups:
            raise RecordError(f"rollout {r.problem_id}#{r.sample} belongs to none of the {len(groups)} problems given")
        groups[r.problem_id].append(r)
    kept, dropped = [], {}
    for problem in problems:
        try:
            _check_samples(problem, groups[problem.id], min_valid)
        except TooFewAnswers as err:
            dropped[problem.id] = str(err)
        else:
            kept.append(problem)
    annotations = []
    clusterings = cluster_many([_answers(groups[p.id]) for p in kept], judge, [p.question for p in kept])
    _refuse_accidents(clusterings, judge.name)
    for problem, clustering in zip(kept, clusterings, strict=True):
        try:
            annotations.append(_build(problem, groups[problem.id], clustering, judge.name, normaliser, min_valid))
        except TooFewAnswers as err:
            dropped[problem.id] = str(err)
    return annotations, dropped

"""Who says that two answers are one: the judge a configuration asks for, tested on pairs of known relation.

A judge that may err clusters nothing before it has passed: a language model and a cross-encoder on the task's own pairs
where it is graded (`known_pairs`), on the common ones of numbers and formulas else; the task's own meaning on the
task's. Left out: the rules of the judges (`phase1/`), and clustering (`annotate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from artifact.actors.checkpoints import load_classifier, load_tokenizer
from artifact.config import Config
from artifact.errors import ConfigError
from artifact.paths import resolve_model
from artifact.phase1.entailment import EntailmentJudge, by_meaning
from artifact.phase1.judge import ChainJudge, EquivalenceJudge, ExactJudge, SymbolicJudge
from artifact.phase1.judge_calibration import CalibrationReport, KnownPair, calibrate, require_usable
from artifact.phase1.nli import entails_by
from artifact.studies import store
from artifact.studies.inputs import judge_prompt, task_of
from artifact.tasks.grading import grading_of


class Opened(NamedTuple):
    """A judge that answers.

    judge     what clusters
    tested    the part of it that may err, None where nothing can
    facts     what to store beside its rates
    """

    judge: EquivalenceJudge
    tested: EquivalenceJudge | None
    facts: dict[str, Any]


def make_judge(config: Config) -> tuple[EquivalenceJudge, dict[str, Any]]:
    """The equivalence judge the configuration asks for, and what vouches for it.

    A language model is asked only what the symbolic rules leave open, of free text everything. One that fails the known
    pairs is a JudgeError with its rates and the remedy (`annotation.accept_poor_judge` goes on regardless).
    """
    may_err = config.annotation.clustering in ("meaning", "nli", "llm")
    pairs = _pairs_of(config) if may_err else None  # before anything is loaded
    opened = _open(config)
    if opened.tested is None:
        return opened.judge, {"name": opened.judge.name}
    report = calibrate(opened.tested, pairs)
    require_usable(report, go_on=config.annotation.accept_poor_judge)
    return opened.judge, {"name": opened.judge.name, **opened.facts, **_rates(report)}


def judge_report(config: Config, pairs: Sequence[KnownPair]) -> CalibrationReport:
    """The error rates of the configuration's judge on `pairs`, whether it may cluster or not; nothing is clustered."""
    with store.actors_of(config, config.judge_path) if config.annotation.clustering == "llm" else nullcontext():
        opened = _open(config)
        return calibrate(opened.tested or opened.judge, pairs)


def _open(config: Config) -> Opened:
    match config.annotation.clustering:
        case "meaning":
            return _by_meaning(config)
        case "nli":
            name, path = config.judge_path, resolve_model(config.judge_path)
            judge = EntailmentJudge(name, entails_by(load_classifier(path), load_tokenizer(path), name))
            return Opened(judge, judge, {})
        case "llm":
            return _language_model(config)
        case clustering:
            return Opened(ExactJudge() if clustering == "exact" else SymbolicJudge(), None, {})


def _language_model(config: Config) -> Opened:
    """A language model on engines, of numbers and formulas after the symbolic rules."""
    from artifact.actors.judge_engine import open_llm_judge

    model, gap = open_llm_judge(config.as_role("judge"), judge_prompt(config.task))
    graded = grading_of(task_of(config.task)) is not None
    return Opened(model if graded else ChainJudge([SymbolicJudge(), model]), model, {"load_max_logprob_diff": gap})


def _by_meaning(config: Config) -> Opened:
    """Mutual entailment by what the task says an answer means."""
    task = task_of(config.task)
    if not hasattr(task, "meaning"):
        raise ConfigError(
            f"annotation.clustering = meaning needs a task that says what an answer means, and {config.task.name!r} "
            "does not: set it to symbolic, exact or llm, or give the task `meaning` and `known_pairs`"
        )
    judge = EntailmentJudge("meaning", by_meaning(task.meaning))
    return Opened(judge, judge, {})


def _pairs_of(config: Config) -> list[KnownPair] | None:
    """A graded task's own pairs of known relation, None for the common ones; ConfigError for a graded task without."""
    task = task_of(config.task)
    if grading_of(task) is None:
        return None
    pairs = [KnownPair(*pair) for pair in getattr(task, "known_pairs", list)()]
    if not pairs:
        raise ConfigError(
            f"annotation.clustering = {config.annotation.clustering} needs pairs of known relation to test the judge "
            f"on, and task {task.name!r} gives none: set annotation.clustering to exact, or give the task `known_pairs`"
        )
    return pairs


def _rates(report: CalibrationReport) -> dict[str, Any]:
    """What vouches for a judge, or speaks against it."""
    return {
        "usable": report.usable,
        "faults": list(report.faults),
        "true_merge": report.true_merge.estimate,
        "false_merge": report.false_merge.estimate,
    }

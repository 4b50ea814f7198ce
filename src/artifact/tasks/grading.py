"""Graded outcomes: a verdict where it can be decided, a score in [0, 1] where it cannot, for tasks without a number.

A task that is graded states it (`grading`), and the house asks nothing else of it:

    grading = Grading("chrf", correct_from=0.8)          correct from a stated score
    grading = Grading("rougeL", decides=keeps_the_facts)  truth decides, the metric says how near a response came

A response is what follows its thinking, without surrounding white space. One that is empty has no answer: `unparsed`,
score 0. The metric stands in `Verdict.rule`. Left out: the metrics (`metrics.py`), answers that are compared by
algebra (`verifier.py`), and how methods part a group by score (`train/routing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from artifact.errors import ArtifactError
from artifact.records import Problem, Status, Verdict
from artifact.tasks.extract import final_segment
from artifact.tasks.metrics import Metric, find_metric, require_references


class Grader(Protocol):
    """What turns responses into verdicts with scores."""

    def __call__(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """A verdict with a score on each response, `problems` naming the problem of each."""
        ...

    def check(self, problems: Sequence[Problem]) -> None:
        """ArtifactError where one of `problems` cannot be graded, before anything is sampled."""
        ...

    def metric_for(self, problem: Problem) -> Metric:
        """The metric by which responses to `problem` are scored."""
        ...


def grading_of(task: object) -> Grader | None:
    """The grading a task states; None for one whose answers are compared by algebra."""
    grading: Grader | None = getattr(task, "grading", None)
    return grading


class Grading:
    """One metric, and what makes a response correct: exactly one of a stated score and a decision.

    metric        a name of `metrics.METRICS`, or a `Metric`
    correct_from  the least score of a correct response, in (0, 1]
    decides       (response, problem) → whether it is correct, where truth can be computed
    """

    def __init__(
        self,
        metric: str | Metric,
        *,
        correct_from: float | None = None,
        decides: Callable[[str, Problem], bool] | None = None,
    ) -> None:
        self.metric = find_metric(metric)
        if (correct_from is None) == (decides is None):
            raise ArtifactError(
                f"grading by {self.metric.name!r} needs exactly one of correct_from (a score) and decides (a function)"
            )
        if correct_from is not None and not 0 < correct_from <= 1:
            raise ArtifactError(f"grading by {self.metric.name!r}: correct_from = {correct_from} must lie in (0, 1]")
        self.correct_from, self.decides = correct_from, decides

    def __call__(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """The verdicts in the order of `texts`; MetricError as `Metric.score`."""
        return [self._verdict(text, problem) for text, problem in zip(texts, problems, strict=True)]

    def check(self, problems: Sequence[Problem]) -> None:
        """MetricError where a metric that compares has nothing to compare with."""
        if self.metric.compared:
            require_references(self.metric.name, problems)

    def metric_for(self, problem: Problem) -> Metric:
        """The one metric."""
        return self.metric

    def _verdict(self, text: str, problem: Problem) -> Verdict:
        name, answer = self.metric.name, (final_segment(text) or "").strip()
        if not answer:
            return Verdict(Status.UNPARSED, detail="the response is empty", rule=name, score=0.0)
        score = self.metric.score(answer, problem)
        if self.decides is not None:
            right, why = self.decides(answer, problem), "decided by the truth of the task"
        else:
            right = score >= self.correct_from  # type: ignore[operator]
            why = f"correct from {self.correct_from:g}"
        return Verdict(Status.CORRECT if right else Status.WRONG, answer, f"{name} {score:.3f}, {why}", name, score)


class GradingByFamily:
    """A grader for each family of problems (`meta["family"]`), for a task that holds several."""

    def __init__(self, graders: Mapping[str, Grader]) -> None:
        self.graders = dict(graders)

    def __call__(self, texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict]:
        """The verdicts in the order of `texts`, each by the grader of its problem's family."""
        self._require_known(problems)
        pairs = zip(texts, problems, strict=True)
        return [self.graders[problem.meta["family"]]([text], [problem])[0] for text, problem in pairs]

    def check(self, problems: Sequence[Problem]) -> None:
        """As each family's grader; ArtifactError for a family without one."""
        self._require_known(problems)
        for family, grader in self.graders.items():
            grader.check([p for p in problems if p.meta["family"] == family])

    def metric_for(self, problem: Problem) -> Metric:
        """That of the problem's family."""
        self._require_known([problem])
        return self.graders[problem.meta["family"]].metric_for(problem)

    def _require_known(self, problems: Sequence[Problem]) -> None:
        unknown = [p for p in problems if p.meta.get("family") not in self.graders]
        if unknown:
            raise ArtifactError(
                f"problem {unknown[0].id!r} is of family {unknown[0].meta.get('family')!r}, which has no grading; "
                f"there are {', '.join(self.graders)}"
            )

"""One problem through training: what the student said of it at every step that asked it, and before and after.

Training rollouts come as often as a problem comes up; the problems of the curve split are answered greedily at every
point of the learning curve, the untrained student first.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from artifact.errors import ArtifactError
from artifact.inspect.collection import Rollouts, rollouts
from artifact.inspect.opened import opened
from artifact.inspect.pairs import Words, word_diff
from artifact.inspect.view import View
from artifact.records import Problem
from artifact.studies import store


def through_training(run: Any, problem: str) -> ThroughTraining:
    """A problem of the curve split at every point of the curve, or a training problem at every step that drew it."""
    found = opened(run)
    parts = [part for part in ("curve", "rollouts") if store.files(found.folder, f"{part}/*.parquet")]
    for part in parts:
        table = rollouts(found, part)  # type: ignore[arg-type]
        if (table.frame["problem_id"] == problem).any():
            return ThroughTraining(table.filter(problem=problem))
    raise ArtifactError(
        f"problem {problem!r} is in neither {' nor '.join(parts) or 'part'} of run {found.key}; "
        "`inspect.rollouts(run, 'curve').to_frame()` lists those that were asked"
    )


def before_after(run: Any, problem: str) -> BeforeAfter:
    """The greedy answers of the untrained and the trained student to a problem of the curve split, with a word diff."""
    found = opened(run)
    table = rollouts(found, "curve").filter(problem=problem)
    return BeforeAfter(table)


class ThroughTraining(View):
    """The responses to one problem, in order of steps."""

    template: ClassVar[str] = "training.html.jinja"

    def __init__(self, table: Rollouts) -> None:
        self.run, self.table = table.run, table
        first = table.frame.iloc[0]
        self.problem: Problem = table.run.problems(first["split"])[first["problem_id"]]
        self.title = f"{self.problem.id} through training, run {self.run.key}"

    def to_frame(self) -> pd.DataFrame:
        """One row per response, in order of steps."""
        wanted = ["step", "sample", "status", "extracted", "gold", "tokens", "mean_logprob", "text"]
        return self.table.frame.sort_values(["step", "sample"], ignore_index=True)[wanted]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Those rows, for the template."""
        return self.to_frame().to_dict("records")


class BeforeAfter(ThroughTraining):
    """The first and the last of them."""

    template: ClassVar[str] = "before_after.html.jinja"

    def to_frame(self) -> pd.DataFrame:
        """Two rows: before and after."""
        return super().to_frame().iloc[[0, -1]].reset_index(drop=True)

    @property
    def words(self) -> tuple[Words, Words]:
        """Both texts in words, with whether the other has them."""
        before, after = self.to_frame()["text"]
        return word_diff(before, after)

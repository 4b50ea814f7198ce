"""The teacher's N answers to one problem as a card: classes with their mass, what the judge decided, H and w."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from artifact.errors import ArtifactError
from artifact.inspect.opened import opened
from artifact.inspect.view import View
from artifact.phase1.records import Annotation
from artifact.records import Problem
from artifact.report.qualitative import cluster_frame


def cluster(run: Any, problem: str) -> Cluster:
    """The card of a problem of the run's training split. ArtifactError where its teacher was not asked about it."""
    found = opened(run)
    if problem not in found.annotations:
        raise ArtifactError(
            f"problem {problem!r} is not annotated for run {found.key} ({found.label}): "
            + ("choose a training problem" if found.annotations else "run `artifact annotate` for its teacher")
        )
    return Cluster(found.problems(found.config.task.train_split)[problem], found.annotations[problem])


class Cluster(View):
    """Semantic entropy on one problem, from answers to weight."""

    template: ClassVar[str] = "cluster.html.jinja"

    def __init__(self, problem: Problem, annotation: Annotation) -> None:
        self.problem, self.annotation = problem, annotation
        self.title = f"The teacher on {problem.id}"

    def to_frame(self) -> pd.DataFrame:
        """One row per answer form and class, likeliest class first (`qualitative.cluster_frame`)."""
        return cluster_frame(self.annotation)

    @property
    def classes(self) -> list[tuple[float, int, str]]:
        """(probability, samples, `5 ×4, x=5 ×2`) of each class, likeliest first."""
        out = []
        for _, rows in self.to_frame().groupby("cluster", sort=True):
            forms = ", ".join(f"{f or 'no answer'} ×{n}" for f, n in zip(rows["form"], rows["count"], strict=True))
            out.append((float(rows["probability"].iloc[0]), int(rows["count"].sum()), forms))
        return out

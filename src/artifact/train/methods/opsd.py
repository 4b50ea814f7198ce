"""The self-distilled reasoner (OPSD): on-policy distillation from a model that reads the solution.

    L = 1/|B| Σ_x 1/K Σ_j mean_t KL( p_T(· | x, solution, y_<t) ‖ p_S(· | x, y_<t) )

T is the student's own initial weights (`teacher: self`) or the run's teacher (`teacher: teacher`). The scored tokens
are the student's response ids, appended unchanged to the informed prompt. Such a teacher knows where the response must
end and gives near one-hot targets that cannot be derived from the student's prefix: look at the teacher's entropy and
at the leak check (`stats/leak.py`) beside its accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from artifact.errors import ConfigError
from artifact.records import Group
from artifact.train.examples import Distil
from artifact.train.methods.base import Batch, Method, Needs, StepContext, register
from artifact.train.settings import RunSettings, Settings


@register("opsd")
class SelfDistilledReasoner(Method):
    """Needs reference solutions, or answers, as `context` says; no verifier."""

    every_rollout = "distil"

    @dataclass(frozen=True)
    class Options(Settings):
        """teacher: whose weights score; context: what the scoring model reads besides the question.

        Under `solution_or_answer` it reads the answer alone where a problem has no solution, as those have none that
        a language model wrote and another one labelled (SURE-Math).
        """

        teacher: Literal["self", "teacher"] = "self"
        context: Literal["answer", "solution", "solution_or_answer"] = "solution"

    def __init__(self, settings: RunSettings, options: Options | None = None) -> None:
        super().__init__(settings, options)
        own = self.options.teacher == "self"
        least: Literal["answer", "solution"] = "solution" if self.options.context == "solution" else "answer"
        prefers: Literal["solution"] | None = "solution" if self.options.context == "solution_or_answer" else None
        self.needs = Needs(teacher=not own, self_teacher=own, gold=True, contexts=(least,), prefers=prefers)

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        bare = [g.problem.id for g in groups if self.options.context == "solution" and not g.problem.solution]
        if bare:
            raise ConfigError(
                f"problem(s) {bare[:3]} ({len(bare)} in this step) have no reference solution for the teacher to read; "
                "use method_options.context = solution_or_answer"
            )
        examples: list[Distil] = []
        for group in groups:
            solved = self.options.context != "answer" and group.problem.solution
            informed = context.encode(group.problem, "solution" if solved else "answer")
            examples += [Distil.of(r, teacher_prompt_ids=informed) for r in self.trained_on(group.rollouts)]
        return Batch(tuple(examples), {"distil": 1.0})

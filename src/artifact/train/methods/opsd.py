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
    """Needs reference solutions (or answers, under `context: answer`); no verifier."""

    every_rollout = "distil"

    @dataclass(frozen=True)
    class Options(Settings):
        """teacher: whose weights score; context: what the scoring model reads besides the question."""

        teacher: Literal["self", "teacher"] = "self"
        context: Literal["answer", "solution"] = "solution"

    def __init__(self, settings: RunSettings, options: Options | None = None) -> None:
        super().__init__(settings, options)
        own = self.options.teacher == "self"
        self.needs = Needs(teacher=not own, self_teacher=own, gold=True, contexts=(self.options.context,))

    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        bare = [g.problem.id for g in groups if self.options.context == "solution" and not g.problem.solution]
        if bare:
            raise ConfigError(
                f"problem(s) {bare[:3]} ({len(bare)} in this step) have no reference solution for the teacher to read; "
                "use method_options.context = answer"
            )
        examples: list[Distil] = []
        for group in groups:
            informed = context.encode(group.problem, self.options.context)
            examples += [Distil.of(r, teacher_prompt_ids=informed) for r in self.trained_on(group.rollouts)]
        return Batch(tuple(examples), {"distil": 1.0})

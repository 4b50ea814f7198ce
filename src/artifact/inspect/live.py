"""A problem of the reader's own: student and teacher answer it now, through the engines, and are read token by token.

The student is the one that a finished run left, the teacher the run's; both sample as the run's configuration says
(`sampling` and `annotation`). Without a gold answer nothing can be right, and verdicts are left out. Nothing is stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from artifact.actors.session import call, open_actors
from artifact.inspect.clusters import Cluster
from artifact.inspect.opened import Opened, opened
from artifact.inspect.tokens import Tokens
from artifact.inspect.view import View
from artifact.paths import resolve_model
from artifact.phase1.annotate import annotate
from artifact.records import Problem, Rollout
from artifact.studies import store
from artifact.studies.annotate import load_checkpoint
from artifact.studies.inputs import build_inputs, sampler_for
from artifact.studies.judging import make_judge
from artifact.train.methods.base import Batch
from artifact.train.rollouts import verify_groups
from artifact.train.token_reading import Answer, Question, answers
from artifact.train.token_records import TokenRecord, parts_of, token_records

ID = "poked"
"""The id of a problem that is in no data set."""


def poke(run: Any, question: str, answer: str | None = None, *, samples: int = 4, seed: int = 0) -> Poked:
    """Put `question` to the student of a finished run and to its teacher, and look at what they say.

    samples  responses of the student; the teacher gives as many as its annotation has
    Raises as sampling does: Mismatch for a question that leaves no room in the engines' context.
    """
    found = opened(run)
    config = found.config
    problem = Problem(ID, question, answer or "", None, config.task.name, "")
    graded = problem if answer else replace(problem, answer="0")  # any that can be read: only what is extracted counts
    inputs = build_inputs(config)
    prompts = [(ID, inputs.encode(problem, "none"))]
    student, teacher = str(found.folder / "weights"), resolve_model(config.teacher_path)
    served = {student: config, teacher: config.as_role("teacher")}  # in this order: engines that are there stay for it
    store.checked(found.folder / "weights")
    a, drawn = config.annotation, {}
    asked = {
        student: (samples, config.sampling.temperature, config.sampling.top_p, config.sampling.max_new_tokens),
        teacher: (a.samples, a.temperature, a.top_p, a.max_new_tokens),
    }
    with store.actors_of(served[teacher], teacher):
        for model, (n, temperature, top_p, most) in asked.items():
            actors = open_actors(served[model], engines_for=model, reference=True)
            load_checkpoint(served[model], actors, model, inputs)
            groups = sampler_for(served[model], actors, model).sample(
                prompts, n, temperature=temperature, top_p=top_p, max_new_tokens=most, seed=("poke", seed)
            )
            drawn[model] = verify_groups([graded], groups, inputs.verify)[0]

        def ask(questions: list[Question]) -> list[Answer]:
            d, limit, actor = config.losses.distil, config.cluster.step_timeout_s, actors.reference
            pairs = [q.sequence for q in questions]
            scores = actor.teacher_scores.remote(
                teacher,
                dict(enumerate(pairs)),
                d.top_k,
                d.temperature,
                with_tail=d.support == "tail",
                vocabulary=inputs.vocabulary,
            )
            own = actor.student_readings.remote(student, questions, d, scores)
            taught = actor.readings.remote(teacher, pairs, vocabulary=inputs.vocabulary)
            of_student, of_teacher = call([own, taught], limit, "reading tokens")
            return answers(of_student, of_teacher, None)

        parts = parts_of([ID], [drawn[student]], Batch((), {}))
        records = token_records(found.config.train.steps, parts, ask, {}, {}, config.losses)
        card = annotate(problem, drawn[teacher], make_judge(config)[0], normaliser=a.normaliser)
    return Poked(found, problem, drawn[student], records, Cluster(problem, card))


class Poked(View):
    """One question, the student's responses, and the teacher's classes."""

    template: ClassVar[str] = "poked.html.jinja"

    def __init__(
        self,
        run: Opened,
        problem: Problem,
        responses: tuple[Rollout, ...],
        records: list[TokenRecord],
        cluster: Cluster,
    ) -> None:
        self.run, self.problem, self.responses, self.cluster = run, problem, responses, cluster
        self.tokens = [Tokens(run, r) for r in records]
        self.title = f"{problem.question} (student of run {run.key})"

    def to_frame(self) -> pd.DataFrame:
        """One row per response of the student: verdict (None without a gold answer), answer, text, mean divergence."""
        rows = []
        for r, tokens in zip(self.responses, self.tokens, strict=True):
            verdict = r.verdict
            status = None if not self.problem.answer or verdict is None else str(verdict.status)
            rows.append(
                {
                    "sample": r.sample,
                    "status": status,
                    "extracted": verdict.extracted if verdict else None,
                    "tokens": len(r.response_ids),
                    "mean_logprob": r.mean_logprob,
                    "divergence": float(tokens.to_frame()["divergence"].mean()),
                    "text": r.text,
                }
            )
        return pd.DataFrame(rows)

    @property
    def rows(self) -> list[tuple[dict[str, Any], Tokens]]:
        """Those rows, each with its tokens."""
        return list(zip(self.to_frame().to_dict("records"), self.tokens, strict=True))

"""How many sequences of a step each role passes over, as the method itself says: it is given a step made up for it.

Every response of the step has a length of its own making, every prompt as many correct rollouts as the next, and the
method's own `batch` makes examples of them; whoever passes over equal sequences does so once, as in training. Left out:
lengths (`simulator.py`), and what cannot be known before a run, such as weights that are 0: counts are the most there
can be for that many correct rollouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import cast

from artifact.config import Config
from artifact.errors import ArtifactError
from artifact.records import Group, Problem, Rollout, Status, Verdict
from artifact.tasks.base import Context
from artifact.train.methods.base import StepContext
from artifact.train.objective import has_gradient, to_reference, to_score


@dataclass(frozen=True)
class Load:
    """Sequences of a step: sampled, answered by the teacher, scored, scored by the reference, trained on; `given` are
    those of the last that nobody sampled, such as reference solutions; `scored_under` is what the scorer reads beside
    the question.
    """

    rollouts: int
    answered: int
    scored: int
    referenced: int
    trained: int
    given: int = 0
    scored_under: Context = "none"


class _Made:
    """A step whose every response is one token that occurs nowhere else."""

    def __init__(self, config: Config, correct: int) -> None:
        self.k, self.correct = config.sampling.samples_per_prompt, correct
        self.ids, self.known = count(), dict[tuple[str, str], int]()
        self.answered = 0
        names = [f"p{i}" for i in range(config.train.prompts_per_step)]
        self.problems = [Problem(name, name, "1", f"solution {name}", "made", "easy") for name in names]

    def one(self, of: str, context: str) -> tuple[int]:
        """The token that stands for the prompt of a problem under a context, or for a text."""
        return (self.known.setdefault((of, context), next(self.ids)),)

    def rollouts(self, problem: Problem, n: int, correct: int) -> tuple[Rollout, ...]:
        """n rollouts of a problem, the first of them correct."""
        return tuple(
            Rollout(
                problem.id,
                i,
                self.one(problem.id, "none"),
                (next(self.ids),),
                (-1.0,),
                "",
                "stop",
                verdict=Verdict(Status.CORRECT if i < correct else Status.WRONG, "1"),
            )
            for i in range(n)
        )

    def ask(self, problems: Sequence[Problem], how: str, context: str) -> list[tuple[Rollout, ...]]:
        """`StepContext.ask_teacher`."""
        self.answered += self.k * len(problems)
        return [self.rollouts(p, self.k, self.k) for p in problems]


def load_of(config: Config, correct: int) -> Load | None:
    """The load of a step with `correct` correct rollouts of each prompt; None where the method refuses such a step."""
    method, made = config.make_method(), _Made(config, correct)
    n = made.k if method.needs.rollouts else 0
    groups = [Group(p, made.one(p.id, "none"), made.rollouts(p, n, correct)) for p in made.problems]
    context = StepContext(
        0,
        lambda problem, context: made.one(problem.id, context),
        lambda text: made.one(text, "text"),
        {p.id: 1.0 for p in made.problems},
        {p.id: made.rollouts(p, made.k, made.k) for p in made.problems},
        ask_teacher=made.ask,
    )
    try:
        examples = method.batch(groups, context).examples
    except ArtifactError:
        return None
    trained = {s for e in examples if has_gradient(e, config.losses) for s in e.sequences}
    texts = {(token,) for (_, of), token in made.known.items() if of == "text"}
    scored = set(to_score(examples).values())
    under = {how for (_, how), token in made.known.items() if any(prompt == (token,) for prompt, _ in scored)}
    asked = to_reference(examples, config.losses).values() if method.needs.reference else ()
    return Load(
        n * len(groups),
        made.answered,
        len(scored),
        len({s for a in asked for s in a.sequences}),
        len(trained),
        sum(response in texts for _, response in trained),
        cast(Context, under.pop()) if len(under) == 1 else "none",
    )


def prompts_shared(config: Config) -> int | None:
    """The prompts of a step that its sequences share (`optimiser.shared_prompts`); None where each computes its own."""
    return config.train.prompts_per_step if config.optimiser.shared_prompts else None


def loads(config: Config) -> list[Load]:
    """The different loads that a step can be, over how many rollouts are correct."""
    return list(_loads(type(config.make_method()), config.model_copy(update={"seed": 0}).model_dump_json()))


@cache
def _loads(method: type, text: str) -> tuple[Load, ...]:
    """Of the configuration `text`, of which many a plan's runs have the same but for the seed; `method` is its class,
    of which a notebook may make another under the same name.
    """
    config = Config.model_validate_json(text)
    of = (load_of(config, c) for c in range(config.sampling.samples_per_prompt + 1))
    return tuple(dict.fromkeys(load for load in of if load is not None))

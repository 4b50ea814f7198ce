"""What the tests of this room share: a small build of the embedded world, and a labeller that knows the answers.

The labeller is a stand-in for a language model: it derives its samples from the *true* answer, right with a probability
that falls with the difficulty. Nothing about models can be concluded from it; it only feeds the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from artifact.records import Problem, Rollout, Status, Verdict
from artifact.suremath.lineage import Evolved
from artifact.suremath.settings import SureMathSettings, load_settings

SKILL = {"easy": 0.95, "medium": 0.8, "hard": 0.6, "competition": 0.4}

SMALL: dict[str, Any] = {
    "curated.size": 60,
    "curated.test": 12,
    "evolution.size": 40,
    "generator.batch": 11,
    "labels.batch": 9,
    "rows_per_shard": 30,
    "curated.sources": [{"name": "tinymath-train", "kind": "task", "task": "tinymath", "split": "train", "limit": 70}],
    "seeds": [
        {"name": f"s-{difficulty}", "kind": "tinyworld", "difficulty": difficulty, "limit": n}
        for difficulty, n in (("easy", 14), ("medium", 8), ("hard", 6), ("competition", 4))
    ],
    "benchmarks": [{"name": "evaluation", "kind": "task", "task": "tinymath", "split": "evaluation", "limit": 200}],
}


def small(**overrides: Any) -> SureMathSettings:
    """The tiny settings, cut down to about 120 proposals; double underscores stand for dots."""
    return load_settings("tiny", SMALL | {k.replace("__", "."): v for k, v in overrides.items()})


def samples(problem: Problem, n: int = 8, skill: float | None = None) -> list[Rollout]:
    """n verified rollouts of a problem, from its true answer (see the module's docstring)."""
    rng = Random(f"labeller/{problem.id}")
    out = []
    for k in range(n):
        u, right = rng.random(), SKILL[problem.difficulty] if skill is None else skill
        answer = problem.answer if u < right else str(rng.randint(1, 40)) if u < 0.97 else None
        status = Status.UNPARSED if answer is None else Status.CORRECT if answer == problem.answer else Status.WRONG
        length = rng.randint(5, 20)
        logprobs = tuple(-rng.random() for _ in range(length))
        out.append(
            Rollout(
                problem.id, k, (1, 2), tuple(range(length)), logprobs, str(answer), "stop", -1, Verdict(status, answer)
            )
        )
    return out


def labeller(problems: Sequence[Problem]) -> list[list[Rollout]]:
    """Eight samples per problem."""
    return [samples(p) for p in problems]


def item(item_id: str, question: str, answer: str = "1", **fields: Any) -> Evolved:
    """A round-0 record, or what `fields` make of it."""
    base: dict[str, Any] = {
        "id": item_id,
        "question": question,
        "answer": answer,
        "solution": None,
        "task": "tinymath",
        "difficulty": "easy",
        "answer_source": "ground_truth" if answer else "unknown",
        "strategy": "seed",
        "round": 0,
        "parent_ids": (),
        "root_id": item_id,
        "seed_difficulty": "easy",
        "source": "test",
        "generator": "test",
    }
    return Evolved(**(base | fields))

"""Teacher samples of a seeded toy world: each problem has a reliability, its wrong answers scatter or agree."""

from __future__ import annotations

import numpy as np

from artifact.records import Problem, Rollout, Status, Verdict

FAMILIES, DIFFICULTIES = ("sum", "eq", "mod"), ("easy", "hard")


def world(problems: int = 60, samples: int = 16, seed: int = 0, draw: int = 0) -> tuple[list[Problem], list[Rollout]]:
    """(problems, verified rollouts). `seed` fixes the problems, `draw` the samples; gold answers are even numbers.

    Right answers come as `8` or `x=8`; on `mod` the wrong answer is always gold + 1, elsewhere one of five odd numbers;
    3 % of the samples have no answer.
    """
    fixed, rng = np.random.default_rng(seed), np.random.default_rng((seed, draw))
    out, rollouts = [], []
    for p in range(problems):
        gold, reliability = 2 * int(fixed.integers(1, 40)), fixed.random() ** 0.5
        family, difficulty = FAMILIES[p % 3], DIFFICULTIES[int(reliability < 0.6)]
        out.append(Problem(f"p{p:03d}", f"Problem {p}?", str(gold), None, "toy", difficulty, {"family": family}))
        for n in range(samples):
            right = rng.random() < reliability
            value = gold if right else gold + 1 if family == "mod" else gold + 1 + 2 * int(rng.integers(0, 5))
            answer = None if rng.random() < 0.03 else f"x={value}" if rng.random() < 0.3 else str(value)
            status = Status.UNPARSED if answer is None else Status.CORRECT if right else Status.WRONG
            length = int(rng.integers(1, 6))
            logprobs = tuple(float(v) for v in -rng.exponential(0.05 if right else 0.15, length))
            rollouts.append(
                Rollout(
                    f"p{p:03d}",
                    n,
                    (1,),
                    tuple(range(length)),
                    logprobs,
                    str(answer),
                    "stop",
                    -1,
                    Verdict(status, answer),
                )
            )
    return out, rollouts

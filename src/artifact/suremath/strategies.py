"""The six evolution strategies, who gets which, and for how many rounds (UOPD, Section 4.1).

    round 1      a strategy drawn with the weights of the seed's difficulty
    round 2, …   a *different* strategy than the round before, drawn from harder, competition and compose with the same
                 weights, applied to the output of the round before
    rounds       easy 1, medium 2, hard 3, competition 5 (settings)

Each strategy's system prompt is `prompts/<strategy>.txt`; the procedural generator implements the same six.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from random import Random

from artifact.suremath.settings import Evolution

STRATEGIES = ("harder", "rewrite", "algebraize", "apply", "compose", "competition")
FOLLOW_UP = ("harder", "competition", "compose")


@cache
def system_prompt(strategy: str) -> str:
    """The system prompt of `strategy`. Raises ValueError on an unknown one."""
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown evolution strategy {strategy!r}; the six are {', '.join(STRATEGIES)}")
    return files("artifact.suremath").joinpath("prompts", f"{strategy}.txt").read_text(encoding="utf-8").strip()


def strategy_odds(evolution: Evolution, seed_difficulty: str, previous: str | None) -> dict[str, float]:
    """Probability of each strategy in the next round; `previous` is the strategy of the round before, None in round 1.

    Where the difficulty's weights leave no follow-up strategy, the follow-ups other than `previous` are equally likely.
    """
    weights = evolution.weights[seed_difficulty]  # type: ignore[index]
    allowed = STRATEGIES if previous is None else tuple(s for s in FOLLOW_UP if s != previous)
    chosen = {s: float(weights.get(s, 0.0)) for s in allowed}  # type: ignore[call-overload]
    if sum(chosen.values()) <= 0:
        chosen = dict.fromkeys(allowed, 1.0)
    total = sum(chosen.values())
    return {s: w / total for s, w in chosen.items()}


def choose_strategy(
    evolution: Evolution, seed_difficulty: str, previous: str | None, *, seed: int, root_id: str, round_: int
) -> str:
    """The strategy of `root_id` in `round_`, drawn from `strategy_odds`."""
    odds = strategy_odds(evolution, seed_difficulty, previous)
    return Random(f"{seed}/strategy/{root_id}/{round_}").choices(list(odds), list(odds.values()))[0]

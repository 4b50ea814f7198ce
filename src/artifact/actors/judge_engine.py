"""The language-model judge on rollout engines: opens them, gives them the judge's weights, proves that they arrived.

The engines are those of any frozen model (`frozen.py`): the judge runs beside the teacher where there is room for both,
else they take turns. Prompts go to engine i mod E in pairs: both directions of one question share a prefix, hence a
cache. Left out: the judge's rule (`phase1/llm_judge.py`) and whether it is any good (`phase1/judge_calibration.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artifact.actors.calls import call
from artifact.actors.checkpoints import load_tokenizer
from artifact.actors.frozen import FrozenEngines
from artifact.actors.placement import counts_devices
from artifact.actors.session import Actors
from artifact.config import Config
from artifact.paths import resolve_model
from artifact.phase1.llm_judge import PROMPT, LLMJudge, Scorer
from artifact.train.sync_check import check_weight_sync

PROBE = (("How many apples are left?", "3", "three"), ("What is the slope?", "\\frac{1}{2}", "-0.5"))
"""Questions and answers on whose prompts engine and forward pass must agree."""


def engine_scorer(opened: Callable[[], Sequence[Any]], timeout_s: float) -> Scorer:
    """Next-token log-probabilities from engines that hold the judge; ActorTimeout when one takes too long."""

    def score(prompts: list[tuple[int, ...]], candidates: list[int]) -> np.ndarray:
        engines = opened()
        engine_of = [(i // 2) % len(engines) for i in range(len(prompts))]
        shares = [[p for p, k in zip(prompts, engine_of, strict=True) if k == e] for e in range(len(engines))]
        busy = [e for e, share in enumerate(shares) if share]
        refs = [engines[e].next_token_logprobs.remote(shares[e], candidates) for e in busy]
        answers = dict(zip(busy, call(refs, timeout_s, "asking the judge"), strict=True))
        rows = {e: iter(answers[e]) for e in busy}
        return np.array([next(rows[e]) for e in engine_of], dtype=np.float64).reshape(len(prompts), len(candidates))

    return score


def open_llm_judge(config: Config, prompt: Path = PROMPT) -> tuple[LLMJudge, float | None]:
    """The judge `models.judge` on engines, asked by `prompt`, and the largest |Δ log-prob| in nats of its proof.

    The second is None without a proof. Raises ConfigError when the tier names no judge model, StaleEngine when engine
    and transformers disagree about it.
    """
    path, limit = resolve_model(config.judge_path), config.cluster.step_timeout_s

    def load(actors: Actors) -> float | None:
        call([e.load_checkpoint.remote(path) for e in actors.engines], limit, "loading the judge into the engines")
        if not config.cluster.engine.prove_weights:
            return None
        what, exact = f"after loading the judge {config.judge_path}", config.models.dtype == "float32"
        gap = check_weight_sync(lambda: scored(actors), config.cluster.sync_tolerance, what, exact=exact)
        if counts_devices(config.cluster):
            call(actors.reference.release.remote(path), limit, "releasing the judge")
        return gap

    def scored(actors: Actors) -> list[list[np.ndarray]]:
        expected, *found = call(
            [
                actors.reference.logprobs.remote(path, [(prompt, (i,)) for prompt in prompts for i in ids]),
                *(e.next_token_logprobs.remote(prompts, ids) for e in actors.engines),
            ],
            limit,
            "the proof of the judge's weights",
        )
        return [[np.concatenate(expected)], *([table.ravel()] for table in found)]

    held = FrozenEngines(config, config.judge_path, load)
    judge = LLMJudge(
        load_tokenizer(path),
        engine_scorer(lambda: held.ready().engines, limit),
        name=config.judge_path,
        max_prompt_tokens=config.cluster.engine.max_model_len - 1,
        prompt=prompt,
    )
    prompts, ids = [judge.prompt_ids(*probe) for probe in PROBE], [*judge.yes_ids, *judge.no_ids]
    held.ready()
    return judge, held.gap

"""Two engines in one process, vLLM's scheduler and runner and the lean ones, on the same requests; prints it as JSON.

A child of `test_lean_scheduler.py`: vLLM sets up a process for good. Argument: the folder of a model that knows `<<`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from artifact.actors.engine import Decoding, Request, RolloutEngine
from artifact.actors.placement import place
from artifact.config import load
from artifact.studies.inputs import build_inputs, problems_of

MODEL = sys.argv[1]
STOPS = (2, 16)  # the end of sequence and a digit


class Watched(RolloutEngine):
    """An engine that counts the steps of its scheduler, and those that took the short way."""

    def __init__(self, scheduler: str, free_blocks: int | None = None) -> None:
        overrides: dict[str, Any] = {
            "cluster.engine.scheduler": scheduler,
            "cluster.engine.max_num_seqs": 12,
            "cluster.engine.enforce_eager": True,
            "cluster.engine.max_model_len": 256,
        }
        config = load("tiny", overrides)
        settings = config.cluster.engine.model_dump()
        super().__init__(place(config.cluster, ("engine-0",)).slots["engine-0"], MODEL, "float32", settings)
        core: Any = self.llm.llm_engine.engine_core
        scheduler_ = core.engine_core.scheduler
        runner = core.engine_core.model_executor.driver_worker.worker.model_runner
        pool = scheduler_.kv_cache_manager.block_pool
        if free_blocks is not None:
            pool.get_new_blocks(pool.get_num_free_blocks() - free_blocks)  # held for good by nobody
        self.counts = {"steps": 0, "short": 0, "preempted": 0}
        self.classes = [type(scheduler_).__name__, type(runner).__name__]
        schedule, preempt = scheduler_.schedule, scheduler_._preempt_request
        only_decodes = getattr(scheduler_, "_only_decodes", None)

        def count(name: str, call: Any, counted: Any) -> Any:
            def counting(*args: Any, **kwargs: Any) -> Any:
                out = call(*args, **kwargs)
                self.counts[name] += counted(out)
                return out

            return counting

        scheduler_.schedule = count("steps", schedule, lambda out: 1)
        scheduler_._preempt_request = count("preempted", preempt, lambda out: 1)
        if only_decodes is not None:
            scheduler_._only_decodes = count("short", only_decodes, lambda out: out is not None)


def requests(n: int) -> list[Request]:
    """Prompts of the embedded world, 2 for each problem."""
    config = load("tiny")
    encode = build_inputs(config).encode
    problems = problems_of(config.task, "train", n // 2)
    return [Request(encode(problem, "none"), seed) for seed, problem in enumerate([*problems, *problems])]


def long_requests(n: int) -> list[Request]:
    """The same prompts after so much of themselves that they have 120 tokens."""
    return [Request((r.prompt_ids * 20)[-120:], r.seed) for r in requests(n)]


def shown(answer: tuple[int, list[Any]]) -> list[Any]:
    """Completions as what JSON can hold, log-probabilities bit for bit."""
    return [
        [c.ids.tolist(), c.logprobs.tobytes().hex(), c.finish_reason, None if c.mask is None else c.mask.tolist()]
        for c in answer[1]
    ]


def foreign(engine: Watched) -> list[Any]:
    """Requests of which every second asks for what the lean scheduler leaves to vLLM."""
    from vllm import SamplingParams

    asked = requests(10)
    kinds: list[dict[str, Any]] = [{}, {"min_tokens": 12}, {"logprobs": 3}, {"presence_penalty": 0.5}, {"n": 2}]
    outputs = engine.llm.generate(
        [{"prompt_token_ids": list(r.prompt_ids)} for r in asked],  # type: ignore[misc]
        [
            SamplingParams(
                max_tokens=30, seed=r.seed, stop_token_ids=list(STOPS), detokenize=False, **kinds[i % len(kinds)]
            )
            for i, r in enumerate(asked)
        ],
        use_tqdm=False,
    )
    return [[[list(c.token_ids), str(c.logprobs), c.finish_reason, c.stop_reason] for c in o.outputs] for o in outputs]


def scores(engine: Watched) -> list[Any]:
    asked = [(r.prompt_ids, r.prompt_ids[:5]) for r in requests(16)]
    tokens = engine.next_token_logprobs([p for p, _ in asked], [5, 6, 7])
    return [np.concatenate(engine.score(asked)).tobytes().hex(), tokens.tobytes().hex()]


def sampled(engine: Watched, temperature: float, logprobs: bool = True, calculator: bool = False) -> list[Any]:
    decoding = Decoding(temperature, 0.95 if temperature else 1.0, 40, STOPS, logprobs, calculator)
    return shown(engine.generate(requests(40), decoding))


def streamed(engine: Watched) -> list[Any]:
    found = {}
    for version, _, finished in engine.stream(requests(40), Decoding(0.7, 0.95, 40, STOPS)):
        found.update({i: shown((version, [completion]))[0] for i, completion in finished})
    return [found[i] for i in sorted(found)]


CASES = {
    "sampled": lambda e: sampled(e, 0.7),
    "streamed": streamed,
    "greedy": lambda e: sampled(e, 0.0),
    "without log-probabilities": lambda e: sampled(e, 0.7, logprobs=False),
    "calculator": lambda e: sampled(e, 0.7, calculator=True),
    "scores": scores,
    "left to vLLM": foreign,
}


def main() -> None:
    found = {}
    for name, free_blocks, cases in (
        ("", None, CASES),
        # sequences that each grow into a second block of 128 tokens, where 12 are to be had
        ("few blocks: ", 12, {"sampled": lambda e: shown(e.generate(long_requests(20), Decoding(1.0, 1.0, 40, (2,))))}),
    ):
        engines = [Watched(scheduler, free_blocks) for scheduler in ("vllm", "lean")]
        for case, run in cases.items():
            sides = []
            for engine in engines:
                engine.counts.update(dict.fromkeys(engine.counts, 0))
                sides.append({"classes": engine.classes, "out": run(engine), **engine.counts})
            found[name + case] = sides
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Processor time of the engine with the lean scheduler and with vLLM's own: `python benchmarks/rollouts.py`.

Two engines of the embedded tier in one process take turns at the same requests: a batch of rollouts as one training
step draws it, and the problems of the final evaluation, greedy. Printed is the median of the paired ratios and their
range, and whether both drew the same tokens and log-probabilities; the script stops with 1 where they did not. Left
out: Ray, and the start of the engines.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

from artifact.actors.engine import Decoding, Request, RolloutEngine
from artifact.actors.placement import place
from artifact.config import Config, load
from artifact.paths import resolve_model
from artifact.studies.inputs import build_inputs, problems_of, stop_token_ids
from artifact.train.rollouts import Completion, request_seed


def engine(config: Config, scheduler: str) -> RolloutEngine:
    """An engine of the tier with the student, in this process."""
    settings = config.cluster.engine.model_dump() | {"scheduler": scheduler}
    slot = place(config.cluster, ("engine-0",)).slots["engine-0"]
    return RolloutEngine(slot, str(resolve_model(config.models.student)), config.models.dtype, settings)


def workloads(config: Config, prompts: int, problems: int) -> dict[str, tuple[list[Request], Decoding]]:
    """The requests of one training step and those of the final evaluation."""
    encode, stops = build_inputs(config).encode, stop_token_ids(config.models.student)
    train = problems_of(config.task, "train", prompts)
    final = problems_of(config.task, config.evaluation.final[0], problems)
    drawn = range(config.sampling.samples_per_prompt)
    rollouts = [Request(encode(p, "none"), request_seed("benchmark", p.id, j)) for p in train for j in drawn]
    sampling = config.sampling
    return {
        "rollouts": (rollouts, Decoding(sampling.temperature, sampling.top_p, sampling.max_new_tokens, stops)),
        "greedy evaluation": (
            [Request(encode(p, "none"), 0) for p in final],
            Decoding(0.0, 1.0, config.evaluation.max_new_tokens, stops),
        ),
    }


def bits(completions: list[Completion]) -> list[Any]:
    """What was drawn, comparable bit for bit."""
    return [(c.ids.tobytes(), c.logprobs.tobytes(), c.finish_reason) for c in completions]


def main() -> None:
    """Measure both workloads and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, help="prompts of a step (default: the tier's)")
    parser.add_argument("--problems", type=int, default=400, help="problems of the evaluation (default 400)")
    parser.add_argument("--repeats", type=int, default=8, help="pairs measured (default 8)")
    parser.add_argument("--max-num-seqs", type=int, help="sequences computed together (default: the tier's)")
    parser.add_argument("--eager", action="store_true", help="without compilation: starts sooner, runs slower")
    arguments = parser.parse_args()
    overrides: dict[str, Any] = {"cluster.engine.enforce_eager": True} if arguments.eager else {}
    if arguments.max_num_seqs:
        overrides["cluster.engine.max_num_seqs"] = arguments.max_num_seqs
    config = load("tiny", overrides)
    engines = {name: engine(config, name) for name in ("vllm", "lean")}
    prompts = arguments.prompts or config.train.prompts_per_step
    same = True
    for name, (requests, decoding) in workloads(config, prompts, arguments.problems).items():
        for warm in engines.values():
            warm.generate(requests[:8], decoding)
        ratios, seconds = [], []
        for repeat in range(arguments.repeats):
            spent, drawn = {}, {}
            for side in sorted(engines, reverse=repeat % 2 == 0):
                begin = time.process_time()
                _, drawn[side] = engines[side].generate(requests, decoding)
                spent[side] = time.process_time() - begin
            same = same and bits(drawn["vllm"]) == bits(drawn["lean"])
            ratios.append(spent["lean"] / spent["vllm"])
            seconds.append(spent["lean"])
        print(
            f"{name}: {len(requests)} requests, {sum(len(c.ids) for c in drawn['lean'])} tokens, lean "
            f"{statistics.median(seconds):.3f} s, lean / vllm {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    print("same tokens and log-probabilities:", "yes" if same else "NO")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()

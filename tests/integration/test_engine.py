"""What a real engine must bear that small tests do not ask of it."""

from __future__ import annotations

from artifact.actors.engine import Decoding, Request


def test_more_prompt_tokens_than_a_batch_holds_are_sampled_with_seeds(workers, config) -> None:
    """On CPU vLLM fails where it divides the prompt of a seeded request over two batches."""
    import ray

    prompt, budget = (5,) * 100, config.cluster.engine.max_num_batched_tokens
    requests = [Request(prompt, seed) for seed in range(budget // len(prompt) + 20)]
    decoding = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=2, stop_token_ids=(2,))
    _, done = ray.get(workers.engines[0].generate.remote(requests, decoding), timeout=120)
    assert len(done) == len(requests) and len({c.ids.tobytes() for c in done}) > 1

"""What a real engine must bear that small tests do not ask of it."""

from __future__ import annotations

from artifact.actors.engine import Decoding, Request
from artifact.studies.model_shape import shape_of_model


def test_more_prompt_tokens_than_a_batch_holds_are_sampled_with_seeds(workers, config) -> None:
    """On CPU vLLM fails where it divides the prompt of a seeded request over two batches."""
    import ray

    prompt, budget = (5,) * 100, config.cluster.engine.max_num_batched_tokens
    requests = [Request(prompt, seed) for seed in range(budget // len(prompt) + 20)]
    decoding = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=2, stop_token_ids=(2,))
    _, done = ray.get(workers.engines[0].generate.remote(requests, decoding), timeout=120)
    assert len(done) == len(requests) and len({c.ids.tobytes() for c in done}) > 1


def test_the_cache_is_as_large_as_the_configuration_says(workers, config) -> None:
    """Half a GiB is half a GiB, though vLLM's environment variable knows whole ones."""
    import ray

    def tokens(engine) -> int:
        cache = engine.llm.llm_engine.vllm_config.cache_config
        return cache.num_gpu_blocks * cache.block_size

    found = ray.get(workers.engines[0].__ray_call__.remote(tokens), timeout=120)
    held = found * shape_of_model(config.models.student).cache_per_token(4)
    assert config.cluster.engine.kv_cache_gib == 0.5
    assert 0.95 < held / (config.cluster.engine.kv_cache_gib * 2**30) <= 1

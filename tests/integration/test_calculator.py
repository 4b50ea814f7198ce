"""The calculator in a real engine: what it writes is masked, and what the model sampled is the model's own.

The embedded models know no `<<`, so a copy of the student calls its separator `;` that: `4+5=9<<9+3=` is then a call.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from artifact.paths import resolve_model
from artifact.tasks.calculator import calculate

pytestmark = pytest.mark.integration
NAMES = {";": "<<", " How": "<", " many": ">"}
"""Tokens of the tokenizer → what the copy calls them; the last two so that `value>>` can be written."""


@pytest.fixture(scope="module")
def renamed(config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "student"
    shutil.copytree(resolve_model(config.models.student), folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {NAMES.get(token, token): i for token, i in vocabulary.items()}
    path.write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture(scope="module")
def rollouts(workers, config, world, renamed: Path):
    """Greedy responses with the calculator, from an engine of this file's own."""
    import ray
    from transformers import AutoTokenizer

    from artifact.actors.engine import RolloutEngine
    from artifact.actors.placement import place
    from artifact.studies.inputs import stop_token_ids

    slot, settings = place(config.cluster, ("engine-0",)).slots["engine-0"], config.cluster.engine
    engine = (
        ray.remote(RolloutEngine)
        .options(num_cpus=0, runtime_env={"env_vars": slot.env})
        .remote(slot, str(renamed), config.models.dtype, settings.model_dump())
    )
    tokenizer = AutoTokenizer.from_pretrained(renamed)
    from artifact.actors.sampler import EngineSampler

    sampler = EngineSampler(
        [engine], tokenizer, stop_token_ids(config.models.student), settings.max_model_len, 300, True
    )
    prompts = world.prompts(world.train[:12])
    groups = sampler.sample(prompts, 1, temperature=0.0, top_p=1.0, max_new_tokens=60, seed=0)
    yield tokenizer, [group[0] for group in groups]
    ray.kill(engine)


def _pieces(rollout) -> list[list[int]]:
    """The runs of tokens that the tool wrote."""
    mask = np.array([True, *rollout.response_mask, True])
    starts, ends = np.flatnonzero(mask[:-1] & ~mask[1:]), np.flatnonzero(~mask[:-1] & mask[1:])
    return [list(range(a, b)) for a, b in zip(starts, ends, strict=True)]


def test_spans_are_closed_by_their_value_and_nothing_else_is_written(rollouts) -> None:
    tokenizer, found = rollouts
    calls = 0
    for r in found:
        assert r.response_mask is not None and len(r.response_mask) == len(r.response_ids) <= 60
        for piece in _pieces(r):
            before = tokenizer.decode(list(r.response_ids[: piece[0]]))
            expression = before.rpartition("<<")[2].removesuffix("=")
            assert before.endswith(f"<<{expression}=")
            assert tokenizer.decode([r.response_ids[i] for i in piece]) == calculate(expression).value + ">>"
            assert all(r.logprobs[i] == 0.0 for i in piece)
            calls += 1
    assert calls >= 5, "the model called the calculator too seldom for this test to say anything"


def test_every_other_token_is_what_the_model_says_in_its_context(rollouts, config) -> None:
    """Oracle: a forward pass of transformers over prompt and response; greedy, so a sampled token is the argmax."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(resolve_model(config.models.student), dtype=torch.float32).eval()
    for r in rollouts[1]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*r.prompt_ids, *r.response_ids]])).logits[0].double()
        rows = torch.log_softmax(logits, -1)[len(r.prompt_ids) - 1 : -1].numpy()
        sampled = np.array(r.response_mask)
        ids, own = np.array(r.response_ids)[sampled], rows[sampled]
        assert (own.argmax(1) == ids).all()
        np.testing.assert_allclose(np.array(r.logprobs)[sampled], own[np.arange(len(ids)), ids], atol=5e-5)

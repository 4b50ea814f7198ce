"""The lean runner's sampler against vLLM's, draw by draw; whole engines are compared in `test_lean_scheduler.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

ROWS, TOKENS = 5, 40


@pytest.fixture(scope="module")
def samplers() -> tuple[Any, Any]:
    """vLLM's sampler, and ours."""
    from vllm.platforms import current_platform
    from vllm.v1.sample.sampler import Sampler

    from artifact.actors.lean_runner import LeanSampler, SeedsAhead

    current_platform.import_kernels()
    return Sampler(), LeanSampler(SeedsAhead())


def generators(*rows: int) -> dict[int, torch.Generator]:
    """A generator of its own for each of `rows`."""
    found = {}
    for row in rows:
        found[row] = torch.Generator()
        found[row].manual_seed(1000 + row)
    return found


def logits(step: int) -> torch.Tensor:
    return torch.randn(ROWS, 11, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("top_p", [None, 0.8])
def test_tokens_are_those_of_vllm_wherever_a_request_stands(top_p: float | None, samplers) -> None:
    drawn: list[list[list[int]]] = []
    for sampler in samplers:
        torch.manual_seed(7)  # row 1 has no generator of its own
        own = generators(0, 2, 3, 4)
        p = None if top_p is None else torch.full((ROWS,), top_p)
        out = []
        for step in range(TOKENS):
            out.append(sampler.topk_topp_sampler(logits(step), own, None, p)[0].tolist())
            if step % 9 == 8:  # as vLLM moves the last request to the place of one that ended, and back
                own[0], own[4] = own[4], own[0]
            if step == 20:
                own = {row: own[row] for row in (4, 3, 0, 2)}
        drawn.append(out)
    assert drawn[0] == drawn[1]
    assert len({tuple(row) for row in drawn[0]}) > TOKENS // 2


def test_seeds_of_requests_that_ended_are_not_kept(samplers) -> None:
    ahead = samplers[1].topk_topp_sampler
    own = generators(0, 1, 2, 3, 4)
    before = len(ahead._ahead)
    ahead(logits(0), own, None, None)
    assert len(ahead._ahead) == before + ROWS
    for generator in [*own.values(), None]:
        ahead.forget(generator)
    assert len(ahead._ahead) == before


@pytest.mark.parametrize("wanted", [0, 2])
def test_log_probabilities_and_ranks_are_those_of_vllm(wanted: int, samplers) -> None:
    logprobs = logits(3).log_softmax(-1)
    logprobs[2, 4] = logprobs[2, 5]  # two tokens of one rank
    tokens = torch.tensor([3, 0, 4, 10, 7])
    theirs, ours = (s.gather_logprobs(logprobs.clone(), wanted, tokens) for s in samplers)
    for a, b in zip(theirs[:3], ours[:3], strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)

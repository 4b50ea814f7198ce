"""A language model as generator: the six system prompts, sampled through the rollout engines.

The sampler is injected (any `train.rollouts.Sampler`), so this file starts nothing. One response per request,
seeded by (request seed, request id), hence the same whatever else is in the batch. The problem is what stands between
<problem> and </problem>; a response without that is an outcome with its text kept, not an error. The model's answer is
not asked for: a generator that grades itself would label its own mistakes as ground truth. Left out: labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from artifact.records import Rollout
from artifact.suremath.generator import NOTHING, PROPOSED, TRUNCATED, UNPARSED, Proposal, ProposalRequest
from artifact.suremath.settings import Generation
from artifact.suremath.strategies import system_prompt
from artifact.tasks import Messages, encode_prompt

_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)
_PROBLEM = re.compile(r"<problem>((?:(?!</?problem>).)*)</problem>", re.DOTALL | re.IGNORECASE)


class SamplesText(Protocol):
    """The part of `train.rollouts.Sampler` that is needed."""

    def sample(
        self,
        prompts: Sequence[tuple[str, tuple[int, ...]]],
        n: int,
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: Any,
        logprobs: bool = True,
    ) -> list[tuple[Rollout, ...]]:
        """n rollouts per prompt, in order."""
        ...


class LLMGenerator:
    """Implements `generator.Generator` with a chat model behind `sampler`; `tokenizer` must have a chat template."""

    def __init__(self, sampler: SamplesText, tokenizer: Any, settings: Generation) -> None:
        self.name = str(settings.model)
        self.sampler, self.tokenizer, self.settings = sampler, tokenizer, settings

    def evolve(self, requests: Sequence[ProposalRequest]) -> list[Proposal]:
        """One proposal a request, in order. Errors are those of the sampler: a prompt too long, a dead engine."""
        if not requests:
            return []
        s = self.settings
        prompts = [(f"{r.id}@{r.seed}", encode_prompt(self.tokenizer, messages(r))) for r in requests]
        groups = self.sampler.sample(
            prompts,
            1,
            temperature=s.temperature,
            top_p=s.top_p,
            max_new_tokens=s.max_new_tokens,
            seed="evolve",
            logprobs=False,
        )
        return [read_proposal(r.id, g[0].text, g[0].finish_reason) for r, g in zip(requests, groups, strict=True)]


def messages(request: ProposalRequest) -> Messages:
    """The chat of a request: the strategy's system prompt, then the parent, and the second parent for `compose`."""
    names = ("Problem", "Second problem")
    told = [f"{name}:\n{parent.question}" for name, parent in zip(names, request.parents, strict=False)]
    return [
        {"role": "system", "content": system_prompt(request.strategy)},
        {"role": "user", "content": "\n\n".join(told)},
    ]


def read_proposal(request_id: str, text: str, finish_reason: str) -> Proposal:
    """The last complete <problem>…</problem> of a response, outside of its thinking; else an outcome that says why."""
    found = _PROBLEM.findall(_THOUGHT.sub("", text, count=1))
    if found and found[-1].strip():
        return Proposal(request_id, PROPOSED, found[-1].strip())
    if not text.strip() or found:
        return Proposal(request_id, NOTHING, raw=text)
    return Proposal(request_id, TRUNCATED if finish_reason == "length" else UNPARSED, raw=text)

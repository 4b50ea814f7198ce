"""Sampling from several engines as from one: a fixed assignment, a seed per response, rollouts in order.

Problem i goes to engine i mod E, so the composition of each engine's batch, and with it every floating-point sum, does
not depend on timing. The seed of a response is a hash of (run seed, purpose, problem, sample index): the same response
is drawn whatever was drawn before, which is also what makes resumption exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artifact.actors.calls import call
from artifact.actors.engine import Decoding, Request
from artifact.errors import EmptyDataset, Mismatch, StaleEngine
from artifact.records import Rollout
from artifact.train.rollouts import Prompt, build_rollouts, first_samples, request_seed


class EngineSampler:
    """Draws rollouts from engines that all hold the same weights."""

    def __init__(
        self,
        engines: Sequence[Any],
        tokenizer: Any,
        stop_token_ids: tuple[int, ...],
        max_model_len: int,
        timeout_s: float,
        calculator: bool = False,
    ) -> None:
        self.engines = list(engines)
        self.tokenizer = tokenizer
        self.stop_token_ids = stop_token_ids
        self.max_model_len = max_model_len
        self.timeout_s = timeout_s
        self.calculator = calculator

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int,
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: object,
        logprobs: bool = True,
        expect_version: int | None = None,
    ) -> list[tuple[Rollout, ...]]:
        """n rollouts for each prompt, in order; greedy at temperature 0.

        Raises EmptyDataset without prompts, Mismatch for a prompt that leaves no room for `max_new_tokens`, StaleEngine
        when an engine holds other weights than version `expect_version`.
        """
        if not prompts:
            raise EmptyDataset("no prompts to sample from: the dataset or split is empty")
        longest = max(prompts, key=lambda p: len(p[1]))
        if len(longest[1]) + max_new_tokens > self.max_model_len:
            raise Mismatch(
                f"prompt of problem {longest[0]!r} has {len(longest[1])} tokens; "
                f"with max_new_tokens = {max_new_tokens} it exceeds cluster.engine.max_model_len = "
                f"{self.max_model_len}: raise that, or shorten the prompt"
            )
        decoding = Decoding(temperature, top_p, max_new_tokens, self.stop_token_ids, logprobs, self.calculator)
        shares: list[list[Request]] = [[] for _ in self.engines]
        first = first_samples([problem_id for problem_id, _ in prompts], n)
        for i, (problem_id, prompt_ids) in enumerate(prompts):
            samples = range(first[i], first[i] + n)
            shares[i % len(shares)] += [Request(prompt_ids, request_seed(seed, problem_id, j)) for j in samples]
        busy = [k for k, share in enumerate(shares) if share]
        refs = [self.engines[k].generate.remote(shares[k], decoding) for k in busy]
        answers = dict(zip(busy, call(refs, self.timeout_s, "sampling rollouts"), strict=True))
        versions = {k: version for k, (version, _) in answers.items()}
        if expect_version is not None and set(versions.values()) != {expect_version}:
            raise StaleEngine(
                f"engines hold policy versions {versions}, the student is at {expect_version}: weight sync was skipped"
            )
        queues = {k: iter(completions) for k, (_, completions) in answers.items()}
        flat = [next(queues[i % len(shares)]) for i in range(len(prompts)) for _ in range(n)]
        return build_rollouts(
            prompts,
            [flat[i * n : (i + 1) * n] for i in range(len(prompts))],
            lambda ids: self.tokenizer.batch_decode(ids, skip_special_tokens=True),
            first_sample=first,
            policy_versions=[versions[i % len(shares)] for i in range(len(prompts))],
        )

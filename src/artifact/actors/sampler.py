"""Sampling from several engines as from one: a fixed assignment, a seed per response, rollouts in order.

Problem i goes to engine i mod E, so the composition of each engine's batch, and with it every floating-point sum, does
not depend on timing. The seed of a response is a hash of (run seed, purpose, problem, sample index): the same response
is drawn whatever was drawn before, which is also what makes resumption exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from artifact.actors.arrivals import Arrivals, said
from artifact.actors.calls import call
from artifact.actors.engine import Decoding, Request
from artifact.errors import EmptyDataset, Mismatch, StaleEngine
from artifact.records import Rollout
from artifact.train.rollouts import Completion, Prompt, build_rollouts, first_samples, request_seed


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
        asked = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens, "logprobs": logprobs}
        return self.begin(prompts, n, **asked, seed=seed, expect_version=expect_version)()

    def begin(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Callable[[], list[tuple[Rollout, ...]]]:
        """`sample`, whose engines begin at once; the function that is returned waits for them."""
        seed, expected = asked.pop("seed"), asked.pop("expect_version")
        decoding = self._decoding(prompts, **asked)
        shares, first = self._shares(prompts, n, seed)
        busy = [k for k, share in enumerate(shares) if share]
        refs = [self.engines[k].generate.remote(shares[k], decoding) for k in busy]

        def rollouts() -> list[tuple[Rollout, ...]]:
            answers = dict(zip(busy, call(refs, self.timeout_s, "sampling rollouts"), strict=True))
            versions = {k: version for k, (version, _) in answers.items()}
            self._check(versions, expected)
            queues = {k: iter(completions) for k, (_, completions) in answers.items()}
            groups = [[next(queues[i % len(shares)]) for _ in range(n)] for i in range(len(prompts))]
            return self._rollouts(prompts, groups, first, [versions[i % len(shares)] for i in range(len(prompts))])

        return rollouts

    def stream(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """`sample`, each prompt as soon as it is known to be the next by length (`arrivals.py`)."""
        seed, expected = asked.pop("seed"), asked.pop("expect_version")
        decoding = self._decoding(prompts, **asked)
        shares, first = self._shares(prompts, n, seed)
        streams = {k: self.engines[k].stream.remote(share, decoding) for k, share in enumerate(shares) if share}
        arrivals = Arrivals(len(prompts), n, len(shares))
        versions: dict[int, int] = {}
        for engine, (versions[engine], least, finished) in said(streams, self.timeout_s):
            self._check(versions, expected)
            arrivals.say(engine, least, finished)
            for i in arrivals.known():
                [group] = self._rollouts([prompts[i]], [arrivals.group(i)], [first[i]], [versions[i % len(shares)]])
                yield i, group

    def _decoding(
        self, prompts: Sequence[Prompt], *, temperature: float, top_p: float, max_new_tokens: int, logprobs: bool = True
    ) -> Decoding:
        """How engines are to decode, after a look at the prompts (the errors of `sample`)."""
        if not prompts:
            raise EmptyDataset("no prompts to sample from: the dataset or split is empty")
        longest = max(prompts, key=lambda p: len(p[1]))
        if len(longest[1]) + max_new_tokens > self.max_model_len:
            raise Mismatch(
                f"prompt of problem {longest[0]!r} has {len(longest[1])} tokens; "
                f"with max_new_tokens = {max_new_tokens} it exceeds cluster.engine.max_model_len = "
                f"{self.max_model_len}: raise that, or shorten the prompt"
            )
        return Decoding(temperature, top_p, max_new_tokens, self.stop_token_ids, logprobs, self.calculator)

    def _shares(self, prompts: Sequence[Prompt], n: int, seed: object) -> tuple[list[list[Request]], list[int]]:
        """The requests of each engine, and the index of each prompt's first sample."""
        shares: list[list[Request]] = [[] for _ in self.engines]
        first = first_samples([problem_id for problem_id, _ in prompts], n)
        for i, (problem_id, prompt_ids) in enumerate(prompts):
            samples = range(first[i], first[i] + n)
            shares[i % len(shares)] += [Request(prompt_ids, request_seed(seed, problem_id, j)) for j in samples]
        return shares, first

    @staticmethod
    def _check(versions: dict[int, int], expected: int | None) -> None:
        """Raise StaleEngine where an engine holds another version than `expected`."""
        if expected is not None and set(versions.values()) != {expected}:
            raise StaleEngine(
                f"engines hold policy versions {versions}, the student is at {expected}: weight sync was skipped"
            )

    def _rollouts(
        self, prompts: Sequence[Prompt], groups: list[list[Completion]], first: list[int], versions: list[int]
    ) -> list[tuple[Rollout, ...]]:
        return build_rollouts(
            prompts,
            groups,
            lambda ids: self.tokenizer.batch_decode(ids, skip_special_tokens=True),
            first_sample=first,
            policy_versions=versions,
        )

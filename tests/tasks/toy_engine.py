"""A small tokenizer with awkward merges and engines of token ids, for tests of the tool loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from artifact.actors.engine import Completion, Decoding, Request

MERGED = ("<|eos|>", "<<", ">>", "==", "=-", "=4", ")=", "2=", "<<3", "= ", "=\n", "=5>>", "=>")
"""Tokens of several characters; the first is the end of sequence."""

CHARACTERS = "0123456789+-*/().=<>$ \nabcdeghs#"


def toy_tokenizer() -> Any:
    """Single characters when text is encoded; `MERGED` can only be sampled, as a model may."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*MERGED, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken("<|eos|>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|eos|>", clean_up_tokenization_spaces=False)


Policy = Callable[[tuple[int, ...], int], int]
"""(all ids so far, seed of the request) → next id"""


def logprob_of(token: int) -> float:
    """What the toy engines give as log-probability of a token."""
    return -(token + 1) / 64  # exact in float32


class ToyEngine:
    """Samples from a policy; stops after a stop token as vLLM does, which returns that token."""

    def __init__(self, policy: Policy, version: int = 7) -> None:
        self.policy, self.version = policy, version
        self.calls: list[tuple[list[Request], Decoding]] = []

    def generate(self, requests: list[Request], decoding: Decoding) -> tuple[int, list[Completion]]:
        self.calls.append((requests, decoding))
        completions = []
        for request in requests:
            ids: list[int] = []
            reason = "length"
            while len(ids) < decoding.max_new_tokens:
                ids.append(self.policy((*request.prompt_ids, *ids), request.seed))
                if ids[-1] in decoding.stop_token_ids:
                    reason = "stop"
                    break
            logprobs = [logprob_of(i) for i in ids] if decoding.logprobs else []
            completions.append(Completion(np.array(ids, np.int32), np.array(logprobs, np.float32), reason))
        return self.version, completions


def scripted(prompts: Sequence[tuple[int, ...]], scripts: Sequence[Sequence[int]]) -> Policy:
    """A policy that samples `scripts[i]` after `prompts[i]`, whatever the tool puts in between."""
    position = [0] * len(prompts)

    def policy(ids: tuple[int, ...], seed: int) -> int:
        which = next(i for i, p in enumerate(prompts) if ids[: len(p)] == tuple(p))
        position[which] += 1
        return scripts[which][position[which] - 1]

    return policy


def hashed(choices: Sequence[int]) -> Policy:
    """A deterministic policy: the next id depends on all ids so far and on nothing else."""

    def policy(ids: tuple[int, ...], seed: int) -> int:
        digest = hashlib.blake2b(repr(ids).encode(), digest_size=4).digest()
        return choices[int.from_bytes(digest, "big") % len(choices)]

    return policy

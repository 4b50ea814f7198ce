"""From what an engine drew to verified rollouts: the one place that builds them, attaches verdicts, and measures.

Left out: drawing (`Sampler`), and what a verdict is made of (`tasks/verifier.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from artifact.errors import ArtifactError, EmptyDataset
from artifact.records import Problem, Rollout, Verdict

Prompt = tuple[str, tuple[int, ...]]
"""(problem id, prompt token ids)"""

VerifyBatch = Callable[[list[str], list[Problem]], list[Verdict]]
"""(response texts, the problem of each) → verdicts, with a score where the task grades"""

Decode = Callable[[Sequence[Sequence[int]]], list[str]]
"""Token ids of several responses → their texts, special tokens left out."""


ACCIDENT_LIMIT = 0.05
"""Largest share of timeouts and errors among the verdicts of one batch; more stop the run."""

FEWEST_ACCIDENTS = 3
"""Fewer accidents than this stop no run: one hard answer among a handful of responses says nothing."""


class TooManyAccidents(ArtifactError):
    """The verifier failed on too many responses for their verdicts to mean anything; the message says on what."""


@dataclass(frozen=True)
class Completion:
    """One sampled response: ids_T int32, raw log-probs_T float32 (empty when not asked for), `stop` or `length`.

    mask_T is False at tokens a tool wrote; None = the policy chose them all.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    finish_reason: str
    mask: np.ndarray | None = None


class Sampler(Protocol):
    """Draws rollouts from a policy; `actors/sampler.py` and `local.py` are two."""

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
        """n rollouts per prompt, in order; greedy at temperature 0. The seed is anything that names the request."""
        ...


class TrainingSampler(Sampler, Protocol):
    """What the loop asks of a sampler beside `sample`, with its arguments (`asked`) and its answers."""

    def begin(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Callable[[], list[tuple[Rollout, ...]]]:
        """Begin to draw with the weights of this moment; the function that is returned waits for all rollouts."""
        ...

    def stream(self, prompts: Sequence[Prompt], n: int, **asked: Any) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """Index and rollouts of each prompt as soon as they are known to be next in the order of `by_length`."""
        ...


def by_length(groups: Mapping[int, Sequence[Rollout]]) -> list[int]:
    """The keys of `groups`, prompts by their index: that of the shortest longest response first, then by index.

    In the order in which engines finish that began all responses at once, and a function of the rollouts alone: the
    same whatever the timing was.
    """
    return sorted(groups, key=lambda i: (longest(groups[i]), i))


def longest(group: Sequence[Rollout]) -> int:
    """Tokens of the longest response of a group; 0 without any."""
    return max((len(r.response_ids) for r in group), default=0)


def request_seed(*parts: object) -> int:
    """A 31-bit seed from anything that names the request."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def first_samples(problem_ids: Sequence[str], n: int) -> list[int]:
    """Index of the first of a prompt's n samples: 0, but n, 2n, … where a problem is asked again in the same call."""
    seen: Counter[str] = Counter()
    out = []
    for problem_id in problem_ids:
        out.append(n * seen[problem_id])
        seen[problem_id] += 1
    return out


def build_rollouts(
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Completion]],
    decode: Decode,
    *,
    first_sample: Sequence[int] | None = None,
    policy_versions: Sequence[int] | None = None,
) -> list[tuple[Rollout, ...]]:
    """The completions of each prompt as rollouts.

    first_sample     index of each prompt's first sample (a problem asked again gets new ones); default 0
    policy_versions  of the weights that answered each prompt; default −1, a frozen model
    """
    texts = iter(decode([c.ids.tolist() for group in completions for c in group]))
    out = []
    for i, ((problem_id, prompt_ids), group) in enumerate(zip(prompts, completions, strict=True)):
        first = 0 if first_sample is None else first_sample[i]
        version = -1 if policy_versions is None else policy_versions[i]
        out.append(
            tuple(
                Rollout(
                    problem_id,
                    first + j,
                    prompt_ids,
                    tuple(c.ids.tolist()),
                    tuple(c.logprobs.tolist()) if len(c.logprobs) else (0.0,) * len(c.ids),
                    next(texts),
                    c.finish_reason,
                    version,
                    response_mask=None if c.mask is None else tuple(c.mask.tolist()),
                )
                for j, c in enumerate(group)
            )
        )
    return out


def refuse_accidents(verdicts: Sequence[Verdict | None], limit: float = ACCIDENT_LIMIT) -> None:
    """Raise TooManyAccidents where more than `limit` of the verdicts (and at least FEWEST_ACCIDENTS) are accidents."""
    accidents = [v for v in verdicts if v is not None and v.status.accident]
    if len(accidents) < FEWEST_ACCIDENTS or len(accidents) <= limit * len(verdicts):
        return
    kinds = Counter(f"{v.status}: {v.detail}" for v in accidents).most_common(3)
    raise TooManyAccidents(
        f"the verifier failed on {len(accidents)} of {len(verdicts)} responses, more than {limit:.0%}; they are "
        "neither right nor wrong, and a run on the rest would not be the run that was asked for. Most frequent: "
        + "; ".join(f"{n} × {kind}" for kind, n in kinds)
        + f". First answer concerned: {(accidents[0].extracted or '')[:80]!r}. Look at free memory and at the load of "
        "the machine (workers that died or stood still), at the gold answers (errors that name them), or at the "
        "responses (expressions too large to compute)"
    )


def with_verdicts(
    problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]], verify: VerifyBatch
) -> list[tuple[Rollout, ...]]:
    """The same rollouts with their verdicts, accidents of the verifier among them, verified in one batch."""
    flat = [r for group in groups for r in group]
    given = verify([r.text for r in flat], [p for p, group in zip(problems, groups, strict=True) for _ in group])
    verdicts = iter(given)
    return [tuple(r.with_verdict(next(verdicts)) for r in group) for group in groups]


def verify_groups(
    problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]], verify: VerifyBatch
) -> list[tuple[Rollout, ...]]:
    """`with_verdicts`; TooManyAccidents where the verifier failed on too many."""
    verified = with_verdicts(problems, groups, verify)
    refuse_accidents([r.verdict for group in verified for r in group])
    return verified


def evaluate(
    sampler: Sampler,
    problems: Sequence[Problem],
    prompts: Sequence[Prompt],
    verify: VerifyBatch,
    *,
    max_new_tokens: int,
    k: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: object = 0,
) -> list[tuple[Rollout, ...]]:
    """k verified responses per problem; greedy when the temperature is 0.

    Raises EmptyDataset for an empty split: an accuracy over nothing is not 0.
    """
    if not problems:
        raise EmptyDataset("the evaluation split holds no problem: an accuracy cannot be measured on nothing")
    groups = sampler.sample(
        prompts, k, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=("evaluate", seed)
    )
    return verify_groups(problems, groups, verify)

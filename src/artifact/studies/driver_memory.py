"""Whether this machine's memory holds what the driver of a run keeps of its problems and of one step.

Prompts are what phase 1 grows with, response tokens what a step grows with; all else is a constant. The figures are
those of `benchmarks/memory.py` (docs/memory.md), rounded up. Left out: the actors, and the teacher's scores, which lie
in Ray's object store (`actors/object_store.py`); its size counts here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from artifact.config import Config
from artifact.errors import ConfigError
from artifact.records import Problem

GIB = 2**30

CONSTANT = GIB
"""Libraries, caches of answers, one batch of samples and what encoding a file takes."""

BYTES_PER_PROMPT = 2048
"""Of a problem beside its texts: the record, lengths, ids seen, its weight, and where its samples lie."""

BYTES_PER_TOKEN = 160
"""Of a response token: a rollout's ids and log-probabilities as Python objects, and once more while it is written."""


def bytes_needed(problems: Sequence[Problem], tokens: int) -> int:
    """The most that the driver holds of `problems`, and of `tokens` response tokens at once."""
    texts = sum(len(p.question) + len(p.solution or "") for p in problems)
    return CONSTANT + BYTES_PER_PROMPT * len(problems) + texts + BYTES_PER_TOKEN * tokens


def require_memory(config: Config, problems: Sequence[Problem]) -> None:
    """ConfigError where a run of `config` on `problems`, its phase 1 or a step of it, needs more than there is."""
    s, a, t = config.sampling, config.annotation, config.train
    step = config.cluster.lanes * t.prompts_per_step * s.samples_per_prompt * s.max_new_tokens
    batch = a.batch_prompts * (a.draw or a.samples) * a.max_new_tokens
    needed = bytes_needed(problems, max(step, batch))
    store = int(config.cluster.object_store_gib * GIB)
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed + store > present:
        raise ConfigError(
            f"the driver of this run needs up to {needed / GIB:.1f} GiB ({len(problems):,} training problems, "
            f"{max(step, batch):,} response tokens at once) beside an object store of {store / GIB:.1f} GiB, and this "
            f"machine has {present / GIB:.1f} GiB of memory: lower task.train_limit, or "
            + (
                "train.prompts_per_step, sampling.samples_per_prompt, sampling.max_new_tokens or cluster.lanes"
                if step >= batch
                else "annotation.batch_prompts, annotation.draw or annotation.max_new_tokens"
            )
        )

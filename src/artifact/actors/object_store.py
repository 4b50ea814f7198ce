"""Whether the teacher scores of a step fit into Ray's object store; found before anything is started.

A score row is `top_k` ids and log-probabilities and the entropy: 8 · top_k + 4 bytes a token, 4 more with the tail. The
rows of all ranks wait in the store until the student's step has read them, so a step needs

    prompts_per_step × samples_per_prompt × max_new_tokens × bytes a token × lanes,

every response at its longest and scored once for each rollout. Ray moves objects to the disk when a store is fuller
than `FILL`. No object is larger than `PIECE_BYTES`, or than the rows of one response where those are more (`pieces`).

Left out: all else that passes through the store; rollouts and reference log-probabilities are a few bytes a token. And
that scores may stay outside of it (`lent_scores.py`): whether they do is known once the actors are there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping

from artifact.config import Config
from artifact.errors import ConfigError
from artifact.train.examples import TokenPair

GIB = 2**30

FILL = 0.8
"""The share of a store that is used before Ray spills objects to the disk (its `object_spilling_threshold`)."""

PIECE_BYTES = 256 * 2**20
"""The most bytes of teacher scores that are one object."""


def bytes_per_token(config: Config, vocabulary: int | None) -> int:
    """Bytes of the teacher's scores of one response token; `vocabulary` caps the top-k, None does not."""
    d = config.losses.distil
    k = d.top_k if vocabulary is None else min(d.top_k, vocabulary)
    return 8 * k + 4 + 4 * (d.support == "tail")


def pieces(wanted: Mapping[int, TokenPair], per_token: int) -> Iterator[dict[int, TokenPair]]:
    """`wanted` (sequences to score, by index of the example) in its order, cut so that scores stay in `PIECE_BYTES`.

    per_token  bytes of the scores of a response token. A response that alone has more is a piece of its own.
    """
    piece: dict[int, TokenPair] = {}
    held = 0
    for i, pair in wanted.items():
        size = len(pair[1]) * per_token
        if piece and held + size > PIECE_BYTES:
            yield piece
            piece, held = {}, 0
        piece[i], held = pair, held + size
    if piece:
        yield piece


def bytes_needed(config: Config, vocabulary: int | None) -> int:
    """Bytes of the teacher scores that are in the store at once, at most (see the module)."""
    rollouts = config.train.prompts_per_step * config.sampling.samples_per_prompt
    tokens = rollouts * config.sampling.max_new_tokens * config.cluster.lanes
    return tokens * bytes_per_token(config, vocabulary)


def require_room(config: Config, vocabulary: int | None, store: int | None = None, whose: str = "") -> None:
    """ConfigError where the scores of a step do not fit; it names the settings that would.

    store  bytes of the store of a cluster that runs, and `whose` says how it becomes larger; None = as configured,
           which must fit into the machine's memory
    """
    needed, configured = bytes_needed(config, vocabulary), int(config.cluster.object_store_gib * GIB)
    size = configured if store is None else store
    if needed > FILL * size:
        c, s = config.cluster, config.sampling
        fits = int(s.max_new_tokens * FILL * size / needed)
        least = math.ceil(10 * needed / FILL / GIB) / 10
        raise ConfigError(
            f"the teacher scores of a step can be {needed / GIB:.1f} GiB (train.prompts_per_step = "
            f"{config.train.prompts_per_step} x sampling.samples_per_prompt = {s.samples_per_prompt} x "
            f"sampling.max_new_tokens = {s.max_new_tokens} x {bytes_per_token(config, vocabulary)} bytes at "
            f"losses.distil.top_k = {config.losses.distil.top_k}, cluster.lanes = {c.lanes}), and "
            f"{FILL:.0%} of an object store of {size / GIB:.1f} GiB may be used: set cluster.object_store_gib to "
            f"{least} or more{whose}, or sampling.max_new_tokens to {fits} or less, or lower one of the others"
        )


def require_memory(size: int) -> None:
    """ConfigError where a store of `size` bytes is more than this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise ConfigError(
            f"cluster.object_store_gib = {size / GIB:.1f}, and this machine has {memory / GIB:.1f} GiB of memory: set "
            f"it to {math.floor(10 * FILL * memory / GIB) / 10} or less, and sampling.max_new_tokens, "
            "train.prompts_per_step or losses.distil.top_k to what fits"
        )


def require_room_in_cluster(config: Config, vocabulary: int | None = None) -> None:
    """`require_room` in the cluster this process is connected to, which may have been started for other settings.

    Its largest store counts: where the teacher and the students are placed is Ray's to say.
    """
    import ray

    stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    given = os.environ.get("RAY_ADDRESS")
    how = " (`ray start --object-store-memory` of the cluster at RAY_ADDRESS)" if given else ""
    how = how or " and start the cluster anew (`artifact cluster stop`)"
    require_room(config, vocabulary, int(max(stores)), how)

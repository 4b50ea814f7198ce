"""Exact distance between two frozen checkpoints on given responses: two forward passes, the full vocabulary.

Functions of a `FrozenModel`, which an actor that already holds the teacher runs by Ray's `__ray_call__`: no actor, no
device and no copy of the weights of its own. What is measured stands in `evaluate/held_out.py`. Hidden states are kept
between the passes, logits never are: they are formed for `ROWS` positions at a time, in float32, and summed in float64.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifact.cluster.packing import TokenPair
from artifact.evaluate.held_out import MEASURES, token_distances

if TYPE_CHECKING:
    import torch

    from artifact.cluster.scoring import FrozenModel

ROWS = 64
"""Positions whose two soft-maxes are held at once: 64 × 151,936 × 8 bytes are 78 MB an array."""


def distances(
    frozen: FrozenModel, teacher: str, student: str, sequences: Sequence[TokenPair], *, top_k: int, vocabulary: int,
    max_tokens: int = 16384,
) -> list[dict[str, float]]:  # fmt: skip
    """`MEASURES` of each (prompt, response) pair, means over its response tokens, under checkpoints given by path.

    Both score the same token ids; position t of a response is predicted from what precedes it. The student's weights
    are let go afterwards, the teacher's stay.
    """
    import torch

    passes = [  # one after the other: two generators at once would nest their inference modes
        [
            (batch, hidden_TH, weight_VH)
            for batch, _, hidden_TH, weight_VH in frozen._passes(path, sequences, max_tokens)
        ]
        for path in (teacher, student)
    ]
    if student != teacher:
        frozen.release(student)
    out: list[dict[str, float]] = [{}] * len(sequences)
    with torch.inference_mode():
        for (batch, hidden_t, weight_t), (_, hidden_s, weight_s) in zip(*passes, strict=True):
            columns = _over_rows(hidden_t, weight_t, hidden_s, weight_s, top_k, vocabulary)
            lengths = [len(sequences[i][1]) for i in batch]
            for name in MEASURES:
                for i, values in zip(batch, columns[name].split(lengths), strict=True):
                    out[i] = out[i] | {name: float(values.mean())}
    return out


def _over_rows(
    hidden_t: torch.Tensor, weight_t: torch.Tensor, hidden_s: torch.Tensor, weight_s: torch.Tensor, top_k: int,
    vocabulary: int,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """`token_distances` of all positions, `ROWS` at a time."""
    import torch

    width = min(weight_t.shape[0], weight_s.shape[0])  # heads may be padded to different lengths
    parts = [
        token_distances(
            (hidden_t[i : i + ROWS] @ weight_t[:width].T).float(),
            (hidden_s[i : i + ROWS] @ weight_s[:width].T).float(), top_k, vocabulary,
        )
        for i in range(0, hidden_t.shape[0], ROWS)
    ]  # fmt: skip
    return {name: torch.cat([part[name] for part in parts]) for name in MEASURES}


def peak_memory(actor: object) -> float:
    """The most memory this actor's process has had resident since it started, GiB (weights, caches and libraries)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

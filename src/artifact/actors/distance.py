"""Exact distance between two frozen checkpoints on given responses: two forward passes, the full vocabulary.

Functions of a `ScoringActor`, which one that already holds the teacher runs by Ray's `__ray_call__`: no actor, no
device and no copy of the weights of its own. What is measured stands in `stats/held_out.py`. Hidden states are kept
between the passes, logits never are: they are formed for `ROWS` positions at a time, from hidden states and head cast
to float32, and summed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifact.errors import Mismatch
from artifact.stats.held_out import MEASURES, token_distances
from artifact.train.packing import TokenPair

if TYPE_CHECKING:
    import torch

    from artifact.actors.scoring import ScoringActor

ROWS = 64
"""Positions whose two soft-maxes are held at once: 64 × 151,936 × 8 bytes are 78 MB an array."""


def distances(
    frozen: ScoringActor,
    teacher: str,
    student: str,
    sequences: Sequence[TokenPair],
    *,
    top_k: int,
    vocabulary: int,
    masks: Sequence[Sequence[bool] | None] | None = None,
    max_tokens: int = 16384,
) -> list[dict[str, float]]:
    """`MEASURES` of each (prompt, response) pair, means over its response tokens, under checkpoints given by path.

    masks  for each pair which response tokens count (False: a tool wrote it); None = all of them

    Both score the same token ids; position t of a response is predicted from what precedes it, tool tokens included.
    Raises Mismatch for a mask of another length than its response, or one that leaves no token.
    """
    import torch

    for i, ((_, response), mask) in enumerate(zip(sequences, masks or (), strict=False)):
        if mask is not None and (len(mask) != len(response) or not any(mask)):
            raise Mismatch(
                f"the mask of sequence {i} keeps {sum(mask)} of {len(mask)} tokens of a response of {len(response)}: "
                "it must have the response's length and keep at least one token"
            )

    passes = [  # one after the other: two generators at once would nest their inference modes
        [(batch, hidden_TH, weight_VH) for batch, _, hidden_TH, weight_VH in frozen.passes(path, sequences, max_tokens)]
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
                    mask = None if masks is None else masks[i]
                    kept = values if mask is None else values[torch.tensor(mask, device=values.device)]
                    out[i] = out[i] | {name: float(kept.mean())}
    return out


def _over_rows(
    hidden_t: torch.Tensor,
    weight_t: torch.Tensor,
    hidden_s: torch.Tensor,
    weight_s: torch.Tensor,
    top_k: int,
    vocabulary: int,
) -> dict[str, torch.Tensor]:
    """`token_distances` of all positions, `ROWS` at a time."""
    import torch

    width = min(weight_t.shape[0], weight_s.shape[0])  # heads may be padded to different lengths
    head_t, head_s = weight_t[:width].float(), weight_s[:width].float()
    parts = [
        token_distances(
            hidden_t[i : i + ROWS].float() @ head_t.T, hidden_s[i : i + ROWS].float() @ head_s.T, top_k, vocabulary
        )
        for i in range(0, hidden_t.shape[0], ROWS)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in MEASURES}

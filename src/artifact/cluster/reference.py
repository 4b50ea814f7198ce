"""The reference: log-probabilities of given responses under the frozen initial student.

Needed by DPO (CORE §3.3) and by GRPO's optional KL term. The paper's name is VtDReferenceActor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artifact.cluster.packing import TokenPair
from artifact.cluster.scoring import FrozenModel, log_softmax_chunks


class ReferenceActor(FrozenModel):
    """Scores token ids under the checkpoint the student started from."""

    def logprobs(self, path: str, sequences: Sequence[TokenPair], max_tokens: int = 16384) -> list[np.ndarray]:
        """log p_ref of every response token, one float32 array a sequence."""
        out: list[np.ndarray] = [np.zeros(len(r), dtype=np.float32) for _, r in sequences]
        for batch, packed, hidden_TH, weight_VH in self._passes(path, sequences, max_tokens):
            flat = np.empty(hidden_TH.shape[0], dtype=np.float32)

            def keep(rows: slice, logprobs_TV, values: np.ndarray = flat, targets=packed.target_T) -> None:  # noqa: ANN001
                values[rows] = logprobs_TV.gather(1, targets[rows, None])[:, 0].cpu().numpy()

            log_softmax_chunks(hidden_TH, weight_VH, keep)
            for i, piece in zip(batch, np.split(flat, np.cumsum([len(sequences[i][1]) for i in batch])[:-1]), strict=True):
                out[i] = piece
        return out

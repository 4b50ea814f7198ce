"""What teacher and reference have in common: a frozen model that scores given token ids in one forward pass.

A transformers forward with `topk` on the response positions was five times as fast as asking vLLM for prompt
log-probabilities, and cannot run out of memory unseen. Logits are formed for `CHUNK` positions at a time, so [T, V] is
never held for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact.actors.placement import Slot, prepare_process
from artifact.tasks.checks import check_head
from artifact.train.packing import TokenPair, micro_batches, pack, response_hidden

if TYPE_CHECKING:
    import torch

CHUNK = 1024
"""Response positions whose logits are held at once."""


class FrozenModel:
    """Base of the scoring actors: holds checkpoints by path, moves them to the device, never trains them."""

    def __init__(self, slot: Slot, dtype: str) -> None:
        prepare_process(slot)
        from transformers import AutoModelForCausalLM  # noqa: F401  # ten seconds, spent while other actors start

        self.device, self.dtype = slot.device, dtype
        self._models: dict[str, tuple[str, Any]] = {}

    def ready(self) -> list[str]:
        """The checkpoints held; answers once the actor is up."""
        return list(self._models)

    def load(self, path: str) -> int:
        """Hold the checkpoint at `path` (kept for later runs); returns its vocabulary size (rows of the output head).

        The actor outlives runs, so a folder whose files changed since it was read is read again.
        """
        found = _file_state(path)
        if path not in self._models or self._models[path][0] != found:
            import torch
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, self.dtype))
            check_head(model)
            model.to(self.device)  # type: ignore[arg-type]
            self._models[path] = found, model.eval().requires_grad_(False)
        return int(self._models[path][1].lm_head.weight.shape[0])

    def release(self, path: str) -> None:
        """Forget a checkpoint that is no longer needed."""
        self._models.pop(path, None)

    def logprobs(self, path: str, sequences: Sequence[TokenPair], max_tokens: int = 16384) -> list[np.ndarray]:
        """Log-probability of every response token under the checkpoint at `path`, one float32 array a sequence.

        A sequence that occurs several times (one chosen response beside several rejected ones) is computed once.
        """
        distinct = list(dict.fromkeys((tuple(prompt), tuple(response)) for prompt, response in sequences))
        found = dict(zip(distinct, self._logprobs(path, distinct, max_tokens), strict=True))
        return [found[tuple(prompt), tuple(response)] for prompt, response in sequences]

    def _logprobs(self, path: str, sequences: Sequence[TokenPair], max_tokens: int) -> list[np.ndarray]:
        out: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(sequences)
        for batch, packed, hidden_TH, weight_VH in self.passes(path, sequences, max_tokens):
            flat = np.empty(hidden_TH.shape[0], dtype=np.float32)

            def keep(
                rows: slice,
                logprobs_TV: torch.Tensor,
                values: np.ndarray = flat,
                target_T: torch.Tensor = packed.target_T,
            ) -> None:
                values[rows] = logprobs_TV.gather(1, target_T[rows, None])[:, 0].cpu().numpy()

            log_softmax_chunks(hidden_TH, weight_VH, keep)
            for i, piece in zip(
                batch, np.split(flat, np.cumsum([len(sequences[i][1]) for i in batch])[:-1]), strict=True
            ):
                out[i] = piece
        return out

    def passes(
        self, path: str, sequences: Sequence[TokenPair], max_tokens: int
    ) -> Iterator[tuple[list[int], Any, torch.Tensor, torch.Tensor]]:
        """Forward passes over `sequences`: (indices, packed, hidden_TH, weight_VH) each."""
        import torch

        self.load(path)
        _, model = self._models[path]
        with torch.inference_mode():
            for batch in micro_batches(sequences, lambda s: [s], max_tokens):
                packed = pack([sequences[i] for i in batch], self.device)
                yield batch, packed, response_hidden(model.model, packed), model.lm_head.weight


def _file_state(path: str) -> str:
    """Names, sizes and times of a checkpoint folder's weight files; empty for a hub id."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    return ";".join(f"{f.name}:{f.stat().st_size}:{f.stat().st_mtime_ns}" for f in files)


def log_softmax_chunks(
    hidden_TH: torch.Tensor, weight_VH: torch.Tensor, use: Callable[[slice, torch.Tensor], None]
) -> None:
    """Call `use(rows, logprobs)` with the full-vocabulary log-softmax of each chunk of positions, in float32."""
    import torch

    for start in range(0, hidden_TH.shape[0], CHUNK):
        rows = slice(start, min(start + CHUNK, hidden_TH.shape[0]))
        logits = (hidden_TH[rows] @ weight_VH.T).float()
        use(rows, torch.log_softmax(logits, dim=-1))

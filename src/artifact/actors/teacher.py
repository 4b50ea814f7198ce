"""The teacher: top-k log-probabilities at the response positions of the student's own rollouts.

UOPD §3.2, CORE §3.5. For every response token t the teacher's distribution given prompt and y_<t, cut to its k most
likely tokens. Values are log-probabilities of the *full* soft-max, so the mass outside the support is known; the loss
renormalises (Eq. 7) where its support mode says so. The paper's name is VtDTeacherActor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifact.actors.answering import MODES, autoregress, generate
from artifact.actors.scoring import FrozenModel, log_softmax_chunks
from artifact.errors import ArtifactError
from artifact.records import TopK
from artifact.train.packing import TokenPair


@dataclass(frozen=True)
class Scores:
    """Teacher scores of several sequences, packed.

    ids_TK int32, logprobs_TK float32 (nats), entropy_T float32 (nats, full vocabulary).
    `offsets` has one entry more than there are sequences; sequence i owns rows offsets[i]:offsets[i+1].
    """

    ids: np.ndarray
    logprobs: np.ndarray
    entropy: np.ndarray
    offsets: np.ndarray

    def of(self, i: int) -> TopK:
        """The top-k record of sequence i."""
        rows = slice(self.offsets[i], self.offsets[i + 1])
        return TopK(self.ids[rows], self.logprobs[rows], np.exp(self.logprobs[rows]).sum(-1))

    @property
    def nbytes(self) -> int:
        """Bytes that travel from teacher to student."""
        return int(self.ids.nbytes + self.logprobs.nbytes + self.entropy.nbytes)


class TeacherActor(FrozenModel):
    """Scores the student's token ids under a teacher checkpoint; never decodes, never re-encodes."""

    def score(
        self, path: str, sequences: Sequence[TokenPair], k: int, temperature: float = 1.0, max_tokens: int = 16384
    ) -> Scores:
        """Top-k log-probabilities at temperature `temperature` for each response token of each sequence.

        k is capped at the vocabulary; k = V gives the full distribution.
        """
        import torch

        lengths = [len(response) for _, response in sequences]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        k = min(k, self.load(path))
        ids = np.empty((offsets[-1], k), dtype=np.int32)
        logprobs = np.empty((offsets[-1], k), dtype=np.float32)
        entropy = np.empty(offsets[-1], dtype=np.float32)
        for batch, _, hidden_TH, weight_VH in self.passes(path, sequences, max_tokens):
            rows_of_batch = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in batch])

            def keep(rows: slice, logprobs_TV: torch.Tensor, target: np.ndarray = rows_of_batch) -> None:
                top = logprobs_TV.topk(k, dim=-1)
                where = target[rows]
                ids[where] = top.indices.cpu().numpy()
                logprobs[where] = top.values.cpu().numpy()
                entropy[where] = -(logprobs_TV.exp() * logprobs_TV).sum(-1).cpu().numpy()

            log_softmax_chunks(hidden_TH / temperature, weight_VH, keep)
        return Scores(ids, logprobs, entropy, offsets)

    def answer(
        self,
        path: str,
        prompts: Sequence[tuple[int, ...]],
        *,
        how: str,
        top_k: int,
        temperature: float,
        max_new_tokens: int,
        stop_token_ids: Sequence[int],
        seed: int,
    ) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """A sampled response to each prompt: (ids, raw log-probabilities), by `generate` or `autoregress`."""
        if how not in MODES:
            raise ArtifactError(f"unknown way {how!r} for a teacher to answer; use one of {MODES}")
        self.load(path)
        model = self._models[path][1]
        common: dict[str, Any] = {
            "temperature": temperature,
            "max_new_tokens": max_new_tokens,
            "stop_token_ids": stop_token_ids,
            "seed": seed,
            "device": self.device,
        }
        if how == "generate":
            responses = generate(model, prompts, **common)
        else:
            responses = autoregress(model, prompts, top_k=top_k, **common)
        logprobs = self.logprobs(path, list(zip(prompts, responses, strict=True)))
        return [(ids, tuple(values.tolist())) for ids, values in zip(responses, logprobs, strict=True)]

"""A frozen model asked about given token ids: the teacher's top-k at each response position, or log-probabilities.

UOPD §3.2, CORE §3.5: for every response token t the teacher's distribution given prompt and y_<t, cut to its k most
likely tokens. Values are log-probabilities of the *full* soft-max, so the mass outside the support is known; the loss
renormalises (Eq. 7) where its support mode says so. Logits are formed for `CHUNK` positions at a time, so [T, V] is
never held for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from artifact.train.examples import Asked, TokenPair
from artifact.train.losses.lm_head import project
from artifact.train.packing import Body, Packed, distinct, micro_batches, pack, response_hidden

CHUNK = 1024
"""Response positions whose logits are held at once."""

Rows = np.ndarray | Tensor
"""Numbers of one token each: of the host, or tensors of the device where they were computed."""


class Head(Protocol):
    """An output head: its rows are the vocabulary's."""

    weight: Tensor


class Network(Protocol):
    """A causal language model as transformers has it: a decoder and an output head."""

    model: Body
    lm_head: Head


@dataclass(frozen=True, slots=True)
class TeacherRows:
    """The teacher's scores of one response of T tokens, all of them arrays or all of them tensors.

    ids_TK int32, logprobs_TK float32 (nats, full-vocabulary soft-max, descending), entropy_T float32 (nats, of the full
    vocabulary), tail_T float32 (log of the probability outside the top-k) where it was asked for. Row t is the
    distribution from which response token t was to be drawn, so row 0 is conditioned on the prompt alone.
    """

    ids: Rows
    logprobs: Rows
    entropy: Rows
    tail: Rows | None = None

    @property
    def mass(self) -> np.ndarray:
        """Probability on the support at each position, [T]."""
        return np.exp(np.asarray(self.logprobs)).sum(-1)


@dataclass(frozen=True)
class TeacherScores:
    """Teacher scores of several responses, packed, each with the index of the example it belongs to.

    Response i owns rows offsets[i]:offsets[i+1] of ids_TK, logprobs_TK, entropy_T and tail_T, and belongs to
    `example[i]`.
    """

    ids: Rows
    logprobs: Rows
    entropy: Rows
    offsets: np.ndarray
    example: np.ndarray
    tail: Rows | None = None

    def __post_init__(self) -> None:
        rows = int(self.offsets[-1])
        if (
            len(self.offsets) != len(self.example) + 1
            or not len(self.ids) == len(self.logprobs) == len(self.entropy) == rows
            or (self.tail is not None and len(self.tail) != rows)
        ):
            raise ValueError(
                f"teacher scores disagree: {len(self.example)} responses, {len(self.offsets)} offsets to row {rows}, "
                f"{len(self.ids)} ids, {len(self.logprobs)} log-probabilities, {len(self.entropy)} entropies"
            )

    def by_example(self) -> dict[int, TeacherRows]:
        """The rows of each example that was scored."""
        bounds = [slice(int(a), int(b)) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        return {
            int(i): TeacherRows(
                self.ids[rows], self.logprobs[rows], self.entropy[rows], None if self.tail is None else self.tail[rows]
            )
            for i, rows in zip(self.example, bounds, strict=True)
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        tail = 0 if self.tail is None else self.tail.nbytes
        return int(self.ids.nbytes + self.logprobs.nbytes + self.entropy.nbytes + tail)


class FrozenModel:
    """One checkpoint that is never trained.

    shared_prompts  each distinct prompt of a pass is computed once
    """

    def __init__(self, network: Network, device: str = "cpu", shared_prompts: bool = False) -> None:
        self.network, self.device, self.shared_prompts = network, device, shared_prompts

    @property
    def vocabulary(self) -> int:
        """Rows of the output head."""
        return int(self.network.lm_head.weight.shape[0])

    def teacher_scores(
        self,
        sequences: Mapping[int, TokenPair],
        k: int,
        temperature: float = 1.0,
        max_tokens: int = 16384,
        with_tail: bool = False,
        vocabulary: int | None = None,
        on_device: bool = False,
    ) -> TeacherScores:
        """Top-k log-probabilities at `temperature` for each response token of each sequence, by index of its example.

        vocabulary  V, the tokens that the tokenizer has. Rows of the head from V on are padding without a meaning: they
                    are in neither the top-k nor the soft-max. None = every row of the head
        on_device   rows are tensors, and stay in the memory that the model computes in

        k is capped at V; k = V gives the full distribution, whose tail is −∞. At most `max_tokens` padded tokens share
        a forward pass, and equal sequences are scored once.
        """
        once, places = distinct(sequences.values())
        offsets = np.concatenate([[0], np.cumsum([len(response) for _, response in once])]).astype(np.int64)
        size = self.vocabulary if vocabulary is None else min(vocabulary, self.vocabulary)
        k = min(k, size)
        memory, rows = self.device if on_device else "cpu", int(offsets[-1])
        ids = torch.empty((rows, k), dtype=torch.int32, device=memory)
        logprobs = torch.empty((rows, k), dtype=torch.float32, device=memory)
        entropy = torch.empty(rows, dtype=torch.float32, device=memory)
        tail = torch.empty(rows, dtype=torch.float32, device=memory) if with_tail else None
        for batch, _, hidden_TH, weight_VH in self.passes(once, max_tokens):
            rows_of_batch = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in batch])

            def keep(rows: slice, logprobs_TV: Tensor, target: np.ndarray = rows_of_batch) -> None:
                top = logprobs_TV.topk(k, dim=-1)
                where = torch.from_numpy(target[rows]).to(memory)
                ids[where] = top.indices.to(memory, torch.int32)
                logprobs[where] = top.values.to(memory)
                entropy[where] = -(logprobs_TV.exp() * logprobs_TV).sum(-1).to(memory)
                if tail is not None:
                    tail[where] = logprobs_TV.scatter(1, top.indices, -torch.inf).logsumexp(-1).to(memory)

            log_softmax_chunks(hidden_TH, weight_VH[:size], keep, temperature)
        of_places = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in places])
        rows_T = torch.from_numpy(of_places).to(memory)

        def placed(values: Tensor) -> Rows:
            return values[rows_T] if on_device else values[rows_T].numpy()

        return TeacherScores(
            placed(ids),
            placed(logprobs),
            placed(entropy),
            np.concatenate([[0], np.cumsum(np.diff(offsets)[places])]),
            np.fromiter(sequences, dtype=np.int64),
            None if tail is None else placed(tail),
        )

    def logprobs(
        self, sequences: Sequence[TokenPair], max_tokens: int = 16384, temperature: float = 1.0
    ) -> list[np.ndarray]:
        """Log-probability of every response token at `temperature`, one float32 array per sequence.

        Equal sequences are scored once.
        """
        once, places = distinct(sequences)
        found: dict[int, np.ndarray] = {}
        for batch, packed, hidden_TH, weight_VH in self.passes(once, max_tokens):
            flat = np.empty(hidden_TH.shape[0], dtype=np.float32)

            def keep(
                rows: slice, logprobs_TV: Tensor, values: np.ndarray = flat, target_T: Tensor = packed.target_T
            ) -> None:
                values[rows] = logprobs_TV.gather(1, target_T[rows, None])[:, 0].cpu().numpy()

            log_softmax_chunks(hidden_TH, weight_VH, keep, temperature)
            pieces = np.split(flat, np.cumsum([len(once[i][1]) for i in batch])[:-1])
            found |= dict(zip(batch, pieces, strict=True))
        return [found[i] for i in places]

    def reference_logprobs(self, asked: Mapping[int, Asked], max_tokens: int = 16384) -> dict[int, list[np.ndarray]]:
        """`logprobs` of each example's sequences, by index of the example; those of one temperature scored together."""
        found: dict[int, list[np.ndarray]] = {}
        for temperature in sorted({a.temperature for a in asked.values()}):
            of = {i: a.sequences for i, a in asked.items() if a.temperature == temperature}
            values = iter(self.logprobs([s for sequences in of.values() for s in sequences], max_tokens, temperature))
            found |= {i: [next(values) for _ in sequences] for i, sequences in of.items()}
        return found

    def passes(
        self, sequences: Sequence[TokenPair], max_tokens: int
    ) -> Iterator[tuple[list[int], Packed, Tensor, Tensor]]:
        """Forward passes over `sequences`: (indices, packed, hidden_TH, weight_VH) each."""
        with torch.inference_mode():
            for batch in micro_batches(sequences, lambda s: [s], max_tokens, self.shared_prompts):
                packed = pack([sequences[i] for i in batch], self.device, self.shared_prompts)
                yield batch, packed, response_hidden(self.network.model, packed), self.network.lm_head.weight


def joined(rows: Sequence[Rows | Sequence[float]], device: torch.device) -> Tensor:
    """Rows of several responses, one after the other, on `device`."""
    if isinstance(rows[0], Tensor):
        return torch.cat([torch.as_tensor(row) for row in rows]).to(device)
    return torch.as_tensor(np.concatenate([np.asarray(row) for row in rows]), device=device)


def log_softmax_chunks(
    hidden_TH: Tensor, weight_VH: Tensor, use: Callable[[slice, Tensor], None], temperature: float = 1.0
) -> None:
    """Call `use(rows, logprobs)` with the full-vocabulary log-softmax of each chunk of positions, in float32."""
    for start in range(0, hidden_TH.shape[0], CHUNK):
        rows = slice(start, min(start + CHUNK, hidden_TH.shape[0]))
        logits = project(hidden_TH[rows], weight_VH).float()
        use(rows, torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1))

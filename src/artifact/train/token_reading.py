"""What models say at each token of given responses: the student, the scoring model, and the loss between them.

Student and scoring model are read at temperature 1; the loss at its own (`losses.distil`), on the teacher's support, by
the very function that the optimiser step differentiates (`losses/distillation.py`). Nothing here has a gradient, and
nothing is drawn: a run whose tokens are read is the run whose tokens are not. Left out: what becomes of a response in
the step (`token_records.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from artifact.train.examples import Mask, TokenPair
from artifact.train.losses.distillation import distil_tokens
from artifact.train.packing import Packed
from artifact.train.scoring import FrozenModel, TeacherRows, joined, log_softmax_chunks
from artifact.train.settings import DistilSettings

TOP = 5
"""How many of the most likely tokens are kept."""


class Question(NamedTuple):
    """One response of T tokens that the models are asked about.

    sequence   prompt and response as the student reads them
    scored     as the scoring model reads them: the same response, under its own prompt
    mask       response tokens that are trained on; None = all
    """

    sequence: TokenPair
    scored: TokenPair
    mask: Mask = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model says of a response of T tokens: at temperature 1, full vocabulary, nats.

    logprobs_T float32 of the response's own tokens; entropy_T float32; top_ids_TJ int32 and top_logprobs_TJ float32 the
    J = min(5, V) most likely tokens, descending. Row t is the distribution from which token t was to be drawn.
    """

    logprobs: np.ndarray
    entropy: np.ndarray
    top_ids: np.ndarray
    top_logprobs: np.ndarray


@dataclass(frozen=True, slots=True)
class SupportReading:
    """What the distillation loss says of a response of T tokens, all float32.

    loss_T ℓ_t; divergence_T without the constant of the cross-entropy; token_weight_T u_t; teacher_mass_T and
    student_mass_T the probability on the teacher's support, at the loss's temperature
    """

    loss: np.ndarray
    divergence: np.ndarray
    token_weight: np.ndarray
    teacher_mass: np.ndarray
    student_mass: np.ndarray


@dataclass(frozen=True, slots=True)
class Answer:
    """All that was asked about one response; reference_T is log p_ref of its tokens, float32."""

    student: Reading
    teacher: Reading | None = None
    support: SupportReading | None = None
    reference: np.ndarray | None = None


def read_head(
    hidden_TH: Tensor, weight_VH: Tensor, target_T: Tensor, vocabulary: int | None = None
) -> tuple[Tensor, ...]:
    """(logprobs_T, entropy_T, top_ids_TJ, top_logprobs_TJ) of `Reading`; head rows from `vocabulary` on are padding."""
    size = weight_VH.shape[0] if vocabulary is None else min(vocabulary, weight_VH.shape[0])
    parts: list[tuple[Tensor, ...]] = []

    def keep(rows: slice, logprobs_TV: Tensor) -> None:
        top = logprobs_TV.topk(min(TOP, size), dim=-1)
        own_T = logprobs_TV.gather(1, target_T[rows, None])[:, 0]
        parts.append((own_T, torch.special.entr(logprobs_TV.exp()).sum(-1), top.indices.int(), top.values))

    log_softmax_chunks(hidden_TH, weight_VH[:size], keep)
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def read_student(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    packed: Packed,
    masks: Sequence[Mask],
    teacher: Sequence[TeacherRows] | None,
    settings: DistilSettings,
) -> tuple[Tensor, ...]:
    """`read_head`, and where there are teacher rows the five columns of `SupportReading`, of a packed forward pass."""
    own = read_head(hidden_TH, weight_VH, packed.target_T)
    if teacher is None:
        return own
    device, real = hidden_TH.device, torch.float64 if hidden_TH.dtype == torch.float64 else torch.float32
    teacher_TK = joined([r.logprobs for r in teacher], device).to(real)
    tails = [r.tail for r in teacher if r.tail is not None]
    trained = [np.ones(len(r.ids), bool) if m is None else np.asarray(m) for r, m in zip(teacher, masks, strict=True)]
    out = distil_tokens(
        hidden_TH,
        weight_VH,
        joined([r.ids for r in teacher], device).long(),
        teacher_TK,
        joined([r.entropy for r in teacher], device).to(real),
        joined(tails, device).to(real) if tails else None,
        packed.segment_T,
        len(teacher),
        joined(trained, device),
        settings,
    )
    token_weight_T = torch.ones_like(out.loss_T) if out.token_weight_T is None else out.token_weight_T
    masses = teacher_TK.exp().sum(-1), out.student.logprobs_TK.exp().sum(-1)
    return (*own, out.loss_T, out.divergence_T, token_weight_T, *masses)


def frozen_readings(
    model: FrozenModel, sequences: Sequence[TokenPair], max_tokens: int = 16384, vocabulary: int | None = None
) -> list[Reading]:
    """What a frozen model says of each response; `vocabulary` as in `FrozenModel.teacher_scores`."""
    found: dict[int, Reading] = {}
    for batch, packed, hidden_TH, weight_VH in model.passes(sequences, max_tokens):
        columns = read_head(hidden_TH, weight_VH, packed.target_T, vocabulary)
        found |= {i: Reading(*values) for i, values in zip(batch, split(columns, packed), strict=True)}
    return [found[i] for i in range(len(sequences))]


def frozen_student(
    model: FrozenModel,
    questions: Sequence[Question],
    taught: Mapping[int, TeacherRows],
    settings: DistilSettings,
    max_tokens: int = 16384,
) -> list[tuple[Reading, SupportReading | None]]:
    """What `Student.readings` says of a policy that is not trained; `taught` by index of the question, all or none."""
    found: dict[int, tuple[Reading, SupportReading | None]] = {}
    for batch, packed, hidden_TH, weight_VH in model.passes([q.sequence for q in questions], max_tokens):
        rows = [taught[i] for i in batch] if taught else None
        columns = read_student(hidden_TH, weight_VH, packed, [questions[i].mask for i in batch], rows, settings)
        for i, values in zip(batch, split(columns, packed), strict=True):
            found[i] = paired(values)
    return [found[i] for i in range(len(questions))]


def paired(values: Sequence[np.ndarray]) -> tuple[Reading, SupportReading | None]:
    """The columns of `read_student` by name."""
    return Reading(*values[:4]), SupportReading(*values[4:]) if values[4:] else None


def split(columns: Sequence[Tensor], packed: Packed) -> list[tuple[np.ndarray, ...]]:
    """The columns of each of the packed responses, in order; reals as float32."""
    ends = torch.bincount(packed.segment_T).cumsum(0)[:-1].tolist()
    arrays = [c.float() if c.is_floating_point() else c for c in columns]
    return list(zip(*(np.split(a.cpu().numpy(), ends) for a in arrays), strict=True))


def answers(
    student: Sequence[tuple[Reading, SupportReading | None]],
    teacher: Sequence[Reading] | None,
    reference: Sequence[np.ndarray] | None,
) -> list[Answer]:
    """One answer for each question, from what each model says of all of them; None where it was not asked."""
    nobody = [None] * len(student)
    return [
        Answer(own, taught, support, referred)
        for (own, support), taught, referred in zip(student, teacher or nobody, reference or nobody, strict=True)
    ]

"""Teacher scores that stay in the memory where they were computed: the student of the same device reads them there.

Colocated, a rank's teacher works for this rank alone, in memory that both can open (`shared_memory.py`). The rows of a
piece of scores lie there one column after the other, as 32-bit words:

    ids_TK | logprobs_TK | entropy_T | tail_T where there is one

What goes through Ray is where they lie, and of which responses they are. Left out: when the student is done with them
(`team.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from artifact.actors.shared_memory import Lent, Where, opened

if TYPE_CHECKING:
    from artifact.train.scoring import TeacherScores


@dataclass(frozen=True)
class LentScores:
    """Where the rows of some `TeacherScores` lie: T of K entries, `with_tail` or without; offsets and example are its
    own.
    """

    where: Where
    shape: tuple[int, int]
    with_tail: bool
    offsets: np.ndarray
    example: np.ndarray

    nbytes = 0
    """No row travels."""

    def open(self, device: str) -> TeacherScores:
        """The scores, whose rows are their owner's memory: arrays on a CPU, else tensors of `device`."""
        import torch

        from artifact.train.scoring import Rows, TeacherScores

        rows, k = self.shape
        sizes = [rows * k, rows * k, rows] + [rows] * self.with_tail
        words = opened(self.where, sum(sizes), torch.int32, device)
        ids, *reals = words.split(sizes)
        columns = [ids.view(rows, k), reals[0].view(torch.float32).view(rows, k)]
        columns += [column.view(torch.float32) for column in reals[1:]]
        found: list[Rows] = [column.numpy() for column in columns] if device == "cpu" else list(columns)
        tail = found[3] if self.with_tail else None
        return TeacherScores(found[0], found[1], found[2], self.offsets, self.example, tail)


def lend(scores: TeacherScores) -> tuple[LentScores, Lent]:
    """Where the rows of `scores`, which are tensors, can be opened until the second of these is taken back."""
    import torch

    columns = [scores.ids, scores.logprobs, scores.entropy, *([] if scores.tail is None else [scores.tail])]
    lent = Lent(torch.cat([torch.as_tensor(column).view(torch.int32).flatten() for column in columns]))
    rows, k = scores.ids.shape
    return LentScores(lent.where, (rows, k), scores.tail is not None, scores.offsets, scores.example), lent

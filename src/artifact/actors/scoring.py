"""The scoring actors: frozen checkpoints held by path, asked for log-probabilities of given token ids.

A transformers forward with `topk` on the response positions was five times as fast as asking vLLM for prompt
log-probabilities, and cannot run out of memory unseen. What is computed stands in `train/scoring.py` and
`answering.py`; an actor only holds checkpoints, moves them to its device, and never trains them. The papers' names are
VtDTeacherActor and VtDReferenceActor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact.actors.answering import answer
from artifact.actors.checkpoints import load_frozen
from artifact.actors.lent_scores import LentScores, lend
from artifact.actors.placement import Slot, prepared_process
from artifact.actors.shared_memory import Lent
from artifact.actors.transfer import Seat, seat_of
from artifact.errors import NonFinite
from artifact.provenance import file_states, model_files, model_hash
from artifact.train.examples import Asked, TokenPair
from artifact.train.rollouts import Completion
from artifact.train.workers import ReferenceLogprobs

if TYPE_CHECKING:
    from artifact.train.scoring import FrozenModel, TeacherScores
    from artifact.train.settings import DistilSettings
    from artifact.train.token_reading import Question, Reading, SupportReading


class ScoringActor:
    """Holds checkpoints for later runs; `teacher` and `reference` are two of it."""

    def __init__(self, slot: Slot, dtype: str) -> None:
        with prepared_process(slot):
            from transformers import AutoModelForCausalLM  # noqa: F401  # seconds, spent while other actors start

        self.device, self.dtype, self.one_model = slot.device, dtype, slot.one_model
        self._models: dict[str, tuple[FolderState, FrozenModel]] = {}
        self._lent: list[Lent] = []

    def ready(self) -> list[str]:
        """The checkpoints held; answers once the actor is up."""
        return list(self._models)

    def seats(self) -> list[Seat]:
        """Where this actor's memory is."""
        return [seat_of(self.device)]

    def load(self, path: str, shared_prompts: bool = False) -> FrozenModel:
        """The checkpoint at `path`, read at first use. A folder whose contents changed since then is read again.

        shared_prompts  score each distinct prompt once; ConfigError where the network cannot. Whoever asks without it
                        gets what it would have got
        """
        from artifact.actors.shared_prompts import share_prompts
        from artifact.train.scoring import FrozenModel

        held = self._models.get(path)
        state = FolderState.of(path, held[0] if held else None)
        if held is None or held[0].content != state.content:
            held = None
            for other in [*self._models] if self.one_model else [path]:
                self.release(other)  # old weights go before new ones come
            self._models[path] = state, FrozenModel(load_frozen(path, self.dtype, self.device), self.device)
        elif held[0] is not state:
            self._models[path] = state, held[1]
        frozen = self._models[path][1]
        return FrozenModel(share_prompts(frozen.network), self.device, True) if shared_prompts else frozen

    def release(self, path: str) -> None:
        """Forget a checkpoint that is no longer needed."""
        import torch

        self._models.pop(path, None)
        if self.device != "cpu":
            torch.cuda.empty_cache()  # for the others on this device

    def teacher_scores(
        self,
        path: str,
        sequences: Mapping[int, TokenPair],
        k: int,
        temperature: float = 1.0,
        max_tokens: int = 16384,
        with_tail: bool = False,
        vocabulary: int | None = None,
        shared_prompts: bool = False,
        *,
        on_device: bool = False,
    ) -> TeacherScores:
        """`FrozenModel.teacher_scores` of the checkpoint at `path`; NonFinite where a row is not finite."""
        frozen = self.load(path, shared_prompts)
        found = frozen.teacher_scores(sequences, k, temperature, max_tokens, with_tail, vocabulary, on_device)
        return check_scores(found, path)

    def lend_scores(self, *asked: Any) -> LentScores:
        """`teacher_scores`, whose rows stay in this actor's memory until `take_back_scores`."""
        scores, lent = lend(self.teacher_scores(*asked, on_device=True))
        self._lent.append(lent)
        return scores

    def take_back_scores(self) -> None:
        """Whoever read lent scores is done with them."""
        while self._lent:
            self._lent.pop().take_back()

    def readings(
        self, path: str, sequences: Sequence[TokenPair], max_tokens: int = 16384, vocabulary: int | None = None
    ) -> list[Reading]:
        """`token_reading.frozen_readings` of the checkpoint at `path`."""
        from artifact.train.token_reading import frozen_readings

        return frozen_readings(self.load(path), sequences, max_tokens, vocabulary)

    def student_readings(
        self, path: str, questions: Sequence[Question], settings: DistilSettings, *scores: TeacherScores
    ) -> list[tuple[Reading, SupportReading | None]]:
        """`token_reading.frozen_student` of the checkpoint at `path`; `scores` are another model's, or none."""
        from artifact.train.student import rows_of
        from artifact.train.token_reading import frozen_student

        return frozen_student(self.load(path), questions, rows_of(scores), settings)

    def reference_logprobs(
        self, path: str, asked: Mapping[int, Asked], max_tokens: int = 16384, shared_prompts: bool = False
    ) -> ReferenceLogprobs:
        """`FrozenModel.reference_logprobs` of the checkpoint at `path`."""
        return self.load(path, shared_prompts).reference_logprobs(asked, max_tokens)

    def logprobs(self, path: str, sequences: Sequence[TokenPair], max_tokens: int = 16384) -> list[np.ndarray]:
        """`FrozenModel.logprobs` of the checkpoint at `path`."""
        return self.load(path).logprobs(sequences, max_tokens)

    def answer(self, path: str, prompts: Sequence[tuple[int, ...]], how: str, **decoding: Any) -> list[Completion]:
        """`answering.answer` of the checkpoint at `path`."""
        return answer(self.load(path), prompts, how, **decoding)

    def passes(
        self, path: str, sequences: Sequence[TokenPair], max_tokens: int
    ) -> Iterator[tuple[list[int], Any, Any, Any]]:
        """`FrozenModel.passes` of the checkpoint at `path`."""
        return self.load(path).passes(sequences, max_tokens)


@dataclass(frozen=True)
class FolderState:
    """What a model's folder holds, and by which marks of its files that was last established."""

    marks: list[tuple[Any, ...]]
    content: str

    @classmethod
    def of(cls, path: str, known: FolderState | None) -> FolderState:
        """The state of the folder now; its files are read only where their marks are not those of `known`."""
        marks = file_states(model_files(Path(path)))
        return known if known is not None and known.marks == marks else cls(marks, model_hash(Path(path)))


def check_scores(scores: TeacherScores, path: str) -> TeacherScores:
    """`scores`, or NonFinite that names the model: the student's gradient would be the first to show it otherwise."""
    import torch

    logprobs_TK = torch.as_tensor(scores.logprobs)
    first_T = logprobs_TK[:, 0]  # the most likely token's: −∞ further down is a head that rules tokens out
    bad = int((~first_T.isfinite() | logprobs_TK.isnan().any(-1)).sum())
    if bad:
        raise NonFinite(
            f"the scores of the scoring model {path} are not finite at {bad} of {len(scores.logprobs)} positions: its "
            "weights are damaged, or overflow in models.dtype; the student and optimiser.lr have no part in it"
        )
    return scores

"""What the student trains on: one class per loss component, each naming the loss that consumes it.

    Distil     token-level distillation on the teacher's top-k    → `objective.distil_loss`          (UOPD Eq. 7–9)
    Imitate    negative log-likelihood                            → `objective.imitation_loss`
    Reinforce  clipped policy gradient                            → `objective.policy_gradient_loss` (GRPO)
    Prefer     preference of one response over another            → `objective.preference_loss`      (CORE §3.3)

An example takes part in exactly one component. One of weight 0 takes part as well: it adds nothing to the numerator but
counts in the component's denominator, which is what Eq. 9 of UOPD asks for a prompt whose teacher is unsure. A mask is
False at tokens the policy did not choose (tool output); None = it chose them all. Left out: tensors (`objective.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from artifact.records import RecordError, Rollout

TokenIds = tuple[int, ...]
Mask = tuple[bool, ...] | None
TokenPair = tuple[Sequence[int], Sequence[int]]
"""(prompt ids, response ids)"""


class Asked(NamedTuple):
    """What a reference is asked about one example: the log-probabilities of its responses' tokens at a temperature."""

    sequences: tuple[TokenPair, ...]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Distil:
    """Match the teacher's distribution at every token of a response; consumed by `objective.distil_loss`.

    weight              w(x): 1 for plain on-policy distillation, the teacher's certainty for UOPD
    teacher_prompt_ids  the prompt under which the teacher scores the *unchanged* response ids; None = the same prompt
    token_weight        a method's own factor per response token; None = 1 everywhere
    """

    component: ClassVar[str] = "distil"

    problem_id: str
    prompt_ids: TokenIds
    response_ids: TokenIds
    weight: float = 1.0
    teacher_prompt_ids: TokenIds | None = None
    response_mask: Mask = None
    token_weight: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check(self.problem_id, self.response_ids, self.response_mask)
        if self.token_weight is not None and len(self.token_weight) != len(self.response_ids):
            raise RecordError(
                f"example of problem {self.problem_id!r}: {len(self.token_weight)} token weights for "
                f"{len(self.response_ids)} response tokens"
            )

    @classmethod
    def of(cls, rollout: Rollout, weight: float = 1.0, teacher_prompt_ids: TokenIds | None = None) -> Distil:
        """Distil a rollout: its tokens and mask."""
        return cls(
            rollout.problem_id,
            rollout.prompt_ids,
            rollout.response_ids,
            weight,
            teacher_prompt_ids,
            rollout.response_mask,
        )

    @property
    def sequences(self) -> tuple[TokenPair, ...]:
        """What needs a forward pass of the student."""
        return ((self.prompt_ids, self.response_ids),)

    @property
    def teacher_sequence(self) -> TokenPair:
        """What the teacher scores: the same response, under its own prompt."""
        return (self.teacher_prompt_ids or self.prompt_ids, self.response_ids)


@dataclass(frozen=True, slots=True)
class Imitate:
    """Raise the likelihood of a given response; consumed by `objective.imitation_loss`."""

    component: ClassVar[str] = "nll"

    problem_id: str
    prompt_ids: TokenIds
    response_ids: TokenIds
    weight: float = 1.0
    response_mask: Mask = None

    def __post_init__(self) -> None:
        _check(self.problem_id, self.response_ids, self.response_mask)

    @classmethod
    def of(cls, rollout: Rollout, weight: float = 1.0) -> Imitate:
        """Imitate a rollout: its tokens and mask."""
        return cls(rollout.problem_id, rollout.prompt_ids, rollout.response_ids, weight, rollout.response_mask)

    @property
    def sequences(self) -> tuple[TokenPair, ...]:
        """What needs a forward pass of the student."""
        return ((self.prompt_ids, self.response_ids),)


@dataclass(frozen=True, slots=True)
class Reinforce:
    """Reinforce a rollout by its advantage; consumed by `objective.policy_gradient_loss`.

    behaviour_logprobs  log-probability of each response token under the policy that sampled it: natural log, at
                        temperature 1, as rollouts record them
    temperature         of the policy that is reinforced: its log-probabilities are those of logits / temperature
    """

    component: ClassVar[str] = "policy_gradient"

    problem_id: str
    prompt_ids: TokenIds
    response_ids: TokenIds
    advantage: float
    behaviour_logprobs: tuple[float, ...]
    response_mask: Mask = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check(self.problem_id, self.response_ids, self.response_mask)
        if not self.temperature > 0.0:
            raise RecordError(
                f"example of problem {self.problem_id!r}: temperature {self.temperature} is no policy to reinforce; it "
                "must be above 0"
            )
        if len(self.behaviour_logprobs) != len(self.response_ids):
            raise RecordError(
                f"example of problem {self.problem_id!r}: {len(self.behaviour_logprobs)} behaviour log-probabilities "
                f"for {len(self.response_ids)} response tokens"
            )

    @classmethod
    def of(cls, rollout: Rollout, advantage: float, temperature: float) -> Reinforce:
        """Reinforce a rollout as recorded; the temperature is `RunSettings.policy_temperature`."""
        return cls(
            rollout.problem_id,
            rollout.prompt_ids,
            rollout.response_ids,
            advantage,
            rollout.logprobs,
            rollout.response_mask,
            temperature,
        )

    @property
    def weight(self) -> float:
        """The factor on its loss: the advantage."""
        return self.advantage

    @property
    def sequences(self) -> tuple[TokenPair, ...]:
        """What needs a forward pass of the student, and of the reference where there is one."""
        return ((self.prompt_ids, self.response_ids),)


@dataclass(frozen=True, slots=True)
class Prefer:
    """Prefer `chosen_ids` to `rejected_ids`; consumed by `objective.preference_loss`."""

    component: ClassVar[str] = "contrast"

    problem_id: str
    prompt_ids: TokenIds
    chosen_ids: TokenIds
    rejected_ids: TokenIds
    weight: float = 1.0
    chosen_mask: Mask = None
    rejected_mask: Mask = None

    def __post_init__(self) -> None:
        _check(self.problem_id, self.chosen_ids, self.chosen_mask)
        _check(self.problem_id, self.rejected_ids, self.rejected_mask)

    @property
    def sequences(self) -> tuple[TokenPair, ...]:
        """What needs a forward pass of the student, and of the reference where there is one: chosen, then rejected."""
        return ((self.prompt_ids, self.chosen_ids), (self.prompt_ids, self.rejected_ids))


Example = Distil | Imitate | Reinforce | Prefer
KINDS: tuple[type[Example], ...] = (Distil, Imitate, Reinforce, Prefer)
COMPONENTS = tuple(kind.component for kind in KINDS)
"""The four loss components, in the order in which their losses are added."""


def _check(problem_id: str, response: TokenIds, mask: Mask) -> None:
    if not response:
        raise RecordError(f"example of problem {problem_id!r} has an empty response: there is nothing to train on")
    if mask is not None and len(mask) != len(response):
        raise RecordError(
            f"example of problem {problem_id!r}: a mask of {len(mask)} entries for {len(response)} tokens"
        )

"""The reference: log-probabilities of given responses under the frozen initial student.

Needed by DPO (CORE §3.3) and by GRPO's optional KL term; also the witness when a checkpoint is loaded into an engine.
The paper's name is VtDReferenceActor.
"""

from __future__ import annotations

from artifact.actors.scoring import FrozenModel


class ReferenceActor(FrozenModel):
    """`logprobs` of a frozen checkpoint; on GPUs it shares the first student rank's device."""

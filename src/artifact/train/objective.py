"""One micro-batch of examples → its share of the optimiser step's loss, over the four components.

    L = Σ_c coefficient_c · L_c,   c ∈ {distil, nll, policy_gradient, contrast}

Each component is reduced by its own denominator, computed by the driver over the *whole* step (all micro-batches, all
ranks), so the shares add up to the step's loss however it was split. Formulas, signs and masks stand in `losses/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from artifact.train.examples import KINDS, Asked, Distil, Example, Imitate, Mask, Prefer, Reinforce, TokenPair
from artifact.train.losses.diagnostics import distillation_diagnostics, token_mean
from artifact.train.losses.distillation import distil_tokens
from artifact.train.losses.finite import LossContext, check_finite
from artifact.train.losses.lm_head import log_probs_at
from artifact.train.losses.nll import token_nll
from artifact.train.losses.policy_gradient import grpo_token_loss
from artifact.train.losses.preference import dpo, sequence_logprobs, simpo
from artifact.train.losses.reduction import Reduction, reduce, reduce_pairs, step_denominator
from artifact.train.packing import Body, Packed, pack, response_hidden
from artifact.train.scoring import Rows, TeacherRows, joined
from artifact.train.settings import Losses

Diagnostics = dict[str, float]

IDLE: TokenPair = ((0,), (0,))
"""What is sent through the network in a pass without examples."""


def has_gradient(example: Example, losses: Losses) -> bool:
    """Whether an example moves the weights; the others only count in denominators and need no forward pass.

    An advantage of 0 leaves a policy-gradient example its KL term, where that has a coefficient.
    """
    kept_by_kl = isinstance(example, Reinforce) and losses.policy_gradient.kl_coefficient > 0
    return example.weight != 0.0 or kept_by_kl


def to_score(examples: Sequence[Example]) -> dict[int, TokenPair]:
    """What the teacher has to score, by index of the example: distillation of a weight other than 0."""
    return {i: e.teacher_sequence for i, e in enumerate(examples) if isinstance(e, Distil) and e.weight != 0.0}


def to_reference(examples: Sequence[Example], losses: Losses) -> dict[int, Asked]:
    """What a reference has to score, by index of the example: pairs and policy-gradient examples with a gradient.

    Pairs at temperature 1, policy-gradient examples at that of the policy that they reinforce.
    """
    return {
        i: Asked(e.sequences, e.temperature if isinstance(e, Reinforce) else 1.0)
        for i, e in enumerate(examples)
        if isinstance(e, (Prefer, Reinforce)) and has_gradient(e, losses)
    }


def denominators(examples: Sequence[Example], losses: Losses, max_new_tokens: int) -> dict[str, float]:
    """Each component's denominator over the whole optimiser step; 0 = nothing takes part."""
    modes: dict[type[Example], Reduction] = {
        Distil: losses.distil.reduction,
        Imitate: losses.distil.reduction,
        Reinforce: losses.policy_gradient.reduction,
        Prefer: "sequence_mean",
    }
    out = {}
    for kind, mode in modes.items():
        lengths = [_length(e) for e in examples if isinstance(e, kind)]
        constant = max_new_tokens if mode == "constant" else None
        out[kind.component] = step_denominator(lengths, mode, constant_length=constant)
    return out


def _length(example: Example) -> int:
    """Unmasked response tokens of an example; a preference pair counts once."""
    if isinstance(example, Prefer):
        return 1
    return len(example.response_ids) if example.response_mask is None else sum(example.response_mask)


@dataclass(frozen=True)
class MicroBatch:
    """Examples that share a forward pass, with what the frozen models said about them.

    teacher    the teacher's rows of each example; None where it is not distilled
    reference  log p_ref of each example's sequences, in their order; None where no reference was asked
    """

    examples: list[Example]
    teacher: list[TeacherRows | None]
    reference: list[Sequence[np.ndarray] | None]
    step: int
    coefficients: dict[str, float]
    denominators: dict[str, float]
    device: str = "cpu"


@dataclass
class Outcome:
    """A micro-batch's share of the loss, a scalar with gradient.

    weighted_losses  coefficient · L_c by component, with gradient; their sum is the loss
    components       L_c by component, floats
    diagnostics      by component, to be merged over micro-batches
    """

    loss: Tensor
    weighted_losses: dict[str, Tensor] = field(default_factory=dict)
    components: dict[str, float] = field(default_factory=dict)
    diagnostics: dict[str, Diagnostics] = field(default_factory=dict)


def objective(body: Body, weight_VH: Tensor, batch: MicroBatch, losses: Losses) -> Outcome:
    """Forward pass and loss of one micro-batch. Raises NonFiniteLoss naming component, step and problems."""
    packed = pack_batch(batch)
    return share_of_step(response_hidden(body, packed), weight_VH, packed, batch, losses)


def pack_batch(batch: MicroBatch, shared_prompts: bool = False) -> Packed:
    """The sequences of a micro-batch for its forward pass; one of two tokens where it has no example."""
    return pack([s for e in batch.examples for s in e.sequences] or [IDLE], batch.device, shared_prompts)


def share_of_step(hidden_TH: Tensor, weight_VH: Tensor, packed: Packed, batch: MicroBatch, losses: Losses) -> Outcome:
    """The loss of a micro-batch from the hidden states of its responses; all that reads the output head.

    Where nothing takes part, the loss is 0 with a gradient of 0 for every weight, the head's among them: a rank that
    has fewer micro-batches than another still sends what the other one waits for.
    """
    outcome = Outcome(loss=hidden_TH.sum() * 0.0)
    for kind in KINDS:
        component = kind.component
        members = [i for i, e in enumerate(batch.examples) if isinstance(e, kind) and has_gradient(e, losses)]
        coefficient = batch.coefficients.get(component, 0.0)
        if not members or coefficient == 0.0:
            continue
        part = _Part(batch, members, packed, hidden_TH, weight_VH)
        value, diagnostics = LOSS_OF[kind](part, losses)
        check_finite(component, value, LossContext(batch.step, [batch.examples[i].problem_id for i in members]))
        outcome.weighted_losses[component] = coefficient * value
        outcome.loss = outcome.loss + outcome.weighted_losses[component]
        outcome.components[component] = float(value.detach())
        outcome.diagnostics[component] = diagnostics
    if not outcome.weighted_losses:
        logprobs_TK = log_probs_at(hidden_TH[:1], weight_VH, packed.target_T[:1, None]).logprobs_TK
        outcome.loss = outcome.loss + logprobs_TK.sum() * 0.0
    return outcome


class _Part:
    """One component's view of a micro-batch: its examples, and the packed rows of their responses.

    `responses` lists what is taken through the output head: the members' responses, of preference pairs all chosen ones
    and then all rejected ones. row_T are their rows among the packed response tokens, segment_T which of `responses`
    each belongs to. Masked tokens are left out before anything is computed from them: multiplied by 0 afterwards, a NaN
    or an infinite derivative of theirs would still reach the gradient (0 · ∞). So all that is [T] here counts unmasked
    tokens, and mask_T is True everywhere.
    """

    def __init__(
        self, batch: MicroBatch, members: Sequence[int], packed: Packed, hidden_TH: Tensor, weight_VH: Tensor
    ) -> None:
        self.members, self.weight_VH = members, weight_VH
        self.examples = [batch.examples[i] for i in members]
        self.teacher = [batch.teacher[i] for i in members]
        self.reference = [batch.reference[i] for i in members]
        self.denominator = batch.denominators[self.examples[0].component]
        self.device = hidden_TH.device
        # Float32 for all that is not a hidden state, even of a bfloat16 policy; float64 in checks.
        self.real = torch.float64 if hidden_TH.dtype == torch.float64 else torch.float32
        first = np.cumsum([0, *(len(e.sequences) for e in batch.examples)])  # each example's first sequence
        per_example = len(self.examples[0].sequences)
        sequences = [int(first[i]) + j for j in range(per_example) for i in members]
        counts = torch.bincount(packed.segment_T)
        starts = torch.cumsum(counts, 0) - counts
        masks = [_masks(e)[j] for j in range(per_example) for e in self.examples]
        lengths = [len(e.sequences[j][1]) for j in range(per_example) for e in self.examples]
        chosen = [np.ones(n, bool) if m is None else np.asarray(m, bool) for m, n in zip(masks, lengths, strict=True)]
        self.chosen = np.concatenate(chosen)
        rows = torch.cat([torch.arange(int(starts[s]), int(starts[s] + counts[s])) for s in sequences])
        segments = torch.repeat_interleave(torch.arange(len(sequences)), counts[sequences].cpu())
        kept = torch.from_numpy(np.flatnonzero(self.chosen))
        self.row_T, self.segment_T, self.kept_T = (t.to(self.device) for t in (rows[kept], segments[kept], kept))
        self.n_responses = len(sequences)
        self.hidden_TH = hidden_TH[self.row_T]
        self.target_T = packed.target_T[self.row_T]
        self.logit_T = (packed.position_T[self.row_T] * weight_VH.shape[0] + self.target_T).cpu().numpy()
        self.mask_T = torch.ones_like(self.row_T, dtype=torch.bool)

    def tensor(self, values: np.ndarray | Sequence[float], dtype: torch.dtype | None = None) -> Tensor:
        """`values` on the device of the hidden states."""
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.device)

    def per_token(
        self, values: Sequence[Sequence[float] | Rows], dtype: torch.dtype | None = None, what: str = "values are"
    ) -> Tensor:
        """One array per response, one entry per token, joined to [T, …] without masked tokens; a real number unless
        `dtype` says otherwise. ValueError, naming `what` was given, for other lengths.
        """
        joined_T = joined(values, self.device)
        if len(joined_T) != len(self.chosen):
            raise ValueError(
                f"{what} for {len(joined_T)} response tokens, but the examples have {len(self.chosen)}: token ids were "
                "changed"
            )
        return joined_T[self.kept_T].to(dtype or self.real)

    @property
    def weight_S(self) -> Tensor:
        """The weight of each example (the advantage of a policy-gradient example), [S]."""
        return self.tensor([e.weight for e in self.examples], self.real)

    def target_logprobs(self, temperature: float = 1.0) -> Tensor:
        """log p_S of the actual response token at each row, full vocabulary, at `temperature`, [T].

        Rows of one logit, those of a response that is chosen for several, are taken through the head once.
        """
        _, first, place_T = np.unique(self.logit_T, return_index=True, return_inverse=True)
        rows = self.tensor(first)
        head = log_probs_at(self.hidden_TH[rows], self.weight_VH, self.target_T[rows, None], temperature=temperature)
        return head.logprobs_TK[:, 0][self.tensor(place_T)]

    def reference_logprobs(self, why: str) -> Tensor:
        """log p_ref of the actual response tokens, [T]; ValueError, saying `why` they are needed, without them."""
        per_example = len(self.examples[0].sequences)
        known = []
        for example, values in zip(self.examples, self.reference, strict=True):
            if values is None:
                raise ValueError(
                    f"{why} needs reference log-probabilities, and example of problem {example.problem_id!r} has none; "
                    "the method must declare Needs(reference=True)"
                )
            known.append(values)
        return self.per_token(
            [values[j] for j in range(per_example) for values in known], what="the reference's log-probabilities are"
        )


def _masks(example: Example) -> tuple[Mask, ...]:
    if isinstance(example, Prefer):
        return example.chosen_mask, example.rejected_mask
    return (example.response_mask,)


def distil_loss(part: _Part, losses: Losses) -> tuple[Tensor, Diagnostics]:
    """Token-level distillation on the teacher's top-k, UOPD Eq. 7–9 / CORE §3.3.

    ℓ_t = −Σ_j p̃_T(v_j) log p_S(v_j)          Eq. 7, `losses/divergence.py`
    L   = 1/N Σ_s w_s · mean_t u_t ℓ_t          Eq. 8–9, `losses/reduction.py`
    """
    settings = losses.distil
    rows = []
    for example, found in zip(part.examples, part.teacher, strict=True):
        if found is None:
            raise ValueError(f"example of problem {example.problem_id!r} is to be distilled but was not scored")
        rows.append(found)
    ids_TK = part.per_token([r.ids for r in rows], torch.int64, "the teacher's scores are")
    teacher_TK = part.per_token([r.logprobs for r in rows])
    tails = [r.tail for r in rows if r.tail is not None]
    out = distil_tokens(
        part.hidden_TH,
        part.weight_VH,
        ids_TK,
        teacher_TK,
        part.per_token([r.entropy for r in rows]),
        part.per_token(tails) if len(tails) == len(rows) else None,
        part.segment_T,
        part.n_responses,
        part.mask_T,
        settings,
    )
    token_weight_T = out.token_weight_T
    own = [e.token_weight for e in part.examples if isinstance(e, Distil)]
    if any(u is not None for u in own):
        lengths = [len(e.sequences[0][1]) for e in part.examples]
        own_T = part.per_token([np.ones(n) if u is None else u for u, n in zip(own, lengths, strict=True)])
        token_weight_T = own_T if token_weight_T is None else own_T * token_weight_T
    value = reduce(
        out.loss_T,
        part.segment_T,
        part.weight_S,
        part.mask_T,
        settings.reduction,
        part.denominator,
        token_weight_T=token_weight_T,
    )
    return value, distillation_diagnostics(
        ids_TK,
        teacher_TK,
        out.student.logprobs_TK.detach(),
        part.mask_T,
        divergence_T=out.divergence_T,
        student_argmax_T=out.student.argmax_T,
    )


def imitation_loss(part: _Part, losses: Losses) -> tuple[Tensor, Diagnostics]:
    """Negative log-likelihood of the responses (`losses/nll.py`), reduced as distillation is."""
    loss_T = token_nll(part.target_logprobs())
    value = reduce(loss_T, part.segment_T, part.weight_S, part.mask_T, losses.distil.reduction, part.denominator)
    return value, {"tokens": float(part.mask_T.sum()), "nll": token_mean(loss_T, part.mask_T)}


def policy_gradient_loss(part: _Part, losses: Losses) -> tuple[Tensor, Diagnostics]:
    """GRPO's clipped policy gradient, with an optional k3 KL term to the reference (`losses/policy_gradient.py`).

    All log-probabilities are those at the temperature T of the policy that is reinforced. Rollouts record them at 1;
    with the normaliser of the student, whose weights are those that sampled (one update per batch; rollouts of an older
    policy are drawn at T = 1, `methods/grpo.py`),

        log p_T(y_t) = log p_1(y_t) / T − log Σ_v p_1(v)^{1/T}

    so that the ratio still shows where sampler and student disagree about a token. The reference is asked at T.
    """
    settings = losses.policy_gradient
    members = [e for e in part.examples if isinstance(e, Reinforce)]
    temperatures = sorted({e.temperature for e in members})
    if len(temperatures) > 1:
        raise ValueError(f"policy-gradient examples of one step have temperatures {temperatures}: give them one")
    temperature = temperatures[0]
    logprobs_T = part.target_logprobs(temperature)
    behaviour_T = part.per_token([e.behaviour_logprobs for e in members])
    if temperature != 1.0:
        with torch.no_grad():
            behaviour_T = logprobs_T + (behaviour_T - part.target_logprobs()) / temperature
    reference_T = part.reference_logprobs("a KL coefficient above 0") if settings.kl_coefficient > 0 else None
    out = grpo_token_loss(
        logprobs_T,
        behaviour_T,
        part.weight_S[part.segment_T],
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        reference_logprobs_T=reference_T,
        kl_coefficient=settings.kl_coefficient,
    )
    ones_S = part.tensor(np.ones(part.n_responses), part.real)  # the advantage is inside the token loss
    value = reduce(out.loss_T, part.segment_T, ones_S, part.mask_T, settings.reduction, part.denominator)
    diagnostics = {
        "tokens": float(part.mask_T.sum()),
        "clip_fraction": token_mean(out.clipped_T, part.mask_T),
        "ratio": token_mean(out.ratio_T, part.mask_T),
    }
    if out.kl_T is not None:
        diagnostics["reference_kl"] = token_mean(out.kl_T, part.mask_T)
    return value, diagnostics


def preference_loss(part: _Part, losses: Losses) -> tuple[Tensor, Diagnostics]:
    """Preference of the chosen over the rejected response, CORE §3.3 (`losses/preference.py`)."""
    settings = losses.contrast
    pairs = len(part.examples)
    normalised = settings.length_normalised or settings.form == "simpo"

    def per_response(logprobs_T: Tensor) -> tuple[Tensor, Tensor]:
        """(chosen_P, rejected_P) from the log-probabilities of their tokens."""
        scores = sequence_logprobs(
            logprobs_T, part.segment_T, part.n_responses, part.mask_T, length_normalised=normalised
        )
        chosen_P, rejected_P = scores.split(pairs)
        return chosen_P, rejected_P

    policy = per_response(part.target_logprobs())
    if settings.form == "simpo":
        out = simpo(*policy, beta=settings.beta_in_force, gamma=settings.margin_in_force)
    else:
        out = dpo(*policy, *per_response(part.reference_logprobs("DPO")), beta=settings.beta_in_force)
    return reduce_pairs(out.loss_P, part.weight_S, part.denominator), {
        "tokens": float(pairs),
        "margin": float(out.margin_P.mean()),
        "preference_accuracy": float(out.accuracy_P.float().mean()),
    }


LOSS_OF: dict[type[Example], Callable[[_Part, Losses], tuple[Tensor, Diagnostics]]] = {
    Distil: distil_loss,
    Imitate: imitation_loss,
    Reinforce: policy_gradient_loss,
    Prefer: preference_loss,
}

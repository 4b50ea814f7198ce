"""One micro-batch of examples → its share of the optimiser step's loss, over the four components.

    L = Σ_c coefficient_c · L_c,   c ∈ {distil, nll, policy_gradient, contrast}

Each component is reduced by its own denominator, computed by the driver over the *whole* step (all micro-batches, all
ranks), so the sum of the shares is the step's loss however it was split, and no component dilutes another. Formulas,
signs and masks stand in `train/losses/`; this file only routes rows of the packed batch to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact.config import Losses
from artifact.records import COMPONENTS, Example
from artifact.train.losses.reduction import step_denominator
from artifact.train.packing import Packed, TokenPair, pack, response_hidden

if TYPE_CHECKING:
    import torch

    from artifact.actors.teacher import Scores


def sequences_of(example: Example) -> list[TokenPair]:
    """The sequences an example needs a forward pass of: its response, and the rejected one of a preference pair."""
    out: list[TokenPair] = [(example.prompt_ids, example.response_ids)]
    if example.rejected_ids is not None:
        out.append((example.prompt_ids, example.rejected_ids))
    return out


def referenced(example: Example) -> list[TokenPair]:
    """Those of them that a reference may be asked about: of preference pairs and of policy-gradient examples."""
    return sequences_of(example) if example.contrast or example.policy_gradient else []


def has_gradient(example: Example) -> bool:
    """Whether any component gives the example a weight other than 0; the others only count in denominators."""
    return any(getattr(example, c) not in (None, 0.0) for c in COMPONENTS)


def denominators(examples: Sequence[Example], losses: Losses, max_new_tokens: int) -> dict[str, float]:
    """Each component's denominator over the whole optimiser step; 0 = nothing takes part."""
    modes = {
        "distil": losses.distil.reduction,
        "nll": losses.distil.reduction,
        "policy_gradient": losses.policy_gradient.reduction,
        "contrast": "sequence_mean",
    }
    out = {}
    for component, mode in modes.items():
        taking_part = [e for e in examples if getattr(e, component) is not None]
        if component == "contrast":
            lengths = [1] * len(taking_part)
        else:
            lengths = [len(e.response_ids) if e.response_mask is None else sum(e.response_mask) for e in taking_part]
        constant = max_new_tokens if mode == "constant" else None
        out[component] = step_denominator(lengths, mode, constant_length=constant)
    return out


@dataclass
class MicroBatch:
    """Examples that share a forward pass, with what the frozen models said about them.

    teacher    (scores, row) of each example: `scores.of(row)` is its top-k; None where it is not distilled
    reference  log p_ref of each example's `referenced` sequences, in order; None without a reference
    """

    examples: list[Example]
    teacher: list[tuple[Scores, int] | None]
    reference: list[list[np.ndarray]] | None
    step: int
    coefficients: dict[str, float]
    denominators: dict[str, float]
    device: str = "cpu"


@dataclass
class Outcome:
    """The share of the loss (with gradient), each component's share (floats), and sums to merge over micro-batches.

    `parts` are the weighted shares with gradient, coefficient · L_c, whose sum is the loss.
    """

    loss: Any
    parts: dict[str, Any] = field(default_factory=dict)
    components: dict[str, float] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, float]] = field(default_factory=dict)


def objective(body: Any, weight_VH: torch.Tensor, batch: MicroBatch, losses: Losses) -> Outcome:
    """Forward pass and loss of one micro-batch. Raises NonFiniteLoss naming component, step and problems."""
    from artifact.train.losses.finite import LossContext, check_finite

    first = np.cumsum([0, *(len(sequences_of(e)) for e in batch.examples)])[:-1]  # row of each example's response
    packed = pack([s for e in batch.examples for s in sequences_of(e)], batch.device)
    hidden_TH = response_hidden(body, packed)
    view = _View(batch, packed, hidden_TH, weight_VH, first)
    outcome = Outcome(loss=hidden_TH.sum() * 0.0)
    for component, share in (
        ("distil", _distil),
        ("nll", _nll),
        ("policy_gradient", _policy_gradient),
        ("contrast", _contrast),
    ):
        members = [i for i, e in enumerate(batch.examples) if getattr(e, component) not in (None, 0.0)]
        coefficient = batch.coefficients.get(component, 0.0)
        if not members or coefficient == 0.0:
            continue
        value, diagnostics = share(view, members, losses)
        check_finite(component, value, LossContext(batch.step, [batch.examples[i].problem_id for i in members]))
        outcome.parts[component] = coefficient * value
        outcome.loss = outcome.loss + outcome.parts[component]
        outcome.components[component] = float(value.detach())
        outcome.diagnostics[component] = diagnostics
    return outcome


@dataclass
class _View:
    """Rows of the packed batch by example, so that a component takes only those it needs through the output head."""

    batch: MicroBatch
    packed: Packed
    hidden_TH: torch.Tensor
    weight_VH: torch.Tensor
    first: np.ndarray

    def rows(self, sequences: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(row_T into the packed positions, segment_T = index into `sequences`) of these sequences, in their order."""
        import torch

        counts = torch.bincount(self.packed.segment_T, minlength=int(self.packed.input_BT.shape[0]))
        starts = torch.cumsum(counts, 0) - counts
        row = torch.cat([torch.arange(int(starts[s]), int(starts[s] + counts[s])) for s in sequences]).to(
            self.packed.segment_T.device
        )
        segment = torch.repeat_interleave(torch.arange(len(sequences)), counts[list(sequences)].cpu()).to(row.device)
        return row, segment

    @property
    def real(self) -> torch.dtype:
        """Number type of all that is not a hidden state: float32 even for a bfloat16 policy, float64 in checks."""
        import torch

        return torch.float64 if self.hidden_TH.dtype == torch.float64 else torch.float32

    def tensor(self, values: Any, dtype: Any = None) -> torch.Tensor:
        import torch

        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.hidden_TH.device)

    def weights(self, members: list[int], component: str) -> torch.Tensor:
        return self.tensor([getattr(self.batch.examples[i], component) for i in members], self.real)

    def mask(self, members: list[int]) -> torch.Tensor:
        """response mask of the members' responses, True = the policy chose the token."""
        return self._masks([(e.response_ids, e.response_mask) for e in (self.batch.examples[i] for i in members)])

    def pair_mask(self, members: list[int]) -> torch.Tensor:
        """The same for preference pairs: all chosen responses, then all rejected ones."""
        examples = [self.batch.examples[i] for i in members]
        chosen = [(e.response_ids, e.response_mask) for e in examples]
        return self._masks([*chosen, *((e.rejected_ids or (), e.rejected_mask) for e in examples)])

    def _masks(self, responses: Sequence[tuple[Sequence[int], Sequence[bool] | None]]) -> torch.Tensor:
        return self.tensor(
            np.concatenate([np.ones(len(i), bool) if m is None else np.asarray(m, bool) for i, m in responses])
        )

    def token_weight(self, members: list[int]) -> torch.Tensor | None:
        """The methods' own per-token factors; None when no member has any."""
        given = [self.batch.examples[i].token_weight for i in members]
        if all(g is None for g in given):
            return None
        parts = [
            np.ones(len(self.batch.examples[i].response_ids)) if g is None else np.asarray(g)
            for i, g in zip(members, given, strict=True)
        ]
        return self.tensor(np.concatenate(parts), self.real)

    def target_logprobs(self, row_T: torch.Tensor) -> torch.Tensor:
        """log p_S of the actual response token at each row, full vocabulary, temperature 1."""
        from artifact.train.losses.lm_head import log_probs_at

        return log_probs_at(self.hidden_TH[row_T], self.weight_VH, self.packed.target_T[row_T, None]).logprobs_TK[:, 0]

    def per_token(self, members: list[int], values: Sequence[Sequence[float] | np.ndarray]) -> torch.Tensor:
        return self.tensor(np.concatenate([np.asarray(v) for v in values]), self.real)


def _distil(view: _View, members: list[int], losses: Losses) -> tuple[torch.Tensor, dict[str, float]]:
    """Token-level distillation on the teacher's top-k, UOPD Eq. 7–9 / CORE §3.3."""
    import torch

    from artifact.train.losses.diagnostics import distillation_diagnostics
    from artifact.train.losses.divergence import token_divergence
    from artifact.train.losses.lm_head import log_probs_at
    from artifact.train.losses.reduction import reduce
    from artifact.train.losses.token_weights import divergence_share, entropy_gap

    settings = losses.distil
    row, segment = view.rows([int(view.first[i]) for i in members])
    pairs = [view.batch.teacher[i] for i in members]
    slices = []
    for i, pair in zip(members, pairs, strict=True):
        if pair is None:
            raise ValueError(
                f"example of problem {view.batch.examples[i].problem_id!r} is to be distilled but was not scored"
            )
        scores, r = pair
        slices.append((scores, slice(int(scores.offsets[r]), int(scores.offsets[r + 1]))))
    ids = view.tensor(np.concatenate([s.ids[rows] for s, rows in slices]), torch.int64)
    teacher = view.tensor(np.concatenate([s.logprobs[rows] for s, rows in slices]), view.real)
    if ids.shape[0] != row.shape[0]:
        raise ValueError(
            f"teacher scored {ids.shape[0]} response tokens, the examples have {row.shape[0]}: token ids were changed"
        )
    mask = view.mask(members)
    need_entropy = settings.token_weight == "entropy_gap"
    head = log_probs_at(
        view.hidden_TH[row],
        view.weight_VH,
        ids,
        temperature=settings.temperature,
        with_entropy=need_entropy,
        with_argmax=True,
    )
    out = token_divergence(
        teacher,
        head.logprobs_TK,
        kind=settings.divergence,
        support=settings.support,
        beta=settings.beta,
        temperature=settings.temperature,
        teacher_temperature=settings.temperature,
        scale_by_tau_squared=settings.scale_by_tau_squared,
    )
    token_weight = view.token_weight(members)
    extra = None
    if settings.token_weight == "entropy_gap":
        entropy = view.tensor(np.concatenate([s.entropy[rows] for s, rows in slices]), view.real)
        assert head.entropy_T is not None  # asked for above
        extra = entropy_gap(head.entropy_T, entropy)
    elif settings.token_weight == "divergence_share":
        extra = divergence_share(out.divergence_T, segment, len(members), mask)
    if extra is not None:
        token_weight = extra if token_weight is None else token_weight * extra
    value = reduce(
        out.loss_T,
        segment,
        view.weights(members, "distil"),
        mask,
        settings.reduction,
        view.batch.denominators["distil"],
        token_weight_T=token_weight,
    )
    return value, distillation_diagnostics(
        ids, teacher, head.logprobs_TK.detach(), mask, divergence_T=out.divergence_T, student_argmax_T=head.argmax_T
    )


def _nll(view: _View, members: list[int], losses: Losses) -> tuple[torch.Tensor, dict[str, float]]:
    """Negative log-likelihood of the responses."""
    from artifact.train.losses.nll import token_nll
    from artifact.train.losses.reduction import reduce

    row, segment = view.rows([int(view.first[i]) for i in members])
    mask = view.mask(members)
    loss = token_nll(view.target_logprobs(row))
    value = reduce(
        loss,
        segment,
        view.weights(members, "nll"),
        mask,
        losses.distil.reduction,
        view.batch.denominators["nll"],
        token_weight_T=view.token_weight(members),
    )
    return value, {"tokens": float(mask.sum()), "nll": _mean(loss, mask)}


def _mean(value_T: torch.Tensor, mask_T: torch.Tensor) -> float:
    """Mean over the unmasked tokens; 0 where there is none (a response of tool output only)."""
    chosen = value_T.detach()[mask_T].double()
    return float(chosen.mean()) if chosen.numel() else 0.0


def _policy_gradient(view: _View, members: list[int], losses: Losses) -> tuple[torch.Tensor, dict[str, float]]:
    """GRPO's clipped policy gradient, with an optional k3 KL term to the reference."""
    from artifact.train.losses.policy_gradient import grpo_token_loss
    from artifact.train.losses.reduction import reduce

    settings = losses.policy_gradient
    row, segment = view.rows([int(view.first[i]) for i in members])
    mask = view.mask(members)
    behaviour = view.per_token(members, [view.batch.examples[i].behaviour_logprobs or () for i in members])
    reference = None
    if view.batch.reference is not None and settings.kl_coefficient > 0:
        reference = view.per_token(members, [view.batch.reference[i][0] for i in members])
    advantage = view.weights(members, "policy_gradient")[segment]
    out = grpo_token_loss(
        view.target_logprobs(row),
        behaviour,
        advantage,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        reference_logprobs_T=reference,
        kl_coefficient=settings.kl_coefficient if reference is not None else 0.0,
    )
    ones = view.tensor(np.ones(len(members)), view.real)  # the advantage is inside the token loss
    value = reduce(out.loss_T, segment, ones, mask, settings.reduction, view.batch.denominators["policy_gradient"])
    diagnostics = {
        "tokens": float(mask.sum()),
        "clip_fraction": _mean(out.clipped_T, mask),
        "ratio": _mean(out.ratio_T, mask),
    }
    if out.kl_T is not None:
        diagnostics["reference_kl"] = _mean(out.kl_T, mask)
    return value, diagnostics


def _contrast(view: _View, members: list[int], losses: Losses) -> tuple[torch.Tensor, dict[str, float]]:
    """Preference of the chosen over the rejected response, CORE §3.3."""
    from artifact.train.losses.preference import dpo, sequence_logprobs, simpo
    from artifact.train.losses.reduction import reduce_pairs

    settings = losses.contrast
    sequences = [int(view.first[i]) + j for j in (0, 1) for i in members]  # all chosen, then all rejected
    row, segment = view.rows(sequences)
    logprobs = view.target_logprobs(row)
    mask = view.pair_mask(members)
    normalised = settings.length_normalised or settings.form == "simpo"
    scores = sequence_logprobs(logprobs, segment, len(sequences), mask, length_normalised=normalised)
    chosen, rejected = scores.split(len(members))
    if settings.form == "simpo":
        out = simpo(chosen, rejected, beta=settings.beta, gamma=settings.simpo_margin)
    else:
        if view.batch.reference is None:
            raise ValueError("DPO needs reference log-probabilities; the method must declare Needs(reference=True)")
        reference = view.per_token(members * 2, [view.batch.reference[i][j] for j in (0, 1) for i in members])
        sums = sequence_logprobs(reference, segment, len(sequences), mask, length_normalised=normalised)
        out = dpo(chosen, rejected, *sums.split(len(members)), beta=settings.beta)
    value = reduce_pairs(out.loss_P, view.weights(members, "contrast"), view.batch.denominators["contrast"])
    pairs = float(len(members))
    return value, {
        "tokens": pairs,
        "margin": float(out.margin_P.mean()),
        "preference_accuracy": float(out.accuracy_P.float().mean()),
    }

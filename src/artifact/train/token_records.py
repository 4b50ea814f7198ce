"""What is kept of single tokens: for a sample of steps and prompts, what models and loss said of every response.

A record is one response in one role that it has in its step: an own rollout that is distilled, imitated, reinforced or
rejected, one of no use to the method (`none`), or the response that was chosen over a rejected one. With L the loss of
the step, at the weights before its update,

    ∂L/∂θ = Σ over records of all prompts, Σ_t  loss_weight_t · ∂ loss_t/∂θ        loss_weight without gradient

    distil           loss_t = ℓ_t (UOPD Eq. 7)         loss_weight_t = c w u_t / (n_s N)        w(x), Eq. 8–9
    imitate          loss_t = −log p_S(y_t)            loss_weight_t = c w / (n_s N)
    reinforce        loss_t = GRPO's clipped term      loss_weight_t = c / (n_s N); w is the advantage, inside loss_t
    chosen, rejected loss_t = log p_S(y_t)             loss_weight_t = ∓ c w β σ(γ − margin) / P: the pair's loss,
                                                       linearised; a further 1/n_s where means are compared

c is the component's coefficient, N its denominator, P the pairs; `token_mean` and `constant` have no n_s
(`losses/reduction.py`). Masked tokens have loss_weight 0. Left out: the numbers themselves (`token_reading.py`), and
GRPO's term where a KL to the reference is in it, which is at a temperature that is not read: its loss is None.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from artifact.records import Record, Rollout
from artifact.train.examples import Distil, Example, Imitate, Mask, Prefer, Reinforce, TokenIds
from artifact.train.losses.policy_gradient import grpo_token_loss
from artifact.train.losses.preference import PreferenceLoss, dpo, simpo
from artifact.train.methods.base import Batch
from artifact.train.settings import Losses, RunSettings
from artifact.train.token_reading import Answer, Question

ROLE: dict[type, str] = {Distil: "distil", Imitate: "imitate", Reinforce: "reinforce"}


@dataclass(frozen=True, slots=True)
class TokenRecord(Record):
    """One response of T tokens in one role, as student, scoring model and loss saw it before the step's update.

    sample              of the own rollout; None where the response is no rollout of the step
    role                distil, imitate, reinforce, chosen, rejected, none
    example             index of its example within the step, which the two of a pair share; None for `none`
    weight              w(x), the advantage, or the pair's weight
    mask                per token: trained on
    loss_weight, loss   per token, see the module
    student_logprobs, …_entropy, …_top_ids, …_top_logprobs   per token: temperature 1, nats, full vocabulary; the top
                        entries of all tokens one after the other, `top` (5, or the vocabulary) of each
    teacher_…           the same of the scoring model, under its own prompt; None where the method has none
    divergence, teacher_mass, student_mass   per token: the loss's divergence, and the probability on the support
    reference_logprobs  per token: log p_ref
    log_ratio           of a pair's response: s_S(y) − s_ref(y), sums or means over tokens (SimPO: s̄_S(y))
    margin              of the pair (SimPO: before γ)
    """

    step: int
    problem_id: str
    sample: int | None
    role: str
    example: int | None
    weight: float | None
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    mask: tuple[bool, ...]
    top: int
    student_logprobs: tuple[float, ...]
    student_entropy: tuple[float, ...]
    student_top_ids: tuple[int, ...]
    student_top_logprobs: tuple[float, ...]
    loss_weight: tuple[float, ...] | None = None
    loss: tuple[float, ...] | None = None
    teacher_logprobs: tuple[float, ...] | None = None
    teacher_entropy: tuple[float, ...] | None = None
    teacher_top_ids: tuple[int, ...] | None = None
    teacher_top_logprobs: tuple[float, ...] | None = None
    divergence: tuple[float, ...] | None = None
    teacher_mass: tuple[float, ...] | None = None
    student_mass: tuple[float, ...] | None = None
    reference_logprobs: tuple[float, ...] | None = None
    log_ratio: float | None = None
    margin: float | None = None

    COLUMNS: ClassVar[dict[str, str]] = {
        "step": "int",
        "problem_id": "str",
        "sample": "int",
        "role": "str",
        "example": "int",
        "weight": "float",
        "prompt_ids": "[int]",
        "response_ids": "[int]",
        "mask": "[bool]",
        "top": "int",
        "student_logprobs": "[float]",
        "student_entropy": "[float]",
        "student_top_ids": "[int]",
        "student_top_logprobs": "[float]",
        "loss_weight": "[float]",
        "loss": "[float]",
        "teacher_logprobs": "[float]",
        "teacher_entropy": "[float]",
        "teacher_top_ids": "[int]",
        "teacher_top_logprobs": "[float]",
        "divergence": "[float]",
        "teacher_mass": "[float]",
        "student_mass": "[float]",
        "reference_logprobs": "[float]",
        "log_ratio": "float",
        "margin": "float",
    }


class Part(NamedTuple):
    """A response in one role. `example` is its index and `of` the example; both None for a rollout of no use."""

    problem_id: str
    sample: int | None
    role: str
    example: int | None
    of: Example | None
    question: Question


def records_are_due(settings: RunSettings, step: int) -> bool:
    """Whether tokens of `step` are recorded."""
    every = settings.train.token_records.every
    return bool(every) and step % every == 0


def parts_of(problem_ids: Sequence[str], groups: Sequence[Sequence[Rollout]], batch: Batch) -> list[Part]:
    """Every response of the problems in every role it has in the batch, and the rollouts that have none.

    A rollout is known by its tokens: of several equal ones, the first of the step became the first example.
    """
    rollouts = [r for group in groups for r in group if r.problem_id in set(problem_ids)]
    waiting: dict[str, dict[tuple[str, TokenIds], deque[Rollout]]] = {}
    used: set[int] = set()

    def own(role: str, problem_id: str, response: TokenIds) -> int | None:
        if role not in waiting:
            waiting[role] = defaultdict(deque)
            for r in rollouts:
                waiting[role][r.problem_id, tuple(r.response_ids)].append(r)
        queue = waiting[role][problem_id, tuple(response)]
        if not queue:
            return None
        found = queue[0] if role == "chosen" else queue.popleft()
        used.add(id(found))
        return found.sample

    out = []
    for i, e in enumerate(batch.examples):
        if e.problem_id not in problem_ids:
            continue
        roles: list[tuple[str, TokenIds, Mask]] = (
            [("chosen", e.chosen_ids, e.chosen_mask), ("rejected", e.rejected_ids, e.rejected_mask)]
            if isinstance(e, Prefer)
            else [(ROLE[type(e)], e.response_ids, e.response_mask)]
        )
        for role, response, mask in roles:
            pair = (e.prompt_ids, response)
            scored = e.teacher_sequence if isinstance(e, Distil) else pair
            sample = own(role, e.problem_id, response)
            out.append(Part(e.problem_id, sample, role, i, e, Question(pair, scored, mask)))
    for r in rollouts:
        if id(r) not in used:
            pair = (r.prompt_ids, r.response_ids)
            out.append(Part(r.problem_id, r.sample, "none", None, None, Question(pair, pair, r.response_mask)))
    return out


def token_records(
    step: int,
    parts: Sequence[Part],
    ask: Callable[[list[Question]], list[Answer]],
    coefficients: Mapping[str, float],
    denominators: Mapping[str, float],
    losses: Losses,
) -> list[TokenRecord]:
    """The records of the parts of one step; `coefficients` and `denominators` are those of its loss, by component."""
    answers = ask([part.question for part in parts]) if parts else []
    out = []
    for i, (part, answer) in enumerate(zip(parts, answers, strict=True)):
        mask = mask_of(part)
        values: dict[str, Any] = {}
        if isinstance(part.of, Prefer):
            first = i if part.role == "chosen" else i - 1
            values = pair_values(parts[first : first + 2], answers[first : first + 2], part.role, losses)
        elif part.of is not None:
            values = response_values(part.of, answer, mask, losses)
        if part.of is not None:
            component = part.of.component
            scale = coefficients.get(component, 0.0) / denominators[component] if denominators[component] else 0.0
            values["loss_weight"] = np.where(mask, values["loss_weight"] * scale, 0.0)
        out.append(_record(step, part, mask, answer, values))
    return out


def mask_of(part: Part) -> np.ndarray:
    """Which tokens of the response are trained on, bool [T]."""
    size = len(part.question.sequence[1])
    return np.ones(size, bool) if part.question.mask is None else np.asarray(part.question.mask, bool)


def response_values(example: Example, answer: Answer, mask: np.ndarray, losses: Losses) -> dict[str, Any]:
    """`loss` and, before coefficient and denominator, `loss_weight` of a response that is an example by itself."""
    reinforced = isinstance(example, Reinforce)
    mode = losses.policy_gradient.reduction if reinforced else losses.distil.reduction
    share = np.full(len(mask), 1.0 / max(int(mask.sum()), 1) if mode == "sequence_mean" else 1.0)
    if isinstance(example, Reinforce):
        return {"loss_weight": share, "loss": _policy_gradient(example, answer, losses)}
    share *= example.weight
    if isinstance(example, Imitate):
        return {"loss_weight": share, "loss": -answer.student.logprobs}
    support = answer.support
    assert isinstance(example, Distil) and support is not None, "a distilled response is scored"
    own = 1.0 if example.token_weight is None else np.asarray(example.token_weight)
    return {"loss_weight": share * own * support.token_weight, "loss": support.loss}


def _policy_gradient(example: Reinforce, answer: Answer, losses: Losses) -> np.ndarray | None:
    """ℓ_t of `objective.policy_gradient_loss`: log ρ_t = (log p_1(y_t) − log p_behaviour(y_t)) / T."""
    settings = losses.policy_gradient
    if settings.kl_coefficient > 0:
        return None
    logs = (answer.student.logprobs - np.asarray(example.behaviour_logprobs, np.float32)) / example.temperature
    log_ratio_T = torch.as_tensor(logs)
    advantage_T = torch.full_like(log_ratio_T, example.advantage)
    out = grpo_token_loss(
        log_ratio_T,
        torch.zeros_like(log_ratio_T),
        advantage_T,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
    )
    return out.loss_T.numpy()


def pair_values(parts: Sequence[Part], answers: Sequence[Answer], role: str, losses: Losses) -> dict[str, Any]:
    """What is known of one response of a pair, (chosen, rejected): its log-ratio, the margin, and the linearised loss.

    The derivative is autograd's, of the very function that the step uses.
    """
    settings = losses.contrast
    means = settings.length_normalised or settings.form == "simpo"
    masks = [mask_of(part) for part in parts]
    norms = [max(int(mask.sum()), 1) if means else 1 for mask in masks]

    def score(of: Sequence[np.ndarray]) -> list[float]:
        return [float(values[m].sum(dtype=float)) / n for values, m, n in zip(of, masks, norms, strict=True)]

    def tensors(of: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.tensor([s], dtype=torch.float64) for s in score(of)]

    policy = [p.requires_grad_() for p in tensors([a.student.logprobs for a in answers])]
    out: PreferenceLoss
    if settings.form == "simpo":
        out = simpo(policy[0], policy[1], beta=settings.beta_in_force, gamma=settings.margin_in_force)
        ratios = [float(p.detach()) for p in policy]
    else:
        reference = tensors([a.reference for a in answers if a.reference is not None])
        out = dpo(policy[0], policy[1], reference[0], reference[1], beta=settings.beta_in_force)
        ratios = [float((p - r).detach()) for p, r in zip(policy, reference, strict=True)]
    slopes = torch.autograd.grad(out.loss_P.sum(), policy)
    j = ("chosen", "rejected").index(role)
    example = parts[j].of
    assert example is not None
    slope = example.weight * float(slopes[j]) / norms[j]
    return {
        "loss_weight": np.full(len(masks[j]), slope),
        "loss": answers[j].student.logprobs,
        "log_ratio": ratios[j],
        "margin": float(out.margin_P),
    }


def _record(step: int, part: Part, mask: np.ndarray, answer: Answer, values: Mapping[str, Any]) -> TokenRecord:
    student, teacher, support = answer.student, answer.teacher, answer.support
    columns: dict[str, np.ndarray | None] = {
        "student_logprobs": student.logprobs,
        "student_entropy": student.entropy,
        "student_top_ids": student.top_ids,
        "student_top_logprobs": student.top_logprobs,
        "reference_logprobs": answer.reference,
    }
    if teacher is not None:
        columns |= {
            "teacher_logprobs": teacher.logprobs,
            "teacher_entropy": teacher.entropy,
            "teacher_top_ids": teacher.top_ids,
            "teacher_top_logprobs": teacher.top_logprobs,
        }
    if support is not None:
        columns |= {
            "divergence": support.divergence,
            "teacher_mass": support.teacher_mass,
            "student_mass": support.student_mass,
        }
    columns |= {name: values.get(name) for name in ("loss_weight", "loss")}
    prompt, response = part.question.sequence
    return TokenRecord(
        step,
        part.problem_id,
        part.sample,
        part.role,
        part.example,
        None if part.of is None else part.of.weight,
        tuple(prompt),
        tuple(response),
        tuple(mask.tolist()),
        student.top_ids.shape[1],
        **{name: None if a is None else tuple(np.ravel(a).tolist()) for name, a in columns.items()},  # type: ignore[arg-type]
        log_ratio=values.get("log_ratio"),
        margin=values.get("margin"),
    )

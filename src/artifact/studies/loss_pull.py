"""What each loss does to the group of a `Lab`: losses, gradients by component, one small step, and token targets.

    gradient of component c    g_c = coefficient_c · ∇_θ L_c        of a method    g = Σ_c g_c
    one small step             θ' = θ − ε g / ‖g‖                   so that methods differ in direction, not in size
    effect on a response       Δ(y) = log p_θ'(y | x) − log p_θ(y | x), summed over its tokens

The examples are scored by the very code of the teacher's actor, and the loss is `train.objective.objective`. A plain
gradient step of fixed length is not AdamW's: it shows where a loss pulls, not how fast training goes. The student is
the checkpoint that training starts from, so policy, behaviour and reference are one model here. Left out: drawing
(`figures_losses.py`), and any claim about accuracy.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from artifact.paths import resolve_model
from artifact.records import Rollout
from artifact.studies.loss_lab import Lab, Variant
from artifact.train.gradients import ComponentGradients
from artifact.train.losses.divergence import token_divergence
from artifact.train.losses.lm_head import project
from artifact.train.methods.base import Batch, Method
from artifact.train.objective import MicroBatch, Outcome, denominators, objective, to_reference, to_score
from artifact.train.packing import pack, response_hidden
from artifact.train.scoring import TeacherRows

if TYPE_CHECKING:
    import torch

NOISE = 1e-5
"""A gradient norm below this is rounding of float32: its direction means nothing, so it counts as no gradient."""


@dataclass(frozen=True)
class Pull:
    """A method's loss on the group, with the gradient of each weighted component, flat, [P] parameters."""

    outcome: Outcome
    gradients: dict[str, torch.Tensor]

    @property
    def total(self) -> torch.Tensor | None:
        """The gradient of the whole loss; None when nothing has a gradient."""
        return sum(self.gradients.values()) if self.gradients else None  # type: ignore[return-value]


def pull(lab: Lab, variant: Variant) -> Pull:
    """Loss and gradients of one method on the group, at the student as loaded: one whole optimiser step's worth."""
    method = lab.method(variant)
    batch = method.batch([lab.group], lab.context)
    body, head, losses = lab.network.model, lab.network.lm_head.weight, lab.config.losses
    outcome = objective(body, head, _micro_batch(lab, method, batch), losses)
    gradients = ComponentGradients(lab.network.parameters(), outcome.weighted_losses, 1)
    gradients.add(outcome.weighted_losses)
    return Pull(outcome, {name: g for name, g in gradients.sums.items() if float(g.norm()) > NOISE})


def pulls(lab: Lab, chosen: Mapping[str, Variant]) -> dict[str, Pull]:
    """`pull` of every method of `chosen`."""
    return {label: pull(lab, variant) for label, variant in chosen.items()}


def components_table(found: Mapping[str, Pull]) -> pd.DataFrame:
    """One row for each method and component: loss (its own mean), weighted loss, gradient norm, share of all pulls.

    `share` is a component's norm over the sum of the method's norms; `cancelled` is 1 − ‖Σ g_c‖ / Σ ‖g_c‖: 0 where
    the components pull one way, 1 where they cancel.
    """
    rows = []
    for label, p in found.items():
        norms = {c: float(p.gradients[c].norm()) if c in p.gradients else 0.0 for c in p.outcome.components}
        total, whole = sum(norms.values()), float(p.total.norm()) if p.total is not None else 0.0
        for component, loss in p.outcome.components.items():
            rows.append(
                {
                    "method": label,
                    "component": component,
                    "loss": loss,
                    "weighted loss": float(p.outcome.weighted_losses[component].detach()),
                    "gradient norm": norms[component],
                    "share": norms[component] / total if total else float("nan"),
                    "cancelled": 1 - whole / total if total else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def cosines(found: Mapping[str, Pull]) -> pd.DataFrame:
    """Cosine between the gradients of every two methods, and of the components of methods that have several."""
    vectors: dict[str, Any] = {}
    for label, p in found.items():
        if len(p.gradients) > 1:
            vectors |= {f"{label}: {c}": g for c, g in p.gradients.items()}
        vectors[label] = p.total
    units = {name: None if g is None else g.double() / g.double().norm() for name, g in vectors.items()}
    return pd.DataFrame(
        [
            {"a": a, "b": b, "cosine": float("nan") if u is None or v is None else float(u @ v)}
            for a, u in units.items()
            for b, v in units.items()
        ]
    )


def effects(lab: Lab, found: Mapping[str, Pull], size: float = 0.02) -> pd.DataFrame:
    """What one step of length `size` against each method's gradient does to every rollout (and to the reference).

    Columns: method, response, correct (missing for no verdict), change (nats, summed over the response's tokens).
    """
    import torch

    responses = {f"y{i + 1}": (r.response_ids, r.correct) for i, r in enumerate(lab.group.rollouts)}
    if (solution := lab.group.problem.solution) and lab.names[lab.context.encode_text(solution)] == "reference":
        responses["reference"] = (lab.context.encode_text(solution), True)
    sequences = [ids for ids, _ in responses.values()]
    before, rows = response_logprobs(lab.network, lab.group.prompt_ids, sequences), []
    for label, p in found.items():
        after = before
        if p.total is not None:
            moved = copy.deepcopy(lab.network)
            direction = p.total / p.total.norm()
            with torch.no_grad():
                parts = direction.split([q.numel() for q in moved.parameters() if q.requires_grad])
                for q, d in zip((q for q in moved.parameters() if q.requires_grad), parts, strict=True):
                    q -= size * d.view_as(q)
            after = response_logprobs(moved, lab.group.prompt_ids, sequences)
        for (name, (_, correct)), new, old in zip(responses.items(), after, before, strict=True):
            rows.append({"method": label, "response": name, "correct": correct, "change": float((new - old).sum())})
    return pd.DataFrame(rows)


def response_logprobs(network: Any, prompt: tuple[int, ...], responses: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Log-probability of each token of each response after `prompt`, natural log, float64."""
    import torch

    packed = pack([(prompt, r) for r in responses])
    with torch.no_grad():
        logits = project(response_hidden(network.model, packed), network.lm_head.weight).double()
        flat = logits.log_softmax(-1).gather(1, packed.target_T[:, None])[:, 0].numpy()
    return np.split(flat, np.cumsum([len(r) for r in responses])[:-1])


def token_kl(lab: Lab, rollout: int, scorers: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The distillation target along one response, token by token, under several scorers: name → (checkpoint, context).

    Columns: scorer, position, token, kl (nats, on the scorer's top-k as the configuration's divergence has it), entropy
    (of the scorer, full vocabulary), top (its most probable token), p_token (its probability of the response's token).
    """
    import torch

    r, settings = lab.group.rollouts[rollout], lab.config.losses.distil
    own = _student_logprobs(lab, r)
    rows = []
    for name, (model, context) in scorers.items():
        path, prompt = resolve_model(model), lab.context.encode(lab.group.problem, context)
        asked = (prompt, r.response_ids)
        scores = lab.frozen(path).teacher_scores(
            {0: asked}, settings.top_k, settings.temperature, with_tail=True, vocabulary=lab.vocabulary
        )
        ids = torch.as_tensor(scores.ids).long()
        kl_T = token_divergence(
            torch.as_tensor(scores.logprobs),
            own.gather(1, ids).float(),
            kind=settings.divergence,
            support=settings.support,
            teacher_tail_T=torch.as_tensor(scores.tail),
            student_tail_T=own.scatter(1, ids, -torch.inf).logsumexp(-1),
            beta=settings.beta,
            temperature=settings.temperature,
            teacher_temperature=settings.temperature,
        ).divergence_T
        chosen = lab.frozen(path).logprobs([asked])[0]
        for t, token in enumerate(r.response_ids):
            rows.append(
                {
                    "scorer": name,
                    "position": t,
                    "token": lab.decode([token]) or "end",
                    "kl": float(kl_T[t]),
                    "entropy": float(scores.entropy[t]),
                    "top": lab.decode([int(scores.ids[t, 0])]) or "end",
                    "p_token": float(np.exp(chosen[t])),
                }
            )
    return pd.DataFrame(rows)


def _student_logprobs(lab: Lab, r: Rollout) -> torch.Tensor:
    """log p_S over the whole vocabulary at each response position, at the loss's temperature, [T, V], no gradient."""
    import torch

    tau = lab.config.losses.distil.temperature

    with torch.no_grad():
        hidden = response_hidden(lab.network.model, pack([(r.prompt_ids, r.response_ids)]))
        return torch.log_softmax(project(hidden, lab.network.lm_head.weight) / tau, -1)


def _micro_batch(lab: Lab, method: Method, batch: Batch) -> MicroBatch:
    """The whole step as one micro-batch, scored as the loop would have it scored."""
    examples, d, losses = list(batch.examples), lab.config.losses.distil, lab.config.losses
    base = lab.frozen(resolve_model(lab.config.models.student))
    teacher: dict[int, TeacherRows] = {}
    if wanted := to_score(examples):
        scorer = base if method.needs.self_teacher else lab.frozen(resolve_model(lab.config.teacher_path))
        tail = d.support == "tail"
        scores = scorer.teacher_scores(wanted, d.top_k, d.temperature, with_tail=tail, vocabulary=lab.vocabulary)
        teacher = scores.by_example()
    reference = base.reference_logprobs(to_reference(examples, losses)) if method.needs.reference else {}
    whole = denominators(examples, losses, lab.config.sampling.max_new_tokens)
    every = range(len(examples))
    return MicroBatch(
        examples, [teacher.get(i) for i in every], [reference.get(i) for i in every], 0, batch.coefficients, whole
    )

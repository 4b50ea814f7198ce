"""What a run should do to the weights, in plain torch: one forward pass per response, the formulas as loops, AdamW.

It reads the settings that were asked for and the rollouts that were drawn, and shares no formula with `artifact.train`:
routing, divergences, reductions, masks, reference, schedule, clipping and optimiser are written out here once more, in
float64. Log-probabilities that the artifact stores are float32, so the two agree to about 1e-6.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
from scipy.stats import rankdata
from torch import Tensor

from artifact.records import Problem, Rollout
from artifact.train.settings import DistilSettings, Optimiser, RunSettings

Ids = tuple[int, ...]
Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Response:
    """A response that is trained on: under which prompt, which of its tokens count, and the teacher's prompt for it."""

    prompt: Ids
    ids: Ids
    mask: Mask
    teacher_prompt: Ids = ()

    @classmethod
    def of(cls, prompt: Ids, ids: Ids, mask: Sequence[bool] | None, teacher_prompt: Ids | None = None) -> Response:
        return cls(prompt, tuple(ids), (True,) * len(ids) if mask is None else tuple(mask), teacher_prompt or prompt)


@dataclass
class Terms:
    """One step: what is distilled (with a weight), imitated, reinforced (advantage, behaviour), and preferred."""

    distil: list[tuple[Response, float]]
    nll: list[Response]
    reinforce: list[tuple[Response, float, tuple[float, ...]]]
    pairs: list[tuple[Response, Response]]
    coefficients: dict[str, float]


def logits(network: Any, r: Response, prompt: Ids | None = None) -> Tensor:
    """z_t before each response token, [T, V], with gradient."""
    prompt = r.prompt if prompt is None else prompt
    states = network.model(input_ids=torch.tensor([[*prompt, *r.ids]]), use_cache=False).last_hidden_state[0]
    whole: Tensor = states @ network.lm_head.weight.T
    return whole[len(prompt) - 1 : -1]


def logprobs(network: Any, r: Response, temperature: float = 1.0) -> Tensor:
    """log softmax(z_t / T) of each response token, [T], with gradient."""
    table = (logits(network, r) / temperature).log_softmax(-1)
    return torch.stack([table[t, token] for t, token in enumerate(r.ids)])


def kept(values: Sequence[Tensor] | Tensor, mask: Mask) -> list[Tensor]:
    return [v for v, m in zip(values, mask, strict=True) if m]


def distilled(d: DistilSettings, student: Any, teacher: Any, r: Response) -> list[Tensor]:
    """u_t ℓ_t of the unmasked tokens."""
    tau = d.temperature
    log_s = (logits(student, r) / tau).log_softmax(-1)
    with torch.no_grad():
        log_t = (logits(teacher, r, r.teacher_prompt) / tau).log_softmax(-1)
    losses, divergences, gaps = [], [], []
    for t in range(len(r.ids)):
        if not r.mask[t]:
            continue
        ids = log_t[t].argsort(descending=True)[: d.top_k]
        p, q = log_t[t].exp()[ids], log_s[t].exp()[ids]
        if d.support == "renorm":
            p = p / p.sum()
        rest = [v for v in range(len(log_t[t])) if v not in ids.tolist()]
        if d.support == "tail" and rest:
            p = torch.cat([p, log_t[t].exp()[rest].sum()[None]])
            q = torch.cat([q, log_s[t].exp()[rest].sum()[None]])
        m = d.beta * p + (1 - d.beta) * q
        kl = {
            "forward_kl": (p * (p.log() - q.log())).sum(),
            "reverse_kl": (q * (q.log() - p.log())).sum(),
            "jsd": d.beta * (p * (p / m).log()).sum() + (1 - d.beta) * (q * (q / m).log()).sum(),
        }[d.divergence]
        ell = -(p * q.log()).sum() if d.divergence == "forward_kl" else kl
        losses.append(ell * (tau**2 if d.scale_by_tau_squared else 1.0))
        divergences.append(float(kl.detach()))
        h_s, h_t = (-float((row.exp() * row).sum().detach()) for row in (log_s[t], log_t[t]))
        gaps.append(1 / (1 + math.exp(-5.0 * (h_s - h_t))))
    if d.token_weight == "none":
        return losses
    total = sum(math.exp(x) for x in divergences)
    shares = [len(losses) * math.exp(x) / total for x in divergences]
    weights = gaps if d.token_weight == "entropy_gap" else shares
    return [u * x for u, x in zip(weights, losses, strict=True)]


def reduced(rows: Sequence[tuple[float, list[Tensor]]], mode: str, budget: int) -> Tensor:
    """Σ_s w_s … over the responses that hold an unmasked token, divided by what the mode says."""
    rows = [(w, values) for w, values in rows if values]
    total = torch.zeros((), dtype=torch.float64)
    for w, values in rows:
        total = total + w * sum(values) / (len(values) if mode == "sequence_mean" else 1)
    whole = {
        "sequence_mean": len(rows),
        "token_mean": sum(len(values) for _, values in rows),
        "constant": len(rows) * budget,
    }[mode]
    return total / whole if whole else total


def reinforced(s: RunSettings, student: Any, reference: Any, r: Response, a: float, recorded: Any) -> list[Tensor]:
    """ℓ_t of the unmasked tokens: the clipped ratio and k3, both at the temperature of the policy."""
    pg = s.losses.policy_gradient
    tau = s.sampling.temperature if pg.temperature == "sampling" else 1.0
    log_p = logprobs(student, r, tau)
    with torch.no_grad():
        log_ref = logprobs(reference, r, tau)
        plain = logits(student, r).log_softmax(-1)
        normaliser = (plain.exp() ** (1 / tau)).sum(-1).log()
    out = []
    for t in range(len(r.ids)):
        ratio = (log_p[t] - (recorded[t] / tau - normaliser[t])).exp()
        bounded = min(max(float(ratio.detach()), 1 - pg.clip_low), 1 + pg.clip_high)
        surrogate = ratio * a if float(ratio.detach()) * a <= bounded * a else torch.tensor(bounded * a)
        d = log_ref[t] - log_p[t]
        out.append(-surrogate + pg.kl_coefficient * (d.exp() - 1 - d))
    return kept(out, r.mask)


def preferred(s: RunSettings, student: Any, reference: Any, chosen: Response, rejected: Response) -> Tensor:
    """−log σ of the margin of a pair."""
    c = s.losses.contrast
    means = c.form == "simpo" or c.length_normalised

    def score(network: Any, r: Response) -> Tensor:
        values = kept(logprobs(network, r), r.mask)
        return torch.stack(values).sum() / (len(values) if means else 1)

    own = score(student, chosen) - score(student, rejected)
    if c.form == "simpo":
        beta = 2.0 if c.beta is None else c.beta
        gamma = beta / 2 if c.simpo_margin is None else c.simpo_margin
        return torch.log1p(torch.exp(-(beta * own - gamma)))
    with torch.no_grad():
        base = score(reference, chosen) - score(reference, rejected)
    return torch.log1p(torch.exp(-(0.1 if c.beta is None else c.beta) * (own - base)))


def step_loss(s: RunSettings, terms: Terms, student: Any, teacher: Any, reference: Any) -> Tensor:
    """The loss of one optimiser step."""
    d, budget = s.losses.distil, s.sampling.max_new_tokens
    parts = {
        "distil": reduced([(w, distilled(d, student, teacher, r)) for r, w in terms.distil], d.reduction, budget),
        "nll": reduced(
            [(1.0, kept([-x for x in logprobs(student, r)], r.mask)) for r in terms.nll], d.reduction, budget
        ),
        "policy_gradient": reduced(
            [(1.0, reinforced(s, student, reference, r, a, b)) for r, a, b in terms.reinforce],
            s.losses.policy_gradient.reduction,
            budget,
        ),
        "contrast": sum(preferred(s, student, reference, c, r) for c, r in terms.pairs) / max(1, len(terms.pairs)),
    }
    return sum(terms.coefficients.get(name, 0.0) * value for name, value in parts.items())  # type: ignore[return-value]


def rate(o: Optimiser, t: int, steps: int) -> float:
    """Warm-up, then decay to the final fraction (`schedule.py`'s docstring)."""
    w = max(1, round(o.warmup_fraction * steps)) if o.warmup_fraction > 0 else 0
    if t < w:
        return o.lr * (t + 1) / w
    p = (t - w) / max(1, steps - 1 - w)
    shape = {"constant": 1.0, "linear": 1 - p, "cosine": (1 + math.cos(math.pi * p)) / 2}[o.schedule]
    return o.lr if o.schedule == "constant" else o.lr * (o.final_fraction + (1 - o.final_fraction) * shape)


def trained(
    s: RunSettings, student: Any, teacher: Any, terms_of: Sequence[Callable[[], Terms]]
) -> tuple[Any, list[float], list[Terms]]:
    """(the student after all steps, the loss of each, what each trained on): AdamW on the gradient of `step_loss`."""
    o, reference, network = s.optimiser, copy.deepcopy(student), copy.deepcopy(student)
    parameters = list(network.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    losses, seen = [], []
    for t, make in enumerate(terms_of):
        terms = make()
        loss = step_loss(s, terms, network, reference if teacher is None else teacher, reference)
        gradients = (
            torch.autograd.grad(loss, parameters, allow_unused=True)
            if loss.requires_grad
            else [None for _ in parameters]
        )
        grads = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
        norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
        shrink, lr = min(1.0, o.clip / (norm + 1e-6)), rate(o, t, len(terms_of))
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(parameters, grads, strict=True)):
                first[i] = o.betas[0] * first[i] + (1 - o.betas[0]) * g * shrink
                second[i] = o.betas[1] * second[i] + (1 - o.betas[1]) * (g * shrink) ** 2
                m, v = first[i] / (1 - o.betas[0] ** (t + 1)), second[i] / (1 - o.betas[1] ** (t + 1))
                p -= lr * (o.weight_decay * p + m / (v.sqrt() + o.eps))
        losses.append(float(loss.detach()))
        seen.append(terms)
    return network, losses, seen


# --- which responses train what: the methods, from their descriptions ---------------------------------------------


def usable(s: RunSettings, rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Without those that were cut off, where the settings say so."""
    return [r for r in rollouts if r.finish_reason != "length" or not s.losses.mask_truncated_completions]


def routed(
    method: str,
    o: Mapping[str, Any],
    s: RunSettings,
    problems: Sequence[Problem],
    groups: Sequence[Sequence[Rollout]],
    prompt: Callable[[Problem, str], Ids],
    encode: Callable[[str], Ids],
    mask_text: Callable[[str], Mask | None],
    weights: Mapping[str, float],
    samples: Mapping[str, Sequence[Rollout]],
    answers: Callable[[Problem], Sequence[Rollout]],
    step: int,
) -> Terms:
    """What `method` with options `o` trains on in one step. `answers`: the teacher's responses, for CORE's fallback."""
    terms = Terms([], [], [], [], {"distil": 1.0, "nll": 1.0, "policy_gradient": 1.0, "contrast": 1.0})

    def own(r: Rollout, context: str = "none") -> Response:
        problem = next(p for p in problems if p.id == r.problem_id)
        return Response.of(r.prompt_ids, r.response_ids, r.response_mask, prompt(problem, context))

    def solution(p: Problem) -> Response:
        return Response.of(prompt(p, "none"), encode(p.solution or ""), mask_text(p.solution or ""))

    flat = [r for g in groups for r in g]
    wrong = [r for r in flat if not r.correct]
    if method in ("opd", "uopd"):
        terms.distil = [(own(r), weights[r.problem_id] if method == "uopd" else 1.0) for r in usable(s, flat)]
    elif method == "opsd":
        solved = {p.id for p in problems if p.solution}
        either = {True: "solution", False: "answer"}
        shown = {
            p.id: either[p.id in solved] if o["context"] == "solution_or_answer" else o["context"] for p in problems
        }
        terms.distil = [(own(r, shown[r.problem_id]), 1.0) for r in usable(s, flat)]
    elif method == "sft":
        terms.nll = [solution(p) for p in problems if p.solution]
    elif method == "seqkd":
        k = s.sampling.samples_per_prompt
        for p in problems:
            right = [r for r in usable(s, samples[p.id]) if r.correct]
            for i in range(min(k, len(right))):
                r = right[(step * k + i) % len(right)]
                terms.nll.append(Response.of(prompt(p, "none"), r.response_ids, r.response_mask))
    elif method == "opposite":
        terms.distil = [(own(r), 1.0) for r in usable(s, wrong)]
        terms.nll = [own(r) for r in usable(s, [r for r in flat if r.correct])]
        terms.coefficients |= {"distil": o["alpha"], "nll": 1.0}
    elif method == "negative":
        terms.reinforce = [(own(r), -1.0, r.logprobs) for r in usable(s, wrong)]
    elif method == "grpo":
        for g in groups:
            rewards = rewards_of(g)
            spread = stdev(rewards) if o["scale"] == "std" else 1.0
            scale = spread if len(set(rewards)) > 1 else math.inf
            advantages = [(x - mean(rewards)) / scale for x in rewards]
            for r, a in zip(g, advantages, strict=True):
                if r in usable(s, g):
                    terms.reinforce.append((own(r), a, r.logprobs))
    else:
        assert method == "core"
        on = o["distil_on"] or ("correct" if o["teacher_context"] == "none" else "all")
        if o["parts"] != "contrast":
            for r in usable(s, flat):
                if on == "all" or any(r is c for g in groups for c in parted(o, g)[0]):
                    terms.distil.append((own(r, o["teacher_context"]), 1.0))
        if o["parts"] != "distil":
            for p, g in zip(problems, groups, strict=True):
                terms.pairs += core_pairs(o, s, p, g, solution, answers, own)
        accuracy = sum(len(parted(o, g)[0]) for g in groups) / len(flat)
        terms.coefficients |= {
            "both": {
                "weighted": {"distil": o["alpha"], "contrast": 1.0},
                "convex": {"distil": o["alpha"], "contrast": 1 - o["alpha"]},
                "adaptive": {"distil": accuracy, "contrast": 1 - accuracy},
            }[o["mix"]],
            "distil": {"distil": 1.0},
            "contrast": {"contrast": 1.0},
        }[o["parts"]]
    return terms


def rewards_of(group: Sequence[Rollout]) -> list[float]:
    """The score of each rollout where there is one, else 1 for a correct rollout."""
    return [float(r.correct) if r.verdict.score is None else r.verdict.score for r in group if r.verdict]


def parted(o: Mapping[str, Any], group: Sequence[Rollout]) -> tuple[list[Rollout], list[Rollout]]:
    """CORE's C and I: by verdict, or above and below the mean of the mid-ranks."""
    if o["routing"] == "verdict":
        return [r for r in group if r.correct], [r for r in group if not r.correct]
    ranks = rankdata(rewards_of(group)).tolist()
    middle = (len(group) + 1) / 2
    ranked = list(zip(group, ranks, strict=True))
    return [r for r, k in ranked if k > middle], [r for r, k in ranked if k < middle]


def core_pairs(
    o: Mapping[str, Any],
    s: RunSettings,
    problem: Problem,
    group: Sequence[Rollout],
    solution: Callable[[Problem], Response],
    answers: Callable[[Problem], Sequence[Rollout]],
    own: Callable[[Rollout], Response],
) -> list[tuple[Response, Response]]:
    """The pairs of one prompt: each wrong rollout against what stands first in the order of choice."""
    right, wrong = (usable(s, part) for part in parted(o, group))
    found: list[Response] = []
    for source in o["chosen_order"]:
        if not found and source == "reference" and problem.solution:
            found = [solution(problem)]
        if not found and source == "own":
            found = [own(r) for r in right]
    if not found and wrong and o["fallback"] != "skip":
        bare = own(wrong[0]).prompt
        found = [Response.of(bare, r.response_ids, r.response_mask) for r in usable(s, answers(problem)) if r.correct]
    return [(found[r.sample % len(found)], own(r)) for r in wrong if found]

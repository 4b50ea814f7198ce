"""Every option of the loop, its losses and its methods through the real `train()`, against plain torch (`oracle.py`).

A case is a run of a few steps; its weights must be those that the oracle reaches from the rollouts that were drawn.
`test_every_accepted_value_has_been_run` reads the settings classes and fails for a value that no case uses, so that an
option cannot be added without one. The optimiser's ε is 1: a step then grows with the gradient, where Adam's usual step
would hide its size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from tests.train.oracle import Terms, routed, trained
from tests.train.tiny import STOP, MemoryLog, Network, decode, encode, encode_text, graded, settings, tiny_qwen3, verify

from artifact.actors.answering import answer
from artifact.errors import ConfigError
from artifact.phase1.weights import weights_for
from artifact.records import Problem, Rollout
from artifact.tasks.metrics import Metric
from artifact.train.inputs import RunInputs, TeacherAnnotations
from artifact.train.local import LocalWorkers
from artifact.train.loop import train
from artifact.train.methods.base import available, find_method, make
from artifact.train.rollouts import Completion, build_rollouts, verify_groups
from artifact.train.settings import (
    ContrastSettings,
    DistilSettings,
    Losses,
    Optimiser,
    PolicyGradientSettings,
    RunSettings,
    Sampling,
    TokenRecords,
    Train,
)


@dataclass(frozen=True)
class Case:
    """A run: a method, its options, and the settings that differ from `BASE`.

    tool   every second token of a response or a solution was written by a tool: masked, its recorded log-probability
           such that anything computed from it is infinite
    drift  the sampler's log-probabilities are off by up to this many nats, as another engine's are
    graded the task gives each response a score too (`graded`)
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    tool: bool = False
    drift: float = 0.0
    graded: bool = False

    def __str__(self) -> str:
        changed = [f"{k.rpartition('__')[2]}={v}" for k, v in (self.options | self.settings).items()]
        return " ".join(
            [self.method, *changed, *["tool"] * self.tool, *["drift"] * bool(self.drift), *["graded"] * self.graded]
        )

    @property
    def run_settings(self) -> RunSettings:
        return settings(**BASE | self.settings)

    @property
    def chosen_options(self) -> Any:
        return find_method(self.method).Options(**self.options)

    @property
    def parts(self) -> set[type]:
        """The settings classes of losses that a run of this case reads."""
        used = {
            "sft": {DistilSettings},
            "seqkd": {DistilSettings},
            "grpo": {PolicyGradientSettings},
            "negative": {PolicyGradientSettings},
            "core": {
                "both": {DistilSettings, ContrastSettings},
                "distil": {DistilSettings},
                "contrast": {ContrastSettings},
            }[self.options.get("parts", "both")],
        }
        return used.get(self.method, {DistilSettings}) | {Losses, Optimiser, Sampling, Train, TokenRecords}


BASE = {
    "sampling__samples_per_prompt": 4,
    "optimiser__lr": 0.5,
    "optimiser__eps": 1.0,
    "optimiser__clip": 1e6,
    "optimiser__schedule": "constant",
    "optimiser__warmup_fraction": 0.0,
    "train__steps": 2,
    "train__prompts_per_step": 3,
}


def distil(**options: Any) -> Case:
    return Case("opd", {}, {f"distil__{k}": v for k, v in options.items()})


def contrast(**options: Any) -> Case:
    return Case("core", {"parts": "contrast"}, {f"contrast__{k}": v for k, v in options.items()}, tool=True)


def grpo(drift: float = 0.6, tool: bool = False, temperature: float = 1.0, **options: Any) -> Case:
    changed = {f"policy_gradient__{k}": v for k, v in options.items()} | {"sampling__temperature": temperature}
    return Case("grpo", {}, changed, tool, drift)


def optimiser(**options: Any) -> Case:
    changed = {"train__steps": 4} | {f"optimiser__{k}": v for k, v in options.items()}
    return Case("sft", {}, changed)


DIVERGENCES = ("forward_kl", "reverse_kl", "jsd")
CASES = (
    *(distil(divergence=d, support=s, temperature=1.5) for d in DIVERGENCES for s in ("renorm", "tail", "raw")),
    *(distil(divergence=d, support=s, top_k=50) for d in DIVERGENCES for s in ("renorm", "tail")),
    *(
        distil(token_weight=w, reduction=r, temperature=0.8)
        for w in ("none", "entropy_gap", "divergence_share")
        for r in ("sequence_mean", "token_mean")
    ),
    distil(divergence="jsd", beta=0.2),
    distil(temperature=1.5, scale_by_tau_squared=False),
    replace(distil(token_weight="divergence_share", reduction="token_mean"), tool=True),
    Case("opd", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}, tool=True),
    Case("opd", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 1}),
    *(Case("uopd", {"weighting": w}) for w in ("uniform", "soft", "binary", "shuffled", "gold", "verified")),
    *(Case("uopd", {"weighting": w}) for w in ("majority", "miller_madow", "chao_shen", "similarity")),
    Case("uopd", {"weighting": "binary", "tau": 0.2}),
    Case("uopd", {"weighting": "binary", "tau": 0.0}, {"train__steps": 3}),
    Case("uopd", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}),
    *(Case("opsd", {"teacher": t, "context": c}) for t in ("self", "teacher") for c in ("answer", "solution")),
    Case("opsd", {"context": "solution_or_answer"}),
    Case("opsd", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}),
    *(Case("sft", {}, {"distil__reduction": r}, tool=True) for r in ("sequence_mean", "token_mean")),
    Case("seqkd"),
    Case("seqkd", {}, {"losses__mask_truncated_completions": True}, tool=True),
    Case("opposite"),
    Case("opposite", {"alpha": 0.3}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}),
    Case("negative", {}, {"sampling__temperature": 0.7}, tool=True),
    Case("negative", {}, {"policy_gradient__kl_coefficient": 0.3}, drift=0.6),
    Case("negative", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}),
    Case("core"),
    *(Case("core", {"parts": p}, tool=True) for p in ("both", "distil", "contrast")),
    Case("core", {"mix": "weighted", "alpha": 0.7}),
    Case("core", {"mix": "convex", "alpha": 0.3}),
    Case("core", {"mix": "adaptive"}),
    *(Case("core", {"routing": r}, graded=True) for r in ("verdict", "rank")),
    Case("core", {"routing": "rank"}),
    Case("core", {"routing": "rank", "mix": "adaptive", "chosen_order": ("own",)}, graded=True),
    Case("grpo", graded=True),
    *(Case("core", {"distil_on": d, "parts": "distil"}) for d in ("correct", "all")),
    *(
        Case("core", {"teacher_context": c, "distil_on": d})
        for c in ("none", "answer", "solution")
        for d in (None, "correct")
    ),
    *(
        Case("core", {"chosen_order": o, "fallback": f, "parts": "contrast"})
        for o in (("reference", "own"), ("own", "reference"), ("own",), ("reference",), ())
        for f in ("skip", "generate", "autoregress")
        if o or f != "skip"
    ),
    Case(
        "core",
        {"chosen_order": ("own",), "fallback": "generate"},
        {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 8},
    ),
    Case("core", {}, {"losses__mask_truncated_completions": True, "sampling__max_new_tokens": 12}, tool=True),
    *(contrast(form=f, length_normalised=n) for f in ("dpo", "simpo") for n in (False, True)),
    contrast(beta=0.7),
    contrast(form="simpo", beta=1.5),
    contrast(form="simpo", simpo_margin=0.25),
    contrast(form="simpo", beta=2.5, simpo_margin=0.0),
    *(
        grpo(temperature=t, kl_coefficient=c, reduction=r, tool=True)
        for t in (1.0, 0.7)
        for c in (0.0, 0.3)
        for r in ("sequence_mean", "token_mean", "constant")
    ),
    grpo(temperature=0.7),
    grpo(temperature=1.3, kl_coefficient=0.2),
    Case(
        "grpo",
        {},
        {"policy_gradient__temperature": 1, "policy_gradient__kl_coefficient": 0.3, "sampling__temperature": 0.7},
        drift=0.6,
    ),
    grpo(clip_low=0.4, clip_high=0.1),
    Case("grpo", {"scale": "none"}, {"sampling__temperature": 0.7}),
    Case("grpo", {"scale": "std"}),
    Case(
        "grpo",
        {},
        {
            "losses__mask_truncated_completions": True,
            "sampling__max_new_tokens": 12,
            "policy_gradient__kl_coefficient": 0.2,
        },
    ),
    *(
        optimiser(schedule=s, warmup_fraction=w, final_fraction=f)
        for s in ("constant", "linear", "cosine")
        for w, f in ((0.5, 0.0), (0.0, 0.25))
    ),
    optimiser(betas=(0.5, 0.6), eps=0.3, weight_decay=0.2),
    optimiser(clip=0.05, lr=0.2),
    optimiser(micro_batch_tokens=1000),
    optimiser(gradient_checkpointing=True),
    Case("core", {}, {"optimiser__gradient_checkpointing": True, "train__component_norms_every": 1}),
    *(Case(m, {}, {"optimiser__shared_prompts": True}) for m in ("opd", "core", "grpo")),
    Case("opd", {}, {"optimiser__shared_prompts": True, "optimiser__gradient_checkpointing": True}),
    Case("opd", {}, {"optimiser__micro_batch_tokens": 1}),
    Case("core", {}, {"train__component_norms_every": 1, "train__curve_every": 1, "train__checkpoint_every": 1}),
    Case("core", {}, {"records__every": 1, "records__prompts": 3}, tool=True),
    Case("opd", {}, {"records__every": 0, "records__prompts": 1}),
    Case("opd", {}, {"train__with_replacement": True, "train__prompts_per_step": 4}),
    Case("opd", {}, {"train__episodes": 2, "sampling__samples_per_prompt": 2}),
    Case("core", {}, {"train__part_prompts": 2}, tool=True),
    Case("core", {}, {"train__part_prompts": 2, "train__stream": True}),
    Case("opd", {}, {"train__part_prompts": 1, "train__stream": True}),
    Case("grpo", {}, {"train__part_prompts": 1, "train__stream": True, "sampling__temperature": 0.7}),
    Case("opd", {}, {"train__staleness": 1, "train__steps": 4}),
    Case("grpo", {}, {"train__staleness": 1, "train__steps": 4}),
    Case("negative", {}, {"train__staleness": 1, "train__steps": 4}),
    Case("core", {}, {"train__staleness": 1, "train__part_prompts": 2}),
)


class Workers(LocalWorkers):
    """The plain workers with a sampler that has a tool or drifts, and a teacher that answers."""

    def __init__(self, case: Case, teacher: torch.nn.Module | None) -> None:
        super().__init__(Network().double(), teacher, case.run_settings, decode, [STOP])
        self.case = case
        self.answered: list[list[Completion]] = []

    def sample(self, *arguments: Any, **options: Any) -> list[tuple[Rollout, ...]]:
        groups = super().sample(*arguments, **options)
        return [tuple(self.changed(r) for r in group) for group in groups] if options.get("logprobs", True) else groups

    def changed(self, r: Rollout) -> Rollout:
        shifts = np.random.default_rng([r.sample, *r.response_ids]).uniform(-1, 1, len(r.logprobs)) * self.case.drift
        logprobs = tuple((np.asarray(r.logprobs) + shifts).tolist())
        if not self.case.tool:
            return replace(r, logprobs=logprobs)
        mask = tool_mask(len(r.response_ids))
        return replace(
            r, response_mask=mask, logprobs=tuple(x if m else -1e4 for x, m in zip(logprobs, mask, strict=True))
        )

    def teacher_answers(self, prompts: Sequence[tuple[int, ...]], how: str, **decoding: Any) -> list[Completion]:
        """The actors' own way to answer, on the network of the test."""
        top_k = self.settings.losses.distil.top_k
        found = answer(self.teacher, prompts, how, top_k=top_k, stop_token_ids=[STOP], **decoding)
        assert len(found) == len(prompts)
        self.answered += [found[i : i + 4] for i in range(0, len(found), 4)]
        return found


def tool_mask(n: int) -> tuple[bool, ...]:
    return tuple(t % 2 == 0 for t in range(n))


def mask_text(text: str) -> tuple[bool, ...]:
    return tool_mask(len(text) + 1)


def solved_all(case: Case) -> bool:
    """Whether the case's method needs a solution of every problem."""
    return case.method == "opsd" and case.options.get("context") != "solution_or_answer"


def problems(every_solution: bool) -> list[Problem]:
    """Five problems; those with an odd number have no reference solution, unless a method needs all of them."""
    return [
        Problem(f"p{i}", "q", chr(97 + i), chr(97 + i) * 3 if every_solution or i % 2 == 0 else None, "t", "easy")
        for i in range(5)
    ]


CLASSES = ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 2, 3))
"""The answer classes of the teacher's four samples, by problem."""

ANNOTATIONS = [
    SimpleNamespace(
        problem_id=f"p{i}",
        normalised=h,
        weight=1 - h,
        majority_correct=right,
        majority_share=max(map(classes.count, classes)) / 4,
        cluster_ids=classes,
        parsed=(1, 1, 1, 1),
        normaliser="n",
        answers=tuple("abcd"[c] for c in classes),
        mean_logprobs=(-1.0,) * 4,
        n_counted=4,
    )
    for i, (h, right, classes) in enumerate(zip([0.0, 0.15, 0.5, 0.75, 1.0], [1, 0, 1, 0, 1], CLASSES, strict=True))
]
SAME = Metric("same", lambda text, problem: float(text == problem.answer))
"""How alike two answers are: as much as their classes are one."""

SAMPLES = {
    f"p{i}": verify_groups(
        problems(True)[i : i + 1],
        [
            [
                Rollout(f"p{i}", j, (1 + i, 8), ids, (-1.0,) * len(ids), decode([ids])[0], finish)
                for j, (ids, finish) in enumerate(
                    [((1 + i, 4, 0), "stop"), ((3, 1 + i, 5), "length"), ((9, 9, 0), "stop"), ((1 + i, 0), "stop")]
                )
            ]
        ],
        verify,
    )[0]
    for i in range(5)
}
"""The teacher's stored responses: right, right but cut off, wrong, right."""


def weights_by_hand(scheme: str, tau: float, seed: int) -> dict[str, float]:
    """UOPD Eq. 6 and the controls, from the table above; the corrected entropies of its classes worked out by hand."""
    entropy = [0.0, 0.15, 0.5, 0.75, 1.0]
    # Chao–Shen of 3+1: coverage 3/4, p̃ = 9/16 and 3/16; of 2+2: 1, 1/2 twice; of 2+1+1: 1/2, p̃ = 1/4, 1/8, 1/8.
    term = [-p * math.log(p) / (1 - (1 - p) ** 4) for p in (9 / 16, 3 / 16, 1 / 2, 1 / 4, 1 / 8)]
    chao_shen = [0.0, term[0] + term[1], 2 * term[2], term[3] + 2 * term[4], math.inf]
    quarters = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
    miller_madow = [0.0, quarters + 1 / 8, math.log(2) + 1 / 8, 1.5 * math.log(2) + 2 / 8, math.inf]
    order = np.random.default_rng(seed).permutation(5)
    of = {
        "uniform": [1.0] * 5,
        "soft": [1 - h for h in entropy],
        "binary": [1.0 if h <= tau else 0.0 for h in entropy],
        "shuffled": [1 - entropy[i] for i in order],
        "gold": [1.0, 0.0, 1.0, 0.0, 1.0],
        "verified": [1.0, 0.0, 0.5, 0.0, 0.0],
        "majority": [1.0, 0.75, 0.5, 0.5, 0.25],
        "miller_madow": [max(0.0, 1 - h / math.log(4)) for h in miller_madow],
        "chao_shen": [max(0.0, 1 - h / math.log(4)) for h in chao_shen],
        "similarity": [1.0, 1 - quarters / math.log(4), 0.5, 0.25, 0.0],
    }[scheme]
    return {f"p{i}": w for i, w in enumerate(of)}


def run(case: Case, folder: Path) -> tuple[Any, list[float], MemoryLog, Workers]:
    """The real loop: the trained network, the losses, the log, and the workers."""
    s = case.run_settings
    method = make(case.method, s, **case.options)
    answers = case.options.get("fallback", "skip") != "skip"
    teacher: torch.nn.Module | None = tiny_qwen3(11).double() if answers else Network(seed=9).double()
    made = Workers(case, None if method.needs.self_teacher else teacher)
    every = solved_all(case)
    inputs = RunInputs(
        problems(every),
        problems(every),
        encode,
        encode_text,
        decode,
        graded if case.graded else verify,
        mask_text if case.tool else lambda text: None,
    )
    known = TeacherAnnotations()
    if method.needs.annotation:
        weights = weights_for(method.weighting(), ANNOTATIONS, lambda problem: SAME)  # type: ignore[arg-type]
        known = TeacherAnnotations(weights, SAMPLES)
    log = MemoryLog(folder)
    train(s, method, inputs, made, made, log, known)
    return made.network, [m["loss"] for m in log.metrics], log, made


def by_hand(case: Case, log: MemoryLog, made: Workers) -> tuple[Any, list[float], list[Terms]]:
    """The oracle's run over the same rollouts and the same answers of the teacher."""
    s, options = case.run_settings, case.chosen_options
    of = {p.id: p for p in problems(solved_all(case))}
    answered = iter(made.answered)
    weights: dict[str, float] = {}
    if case.method == "uopd":
        weights = weights_by_hand(options.weighting, options.tau, s.seed)

    def terms(step: int) -> Terms:
        groups = log.groups[step]
        asked = [of[name] for name in names_of(case, log, step)]

        def answers(problem: Problem) -> Sequence[Rollout]:
            prompt = (problem.id, encode(problem, options.teacher_context))
            return verify_groups([problem], build_rollouts([prompt], [next(answered)], decode), verify)[0]

        return routed(
            case.method,
            vars(options) if is_dataclass(options) else {},
            s,
            asked,
            groups,
            encode,
            encode_text,
            mask_text if case.tool else lambda text: None,
            weights,
            SAMPLES,
            answers,
            step,
        )

    own_teacher = None if case.method == "opsd" and options.teacher == "self" else made.teacher.network
    steps = [lambda step=step: terms(step) for step in log.steps]
    return trained(s, Network().double(), own_teacher, steps)


def names_of(case: Case, log: MemoryLog, step: int) -> list[str]:
    """The problems of a step: those of its rollouts, else by the order that `test_loop.py` pins."""
    from artifact.train.inputs import prompt_order

    drawn = [g[0].problem_id for g in log.groups[step] if g]
    return drawn or [f"p{i}" for i in prompt_order(5, case.run_settings, step)]


IDLE = [str(c) for c in CASES if c.settings.get("sampling__max_new_tokens") == 1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_ends_where_plain_torch_ends(case: Case, tmp_path: Path) -> None:
    got, losses, log, made = run(case, tmp_path)
    expected, by_loops, terms = by_hand(case, log, made)
    assert losses == pytest.approx(by_loops, abs=2e-5)
    start = dict(Network().double().named_parameters())
    moved = 0.0
    for (name, p), q in zip(got.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=2e-6, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
        moved = max(moved, float((p - start[name]).abs().max().detach()))
    assert moved > 1e-3 or str(case) in IDLE, "a run that does not move shows nothing"
    used = {name for t in terms for name in ("distil", "nll", "reinforce", "pairs") if getattr(t, name)}
    reinforced = {"grpo": {"reinforce"}, "negative": {"reinforce"}}
    wanted = {"sft": {"nll"}, "seqkd": {"nll"}, "opposite": {"distil", "nll"}} | reinforced
    parts = {"both": {"distil", "pairs"}, "distil": {"distil"}, "contrast": {"pairs"}}
    of_core = parts[case.options.get("parts", "both")] if case.method == "core" else {"distil"}
    assert used == wanted.get(case.method, of_core) or str(case) in IDLE
    if case.run_settings.losses.mask_truncated_completions and case.method != "seqkd":
        cut = [sum(r.truncated for g in groups for r in g) for groups in log.groups]
        assert [m["masked_truncated"] for m in log.metrics] == cut and sum(cut) > 0
    else:
        assert case.method == "seqkd" or not any("masked_truncated" in m for m in log.metrics)


# --- which values there are, and which have been run -----------------------------------------------------------------

LOOP = (Sampling, DistilSettings, ContrastSettings, PolicyGradientSettings, Losses, Optimiser, Train, TokenRecords)
ELSEWHERE = {
    "Sampling.top_p": "the plain sampler refuses a cut distribution (test_local.py); engines: actors/test_sampler.py"
}
"""Fields that these runs cannot vary, and where they are tested."""


def values_of(hint: Any) -> Iterator[Any]:
    """The values that must have been run: each word of a Literal, both truth values, None; of a number, `Number`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from values_of(arguments[0])
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, UnionType):
        for a in arguments:
            yield from values_of(a)
    elif origin is tuple:
        yield from dict.fromkeys(v for a in arguments if a is not Ellipsis for v in values_of(a))
    elif hint is bool:
        yield from (True, False)
    elif hint is type(None):
        yield None
    elif hint in (int, float):
        yield Number
    else:
        assert is_dataclass(hint), f"a setting of type {hint} is of no kind that this test knows: teach it"


class Number:
    """Any number: two different ones must have been run."""


def flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def missing_from(cases: Sequence[Case]) -> list[str]:
    """Accepted values that none of `cases` runs, as `Class.field = value`."""
    classes: list[tuple[type, list[Any]]] = []
    for cls in LOOP:
        sections = []
        for case in cases:
            s = case.run_settings
            known = {
                Sampling: s.sampling,
                DistilSettings: s.losses.distil,
                ContrastSettings: s.losses.contrast,
                PolicyGradientSettings: s.losses.policy_gradient,
                Losses: s.losses,
                Optimiser: s.optimiser,
                Train: s.train,
                TokenRecords: s.train.token_records,
            }
            if cls in case.parts:
                sections.append(known[cls])
        classes.append((cls, sections))
    for name in available():
        classes.append((find_method(name).Options, [c.chosen_options for c in cases if c.method == name]))
    out = []
    for cls, made in classes:
        hints = get_type_hints(cls, include_extras=True)
        for f in fields(cls):
            name = f"{cls.__qualname__}.{f.name}"
            if name in ELSEWHERE:
                continue
            seen = [v for settings_of in made for v in flat(getattr(settings_of, f.name))]
            for value in dict.fromkeys(values_of(hints[f.name])):
                if value is Number:
                    numbers = {v for v in seen if isinstance(v, (int, float)) and not isinstance(v, bool)}
                    default_is_none = None in seen and len(numbers) >= 1
                    if len(numbers) < 2 and not default_is_none:
                        out.append(f"{name}: one number only ({numbers})")
                elif not any(v is value or (type(v) is type(value) and v == value) for v in seen):
                    out.append(f"{name} = {value!r}")
    return out


def test_every_accepted_value_has_been_run() -> None:
    assert missing_from(CASES) == []
    assert {c.method for c in CASES} == {m for m in available() if find_method(m).__module__.startswith("artifact.")}


def test_a_value_without_a_case_is_missed() -> None:
    """The guard itself: without the cases of one value it names that value."""
    left = [c for c in CASES if c.settings.get("distil__divergence") != "jsd"]
    assert missing_from(left) == ["DistilSettings.divergence = 'jsd'", "DistilSettings.beta: one number only ({0.5})"]
    left = [c for c in CASES if c.options.get("fallback") != "autoregress"]
    assert missing_from(left) == ["ContrastiveOnPolicyDistillation.Options.fallback = 'autoregress'"]


# --- what is refused, and what only looks like an option -------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (ContrastSettings, {"form": "dpo", "simpo_margin": 0.5}, "form 'dpo' has no margin"),
        (ContrastSettings, {"form": "simpo", "simpo_margin": -0.1}, "simpo_margin = -0.1"),
        (ContrastSettings, {"beta": 0.0}, "must be > 0"),
        (PolicyGradientSettings, {"temperature": 0.7}, "must be one of 'sampling', 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(section: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**values)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sampling__top_p": 0.95}, r"sampling\.top_p = 0\.95"),
        ({"sampling__temperature": 0.0}, r"sampling\.temperature = 0\.0"),
        ({"sampling__samples_per_prompt": 1}, "it needs at least 2"),
    ],
)
def test_grpo_refuses_rollouts_whose_log_probabilities_it_cannot_take(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("grpo", settings(**changed))


def test_a_method_that_forgets_the_mask_is_stopped(tmp_path: Path) -> None:
    from artifact.train.examples import Distil
    from artifact.train.methods.base import Batch, Method, Needs

    class Forgetful(Method):
        needs = Needs(teacher=True)

        def batch(self, groups: Any, context: Any) -> Batch:
            return Batch(tuple(Distil.of(r) for g in groups for r in g.rollouts), {"distil": 1.0})

    case = Case("opd", {}, {"losses__mask_truncated_completions": True})
    made = Workers(case, Network(seed=9).double())
    inputs = RunInputs(problems(True), [], encode, encode_text, decode, verify)
    with pytest.raises(ConfigError, match=r"'Forgetful' trains on \d+ truncated rollout"):
        train(
            case.run_settings,
            Forgetful(case.run_settings),
            inputs,
            made,
            made,
            MemoryLog(tmp_path),
            TeacherAnnotations(),
        )


def test_rewards_of_masked_rollouts_stay_in_their_groups_statistics() -> None:
    """Rewards 1, 0, 0, 0 with the first cut off: the others' advantages are those of the whole group, as in TRL."""
    from artifact.records import Group, Status, Verdict
    from artifact.train.methods.base import StepContext

    s = settings(losses__mask_truncated_completions=True)
    group = tuple(
        Rollout("p", j, (1,), (2 + j,), (-1.0,), "", "length" if j == 0 else "stop", 0, Verdict(status, "a"))
        for j, status in enumerate([Status.CORRECT] + [Status.WRONG] * 3)
    )
    problem = Problem("p", "q", "a", None, "t", "easy")
    batch = make("grpo", s, scale="none").batch([Group(problem, (1,), group)], StepContext(0, encode, encode_text))
    assert [(e.response_ids, e.weight) for e in batch.examples] == [((3 + j,), -0.25) for j in range(3)]
    assert batch.metrics == {"reward": 0.25, "informative_groups": 1.0}


def test_a_step_whose_weights_are_all_zero_moves_the_weights_by_momentum(tmp_path: Path) -> None:
    """What `uopd`'s `binary` says of itself: the first step has a gradient, the second has none, and both move."""
    case = Case("uopd", {"weighting": "binary"}, {"train__prompts_per_step": 1, "train__steps": 2})
    made = Workers(case, Network(seed=9).double())
    inputs = RunInputs(problems(True), [], encode, encode_text, decode, verify)
    states: list[dict[str, torch.Tensor]] = []

    class Watching(MemoryLog):
        def step(self, *arguments: Any) -> None:
            super().step(*arguments)
            states.append(copy.deepcopy(made.network.state_dict()))

    log = Watching(tmp_path)
    first, second = (
        names_of(case, SimpleNamespace(groups=[[], []]), 0),
        names_of(case, SimpleNamespace(groups=[[], []]), 1),
    )  # type: ignore[arg-type]
    known = TeacherAnnotations({f"p{i}": 0.0 for i in range(5)} | {first[0]: 1.0})
    assert first != second
    train(case.run_settings, make("uopd", case.run_settings, weighting="binary"), inputs, made, made, log, known)
    assert log.metrics[1]["loss"] == log.metrics[1]["grad_norm"] == 0.0 < log.metrics[0]["grad_norm"]
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])

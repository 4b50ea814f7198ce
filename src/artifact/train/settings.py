"""The settings of the loop and its losses, as plain dataclasses that check themselves.

They are what a run needs once it is under way; `config/` reads them from a tier's YAML, beside models, task and
machine. A value out of its bounds, a word that is none of the allowed ones, or a number that is not finite raises
ValueError, whether it came from a file or from Python. Left out: defaults of a tier (`configs/tiers/`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Bound:
    """The interval a number must lie in. Whoever reads files by a schema finds it there as well."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def allows(self, value: float) -> bool:
        """Whether `value` lies inside."""
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __str__(self) -> str:
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        return " and ".join(f"{signs[f.name]} {v:g}" for f in fields(self) if (v := getattr(self, f.name)) is not None)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """pydantic's hook, by name alone (Any: its types are pydantic's, and this file needs nothing but Python)."""
        return handler(source) | {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


Positive = Annotated[float, Bound(gt=0)]
NotNegative = Annotated[float, Bound(ge=0)]
Share = Annotated[float, Bound(gt=0, le=1)]
Count = Annotated[int, Bound(ge=1)]


@dataclass(frozen=True)
class Settings:
    """Base of every settings class: immutable, and checked when made."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():  # type: ignore[arg-type]
            if fault := _fault(getattr(self, name), hint):
                raise ValueError(f"{type(self).__name__}.{name} = {getattr(self, name)!r}: {fault}")


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """The type of each field, with its bounds."""
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in fields(cls)}


def _fault(value: Any, hint: Any) -> str:
    """Why `value` is not of the annotated kind, or "": its bounds, allowed words and finiteness, entry by entry."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bound = next(a for a in arguments[1:] if isinstance(a, Bound))
        return _fault(value, arguments[0]) or ("" if bound.allows(value) else f"must be {bound}")
    if origin is Literal:
        return "" if value in arguments else f"must be one of {', '.join(map(repr, arguments))}"
    if origin in (Union, UnionType):
        if value is None:
            return "" if type(None) in arguments else "must be given"
        return min((_fault(value, a) for a in arguments if a is not type(None)), key=len)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return next((f for v, k in zip(value, kinds, strict=True) if (f := _fault(v, k))), "")
    if hint in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return "must be a number"
    return "must be finite" if isinstance(value, float) and not math.isfinite(value) else ""


@dataclass(frozen=True)
class Sampling(Settings):
    """How the policy is sampled: K responses per prompt, at most `max_new_tokens` tokens each."""

    samples_per_prompt: Count
    max_new_tokens: Count
    temperature: NotNegative = 0.7
    top_p: Share = 1.0


@dataclass(frozen=True)
class DistilSettings(Settings):
    """Token-level distillation, UOPD Eq. 7–8 and CORE §3.3.

    top_k   teacher tokens kept per position
    beta    mixture of the generalised JSD, which vanishes at 0 and 1
    """

    top_k: Count
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    support: Literal["renorm", "tail", "raw"] = "renorm"
    beta: Annotated[float, Bound(gt=0, lt=1)] = 0.5
    temperature: Positive = 1.0
    scale_by_tau_squared: bool = True
    reduction: Literal["sequence_mean", "token_mean"] = "sequence_mean"
    token_weight: Literal["none", "entropy_gap", "divergence_share"] = "none"


@dataclass(frozen=True)
class ContrastSettings(Settings):
    """The preference term, CORE §3.3. Each form has its own defaults, since its β scales another quantity.

    beta               β; None = 0.1 for `dpo` (the paper's), 2.0 for `simpo` (SimPO's authors: 2.0 to 2.5)
    simpo_margin       γ; None = β/2 (SimPO's authors: start at γ/β = 0.5); refused with another form
    length_normalised  DPO on means over the response instead of sums; SimPO always takes means
    """

    form: Literal["dpo", "simpo"] = "dpo"
    beta: Positive | None = None
    length_normalised: bool = False
    simpo_margin: NotNegative | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form != "simpo" and self.simpo_margin is not None:
            raise ValueError(
                f"ContrastSettings.simpo_margin = {self.simpo_margin}: form {self.form!r} has no margin; leave it out, "
                "or set form to 'simpo'"
            )

    @property
    def beta_in_force(self) -> float:
        """The β that is used: the one given, else the form's own."""
        return self.beta if self.beta is not None else {"dpo": 0.1, "simpo": 2.0}[self.form]

    @property
    def margin_in_force(self) -> float:
        """The γ that SimPO uses: the one given, else β/2."""
        return self.simpo_margin if self.simpo_margin is not None else self.beta_in_force / 2


@dataclass(frozen=True)
class PolicyGradientSettings(Settings):
    """GRPO's clipped policy-gradient term.

    temperature  at which ratio, gradient and the KL to the reference take their log-probabilities: that of the rollouts
                 (`sampling`), whose expected reward is then what the gradient climbs, or 1 whatever the rollouts had
    """

    temperature: Literal["sampling", 1] = "sampling"
    clip_low: Positive = 0.2
    clip_high: Positive = 0.2
    kl_coefficient: NotNegative = 0.0
    reduction: Literal["sequence_mean", "token_mean", "constant"] = "sequence_mean"


@dataclass(frozen=True)
class Losses(Settings):
    """The settings of every loss component; imitation (`Imitate`) is reduced as distillation is.

    mask_truncated_completions  responses cut off at the token budget take part in no loss and in no denominator (TRL's
                                name); their verdicts still count in rewards, accuracies and the `adaptive` mix
    """

    distil: DistilSettings
    contrast: ContrastSettings = ContrastSettings()
    policy_gradient: PolicyGradientSettings = PolicyGradientSettings()
    mask_truncated_completions: bool = False


@dataclass(frozen=True)
class Optimiser(Settings):
    """AdamW and its schedule (`schedule.py`).

    final_fraction      share of the peak learning rate left at the last step
    clip                largest global gradient norm
    micro_batch_tokens  packed tokens in one forward pass
    gradient_checkpointing  keep each layer's input alone and compute the layer again in the backward pass: about a
                            third more computing, and the memory of one layer in place of all of them
    shared_prompts      student, teacher and reference compute the |x| tokens of a prompt once for all its responses of
                        a micro-batch, |x| + Σ|y| tokens in place of Σ(|x| + |y|) (`branches.py`); attention alone takes
                        the prompt for each. Equal to rounding
    """

    lr: Positive
    betas: tuple[float, float] = (0.9, 0.95)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_fraction: Annotated[float, Bound(ge=0, lt=1)] = 0.05
    final_fraction: Annotated[float, Bound(ge=0, le=1)] = 0.0
    clip: Positive = 1.0
    micro_batch_tokens: Count = 16384
    gradient_checkpointing: bool = False
    shared_prompts: bool = False


@dataclass(frozen=True)
class TokenRecords(Settings):
    """What student and teacher say of single tokens while a run trains, kept for a sample of it (`token_records.py`).

    every    steps between recorded ones, the first being step 0; 0 = never
    prompts  so many prompts of a recorded step, the first ones, with all their rollouts and pairs
    """

    every: Annotated[int, Bound(ge=0)] = 20
    prompts: Count = 2


@dataclass(frozen=True)
class Train(Settings):
    """The loop.

    episodes               passes over the training problems, with fresh rollouts each; replaces `steps`
    with_replacement       draw prompts with replacement instead of by shuffled passes
    curve_every            steps between evaluations on the curve split; 0 = never
    component_norms_every  steps between measurements of each loss component's own gradient norm; 0 = never
    part_prompts           prompts that are scored and trained on at once, those of the shortest responses first
                           (`parts.py`); None = all of a step
    stream                 begin with a part when its responses are there, while longer ones are still drawn: the same
                           step to the last bit, in less time where processors would wait
    staleness              1: the rollouts of step t are drawn with the weights before step t - 1, while it trains
                           (`drawing.py`); 0: with those before step t, on-policy
    """

    steps: Count
    prompts_per_step: Count
    episodes: Count | None = None
    with_replacement: bool = False
    curve_every: Annotated[int, Bound(ge=0)] = 0
    checkpoint_every: Count = 20
    component_norms_every: Annotated[int, Bound(ge=0)] = 0
    token_records: TokenRecords = TokenRecords()
    part_prompts: Count | None = None
    stream: bool = False
    staleness: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stream and self.part_prompts is None:
            raise ValueError(
                "Train.stream = True: a step is streamed in parts; set part_prompts, well below prompts_per_step = "
                f"{self.prompts_per_step}"
            )
        if self.stream and self.staleness:
            raise ValueError(
                "Train.stream = True with staleness = 1: rollouts drawn a step ahead are all there when their step "
                "begins, so there is nothing to stream; choose one of the two"
            )

    def total_steps(self, problems: int) -> int:
        """Optimiser steps of a run over `problems` training problems."""
        return self.steps if self.episodes is None else self.episodes * math.ceil(problems / self.prompts_per_step)


@dataclass(frozen=True)
class RunSettings(Settings):
    """All that the loop, its methods and its losses read of a run's configuration.

    curve_tokens  token budget of a greedy response on the curve split
    """

    sampling: Sampling
    losses: Losses
    optimiser: Optimiser
    train: Train
    seed: Annotated[int, Bound(ge=0)] = 0
    curve_tokens: Count = 1

    @property
    def policy_temperature(self) -> float:
        """The temperature of the policy that a policy gradient is taken of (`losses.policy_gradient.temperature`)."""
        return self.sampling.temperature if self.losses.policy_gradient.temperature == "sampling" else 1.0

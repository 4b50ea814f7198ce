"""What a method is, and the open registry of methods.

Everything that tells CORE from UOPD from GRPO from SFT is: which sequences, under which teacher context, with which
weight on which of the four loss components. A method says what it `needs` and maps the groups of one step to a `Batch`;
the loop and the student know no method by name. Add one: subclass `Method`, decorate it with `register`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from artifact.config import Config, ConfigError, Section, checked
from artifact.errors import Mismatch
from artifact.records import COMPONENTS, Example, Group, Problem, Rollout


@dataclass(frozen=True)
class Needs:
    """What a method asks of the loop.

    rollouts         sample the current policy (False: train on given texts alone)
    verdicts         verify each rollout
    teacher          the run's teacher, for anything: scores, samples, fresh responses
    self_teacher     `distil` examples are scored by the frozen *initial student* instead of the teacher
    teacher_samples  the teacher's stored, verified responses (those of its annotation), by problem id
    reference        log-probabilities under the frozen initial student
    uncertainty      the teacher's semantic-entropy weights, by problem id
    gold             it reads ground-truth answers or solutions while training (shown in every comparison)
    """

    rollouts: bool = True
    verdicts: bool = False
    teacher: bool = False
    self_teacher: bool = False
    teacher_samples: bool = False
    reference: bool = False
    uncertainty: bool = False
    gold: bool = False

    @property
    def scorer(self) -> bool:
        """Whether a frozen model has to score examples, or to answer, while the run trains."""
        return self.teacher or self.self_teacher

    @property
    def annotation(self) -> bool:
        """Whether the run reads phase 1: weights, or the samples behind them."""
        return self.uncertainty or self.teacher_samples


def no_teacher_at_hand(problems: Sequence[Problem], how: str, context: str) -> list[tuple[Rollout, ...]]:
    """The `Step.ask_teacher` of a loop that has no teacher: asking is an error, never an empty answer."""
    raise ConfigError(
        f"{len(problems)} problem(s) asked for a teacher response ({how}), but the method declared no teacher; set "
        "Needs(teacher=True)"
    )


@dataclass(frozen=True)
class Step:
    """What a method may look at besides the groups.

    encode(problem, context) gives prompt ids with `none`, `answer` or `solution` in the system message.
    encode_text(text) gives the ids of a response text, end of sequence included; mask_text(text) is False where a tool
    would have written them, None without a tool.
    ask_teacher(problems, how, context) lets the teacher answer now, `generate` or `autoregress` (`actors/teacher.py`),
    reading `context`; gives verified responses, one tuple a problem.
    """

    index: int
    encode: Callable[[Problem, str], tuple[int, ...]]
    encode_text: Callable[[str], tuple[int, ...]]
    weights: Mapping[str, float] = field(default_factory=dict)
    teacher_samples: Mapping[str, Sequence[Rollout]] = field(default_factory=dict)
    mask_text: Callable[[str], tuple[bool, ...] | None] = lambda text: None
    ask_teacher: Callable[[Sequence[Problem], str, str], list[tuple[Rollout, ...]]] = no_teacher_at_hand


@dataclass(frozen=True)
class Batch:
    """The examples of one optimiser step and the coefficient of each loss component that takes part.

    `facts` are numbers to log beside the losses, such as the share of correct rollouts.
    """

    examples: tuple[Example, ...]
    coefficients: dict[str, float]
    facts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.coefficients) - set(COMPONENTS))
        if unknown:
            raise ValueError(f"unknown loss component(s) {unknown}; the components are {COMPONENTS}")


def require_annotated(groups: Sequence[Group], known: Mapping[str, Any], what: str) -> None:
    """Mismatch unless phase 1 says something (`what`) about every problem of the step."""
    missing = [g.problem.id for g in groups if g.problem.id not in known]
    if missing:
        raise Mismatch(
            f"no {what} for problem(s) {missing[:3]} ({len(missing)} in this step): the annotation was made for other "
            "prompts; run `artifact annotate` for this training set"
        )


class NoOptions(Section):
    """Options of a method that has none."""


class Method(ABC):
    """Base of all methods. Subclasses set `needs`, optionally `Options`, and define `batch`."""

    name: ClassVar[str]
    Options: ClassVar[type[Section]] = NoOptions
    needs: Needs = Needs()

    def __init__(self, config: Config) -> None:
        self.config = config
        self.options: Any = checked(self.Options, config.method_options, f"options of method {self.name!r}")

    def weighting(self) -> dict[str, Any]:
        """Which uncertainty weights the method wants (`scheme` and its parameters); only asked if it needs them."""
        return {"scheme": "soft"}

    @abstractmethod
    def batch(self, groups: Sequence[Group], step: Step) -> Batch:
        """The weighted examples of one optimiser step."""


_REGISTRY: dict[str, type[Method]] = {}


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Class decorator: make a method available as `name`. A notebook may register its own; a name is taken only once,
    except by a redefinition of the same class (running a cell again).
    """

    def decorate(cls: type[Method]) -> type[Method]:
        known = _REGISTRY.get(name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise ConfigError(
                f"method name {name!r} is taken by {known.__module__}.{known.__qualname__}; choose another"
            )
        cls.name = name
        _REGISTRY[name] = cls
        return cls

    return decorate


def available() -> list[str]:
    """All method names: one module of this package each, and those registered by users."""
    import artifact.train.methods as package

    shipped = {m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base"}
    return sorted(shipped | set(_REGISTRY))


def make(config: Config) -> Method:
    """The method `config.method` with its options checked; an unknown name is an error that lists the right ones."""
    name = config.method
    if name not in _REGISTRY:
        if name not in available():
            near = difflib.get_close_matches(name, available(), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"unknown method {name!r}; {hint}the methods are: {', '.join(available())}")
        importlib.import_module(f"artifact.train.methods.{name}")
    return _REGISTRY[name](config)

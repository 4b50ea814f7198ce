"""What a method is, and the open registry of methods.

Everything that tells CORE from UOPD from GRPO from SFT is: which sequences, under which teacher context, with which
weight on which of the four loss components. A method says what it `needs` and maps the groups of one step to a `Batch`;
the loop and the student know no method by name.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from artifact.errors import ConfigError, Mismatch
from artifact.records import Group, Problem, Rollout
from artifact.train.examples import COMPONENTS, Example
from artifact.train.settings import RunSettings, Settings


@dataclass(frozen=True)
class Needs:
    """What a method asks of the loop.

    rollouts         sample the current policy (False: train on given texts alone)
    verdicts         verify each rollout
    teacher          the run's teacher, for anything: scores, samples, fresh responses
    self_teacher     `Distil` examples are scored by the frozen *initial student* instead of the teacher
    teacher_answers  fresh responses of the teacher while training (`StepContext.ask_teacher`)
    teacher_samples  the teacher's stored, verified responses (those of its annotation), by problem id
    reference        log-probabilities under the frozen initial student
    uncertainty      the teacher's semantic-entropy weights, by problem id
    gold             it reads ground-truth answers or solutions while training (shown in every comparison)
    contexts         what prompts reveal to the model that scores or answers; a training problem without it stops the
                     run before it starts
    prefers          what prompts reveal in place of it where a problem has that; how many have not is said at the start
    """

    rollouts: bool = True
    verdicts: bool = False
    teacher: bool = False
    self_teacher: bool = False
    teacher_answers: bool = False
    teacher_samples: bool = False
    reference: bool = False
    uncertainty: bool = False
    gold: bool = False
    contexts: tuple[Literal["answer", "solution"], ...] = ()
    prefers: Literal["solution"] | None = None

    @property
    def scorer(self) -> bool:
        """Whether a frozen model has to score examples, or to answer, while the run trains."""
        return self.teacher or self.self_teacher

    @property
    def annotation(self) -> bool:
        """Whether the run reads phase 1: weights, or the samples behind them."""
        return self.uncertainty or self.teacher_samples


Scheme = Literal[
    "uniform", "binary", "soft", "majority", "miller_madow", "chao_shen", "similarity", "shuffled", "verified", "gold"
]
"""How phase 1 becomes a weight; what each means stands in `phase1/weights.py`."""

READS_GOLD: tuple[Scheme, ...] = ("verified", "gold")
"""The schemes that need ground-truth answers."""


@dataclass(frozen=True)
class Weighting:
    """Which weights w(x) of phase 1 a method wants (`phase1/weights.py`): a scheme, with the parameter it reads.

    tau   threshold of `binary` on H / log N
    seed  of the permutation of `shuffled`
    """

    scheme: Scheme = "soft"
    tau: float | None = None
    seed: int | None = None


def no_teacher_at_hand(problems: Sequence[Problem], how: str, context: str) -> list[tuple[Rollout, ...]]:
    """The `StepContext.ask_teacher` of a loop without one: asking is an error, never an empty answer."""
    raise ConfigError(
        f"{len(problems)} problem(s) asked for a teacher response ({how}), but the method declared no such need; set "
        "Needs(teacher=True, teacher_answers=True)"
    )


@dataclass(frozen=True)
class StepContext:
    """What a method may look at besides the groups.

    encode(problem, context) gives prompt ids with `none`, `answer` or `solution` in the system message.
    encode_text(text) gives the ids of a response text, end of sequence included; mask_text(text) is False where a tool
    would have written them, None without a tool.
    weights, teacher_samples are what phase 1 says, by problem id.
    ask_teacher(problems, how, context) lets the teacher answer now, `generate` or `autoregress`, reading `context`;
    gives verified responses, one tuple per problem.
    """

    step: int
    encode: Callable[[Problem, str], tuple[int, ...]]
    encode_text: Callable[[str], tuple[int, ...]]
    weights: Mapping[str, float] = field(default_factory=dict)
    teacher_samples: Mapping[str, Sequence[Rollout]] = field(default_factory=dict)
    mask_text: Callable[[str], tuple[bool, ...] | None] = lambda text: None
    ask_teacher: Callable[[Sequence[Problem], str, str], list[tuple[Rollout, ...]]] = no_teacher_at_hand


@dataclass(frozen=True)
class Batch:
    """The examples of one optimiser step and the coefficient of each loss component that takes part.

    `metrics` are numbers to log beside the losses, such as the share of correct rollouts. An example of a component
    without a coefficient would be left out in silence: that is a ValueError, as is an unknown component.
    """

    examples: tuple[Example, ...]
    coefficients: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.coefficients) - set(COMPONENTS))
        if unknown:
            raise ValueError(f"unknown loss component(s) {unknown}; the components are {COMPONENTS}")
        silent = sorted({e.component for e in self.examples} - set(self.coefficients))
        if silent:
            raise ValueError(f"examples of component(s) {silent} have no coefficient; there are {self.coefficients}")


def require_annotated(groups: Sequence[Group], known: Mapping[str, object], what: str) -> None:
    """Mismatch unless phase 1 says something (`what`) about every problem of the step."""
    missing = [g.problem.id for g in groups if g.problem.id not in known]
    if missing:
        raise Mismatch(
            f"no {what} for problem(s) {missing[:3]} ({len(missing)} in this step): the annotation was made for other "
            "prompts; run `artifact annotate` for this training set"
        )


@dataclass(frozen=True)
class NoOptions(Settings):
    """Options of a method that has none."""


class Method(ABC):
    """Base of all methods. Subclasses set `needs`, optionally `Options` (a dataclass), and define `batch`."""

    name: ClassVar[str]
    Options: ClassVar[type[Settings]] = NoOptions
    needs: Needs = Needs()
    every_rollout: ClassVar[str | None] = None
    """The one component, of coefficient 1, in which every rollout is one example, whatever its verdict; None: what
    takes part is known after the last verdict only (`parts.py`)."""

    def __init__(self, settings: RunSettings, options: Any = None) -> None:
        # Any: an instance of the subclass's own `Options`, which this class cannot name.
        self.settings = settings
        self.options: Any = self.Options() if options is None else options

    def weighting(self) -> Weighting:
        """Which uncertainty weights the method wants; only asked if it needs them."""
        return Weighting()

    @abstractmethod
    def batch(self, groups: Sequence[Group], context: StepContext) -> Batch:
        """The weighted examples of one optimiser step."""

    def trained_on(self, rollouts: Iterable[Rollout]) -> tuple[Rollout, ...]:
        """Those that may take part in a loss: without the truncated ones under `losses.mask_truncated_completions`.

        For responses, of the student or of the teacher, on their way into examples; rewards and shares keep them all.
        The loop refuses a step that trains on one it should not.
        """
        masked = self.settings.losses.mask_truncated_completions
        return tuple(r for r in rollouts if not (masked and r.truncated))


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


def find_method(name: str) -> type[Method]:
    """The class of method `name`; ConfigError lists the right names for an unknown one."""
    if name not in _REGISTRY:
        if name not in available():
            near = difflib.get_close_matches(name, available(), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"unknown method {name!r}; {hint}the methods are: {', '.join(available())}")
        importlib.import_module(f"artifact.train.methods.{name}")
    return _REGISTRY[name]


def make(name: str, settings: RunSettings, **options: object) -> Method:
    """Method `name` with its options checked. A configuration's method is made by `config.make_method`."""
    cls = find_method(name)
    known = [f.name for f in fields(cls.Options)]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"method {name!r} has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}")
    return cls(settings, cls.Options(**options))

"""Processor seconds of a step of on-policy distillation on CPUs, as a function of what is computed in it.

Every phase is a sum of terms, each with a coefficient of its own that is not negative. With N rollouts of x prompt and
y response tokens, E engines, R ranks, B parameters of a model's body and V·H of its head:

    rollout  vLLM's iterations, E · ⌈N / (E · max_num_seqs)⌉ · longest response; the same times the weights they read;
             sampled tokens, rollouts, products, attention
    teacher  the call itself, tokens, products, attention
    student  the ranks, the weights they update, tokens, products, attention
    sync     engines, weights they receive
    rest     the step itself (driver, verifier, log), rollouts, response tokens

products: 2 · (B · N (x + y) + V·H · N y) multiplications and additions, three times that in the student's phase, which
its coefficient takes up; attention: N (x + y)² · width · layers. In the phases of teacher and student N is the number
of different sequences that are scored and trained on, and the teacher's phase has those of the reference too, at the
student's size; where P prompts are shared by their sequences (`optimiser.shared_prompts`), x is x · min(1, P / N). The
coefficients are fitted to measured steps, relative errors squared, and lie with their error in the file of who
measured: processor seconds over sizes in `benchmarks/growth.py`'s, seconds on the clock of stored runs in
`benchmarks/step_time.py`'s; they belong to the machine it names. Left out: GPUs (`gpu_rates.py`), what differs between
losses over the same sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artifact.files import read_json
from artifact.paths import project_root
from artifact.studies.model_shape import shape_of_model

PHASES = ("rollout", "teacher", "student", "sync", "rest")
GIGA = 1e9


@dataclass(frozen=True)
class Size:
    """What a model costs: parameters of body and output head, decoder layers, hidden width."""

    body: int
    head: int
    layers: int
    width: int

    @property
    def weights(self) -> int:
        """Parameters that an iteration reads."""
        return self.body + self.head


@dataclass(frozen=True)
class Shape:
    """What a step computes: `prompt` and `response` are mean tokens of a rollout, `longest` the longest response's.

    scored, trained, referenced  sequences of those lengths that the teacher scores and the student trains on (None: all
                                 rollouts and no others), and that the reference scores
    prompts                      prompts that these compute, each once for all its sequences (None: one a sequence)
    scored_prompt                mean tokens of the prompts that the teacher reads, where they are others
    """

    rollouts: int
    prompt: float
    response: float
    longest: float
    student: Size
    teacher: Size
    engines: int = 1
    ranks: int = 1
    max_num_seqs: int = 256
    scored: float | None = None
    trained: float | None = None
    referenced: float = 0.0
    prompts: float | None = None
    scored_prompt: float | None = None

    @property
    def iterations(self) -> float:
        """Forward passes that the engines make while sampling, over all of them."""
        return self.engines * math.ceil(self.rollouts / (self.engines * self.max_num_seqs)) * self.longest

    def products(self, size: Size, sequences: float, prompt: float) -> float:
        """Operations of a forward pass's matrix products over `sequences`, the head on responses alone; 10⁹."""
        return 2 * sequences * (size.body * (prompt + self.response) + size.head * self.response) / GIGA

    def attention(self, size: Size, sequences: float, prompt: float) -> float:
        """Squared lengths times width and layers, 10⁹."""
        return sequences * (prompt + self.response) ** 2 * size.width * size.layers / GIGA

    def terms(self) -> dict[str, dict[str, float]]:
        """The terms of every phase."""
        sampled, y, n = self.rollouts * self.response, self.response, self.rollouts
        scored = n if self.scored is None else self.scored
        trained = n if self.trained is None else self.trained
        s, t, r = self.student, self.teacher, self.referenced
        x, x_trained, x_r = (self.prompt * share(self.prompts, of) for of in (None, trained, r))
        x_scored = (self.scored_prompt or self.prompt) * share(self.prompts, scored)
        return {
            "rollout": {
                "iteration": self.iterations,
                "weights read": self.iterations * s.weights / GIGA,
                "sampled token": sampled,
                "rollout": self.rollouts,
                "products": self.products(s, n, x),
                "attention": self.attention(s, n, x),
            },
            "teacher": {
                "call": float((scored > 0) + (r > 0)),
                "token": scored * (x_scored + y) + r * (x_r + y),
                "products": self.products(t, scored, x_scored) + self.products(s, r, x_r),
                "attention": self.attention(t, scored, x_scored) + self.attention(s, r, x_r),
            },
            "student": {
                "rank": self.ranks,
                "weights updated": s.weights / GIGA,
                "token": trained * (x_trained + y),
                "products": self.products(s, trained, x_trained),
                "attention": self.attention(s, trained, x_trained),
            },
            "sync": {"engine": self.engines, "weights sent": self.engines * s.weights / GIGA},
            "rest": {"step": 1.0, "rollout": self.rollouts, "response token": sampled},
        }


def share(prompts: float | None, sequences: float | None) -> float:
    """The part of a prompt that each of `sequences` computes when they share `prompts` of them; None: all of it."""
    return min(1.0, prompts / sequences) if prompts is not None and sequences else 1.0


@dataclass(frozen=True)
class Point:
    """A step that was measured: its shape and the processor seconds of its phases."""

    shape: Shape
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Processor seconds of the whole step."""
        return sum(self.seconds[phase] for phase in PHASES)


@dataclass(frozen=True)
class CostModel:
    """Coefficients by phase and term, seconds per unit of the term."""

    coefficients: Mapping[str, Mapping[str, float]]

    def seconds(self, shape: Shape) -> dict[str, float]:
        """Processor seconds of each phase of a step."""
        return {
            phase: sum(self.coefficients[phase][name] * value for name, value in terms.items())
            for phase, terms in shape.terms().items()
        }

    def total(self, shape: Shape) -> float:
        """Processor seconds of a step."""
        return sum(self.seconds(shape).values())

    def errors(self, points: Sequence[Point]) -> list[float]:
        """(predicted − measured) / measured of each point's whole step."""
        return [self.total(p.shape) / p.total - 1 for p in points]


def fit(points: Sequence[Point]) -> CostModel:
    """The coefficients that leave the smallest sum of squared relative errors, phase by phase; none is negative.

    Raises ValueError without points.
    """
    if not points:
        raise ValueError("no measured step to fit to: run benchmarks/growth.py")
    from scipy.optimize import nnls

    fitted: dict[str, dict[str, float]] = {}
    for phase in PHASES:
        names = list(points[0].shape.terms()[phase])
        terms_PK = np.array([[p.shape.terms()[phase][name] for name in names] for p in points])
        measured_P = np.array([max(p.seconds[phase], 1e-6) for p in points])
        relative_PK = terms_PK / measured_P[:, None]
        scale_K = relative_PK.max(0)  # a term's unit must not decide how well the system is conditioned
        found_K, _ = nnls(relative_PK / scale_K, np.ones(len(points)))
        fitted[phase] = dict(zip(names, (found_K / scale_K).tolist(), strict=True))
    return CostModel(fitted)


def size_of(model: str) -> Size:
    """The size of a model by its widths. Raises FileNotFoundError or ConfigError where they are not known here."""
    shape = shape_of_model(model)
    head = shape.vocabulary * shape.hidden
    return Size(shape.parameters - head * (1 if shape.tied else 2), head, shape.layers, shape.hidden)


def shape_of(found: Mapping[str, Any]) -> Shape:
    """The shape in a file's form (`asdict`)."""
    return Shape(**{**found, "student": Size(**found["student"]), "teacher": Size(**found["teacher"])})


@dataclass(frozen=True)
class Measured:
    """What `benchmarks/growth.py` found: the model, its error, and where it holds."""

    model: CostModel
    error: Mapping[str, Any]
    machine: str
    date: str
    largest: int

    def says(self) -> str:
        """Where the model comes from and how far it is off, in a line."""
        out = self.error["held_out"]
        return (
            f"fitted to {self.error['fitted']['n']} steps measured on {self.machine} ({self.date}); over {out['n']} "
            f"steps held out it is off by {out['median']:.0%} in the median, {out['largest']:.0%} at most"
        )


def growth_file() -> Path:
    """Where `benchmarks/growth.py` keeps what it measured."""
    return project_root() / "results" / "benchmarks" / "growth.json"


def measured(path: Path | None = None) -> Measured | None:
    """What the file at `path` (`growth_file`) holds; None where there is none."""
    path = path or growth_file()
    if not path.is_file():
        return None
    found = read_json(path, "measure again by benchmarks/growth.py")
    axes = list(found["axes"].values())
    of, points = axes[0]["provenance"], [p for axis in axes for p in axis["points"]]
    largest = max(shape_of(p["shape"]).student.weights for p in points if not p["held_out"])
    return Measured(CostModel(found["model"]), found["error"], of["cpu"], of["date"][:10], largest)


def as_json(shape: Shape) -> dict[str, Any]:
    """A shape in a file's form."""
    return asdict(shape)

"""What the parts of a step cost on CPUs: the coefficients of `step_cost.py`, a part at a time.

`results/benchmarks/step_time.json` holds seconds on the clock of steps of stored runs (`benchmarks/step_time.py`), by
phase, and the model fitted to some of them: it holds for models of the sizes that were measured, on that machine, with
as many lanes side by side. Left out: processor seconds over sizes (`benchmarks/growth.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from artifact.config import Config
from artifact.files import read_json
from artifact.paths import project_root
from artifact.studies.rates import Decoding, Pass, Rates
from artifact.studies.simulator import Layout
from artifact.studies.step_cost import GIGA, CostModel, Size, size_of


def cpu_rates(model: CostModel, student: Size, scorer: Size) -> Rates:
    """The rates that add up to `model.seconds` of a step."""
    rollout, teacher, own, sync, rest = (
        model.coefficients[p] for p in ("rollout", "teacher", "student", "sync", "rest")
    )
    squared = rollout["attention"] * student.width * student.layers / GIGA
    products = 2 * rollout["products"] / GIGA
    return Rates(
        decoding=Decoding(
            iteration=rollout["iteration"] + rollout["weights read"] * student.weights / GIGA,
            # (x + t + 1)² − (x + t)² = 2 (x + t) + 1: the first part falls on what is cached
            sampled=rollout["sampled token"] + products * student.weights + squared,
            cached=2 * squared,
            prompt=Pass(token=products * student.body, squared=squared),
            sequence=rollout["rollout"],
        ),
        scoring=_pass(teacher, scorer),
        reference=_pass(teacher, student),
        training=_pass(own, student),
        call=teacher["call"],
        update=own["rank"] + own["weights updated"] * student.weights / GIGA,
        sync_engine=sync["engine"] + sync["weights sent"] * student.weights / GIGA,
        step=rest["step"],
        rollout=rest["rollout"],
        token=rest["response token"],
    )


def _pass(terms: Mapping[str, float], size: Size) -> Pass:
    products = 2 * terms["products"] / GIGA
    return Pass(
        terms["token"] + products * size.body,
        products * size.head,
        terms["attention"] * size.width * size.layers / GIGA,
    )


def layout_on_cpu(config: Config) -> Layout:
    """One device a role, which is what its threads are."""
    cluster = config.cluster
    return Layout(
        "cpu",
        tuple(f"engine {i}" for i in range(cluster.engine.count)),
        ("teacher",),
        tuple(f"student {i}" for i in range(cluster.student_workers)),
    )


@dataclass(frozen=True)
class StepTimes:
    """Steps that were measured, and what is fitted to them."""

    model: CostModel
    sizes: frozenset[Size]
    machine: str
    date: str
    lanes: int
    error: dict[str, float]

    def says(self) -> str:
        """Where the model comes from and how far it is off, in a line."""
        e = self.error
        return (
            f"fitted to {e['fitted']:.0f} steps of {e['runs']:.0f} stored runs, {self.lanes} at a time on "
            f"{self.machine} ({self.date}); on their other steps it is off by {e['median']:.0%} in the median run, "
            f"{e['largest']:.0%} at most"
        )


def step_times(path: Path | None = None) -> StepTimes | None:
    """What `benchmarks/step_time.py` wrote; None where there is nothing."""
    path = path or step_time_file()
    if not path.is_file():
        return None
    found = read_json(path, "measure again by benchmarks/step_time.py")
    of = found["provenance"]
    sizes = frozenset(Size(**size) for size in found["sizes"].values())
    return StepTimes(CostModel(found["model"]), sizes, of["cpu"], of["date"][:10], found["lanes"], found["error"])


def step_time_file() -> Path:
    """Where `benchmarks/step_time.py` keeps what it found."""
    return project_root() / "results" / "benchmarks" / "step_time.json"


def sizes_of(config: Config) -> tuple[Size, Size]:
    """The student, and what scores: raises FileNotFoundError or ConfigError where a model is not known here."""
    own = size_of(config.models.student)
    return own, own if config.make_method().needs.self_teacher else size_of(config.teacher_path)

"""How a step of on-policy distillation grows: with rollouts, response length, model size, engines and ranks.

    python benchmarks/growth.py                          # all axes
    python benchmarks/growth.py --axis rollouts          # one; the file keeps what it holds of the others
    python benchmarks/growth.py --fit                    # fit again, measure nothing
    python benchmarks/growth.py --table                  # the tables of docs/speed.md

One thread for each actor, random weights, responses of exactly the length that is asked for. Every point is a run of
its own through the product's loop; its first step is not counted. The points of an axis are visited twice, the second
time backwards, so that whatever else the machine does falls on all of them alike. The model behind `artifact plan`
(`studies/step_cost.py`) is fitted to the points; those held out tell its error.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact.config import Config, load
from artifact.files import write_json
from artifact.studies.step_cost import PHASES, Point, Shape, Size, as_json, fit, growth_file, shape_of, size_of
from measuring import report
from measuring.meter import KINDS

WARM_UP = 1
PASSES = 2
SAMPLES = 4


@dataclass(frozen=True)
class Ask:
    """A point to measure: rollouts a step, tokens of a response, hidden width, engines, ranks; held out of the fit."""

    rollouts: int = 128
    length: int = 48
    width: int = 64
    engines: int = 1
    ranks: int = 1
    held_out: bool = False


AXES = {
    "rollouts": [Ask(n) for n in (32, 64, 128, 256, 512, 1024)] + [Ask(384, 24, held_out=True)],
    "length": [Ask(length=n) for n in (12, 24, 96, 192, 384)] + [Ask(64, 144, held_out=True)],
    "width": [Ask(32, width=n) for n in (128, 256, 512)] + [Ask(64, 24, width=192, held_out=True)],
    "engines": [Ask(n, engines=2) for n in (32, 128, 512)] + [Ask(256, 24, engines=2, held_out=True)],
    "ranks": [Ask(n, ranks=2) for n in (32, 128, 512)] + [Ask(256, 24, ranks=2, held_out=True)],
}
TOY = {"rollouts": [Ask(8, 4), Ask(16, 8), Ask(8, 8, held_out=True)]}


def config_of(ask: Ask, student: str, teacher: str, steps: int) -> Config:
    """The run whose steps are measured: the embedded tier's settings, these models, this much work."""
    from measuring.ours import PLAIN

    return load(
        "tiny",
        {
            **PLAIN,
            "models.student": student,
            "models.teachers": {"A": teacher},
            "cluster.engine.count": ask.engines,
            "cluster.student_workers": ask.ranks,
            "sampling.samples_per_prompt": SAMPLES,
            "sampling.max_new_tokens": ask.length,
            "train.prompts_per_step": ask.rollouts // SAMPLES,
            "train.steps": steps,
            "optimiser.lr": 1e-9,  # the weights stay as they are
        },
    )


def measure(axis: str, asks: Sequence[Ask], steps: int) -> list[dict[str, Any]]:
    """The points of an axis, each with its quartiles over `PASSES` × `steps` steps."""
    from artifact.studies.store import actors_of
    from measuring import ours
    from measuring.models import random_model

    now = report.Provenance()
    found: dict[Ask, list[dict[str, Any]]] = {ask: [] for ask in asks}
    sizes: dict[int, Size] = {}
    with tempfile.TemporaryDirectory() as scratch, actors_of(0):
        models = {
            width: [random_model(Path(scratch) / f"{width}-{seed}", width, seed) for seed in (0, 1)]
            for width in {ask.width for ask in asks}
        }
        for i in range(PASSES):
            for ask in asks[:: -1 if i % 2 else 1]:
                student, teacher = models[ask.width]
                sizes[ask.width] = size_of(student)
                config = config_of(ask, student, teacher, WARM_UP + steps)
                made = ours.measured_steps(config, ours.open_step(config), to_the_end=True)[WARM_UP:]
                found[ask] += made
                total = report.mean_step(made)["processor"]["total"]
                print(f"{axis}: {ask}: {total:.2f} processor seconds a step", flush=True)
    provenance = now()
    return [point(axis, ask, sizes[ask.width], made, provenance) for ask, made in found.items()]


def point(
    axis: str, ask: Ask, size: Size, steps: Sequence[dict[str, Any]], provenance: dict[str, Any]
) -> dict[str, Any]:
    """A measured point in the file's form."""
    mean = report.mean_step(steps)
    shape = Shape(
        ask.rollouts,
        mean["prompt_tokens"] / mean["rollouts"],
        mean["response_tokens"] / mean["rollouts"],
        mean["longest"],
        size,
        size,
        ask.engines,
        ask.ranks,
        load("tiny").cluster.engine.max_num_seqs,
    )
    return {
        "axis": axis,
        "held_out": ask.held_out,
        "shape": as_json(shape),
        "n": len(steps),
        **report.by_phase(steps),
        "provenance": provenance,
    }


def fitted(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The file: points, the coefficients fitted to those not held out, and the error on both kinds."""
    at = {held: [as_point(p) for p in points if p["held_out"] == held] for held in (False, True)}
    model = fit(at[False])

    def error(of: Sequence[Point]) -> dict[str, float]:
        absolute = [abs(e) for e in model.errors(of)]
        return {"n": len(of), "median": report.quartiles(absolute)["median"], "largest": max(absolute)}

    errors = {"fitted": error(at[False]), "held_out": error(at[True])}
    said = [p | {"predicted": model.total(shape_of(p["shape"]))} for p in points]
    return {"points": said, "model": model.coefficients, "error": errors}


def as_point(found: dict[str, Any]) -> Point:
    """A point of the file in the form that the model is fitted to."""
    return Point(shape_of(found["shape"]), {phase: found["processor"][phase]["median"] for phase in PHASES})


def table(found: dict[str, Any]) -> str:
    """The tables of docs/speed.md, made of a file's contents."""
    error, lines = found["error"], []
    for axis in dict.fromkeys(p["axis"] for p in found["points"]):
        points = [p for p in found["points"] if p["axis"] == axis]
        rows = []
        for p in points:
            s = shape_of(p["shape"])
            rows.append(
                [
                    f"{s.rollouts:,} × {s.response:.0f}" + (", held out" if p["held_out"] else ""),
                    f"{s.student.weights / 1e6:.2f}",
                    f"{s.engines}, {s.ranks}",
                    *(f"{p['processor'][phase]['median']:.2f}" for phase in PHASES),
                    *(report.with_interval(p[kind]["total"]) for kind in KINDS),
                    f"{p['predicted']:.2f}",
                ]
            )
        header = [
            "rollouts × tokens",
            "10⁶ weights",
            "engines, ranks",
            *PHASES,
            *(f"step, {k}" for k in KINDS),
            "model",
        ]
        lines += [
            f"Along {axis}, n = {points[0]['n']} steps; {report.machine(points[0]['provenance'])}",
            "",
            *report.table(header, rows),
            "",
        ]
    lines.append(
        f"The model is off by {error['fitted']['median']:.0%} in the median and {error['fitted']['largest']:.0%} at "
        f"most on the {error['fitted']['n']} steps it is fitted to, by {error['held_out']['median']:.0%} and "
        f"{error['held_out']['largest']:.0%} on the {error['held_out']['n']} held out."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure the axes asked for, fit the model to all that the file then holds, write it and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=AXES, nargs="+", default=list(AXES), help="axes to measure (all)")
    parser.add_argument("--steps", type=int, default=2, help="steps of a pass that are counted (2)")
    parser.add_argument("--out", type=Path, default=growth_file(), help="the JSON file to write")
    parser.add_argument("--toy", action="store_true", help="a few tokens: that the script runs")
    parser.add_argument("--fit", action="store_true", help="measure nothing: fit to the points of the file")
    parser.add_argument("--table", action="store_true", help="print the file as the tables of docs/speed.md")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(report.known(arguments.out)))
        return
    points = report.known(arguments.out).get("points", [])
    asked = TOY if arguments.toy else {axis: AXES[axis] for axis in arguments.axis}
    for axis, asks in () if arguments.fit else asked.items():
        made = measure(axis, asks, 1 if arguments.toy else arguments.steps)
        points = [p for p in points if p["axis"] != axis] + made
        write_json(arguments.out, fitted(points))
    if arguments.fit:
        write_json(arguments.out, fitted(points))
    print(table(report.known(arguments.out)))


if __name__ == "__main__":
    main()

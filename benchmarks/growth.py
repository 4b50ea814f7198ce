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
from artifact.studies.step_cost import PHASES, Point, Shape, as_json, fit, growth_file, shape_of
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


def measure(asks: Sequence[Ask], steps: int) -> dict[str, Any]:
    """An axis: its points, each with quartiles over `PASSES` × `steps` steps, and their provenance."""
    from artifact.config import load
    from artifact.studies.store import actors_of
    from measuring import ours
    from measuring.models import random_model

    now, tier = report.Provenance(), load("tiny")
    found: dict[Ask, list[dict[str, Any]]] = {ask: [] for ask in asks}
    shapes: dict[Ask, Shape] = {}
    with tempfile.TemporaryDirectory() as scratch, actors_of(tier, tier.models.student):
        models = {
            width: [random_model(Path(scratch) / f"{width}-{seed}", width, seed) for seed in (0, 1)]
            for width in {ask.width for ask in asks}
        }
        for i in range(PASSES):
            for ask in asks[:: -1 if i % 2 else 1]:
                config = config_of(ask, *models[ask.width], WARM_UP + steps)
                made = ours.measured_steps(config, ours.open_step(config), to_the_end=True)[WARM_UP:]
                found[ask] += made
                mean = report.mean_step(found[ask])
                shapes[ask] = ours.shape_of_step(config, mean)
                print(f"{ask}: {mean['processor']['total']:.2f} processor seconds a step", flush=True)
    points = [
        {"held_out": ask.held_out, "shape": as_json(shapes[ask]), "n": len(made), **report.by_phase(made)}
        for ask, made in found.items()
    ]
    return {"provenance": now(), "points": points}


def fitted(axes: dict[str, Any], pairs: dict[str, Any]) -> dict[str, Any]:
    """The file: axes, coefficients fitted to the points not held out, and their error on both kinds of points.

    pairs  what `onpolicy_step.py` measured: steps of trained models, for which the error is stated too
    """
    points = [p for axis in axes.values() for p in axis["points"]]
    at = {held: [as_point(p) for p in points if p["held_out"] == held] for held in (False, True)}
    model = fit(at[False])

    def error(of: Sequence[Point]) -> dict[str, float]:
        absolute = [abs(e) for e in model.errors(of)]
        return {"n": len(of), "median": report.quartiles(absolute)["median"], "largest": max(absolute)}

    for p in points:
        p["predicted"] = model.total(shape_of(p["shape"]))
    trained = {
        name: model.errors([as_point({"shape": pair["shape"], **pair["sides"]["ours"]})])[0]
        for name, pair in pairs.items()
        if "shape" in pair
    }
    errors = {"fitted": error(at[False]), "held_out": error(at[True]), "trained": trained}
    return {"axes": axes, "model": model.coefficients, "error": errors}


def as_point(found: dict[str, Any]) -> Point:
    """A point of the file in the form that the model is fitted to."""
    return Point(shape_of(found["shape"]), {phase: found["processor"][phase]["median"] for phase in PHASES})


def table(found: dict[str, Any]) -> str:
    """The tables of docs/speed.md, made of a file's contents."""
    header = ["rollouts × tokens", "10⁶ weights", "engines, ranks", *PHASES, *(f"step, {k}" for k in KINDS), "model"]
    lines = []
    for name, axis in ((name, found["axes"][name]) for name in AXES if name in found["axes"]):
        rows = []
        for p in axis["points"]:
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
        said = f"Along {name}, n = {axis['points'][0]['n']} steps. {report.machine(axis['provenance'])}"
        lines += [said, "", *report.table(header, rows), ""]
    near, out = found["error"]["fitted"], found["error"]["held_out"]
    lines.append(
        f"The model is off by {near['median']:.0%} in the median and {near['largest']:.0%} at most on the {near['n']} "
        f"points it is fitted to, by {out['median']:.0%} and {out['largest']:.0%} on the {out['n']} held out."
    )
    for name, error in found["error"]["trained"].items():
        lines.append(f"Of the trained pair `{name}` it says {error:+.0%} of what was measured.")
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
        print(report.shown(arguments.out, table, "python benchmarks/growth.py"))
        return
    axes, pairs = report.known(arguments.out).get("axes", {}), report.known(report.FOLDER / "onpolicy_step.json")
    asked = TOY if arguments.toy else {axis: AXES[axis] for axis in arguments.axis}
    for axis, asks in () if arguments.fit else asked.items():
        axes[axis] = measure(asks, 1 if arguments.toy else arguments.steps)
        write_json(arguments.out, fitted(axes, pairs))
    if arguments.fit:
        write_json(arguments.out, fitted(axes, pairs))
    print(table(report.known(arguments.out)))


if __name__ == "__main__":
    main()

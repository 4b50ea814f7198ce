"""What overlapping saves: a step in parts, streamed while its rollouts are drawn, or on rollouts drawn a step ahead.

    python benchmarks/overlap.py              # plain distillation on the embedded pair
    python benchmarks/overlap.py --table      # the table of docs/speed.md

The forms take turns, each in a run of its own from the base weights, and every run draws the same number of rollouts.
The first step of a run is not counted; with `train.staleness` the last is not either, since nothing is drawn ahead in
it. A form counts by its time over that of whole steps in the same turn; what is shown is the median of these ratios.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from artifact.config import Config, load
from artifact.files import write_json
from measuring import report
from measuring.meter import KINDS

OUT = report.FOLDER / "overlap.json"
FORMS: dict[str, dict[str, Any]] = {
    "whole steps": {},
    "in parts": {"train.part_prompts": 8},
    "streamed": {"train.part_prompts": 8, "train.stream": True},
    "a step ahead": {"train.staleness": 1},
}
"""What the configuration of each form says beyond the tier; the first is what the others are compared with."""
TOY = {"train.prompts_per_step": 4, "sampling.samples_per_prompt": 2, "train.part_prompts": 2}


def config_of(form: str, steps: int, toy: bool) -> Config:
    """The run whose steps are measured."""
    from measuring.ours import PLAIN

    changes = {**PLAIN, **FORMS[form], "train.steps": steps}
    if toy:
        changes |= {name: value for name, value in TOY.items() if name != "train.part_prompts" or name in FORMS[form]}
    return load("tiny", changes)


def measure(repetitions: int, steps: int, toy: bool) -> dict[str, Any]:
    """Seconds of a step by form and kind of time, and their ratios to the first form's, turn by turn."""
    from measuring.ours import measured_steps, open_step

    provenance = report.Provenance()
    actors = open_step(config_of("whole steps", steps, toy))
    seconds: dict[str, dict[str, list[float]]] = {form: {kind: [] for kind in KINDS} for form in FORMS}
    for turn in range(repetitions):
        for form in FORMS if turn % 2 == 0 else reversed(FORMS):
            found = report.mean_step(measured_steps(config_of(form, steps, toy), actors)[1:-1])
            for kind in KINDS:
                seconds[form][kind].append(found[kind]["total"])
    first = seconds["whole steps"]
    forms = {
        form: {
            kind: {
                "seconds": report.quartiles(of[kind]),
                "ratio": report.quartiles([a / b for a, b in zip(of[kind], first[kind], strict=True)]),
            }
            for kind in KINDS
        }
        for form, of in seconds.items()
    }
    return {"repetitions": repetitions, "steps": steps - 2, "forms": forms, "provenance": provenance()}


def table(found: dict[str, Any]) -> str:
    """What was measured, as the table of `docs/speed.md`."""
    part = found["opd"]
    rows = [
        (
            form,
            *(
                report.with_interval(part["forms"][form][kind][what], 2)
                for kind in KINDS
                for what in ("seconds", "ratio")
            ),
        )
        for form in FORMS
    ]
    header = ("form", *(f"{kind}, {what}" for kind in KINDS for what in ("seconds a step", "over whole steps")))
    said = f"{part['repetitions']} turns of {part['steps']} steps each. {report.machine(part['provenance'])}"
    return "\n".join([*report.table(header, rows), "", said])


def main() -> None:
    """Measure all forms, write the file and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=8, help="turns (8)")
    parser.add_argument("--steps", type=int, default=6, help="steps of a run, first and last not counted (6)")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file to write")
    parser.add_argument("--toy", action="store_true", help="a few rollouts: that the script runs")
    parser.add_argument("--table", action="store_true", help="print the file as the table of docs/speed.md")
    arguments = parser.parse_args()
    if not arguments.table:
        write_json(arguments.out, {"opd": measure(arguments.repetitions, arguments.steps, arguments.toy)})
    print(report.shown(arguments.out, table, "python benchmarks/overlap.py"))


if __name__ == "__main__":
    main()

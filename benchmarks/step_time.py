"""How long a step takes: that of stored runs on this machine, and that of the GPU tiers by what is known of an H100.

    python benchmarks/step_time.py --train 2    # two runs of each kind on the embedded tier, one at a time
    python benchmarks/step_time.py              # steps of the finished runs in results/runs, and a model fitted to them
    python benchmarks/step_time.py --table      # the tables of docs/gpu.md

Runs side by side wait for one another as chance has it: the same step took from half to twice the median. So those of
`--train` are alone, in a results folder without runs (`ARTIFACT_RESULTS`) and on a quiet machine. Kept are, of the
methods of `STUDIES` with their options, the first runs to finish of each teacher and sampling; of the steps every other
one is fitted to, the rest tell the error. The first step of a run and those that measure gradient norms as well are not
counted, nor methods whose teacher answers while training. What is kept of a step: its seconds by phase, the lengths of
its responses, and how many sequences were scored and trained on (`studies/step_load.py`, by the stored verdicts), one
that nobody sampled as so many of the rollouts' mean length as it has tokens.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

from artifact.config import Config, load
from artifact.files import read_json, read_json_lines, write_json
from artifact.paths import results_dir
from artifact.records import Rollout, read_parquet
from artifact.studies import runner, store
from artifact.studies.cpu_rates import cpu_rates, layout_on_cpu, sizes_of, step_time_file
from artifact.studies.inputs import build_inputs, problems_of, tokenizer_of
from artifact.studies.simulate import assumed, compared, simulated
from artifact.studies.simulator import Work, sequential
from artifact.studies.step_cost import PHASES, CostModel, Point, Shape, Size, fit, share
from artifact.studies.step_load import load_of, prompts_shared
from artifact.studies.study import load_study
from measuring import report

MEAN_RESPONSE = 3000
"""Tokens of a response that the design assumes of the papers' first pair, at most 4,096 each."""

FITTED, HELD_OUT = slice(0, None, 2), slice(1, None, 2)
"""The steps of a run, in turn."""

STUDIES = ("uopd", "uopd_methods", "uopd_rollouts", "core")
"""The comparisons that the main tables show."""

EACH, STEPS = 3, 12
"""Runs of a kind that are kept, and the steps of each."""

ALONE: dict[str, Any] = {
    "cluster.lanes": 1,
    "train.curve_every": 0,
    "train.component_norms_every": 0,
    "evaluation.final": ["evaluation[:8]"],
}
"""What a run of `--train` says beyond the tier."""

LAYOUTS = [("colocated", 1), *((name, gpus) for gpus in (4, 16, 64) for name in ("separate", "colocated"))]


def train(runs: int) -> None:
    """So many runs of every kind that is kept, with the first seeds, one after the other."""
    seen = Counter[str]()
    for study in STUDIES:
        for cell, config in load_study(study).runs("tiny", ALONE):
            kind, needs = kind_of(config), config.make_method().needs
            if seen[kind] < runs and needs.rollouts and not needs.teacher_answers:
                seen[kind] += 1
                runner.run(config, label=cell.label, cell=cell.id)


def kind_of(config: Config) -> str:
    """What the runs have in common that are taken for repetitions."""
    return f"{config.method} {config.method_options} {config.teacher} {config.sampling}"


def steps_of(folder: Path, config: Config) -> Iterator[dict[str, Any]]:
    """The steps of a run that count."""
    rollouts: dict[int, dict[str, list[Rollout]]] = {}
    for path in store.files(folder, "rollouts/*.parquet"):
        for r in read_parquet(path, Rollout):
            rollouts.setdefault(r.policy_version, {}).setdefault(r.problem_id, []).append(r)
    one = config.model_copy(update={"train": replace(config.train, prompts_per_step=1)})
    k = config.sampling.samples_per_prompt
    of_correct = [load_of(one, c) for c in range(k + 1)]
    solutions, under = solution_tokens(config), {load.scored_under for load in of_correct if load is not None}
    read = prompts_under(config, under.pop() if len(under) == 1 else "none")
    for row in read_json_lines(folder / "metrics.jsonl", "run it again"):
        groups = rollouts.get(row["step"], {})
        flat = [r for group in groups.values() for r in group]
        found = [
            of_correct[sum(bool(r.verdict and r.verdict.correct) for r in g)] for g in groups.values() if len(g) == k
        ]
        if (
            not row["step"]
            or not flat
            or len(found) < len(groups)
            or any(name.startswith("grad_norm/") for name in row)
        ):
            continue
        whole = [load for load in found if load is not None]
        lengths = [len(r.response_ids) for r in flat]
        prompt, mean = fmean(len(r.prompt_ids) for r in flat), fmean(lengths)
        scored = row["teacher_tokens"] / mean
        given = [
            load.given * ((prompt + solutions[problem]) / (prompt + mean) - 1)
            for problem, load in zip(groups, found, strict=True)
            if load is not None and load.given
        ]
        yield {
            "seconds": {p: row[f"seconds/{p}"] for p in ("rollout", "teacher", "student", "sync")}
            | {"rest": row["seconds/verify"] + row["seconds/method"]},
            "lengths": " ".join(f"{length}*{n}" for length, n in sorted(Counter(lengths).items())),
            "prompt": prompt,
            "scored_prompt": fmean(read[problem] for problem in groups),
            "prompts": prompts_shared(config),
            "scored": scored,
            "referenced": sum(load.referenced for load in whole) + sum(given) * any(load.referenced for load in whole),
            "trained": sum(load.trained - load.scored for load in whole) + scored + sum(given),
        }


def solution_tokens(config: Config) -> dict[str, int]:
    """Tokens of every training problem's reference solution as a response, by problem."""
    problems = problems_of(config.task, config.task.train_split, config.task.train_limit)
    solved = [p for p in problems if p.solution]
    found = tokenizer_of(config.models.student)([p.solution for p in solved], add_special_tokens=False)
    return {p.id: len(ids) + 1 for p, ids in zip(solved, found["input_ids"], strict=True)}


def prompts_under(config: Config, context: str) -> dict[str, int]:
    """Tokens of every training problem's prompt under a context, by problem."""
    inputs = build_inputs(config)
    return {p.id: len(inputs.encode(p, context)) for p in inputs.train}


def finished_runs(folder: Path) -> Iterator[tuple[Path, Config, dict[str, Any]]]:
    """The runs of the methods of `STUDIES` on the tier's own task, in the order in which they finished, each with its
    `run_info`.
    """
    found, wanted = [], [(cell.method, cell.options) for name in STUDIES for cell in load_study(name).cells]
    for path in folder.iterdir():
        manifest = store.read_manifest(path)
        of = {} if manifest is None else manifest.get("config", {})
        own = of.get("task", {}).get("name") == load("tiny").task.name  # not a run in another tier's settings
        if manifest is not None and own and (of.get("method"), of.get("method_options")) in wanted:
            info = read_json(path / "run_info.json", "run it again")
            found.append((info["finished"], path, Config.model_validate(of), info))
    for _, *run in sorted(found, key=lambda of: of[:2]):
        yield tuple(run)  # type: ignore[misc]


def collect(folder: Path) -> dict[str, Any]:
    """The file: runs with their steps, the model, its error over the runs held out."""
    runs, sizes, kinds, made = [], {}, Counter[str](), []
    for path, config, info in finished_runs(folder):
        kind, needs = kind_of(config), config.make_method().needs
        if kinds[kind] == EACH or not needs.rollouts or needs.teacher_answers:
            continue
        if not (steps := list(islice(steps_of(path, config), STEPS))):
            continue
        kinds[kind] += 1
        own, scorer = sizes_of(config)
        sizes |= {config.models.student: asdict(own), config.teacher_path: asdict(scorer)}
        made.append((config.cluster.lanes, info))
        named = {"method": config.method, "options": config.method_options, "teacher": config.teacher}
        scored_by = config.models.student if needs.self_teacher else config.teacher_path
        named |= {"seed": config.seed, "student_model": config.models.student, "scorer_model": scored_by}
        runs.append({**named, "steps": steps})
    model = fit([point(run, sizes) for run in runs])
    errors = [abs(simulated_run(run, model, sizes) / measured_run(run, HELD_OUT) - 1) for run in runs]
    error = {"fitted": sum(len(run["steps"][FITTED]) for run in runs), "runs": len(runs)}
    error |= {"median": median(errors), "largest": max(errors)}
    lanes = {n for n, _ in made}
    return {
        "provenance": provenance([info for _, info in made]),
        "lanes": one_of(lanes, "lanes"),
        "model": model.coefficients,
        "error": error,
        "sizes": sizes,
        "runs": runs,
    }


def provenance(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """The machine and the commit of the runs, which are one, and the day of the last of them."""
    of = {name: one_of({info["hardware"][name] for info in infos}, name) for name in ("cpu", "cores", "memory_gib")}
    commits = sorted({str(info["git"]["commit"])[:12] for info in infos})
    return of | {"date": max(info["finished"] for info in infos), "commits": commits}


def one_of(values: set[Any], what: str) -> Any:
    """The one value that all runs have."""
    if len(values) != 1:
        raise SystemExit(f"the runs are of several {what}, {sorted(values)}; the steps of one setting are wanted")
    return next(iter(values))


def size(sizes: dict[str, Any], name: str) -> Size:
    """The size of a model of the file."""
    return Size(**sizes[name])


def point(run: dict[str, Any], sizes: dict[str, Any]) -> Point:
    """A run as one point: its mean step, and the median step's seconds, shared out as the medians of the phases are."""
    steps = run["steps"][FITTED]
    flat = [n for s in steps for n in lengths_of(s)]
    mean = {
        name: fmean(s[name] for s in steps) for name in ("prompt", "scored_prompt", "scored", "referenced", "trained")
    }
    shape = Shape(
        rollouts=len(lengths_of(steps[0])),
        prompt=mean["prompt"],
        response=fmean(flat),
        longest=fmean(lengths_of(s)[-1] for s in steps),
        student=size(sizes, run["student_model"]),
        teacher=size(sizes, run["scorer_model"]),
        scored=mean["scored"],
        trained=mean["trained"],
        referenced=mean["referenced"],
        prompts=steps[0].get("prompts"),
        scored_prompt=mean["scored_prompt"],
    )
    medians = {phase: median(s["seconds"][phase] for s in steps) for phase in PHASES}
    scale = measured_run(run, FITTED) / sum(medians.values())  # a median of sums is more than the sum of medians
    return Point(shape, {phase: scale * seconds for phase, seconds in medians.items()})


def lengths_of(step: dict[str, Any]) -> list[int]:
    """The lengths of a stored step's responses, the shortest first."""
    counts = (pair.split("*") for pair in step["lengths"].split())
    return [int(length) for length, n in counts for _ in range(int(n))]


def work_of(step: dict[str, Any]) -> Work:
    """A stored step as the simulator's work; sequences beside the rollouts have their mean length."""
    rollouts = tuple((step["prompt"], n) for n in lengths_of(step))

    def sequences(n: float, prompt: float = step["prompt"]) -> tuple[tuple[float, int], ...]:
        chosen = (rollouts[round(i * len(rollouts) / n) % len(rollouts)] for i in range(round(n)))
        return tuple((prompt * share(step.get("prompts"), n), response) for _, response in chosen)

    scored = sequences(step["scored"], step["scored_prompt"])
    return Work(rollouts, scored, sequences(step["referenced"]), sequences(step["trained"]), 10**9, 256)


def simulated_run(run: dict[str, Any], model: CostModel, sizes: dict[str, Any]) -> float:
    """Median seconds of the run's held-out steps as they are simulated."""
    rates = cpu_rates(model, size(sizes, run["student_model"]), size(sizes, run["scorer_model"]))
    layout = layout_on_cpu(load("tiny"))
    return median(sequential(work_of(step), rates, layout).seconds for step in run["steps"][HELD_OUT])


def measured_run(run: dict[str, Any], steps: slice) -> float:
    """Median seconds of these steps of a run as they were measured."""
    return median(sum(step["seconds"].values()) for step in run["steps"][steps])


def table(found: dict[str, Any]) -> str:
    """The tables of docs/gpu.md: steps of the papers' first pair on H100s; of stored runs, beside their simulation."""
    config = load("paper", {"method": "opd"})
    phases = ["rollout", "teacher", "student", "sync", "switch"]
    header = ["layout", "GPUs", "order", *phases, "step, s", "GPUs busy", "GPU-seconds"]
    rows = []
    for r in compared(config, LAYOUTS, MEAN_RESPONSE).to_dict("records"):
        seconds = [f"{r[name]:.1f}" for name in (*phases, "step")]
        rows.append([r["layout"], str(r["gpus"]), r["order"], *seconds, f"{r['used']:.0%}", f"{r['spent_s']:,.0f}"])
    at_most = simulated(config, "colocated", 4).seconds
    lines = [
        assumed(config, MEAN_RESPONSE),
        "",
        *report.table(header, rows),
        "",
        f"With every response at the budget, the colocated step on 4 GPUs takes {at_most:.1f} s.",
    ]
    return "\n".join([*lines, *(["", *reproduced(found)] if found else [])])


def reproduced(found: dict[str, Any]) -> list[str]:
    """Steps held out beside their simulation, the mean over runs of their median step."""
    of = found["provenance"]
    model, sizes = CostModel(found["model"]), found["sizes"]
    runs = found["runs"]
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        alike = [run for run in runs if run["method"] == method]
        ours, theirs = (
            fmean(simulated_run(r, model, sizes) for r in alike),
            fmean(measured_run(r, HELD_OUT) for r in alike),
        )
        rows.append([method, str(len(alike)), f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs - 1:+.0%}"])
    return [
        f"The embedded tier, {found['lanes']} run(s) at a time on {of['cpu']}, {of['cores']} cores, "
        f"{of['memory_gib']} GiB; {of['date'][:10]}, commit {', '.join(of['commits'])}; fitted to "
        f"{found['error']['fitted']} other steps of the same runs.",
        "",
        *report.table(["method", "runs", "step measured, s", "simulated, s", "off by"], rows),
    ]


def main() -> None:
    """Collect and fit, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=results_dir() / "runs", help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=step_time_file(), help="the JSON file to write, or to show")
    parser.add_argument(
        "--train", type=int, default=0, metavar="N", help="first train N runs of each kind, one at a time"
    )
    parser.add_argument("--table", action="store_true", help="print the file as the tables of docs/gpu.md")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(report.known(arguments.out)))
        return
    train(arguments.train)
    write_json(arguments.out, collect(arguments.runs))
    print(table(report.known(arguments.out)))


if __name__ == "__main__":
    main()

"""One step of on-policy distillation: ours, TRL's DistillationTrainer, and the loop a newcomer would write.

    python benchmarks/onpolicy_step.py                       # both pairs
    python benchmarks/onpolicy_step.py --pair smollm2        # one; the file keeps the other
    python benchmarks/onpolicy_step.py --table               # the tables of docs/speed.md

One thread each, the same student, teacher, prompts, number of rollouts, temperature and token budget, AdamW, forward
KL. TRL samples by transformers' `generate` and compares whole vocabularies, and so does the plain loop
(`measuring/peers.py`); ours samples by vLLM and moves the teacher's top-k through Ray. The sides take turns, each in
processes of its own that stay alive, and every repetition starts from the same weights; the first is not counted, nor
is the first step of each where steps are short. A repetition counts by the mean of its steps, a side by the median of
its repetitions. Processor time is that of all processes of a side.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from artifact.config import Config, load
from artifact.files import write_json
from artifact.paths import project_root, resolve_model
from artifact.studies.step_cost import as_json
from artifact.train.inputs import prompt_order
from measuring import ANSWER, report
from measuring.meter import KINDS, memory_gib

TRL = "trl==1.16.0"
TRL_FOLDER = project_root() / ".venv-trl"
INSTALL = f"python -m pip install --no-deps --target {TRL_FOLDER.name} {TRL}"
OUT = report.FOLDER / "onpolicy_step.json"
SIDES = ("ours", "trl", "generate")
NAMES = {"ours": "this artifact", "trl": "TRL's DistillationTrainer", "generate": "a plain `generate` loop"}
PHASES = ("rollout", "teacher", "student", "sync", "rest")


@dataclass(frozen=True)
class Pair:
    """Student and teacher of a tier, and how much is measured of them; the `warm_up` of a repetition is not counted."""

    tier: str
    repetitions: int
    steps: int
    warm_up: int
    settings: dict[str, Any] = field(default_factory=dict)


PAIRS = {
    "tiny": Pair("tiny", 5, 3, 1),
    "smollm2": Pair(
        "cpu-llm",
        3,
        1,
        0,
        {
            # The embedded world's problems: nothing but the models is fetched, and the answers do not matter here.
            "task.name": "tinymath",
            "task.template": None,
            "task.train_split": "train",
            "evaluation.final": ["evaluation"],
            "train.prompts_per_step": 2,
            "sampling.samples_per_prompt": 2,
            "sampling.max_new_tokens": 96,
        },
    ),
}
TOY = {"train.prompts_per_step": 2, "sampling.samples_per_prompt": 2, "sampling.max_new_tokens": 8}


def config_of(pair: Pair, steps: int, settings: dict[str, Any]) -> Config:
    """The run whose steps are measured."""
    from measuring.ours import PLAIN

    return load(pair.tier, {**PLAIN, **pair.settings, **settings, "train.steps": steps})


def job_of(config: Config, side: str) -> dict[str, Any]:
    """What a peer is told: models, and for each step the prompts that ours has in that step."""
    from artifact.studies.inputs import build_inputs, stop_token_ids, task_of, tokenizer_of

    inputs, task, settings = build_inputs(config), task_of(config.task), config.run_settings
    steps = [
        [inputs.train[i] for i in prompt_order(len(inputs.train), settings, step)] for step in range(config.train.steps)
    ]
    return {
        "side": side,
        "student": resolve_model(config.models.student),
        "teacher": resolve_model(config.teacher_path),
        "prompt_ids": [[list(ids) for _, ids in inputs.prompts(problems)] for problems in steps],
        "messages": [[task.messages(p) for p in problems] for problems in steps],
        "samples": config.sampling.samples_per_prompt,
        "temperature": config.sampling.temperature,
        "max_new_tokens": config.sampling.max_new_tokens,
        "lr": config.optimiser.lr,
        "stop": list(stop_token_ids(config.models.student)),
        "pad": tokenizer_of(config.models.student).pad_token_id or 0,
    }


def trl_path() -> str:
    """What a peer's process needs on its path to import TRL; SystemExit says how to install it."""
    if (TRL_FOLDER / "trl").is_dir():
        return str(TRL_FOLDER)
    if importlib.util.find_spec("trl") is not None:
        return ""
    sys.exit(f"TRL is not installed: run `{INSTALL}` in {project_root()}, or leave it out by `--sides ours generate`")


class Peer:
    """A peer's process: makes a repetition each time it is asked for one."""

    def __init__(self, job: dict[str, Any]) -> None:
        paths = [str(Path(__file__).parent), trl_path() if job["side"] == "trl" else "", os.environ.get("PYTHONPATH")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "measuring.peers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._say(json.dumps(job))

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def measure(self) -> dict[str, Any]:
        """The steps and memory of one repetition; SystemExit where the process has ended."""
        assert self.process.stdout is not None
        self._say("again")
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return dict(json.loads(line.removeprefix(ANSWER)))
        sys.exit(f"a peer ended with exit code {self.process.wait()}; what it said stands above")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(pair: Pair, sides: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """All repetitions of one pair, the sides in turn; SystemExit where a peer is missing or fails."""
    from artifact.studies.store import actors_of
    from measuring import ours

    config = config_of(pair, pair.warm_up + pair.steps, settings)
    peers = {side: Peer(job_of(config, side)) for side in sides if side != "ours"}
    pids = [p.process.pid for p in peers.values()]
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    memory: dict[str, dict[str, float]] = {}
    now = report.Provenance()
    with actors_of(config, config.models.student):
        actors = ours.open_step(config) if "ours" in sides else None
        for repetition in range(-1, pair.repetitions):
            turn = sides if repetition % 2 else tuple(reversed(sides))  # nobody always follows the same
            for side in turn:
                if actors is not None and side == "ours":
                    steps = ours.measured_steps(config, actors, pids)
                    memory[side] = memory_gib(ours.processes(actors, pids))
                else:
                    answer = peers[side].measure()
                    steps, memory[side] = answer["steps"], answer["memory_gib"]
                if repetition >= 0:
                    found[side].append(report.mean_step(steps[pair.warm_up :]))
                    print(f"{side} {repetition}: {found[side][-1]['processor']['total']:.2f} s a step", flush=True)
    for peer in peers.values():
        peer.close()
    return {
        "tier": pair.tier,
        "repetitions": pair.repetitions,
        "steps": pair.steps,
        "prompts": config.train.prompts_per_step,
        "rollouts": config.train.prompts_per_step * config.sampling.samples_per_prompt,
        "max_new_tokens": config.sampling.max_new_tokens,
        **({"shape": as_json(ours.shape_of_step(config, report.mean_step(found["ours"])))} if "ours" in sides else {}),
        "sides": {side: side_of(found[side], memory[side]) for side in sides},
        "ratios": {side: ratios(found["ours"], found[side]) for side in sides if side != "ours" and "ours" in sides},
        "provenance": now({"trl": trl_version()} if "trl" in sides else {}),
    }


def side_of(repetitions: Sequence[dict[str, Any]], memory: dict[str, float]) -> dict[str, Any]:
    """Quartiles of a side's repetitions by phase, its tokens a step and its memory."""
    counts = {k: report.quartiles([r[k] for r in repetitions]) for k in ("prompt_tokens", "response_tokens")}
    return {"n": len(repetitions), **report.by_phase(repetitions), **counts, "memory_gib": memory}


def ratios(mine: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Our seconds over theirs, repetition by repetition: quartiles for each kind of time."""
    pairs = list(zip(mine, theirs, strict=True))
    return {kind: report.quartiles([a[kind]["total"] / b[kind]["total"] for a, b in pairs]) for kind in KINDS}


def trl_version() -> str:
    """The version of TRL that the peer imports."""
    folder = trl_path()
    return next(iter(metadata.distributions(name="trl", path=[folder] if folder else sys.path))).version


def table(found: dict[str, Any]) -> str:
    """The tables of docs/speed.md, made of a file's contents."""
    lines: list[str] = []
    for pair in (found[name] for name in PAIRS if name in found):
        sides = {side: pair["sides"][side] for side in SIDES if side in pair["sides"]}
        tokens = next(iter(sides.values()))["response_tokens"]["median"]
        lines += [
            f"Tier {pair['tier']}: {pair['prompts']} prompts × {pair['rollouts'] // pair['prompts']} rollouts of at "
            f"most {pair['max_new_tokens']} tokens ({tokens:,.0f} a step), {pair['repetitions']} repetitions of "
            f"{pair['steps']} steps. {report.machine(pair['provenance'])}",
            "",
        ]
        rows = []
        for kind in KINDS:
            for phase in PHASES:
                cells = [side[kind].get(phase) for side in sides.values()]
                rows.append([f"{kind}, {phase}", *(f"{c['median']:.2f}" if c else "–" for c in cells)])
            totals = [report.with_interval(side[kind]["total"]) for side in sides.values()]
            rows.append([f"{kind}, total", *totals])
        for name, key in (("peak resident memory, GiB", "peak_rss"), ("memory held, GiB", "pss")):
            rows.append([name, *(f"{side['memory_gib'][key]:.2f}" for side in sides.values())])
        for kind in KINDS:
            ratios = [pair["ratios"].get(side) for side in sides]
            rows.append([f"ours over it, {kind}", *(report.with_interval(r[kind]) if r else "–" for r in ratios)])
        lines += [*report.table(["seconds a step", *(NAMES[side] for side in sides)], rows), ""]
    return "\n".join(lines[:-1])


def main() -> None:
    """Measure the pairs asked for, and write what was found beside what the file already holds of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, nargs="+", default=list(PAIRS), help="pairs to measure (all)")
    parser.add_argument("--sides", choices=SIDES, nargs="+", default=list(SIDES), help="sides to measure (all)")
    parser.add_argument("--repetitions", type=int, help="repetitions that are counted")
    parser.add_argument("--steps", type=int, help="steps of a repetition that are counted")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file to write")
    parser.add_argument("--toy", action="store_true", help="a few tokens: that the script runs")
    parser.add_argument("--table", action="store_true", help="print the file as the tables of docs/speed.md")
    arguments = parser.parse_args()
    if arguments.table:
        print(report.shown(arguments.out, table, "python benchmarks/onpolicy_step.py"))
        return
    for name in arguments.pair:
        pair = PAIRS[name]
        repetitions, steps = arguments.repetitions or pair.repetitions, arguments.steps or pair.steps
        if arguments.toy:
            repetitions, steps = 1, 1
        chosen = replace(pair, repetitions=repetitions, steps=steps)
        found = measure(chosen, arguments.sides, TOY if arguments.toy else {})
        write_json(arguments.out, {**report.known(arguments.out), name: found})
    print(table(report.known(arguments.out)))


if __name__ == "__main__":
    main()

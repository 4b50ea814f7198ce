"""Seconds of one on-policy distillation step, by phase, beside TRL's DistillationTrainer.

Same pair (tiny student, teacher A), same 32 prompts x 4 rollouts, same temperature and token budget, AdamW, two
threads. TRL samples with transformers' `generate` and forms full-vocabulary logits; ours samples with two vLLM engines
and moves the teacher's top-8. The first steps warm caches up and are not counted. Run on an otherwise idle machine:

    python benchmarks/onpolicy_step.py            # both, and their ratio
    pip install --no-deps trl==1.16.0 accelerate  # what `--peer` needs besides the lock file (extra `bench`)
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 3


def ours(steps: int) -> dict[str, float]:
    """Median seconds per step by phase, over the steps after the warm-up, through the product's own loop."""
    from artifact.actors.session import open_actors
    from artifact.actors.team import RayWorkers
    from artifact.config import load
    from artifact.studies.inputs import build_inputs, sampler_for
    from artifact.studies.runlog import RunLog
    from artifact.train.inputs import TeacherAnnotations
    from artifact.train.loop import train

    two_threads = {
        "cluster.lanes": 1,
        "cluster.engine.count": 2,
        "cluster.student_threads": 2,
        "cluster.teacher_threads": 2,
    }
    length = {
        "train.steps": steps + WARM_UP,
        "train.curve_every": 0,
        "train.checkpoint_every": 1000,
        "train.component_norms_every": 0,
    }
    config = load("tiny", {**two_threads, **length})
    actors, inputs = (
        open_actors(config, engines_for=config.models.student, student=True, teacher=True),
        build_inputs(config),
    )
    sampler = sampler_for(config, actors, config.models.student)
    workers = RayWorkers(config, actors, inputs, sampler.stop_token_ids, self_teacher=False)
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog(Path(folder), "benchmark")
        train(config.run_settings, config.make_method(), inputs, workers, sampler, log, TeacherAnnotations())
        rows = [json.loads(line) for line in log.metrics_path.read_text().splitlines()][WARM_UP:]
        log.close()
    phases = sorted(k for k in rows[0] if k.startswith("seconds/"))
    out = {p.removeprefix("seconds/"): statistics.median(r[p] for r in rows) for p in phases}
    out["total"] = statistics.median(sum(r[p] for p in phases) for r in rows)
    out["response tokens"] = statistics.median(r["response_tokens"] for r in rows)
    return out


def peer(steps: int) -> dict[str, float]:
    """Median seconds per step of TRL's trainer on the same work."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DistillationConfig, DistillationTrainer

    from artifact.config import load
    from artifact.paths import resolve_model
    from artifact.tasks import get_task

    torch.set_num_threads(2)
    config = load("tiny")
    student = resolve_model(config.models.student)
    task = get_task("tinymath")
    problems = task.load("train")[: config.train.prompts_per_step * (steps + WARM_UP)]
    k = config.sampling.samples_per_prompt
    data = Dataset.from_list([{"prompt": task.messages(p)} for p in problems for _ in range(k)])
    times: list[float] = []

    class Timer(TrainerCallback):
        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            self.begin = time.perf_counter()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            times.append(time.perf_counter() - self.begin)

    with tempfile.TemporaryDirectory() as folder:
        settings = DistillationConfig(
            output_dir=folder,
            per_device_train_batch_size=config.train.prompts_per_step * k,
            max_steps=steps + WARM_UP,
            learning_rate=config.optimiser.lr,
            temperature=config.sampling.temperature,
            max_completion_length=config.sampling.max_new_tokens,
            shuffle_dataset=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        trainer = DistillationTrainer(
            model=AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32),
            teacher_model=AutoModelForCausalLM.from_pretrained(resolve_model(config.teacher_path), dtype=torch.float32),
            args=settings,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(student),
            callbacks=[Timer()],
        )
        begin = time.perf_counter()
        trainer.train()
        whole = time.perf_counter() - begin
    # Generation happens before `on_step_begin` in this trainer when a batch is prepared, so the whole loop is the fair
    # total.
    return {"total": whole / (steps + WARM_UP), "inside the step": statistics.median(times[WARM_UP:])}


def main() -> None:
    """Measure both sides, or the one given by `--only`, and print seconds per step and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="steps that are counted (default 12)")
    parser.add_argument("--only", choices=("ours", "peer"), help="measure one side, print JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps({"ours": ours, "peer": peer}[arguments.only](arguments.steps)))
        return
    measured = {}
    for side in ("ours", "peer"):  # one process each: neither sees the other's imports or threads
        done = subprocess.run(
            [sys.executable, __file__, "--only", side, "--steps", str(arguments.steps)],
            capture_output=True,
            text=True,
            check=False,
        )
        if side == "ours":
            from artifact.actors.session import stop

            stop()
        if done.returncode != 0:
            sys.exit(f"measuring {side} failed:\n{done.stderr[-2000:]}")
        measured[side] = json.loads(done.stdout.strip().splitlines()[-1])
        print(side, json.dumps({k: round(v, 3) for k, v in measured[side].items()}))
    print(f"ours / TRL: {measured['ours']['total'] / measured['peer']['total']:.2f}")


if __name__ == "__main__":
    main()

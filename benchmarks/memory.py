"""Peak memory of what grows with a run: annotation against the number of prompts, and a step against its tokens.

    python benchmarks/memory.py --out results/benchmarks/memory.json       # minutes
    python benchmarks/memory.py --table results/benchmarks/memory.json     # the tables of docs/memory.md

There is no model: samples are *canned*, and what is measured is everything around them, by the product's own code.
Each size runs in a process of its own. A part's memory is the most that the process had resident while it ran, less
what it had before.

    annotation  the driver's problems, their hash and start-up report; samples drawn and clustered as a stream, its
                shards joined; weights of all prompts; in a process of its own the samples as `seqkd` reads them
    step        the rollouts of a step in the driver, written, committed and read again; one object of the teacher's
                scores, made by the scoring model around a random network; reference log-probabilities of all tokens
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SAMPLES, BATCH, STEPS = 8, 250, 20
MIB = 2**20


class Parts:
    """Memory and seconds of each part of one process, by name."""

    def __init__(self) -> None:
        self.mib: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        gc.collect()
        before, begin = resident("VmRSS"), time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 2)
        self.mib[name] = round(max(0.0, resident("VmHWM") - before), 1)


def resident(field: str) -> float:
    """MiB of this process in main memory: `VmRSS` now, `VmHWM` at its peak (`ru_maxrss` begins with its parent's)."""
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


def problems(n: int) -> Iterator[Any]:
    """n problems with the texts of the embedded world's and answers of their own, made one at a time."""
    from artifact.records import Problem
    from artifact.tasks import get_task, load_problems

    texts = load_problems(get_task("tinymath"), "train", 1000)
    for i in range(n):
        p = texts[i % len(texts)]
        question, solution = f"{p.question} ", f"{p.solution} "  # strings of its own
        yield Problem(f"p{i:07d}", question, str(i + i % 97), solution, p.task, p.difficulty)


def canned(batch: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Eight samples per problem in several surface forms, some of them wrong."""
    from artifact.records import Rollout, Status, Verdict

    out = []
    for p in batch:
        rng, group = random.Random(p.id), []
        for j in range(SAMPLES):
            value = int(p.answer) + rng.choice([0, 0, 0, 1, -1])
            answer = rng.choice(["{}", "x={}", "{} apples", "{}.0"]).format(value)
            status = Status.CORRECT if value == int(p.answer) else Status.WRONG
            ids = tuple(rng.randrange(78) for _ in range(30))
            logprobs = tuple(-rng.random() for _ in ids)
            group.append(Rollout(p.id, j, ids[:20], ids, logprobs, answer, "stop", -1, Verdict(status, answer)))
        out.append(tuple(group))
    return out


def annotation(n: int) -> dict[str, Any]:
    """The parts of phase 1 for n prompts, in the order in which a run goes through them."""
    from artifact.config import load
    from artifact.phase1 import stream
    from artifact.phase1.judge import SymbolicJudge
    from artifact.phase1.records import Annotation
    from artifact.phase1.weights import weights_for
    from artifact.records import Rollout, stream_parquet
    from artifact.studies import keys
    from artifact.studies.inputs import task_of, tokenizer_of
    from artifact.studies.start_up import CONTEXTS, Reading, fit, measure
    from artifact.train.methods.base import Weighting

    config = load("tiny")
    tokenizer, task = tokenizer_of(config.models.student), task_of(config.task)
    some, reading = tuple(problems(BATCH)), Reading("train", None, 128, "sampling.max_new_tokens", trained=True)

    def lengths(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    def report(of: tuple[Any, ...]) -> None:
        fit(reading, measure(tokenizer, task, of, CONTEXTS, None, lengths), config.cluster.engine.max_model_len)

    def clustered(of: Iterable[Any], folder: Path) -> None:
        stream.annotate_stream(of, folder / "s", folder / "a", SymbolicJudge(), batch=BATCH, n=SAMPLES)
        stream.join_shards(folder / "s", folder / "s.parquet", Rollout)
        stream.join_shards(folder / "a", folder / "a.parquet", Annotation)

    part = Parts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report(some)  # libraries and their caches are no part of what grows
        stream.draw(some, canned, folder / "few" / "s", batch=BATCH)
        clustered(some, folder / "few")
        with part("problems held"):
            held = tuple(problems(n))
        with part("hash of the problems"):
            keys.data_hash(held)
        with part("start-up report"):
            report(held)
        with part("drawing"):
            stream.draw(held, canned, folder / "s", batch=BATCH)
        with part("clustering and joining"):
            clustered(held, folder)
        with part("weights of all prompts"):
            weights_for(Weighting("soft"), stream_parquet(folder / "a.parquet", Annotation))
        stored = {f"{name}_gib": round((folder / f"{name}.parquet").stat().st_size / 2**30, 3) for name in ("s", "a")}
        reader = json.loads(_run("--read", str(folder / "s.parquet")))
    part.mib["stored samples, read"], part.seconds["stored samples, read"] = reader["mib"], reader["seconds"]
    return {"prompts": n, "mib": part.mib, "seconds": part.seconds, "index_bytes": reader["index_bytes"], **stored}


def read(path: Path) -> dict[str, float]:
    """A reader of stored samples: tokens of all, and 20 steps of 32 problems at random places."""
    from artifact.phase1.stored import StoredSamples

    len(StoredSamples(path, SAMPLES))  # imports are no part of it
    part, samples = Parts(), StoredSamples(path, SAMPLES)
    tracemalloc.start()
    ids = sorted(samples)
    index = tracemalloc.get_traced_memory()[0] - sys.getsizeof(ids)
    tracemalloc.stop()
    samples = StoredSamples(path, SAMPLES)
    with part("all"):
        samples.tokens()
        rng = random.Random(0)
        for _ in range(STEPS):
            for problem in rng.sample(ids, min(32, len(ids))):
                assert len(samples[problem]) == SAMPLES
    return {"mib": part.mib["all"], "seconds": part.seconds["all"], "index_bytes": round(index / len(ids), 1)}


def step(rollouts: int, tokens: int, k: int) -> dict[str, Any]:
    """The parts of a step of `rollouts` responses of `tokens` tokens, groups of 8, the teacher's top k."""
    import numpy as np
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from artifact.actors.object_store import pieces
    from artifact.records import Rollout, Status, Verdict, stream_parquet
    from artifact.studies.runlog import RunLog
    from artifact.train.rollouts import Completion, build_rollouts
    from artifact.train.scoring import FrozenModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 1, "num_key_value_heads": 1}
    network = Qwen3ForCausalLM(Qwen3Config(vocab_size=2 * k, num_hidden_layers=1, head_dim=16, **shape))
    frozen, rng, part = FrozenModel(network.eval()), np.random.default_rng(0), Parts()
    frozen.teacher_scores({0: ((1,), (2, 3))}, k)

    def completion(length: int) -> Completion:
        return Completion(rng.integers(0, 2 * k, length).astype(np.int32), -rng.random(length, np.float32), "length")

    def groups_of(count: int, length: int) -> list[tuple[Rollout, ...]]:
        size = min(SAMPLES, count)
        drawn = [[completion(length) for _ in range(size)] for _ in range(count // size)]
        prompts = [(f"p{i}", (1, 2, 3)) for i in range(len(drawn))]
        found = build_rollouts(prompts, drawn, lambda ids: [" ".join(map(str, some)) for some in ids])
        return [tuple(r.with_verdict(Verdict(Status.WRONG, "1")) for r in group) for group in found]

    with tempfile.TemporaryDirectory() as name:
        for folder, count, length in ((Path(name) / "few", 2, 2), (Path(name) / "run", rollouts, tokens)):
            with part("rollouts held by the driver"):
                groups = groups_of(count, length)
            log = RunLog(folder, "step", progress=False)
            log.resume()
            with part("written at the step"):
                log.step(0, groups, {}, {})
            (log.checkpoints / "step-1").mkdir(parents=True)
            with part("commit"):
                log.commit(1)
            log.close()
            path = folder / "rollouts" / "step-000001.parquet"
            with part("read again, one after the other"):
                assert sum(1 for _ in stream_parquet(path, Rollout)) == count
    flat = [(r.prompt_ids, r.response_ids) for group in groups for r in group]
    per_token = 8 * k + 4
    with part("sequences to score, cut into objects"):
        objects = list(pieces(dict(enumerate(flat)), per_token))
    with part("teacher scores of one object"):
        scores = frozen.teacher_scores(objects[0], k)
    with part("reference log-probabilities"):
        of_all = [np.full(len(response), -1.0, np.float32) for _, response in flat]
    return {
        "rollouts": len(flat),
        "tokens": tokens,
        "top_k": k,
        "mib": part.mib,
        "seconds": part.seconds,
        "teacher_scores_gib": round(len(flat) * tokens * per_token / 2**30, 2),
        "objects": len(objects),
        "largest_object_mib": round(max(sum(len(r) for _, r in o.values()) for o in objects) * per_token / MIB, 1),
        "one_object_mib": round(scores.nbytes / MIB, 1),
        "reference_mib": round(sum(x.nbytes for x in of_all) / MIB, 1),
    }


def table(result: dict[str, Any]) -> str:
    """The tables of docs/memory.md."""
    sizes, one, stamp = result["annotation"], result["step"], result["provenance"]
    ahead = [f"{r['prompts']:,}" for r in sizes]
    lines = [
        f"{stamp['cpu']}, Python {stamp['python']}, {stamp['date']}, source {stamp['source']}.",
        "",
        f"| part of annotation, MiB at | {' | '.join(ahead)} | bytes a prompt | at 1,000,000 |",
        f"|---|{'---:|' * (len(ahead) + 2)}",
    ]
    for name in sizes[-1]["mib"]:
        slope = bytes_per_prompt(sizes, name)
        most = sizes[-1]["mib"][name] + slope * (10**6 - sizes[-1]["prompts"]) / MIB
        cells = [f"{r['mib'][name]:.0f}" for r in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} | {slope:.0f} | {most:.0f} |")
    shown = f"{one['rollouts']:,} responses of {one['tokens']:,} tokens"
    lines += ["", f"| part of a step, {shown} | MiB |", "|---|---:|"]
    lines += [f"| {name} | {mib:.0f} |" for name, mib in one["mib"].items()]
    lines += [
        "",
        f"The teacher's scores of these tokens at k = {one['top_k']} are {one['teacher_scores_gib']} GiB in "
        f"{one['objects']} objects of at most {one['largest_object_mib']:.0f} MiB; the reference log-probabilities "
        f"{one['reference_mib']:.0f} MiB, float32 a token, in one object for each rank.",
    ]
    return "\n".join(lines)


def bytes_per_prompt(sizes: Sequence[dict[str, Any]], name: str) -> float:
    """Growth between the two largest sizes (there may be one alone: from nothing), never below 0."""
    first, last = ([{"prompts": 0, "mib": {name: 0.0}}, *sizes])[-2:]
    return max(0.0, (last["mib"][name] - first["mib"][name]) * MIB / (last["prompts"] - first["prompts"]))


def _run(*arguments: str) -> str:
    """What this script prints last, run with `arguments` in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def provenance() -> dict[str, str]:
    """Where and by which code it was measured."""
    from artifact.provenance import hardware, source_hash

    return {
        "cpu": f"{hardware()['cores']} cores of {hardware()['cpu']}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "source": source_hash(),
    }


def main() -> None:
    """Measure, print each part as JSON, write all of it; or print the tables of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[10_000, 100_000, 300_000])
    parser.add_argument("--rollouts", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--top-k", type=int, default=512)
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--table", type=Path, help="print this JSON file as the tables of docs/memory.md")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text(encoding="utf-8"))))
    elif given.read:
        print(json.dumps(read(given.read)))
    elif given.one:
        print(json.dumps(annotation(given.one)))
    elif given.step:
        print(json.dumps(step(*given.step)))
    else:
        result: dict[str, Any] = {"provenance": provenance(), "annotation": []}
        result["step"] = json.loads(_run("--step", *map(str, (given.rollouts, given.tokens, given.top_k))))
        print("step", json.dumps(result["step"]), flush=True)
        for n in given.prompts:
            result["annotation"].append(json.loads(_run("--one", str(n))))
            print("annotation", json.dumps(result["annotation"][-1]), flush=True)
        print(table(result))
        if given.out:
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Peak memory of the annotation stream against the number of prompts, and its time beside sampling.

The engine is a *fake* that returns canned samples: what is measured is the stream (shards, clustering, entropy,
joining), not sampling. Each size runs in a process of its own, so the peak is its own.

    python benchmarks/annotation_memory.py --prompts 1000 10000 100000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SAMPLES, BATCH = 8, 250


def problems(n: int) -> Iterator[object]:
    """n short problems, made one at a time."""
    from artifact.records import Problem

    for i in range(n):
        yield Problem(f"p{i:07d}", f"What is {i} plus {i % 97}?", str(i + i % 97), None, "canned", "easy")


def canned(batch: Sequence[object]) -> list[tuple[object, ...]]:
    """Eight samples per problem in several surface forms, some of them wrong."""
    from artifact.records import Problem, Rollout, Status, Verdict

    out = []
    for p in batch:
        assert isinstance(p, Problem)
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


def measure(n: int) -> dict[str, float]:
    """Peak resident memory in MiB and seconds by part for n prompts."""
    from artifact.phase1 import stream
    from artifact.phase1.judge import SymbolicJudge
    from artifact.phase1.records import Annotation
    from artifact.records import Rollout

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.perf_counter()
        stream.draw(problems(n), canned, folder / "samples", batch=BATCH)
        drawn = time.perf_counter()
        stream.annotate_stream(
            problems(n), folder / "samples", folder / "annotated", SymbolicJudge(), batch=BATCH, n=SAMPLES
        )
        clustered = time.perf_counter()
        stream.join_shards(folder / "samples", folder / "samples.parquet", Rollout)
        stream.join_shards(folder / "annotated", folder / "annotations.parquet", Annotation)
        joined = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "prompts": n,
        "peak_mib": round(peak, 1),
        "canned_s": round(drawn - begin, 1),
        "clustering_s": round(clustered - drawn, 1),
        "joining_s": round(joined - clustered, 1),
        "clustering_ms_per_prompt": round(1000 * (clustered - drawn) / n, 3),
    }


def main() -> None:
    """Print one JSON line per size, then the ratio of the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = []
    for n in arguments.prompts:
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(f"peak memory, largest over smallest: {rows[-1]['peak_mib'] / rows[0]['peak_mib']:.2f}")


if __name__ == "__main__":
    main()

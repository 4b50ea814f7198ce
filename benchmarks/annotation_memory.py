"""Peak memory of the annotation stream against the number of prompts, and its time beside sampling.

The engine is a *fake* that returns canned samples: what is measured is the stream (shards, clustering, entropy,
joining), not sampling. Each size runs in a process of its own, so the peak is its own. So does the reader of what was
stored, as a run of `seqkd` reads it: the tokens of all samples, and 20 steps of 32 problems at random places.

    python benchmarks/annotation_memory.py --prompts 1000 10000 100000
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

SAMPLES, BATCH, STEPS = 8, 250, 20


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
        making = peak_mib()
        reader = subprocess.run(
            [sys.executable, __file__, "--read", str(folder / "samples.parquet")],
            capture_output=True,
            text=True,
            check=True,
        )
    return {
        "prompts": n,
        "peak_mib": round(making, 1),
        **json.loads(reader.stdout.splitlines()[-1]),
        "canned_s": round(drawn - begin, 1),
        "clustering_s": round(clustered - drawn, 1),
        "joining_s": round(joined - clustered, 1),
        "clustering_ms_per_prompt": round(1000 * (clustered - drawn) / n, 3),
    }


def peak_mib() -> float:
    """The most memory that this process has had resident, MiB; `ru_maxrss` would begin with its parent's."""
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def read(path: Path) -> dict[str, float]:
    """Peak resident memory in MiB of a reader of stored samples, what of it is the index, and seconds a step."""
    from artifact.phase1.stored import StoredSamples

    len(StoredSamples(path, SAMPLES))  # imports are not the index
    samples = StoredSamples(path, SAMPLES)
    tracemalloc.start()
    ids = sorted(samples)
    index = tracemalloc.get_traced_memory()[0] - sys.getsizeof(ids)
    tracemalloc.stop()
    tokens, rng, begin = samples.tokens(), random.Random(0), time.perf_counter()
    for _ in range(STEPS):
        for problem in rng.sample(ids, min(32, len(ids))):
            assert len(samples[problem]) == SAMPLES
    return {
        "reader_peak_mib": round(peak_mib(), 1),
        "index_bytes_per_prompt": round(index / len(ids), 1),
        "tokens_per_prompt": round(tokens / len(ids), 1),
        "reader_s_per_step": round((time.perf_counter() - begin) / STEPS, 3),
    }


def main() -> None:
    """Print one JSON line per size, then the ratio of the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = []
    for n in arguments.prompts:
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    for part in ("peak_mib", "reader_peak_mib"):
        print(f"{part}, largest over smallest: {rows[-1][part] / rows[0][part]:.2f}")


if __name__ == "__main__":
    main()

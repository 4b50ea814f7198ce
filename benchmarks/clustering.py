"""Answers clustered per second, with and without algebra: `python benchmarks/clustering.py [--samples FILE]`.

Three sets of problems with 8 answers each: numbers (as `7`, `x=7`, `7.0`, `14/2`), symbolic answers of known meaning
(`phase1/constructed_answers.py`), and, where a `samples.parquet` of phase 1 is given, its own. Each is clustered by the
exact rules alone and by the symbolic judge, whose one worker has been started before; for the numbers none is started,
and the script stops if one was. Left out: sampling, and entropies, which cost nothing beside it.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from pathlib import Path

from artifact.phase1.clustering import cluster_many
from artifact.phase1.constructed_answers import known_questions, samples
from artifact.phase1.judge import EquivalenceJudge, RulesJudge, SymbolicJudge
from artifact.phase1.simple_answers import canonical_key
from artifact.records import Rollout, read_parquet
from artifact.tasks.answer_forms import read_answer
from artifact.tasks.answer_text import untypeset
from artifact.tasks.verifier import Verifier

N = 8


def numbers(problems: int) -> list[list[str | None]]:
    """N answers to each problem: four spellings of one number, another number, and now and then none."""
    rng = random.Random(0)
    out: list[list[str | None]] = []
    for _ in range(problems):
        value = rng.randrange(2, 999)
        spellings = [str(value), f"x={value}", f"{value}.0", f"{2 * value}/2", str(value + 1), None]
        out.append([rng.choice(spellings) for _ in range(N)])
    return out


def grouped(rollouts: list[Rollout]) -> list[list[str | None]]:
    """The first N extracted answers of each problem."""
    groups: dict[str, list[str | None]] = {}
    for r in rollouts:
        answer = r.verdict.extracted if r.verdict is not None else None
        if r.sample < N:
            groups.setdefault(r.problem_id, []).append(answer)
    return list(groups.values())


def main() -> None:
    """Print one line per set and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, help="a samples.parquet of phase 1")
    parser.add_argument("--per-kind", type=int, default=10, help="questions of each kind of symbolic answer")
    given = parser.parse_args()
    file = given.samples
    sets = {
        "numbers": numbers(2000),
        "symbolic": grouped(list(samples(known_questions(given.per_kind), n=N).rollouts)),
        **({"samples": grouped(read_parquet(file, Rollout))} if file else {}),
    }
    for name, answers in sets.items():
        children = _cpu(resource.RUSAGE_CHILDREN)
        with Verifier() as verifier:
            if name != "numbers":
                verifier.same([("x+1", "1+x")])  # the worker starts here
            started = verifier.paths["symbolic"]
            judges: list[EquivalenceJudge] = [RulesJudge(), SymbolicJudge(verifier)]
            for judge in judges:
                for cached in (canonical_key, read_answer, untypeset):
                    cached.cache_clear()
                before, start = _cpu(), time.perf_counter()
                made = cluster_many(answers, judge)
                seconds, cpu = time.perf_counter() - start, _cpu() - before
                asked = sum(len(c.judgements) for c in made)
                computed = verifier.paths["symbolic"] - started
                accidents = sum(bool(j.accident) for c in made for j in c.judgements)
                print(
                    f"{name}, {judge.name}: {len(answers) / seconds:.0f} problems per second ({len(answers)} of {N} "
                    f"answers, {cpu:.2f} s of this process), {asked} pairs judged, {computed} by algebra, "
                    f"{accidents} accidents"
                )
        spent = _cpu(resource.RUSAGE_CHILDREN) - children
        print(f"{name}: {spent:.2f} s of the worker, its start included")
        if name == "numbers" and spent:
            raise SystemExit("a worker process was started for plain numbers")


def _cpu(of: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(of)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

"""Verdicts per second on GSM8K and MATH-500: `python benchmarks/verdicts.py DATA_FOLDER`, in one process, one worker.

Each gold answer is judged against four responses in a box: itself, one with another digit, one in display sizes, and
itself plus 1. Processor time, that of the worker with its start included, does not depend on what else the machine
does; wall-clock time is printed beside it, without the start. Every pair is compared once, as in a run without repeated
answers. To compare two versions, run it with `PYTHONPATH` of each. Left out: batches on several workers.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

from artifact.tasks.verifier import Verifier


def responses(gold: str) -> list[str]:
    """Four boxed answers: right, another digit, right with other commands, and one more."""
    other = re.sub(r"[0-9]", lambda m: str((int(m.group()) + 1) % 10), gold, count=1)
    sized = gold.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)")
    return [rf"So we get \boxed{{{text}}}." for text in (gold, other, f" {sized} ", f"{gold}+1")]


def golds(folder: Path, name: str) -> list[str]:
    """The gold answers of a benchmark's local file."""
    rows = [json.loads(line) for line in (folder / name / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["answer"].rpartition("####")[2].strip() for row in rows]


def main() -> None:
    """Print one line per benchmark."""
    folder, spent = Path(sys.argv[1]), 0.0
    for name in ("gsm8k", "math500"):
        texts, wanted = [], []
        for gold in golds(folder, name):
            given = responses(gold)
            texts += given
            wanted += [gold] * len(given)
        with Verifier() as verifier:
            verifier.check(r"\sqrt{12}", r"2\sqrt{3}")  # the worker starts here
            start = time.perf_counter()
            verdicts = verifier.verify_batch(texts, wanted)
            seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
        cpu = sum(u.ru_utime + u.ru_stime for u in used) - spent
        spent += cpu
        correct = sum(v.correct for v in verdicts)
        rates = f"{len(texts) / cpu:.0f} verdicts per second of processor time, {len(texts) / seconds:.0f} by the clock"
        print(f"{name}: {rates} ({len(texts)}, {correct} correct)")


if __name__ == "__main__":
    main()

"""Verdicts per second on GSM8K and MATH-500: `python benchmarks/verdicts.py --data FOLDER`, in one process, one worker.

Each gold answer is judged against four responses in a box: itself, one with another digit, one in display sizes, and
itself plus 1. Processor time, that of the worker with its start included, does not depend on what else the machine
does; wall-clock time is printed beside it, without the start. Every pair is compared once, as in a run without repeated
answers. To compare two versions, run it with `PYTHONPATH` of each. Left out: batches on several workers.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
from pathlib import Path

from artifact.tasks.verifier import Verifier

HAND_MADE = {"numbers": ["7", "1,080", "3/4", "-12"], "expressions": [r"2\sqrt{3}", r"\frac{\pi}{2}", "x^2-1", "(1,2)"]}
"""Gold answers to try the script on, where no folder is given."""


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with gsm8k/test.jsonl and math500/test.jsonl")
    folder, spent = parser.parse_args().data, 0.0
    sets = {name: golds(folder, name) for name in ("gsm8k", "math500")} if folder else HAND_MADE
    for name, answers in sets.items():
        texts, wanted = [], []
        for gold in answers:
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

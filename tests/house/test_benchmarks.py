"""The benchmarks run: what a page says about speed can be measured anew. Nothing here is timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = {
    "annotation_memory": ["--prompts", "20"],
    "chunked_head": ["--hidden", "16", "--vocab", "300", "--top-k", "4", "--tokens", "8", "--repeats", "1"],
    "verdicts": [],
}
"""Arguments that make a benchmark take seconds; those that need the actors are in tests/integration."""
NEED_ACTORS = {"onpolicy_step"}


def test_every_benchmark_is_run_by_a_test() -> None:
    assert {p.stem for p in BENCHMARKS.glob("*.py")} == {*SMALL, *NEED_ACTORS}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_on_a_small_size(name: str) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *SMALL[name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    # The exit code of `chunked_head` says whether its targets are met, which toy sizes need not.
    assert done.returncode in ((0, 1) if name == "chunked_head" else (0,)), done.stderr[-2000:]
    assert "Traceback" not in done.stderr and len(done.stdout.splitlines()) > 1

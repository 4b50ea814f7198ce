"""No fault of the store is lost, silently wrong, or stuck: a part of the matrix always, all of it with `-m faults`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def inflicted(tmp_path: Path, *options: str, seconds: float) -> list[dict[str, Any]]:
    """The outcomes of `python -m tests.faults`: a process without threads, which forks one for each fault."""
    command = [sys.executable, "-m", "tests.faults", "--json", str(tmp_path / "outcomes.json"), *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    assert (tmp_path / "outcomes.json").is_file(), done.stderr
    outcomes = json.loads((tmp_path / "outcomes.json").read_text())
    assert not [o for o in outcomes if not o["good"]] and done.returncode == 0, done.stderr
    print(done.stdout)
    return list(outcomes)


def test_a_part_of_the_matrix(tmp_path: Path) -> None:
    outcomes = inflicted(tmp_path, "--some", seconds=280)
    told = [o for o in outcomes if o["group"] == "finished run" and o["ended"] == "told"]
    assert len(told) >= 18 and len(outcomes) >= 90
    assert {o["group"].split()[0] for o in outcomes} >= {"runs", "samples", "finished", "unfinished"}


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_the_whole_matrix(tmp_path: Path) -> None:
    """Every operation on files of a run and of a stream of samples, and every file of an unfinished run."""
    assert len(inflicted(tmp_path, seconds=3500)) >= 300

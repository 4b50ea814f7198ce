"""The single-GPU tier under its own YAML on a processor: phase 1 with its judge, training, and the teacher again.

Ray counts the one GPU that the tier has, so what trained must give it back before the teacher can be sampled. The other
tiers of GPUs, and all notebooks, are `./run_all.sh rehearse --tier NAME`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artifact.files import read_json

BASELINES = """
from artifact.config import load
from artifact.studies.runner import baselines
print(*(info.folder for info in baselines(load("single-gpu"))))
"""


def stored(root: Path, kind: str) -> list[dict[str, Any]]:
    return [read_json(path, "") for path in sorted((root / "results" / kind).glob("*/manifest.json"))]


@pytest.mark.timeout(900)
def test_devices_go_from_the_teacher_to_training_and_back(tmp_path: Path) -> None:
    from artifact.studies.rehearsal import prepare, verb

    environment = prepare("single-gpu", tmp_path)
    try:
        verb(environment, "annotate", "--tier", "single-gpu")
        [annotation] = stored(tmp_path, "annotations")
        assert annotation["problems"] == 16 and annotation["models"]["judge"]["model"] == "Qwen/Qwen2.5-3B-Instruct"
        verb(environment, "train", "--tier", "single-gpu", "--method", "uopd")
        [run] = stored(tmp_path, "runs")
        assert run["models"]["teacher"]["commit"] and len(run["models"]["student"]["commit"]) == 40
        subprocess.run([sys.executable, "-c", BASELINES], env=environment, check=True)
        assert {m["model"] for m in stored(tmp_path, "checkpoints")} == {"Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B"}
    finally:
        verb(environment, "cluster", "stop")

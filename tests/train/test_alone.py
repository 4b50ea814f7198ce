"""`artifact.train` runs where only Python, torch and numpy are installed: no cluster, no configuration, no Parquet."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
TRAIN = HERE.parents[1] / "src" / "artifact" / "train"


def with_dependencies(*names: str) -> set[str]:
    """These distributions and all that they require here, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            required = [Requirement(r) for r in requires(name) or []]
        except PackageNotFoundError:
            continue  # a requirement that this environment does without
        found.add(name)
        waiting += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `alone.py` saw."""
    wanted = with_dependencies("torch", "numpy")
    modules = sorted(m for m, of in packages_distributions().items() if {canonicalize_name(n) for n in of} & wanted)
    folder = tmp_path_factory.mktemp("alone")
    done = subprocess.run(
        [sys.executable, str(HERE / "alone.py"), ",".join(modules), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_is_imported_and_asks_for_nothing_else(alone: dict[str, Any]) -> None:
    modules = {str(p.relative_to(TRAIN).with_suffix("")).replace("/", ".") for p in TRAIN.rglob("*.py")}
    stated = {f"artifact.train.{m}".removesuffix(".__init__") for m in modules - {"__init__"}}
    on_cuda_alone = {"artifact.train.losses.lm_head_triton"}
    assert set(alone["imported"]) == stated - on_cuda_alone and "artifact.train.losses.divergence" in stated
    assert alone["refused"] == "No module named 'pandas'" and alone["asked"] == ["pandas"], (
        "only the test's own question"
    )
    assert alone["loaded"] == []


@pytest.mark.parametrize(
    ("method", "components"), [("opd", {"distil"}), ("core", {"distil", "contrast"}), ("grpo", {"policy_gradient"})]
)
def test_two_steps_move_the_weights_and_leave_metrics(alone: dict[str, Any], method: str, components: set[str]) -> None:
    seen = alone[method]
    assert set(seen["moved"]) >= {"lm_head.weight", "model.embed.weight", "model.layers.weight_hh_l1"}
    assert set(seen["moved"]) <= set(seen["parameters"]) and seen["stored"]
    assert seen["committed"] == len(seen["metrics"]) == 2 and seen["curves"] == [0, 1, 2]
    assert len(seen["recorded"]) == 1 and seen["recorded"][0] > 0, "step 0, by default"
    for metrics in seen["metrics"]:
        assert all(math.isfinite(value) for value in metrics.values())
        assert {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")} == components
        assert metrics["rollouts"] == 12 and metrics["grad_norm"] > 0 and metrics["lr"] == 0.01
        assert 0 < metrics["rollout_accuracy"] < 1, "the toy problems must give right and wrong rollouts"

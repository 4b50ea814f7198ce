"""Two data-parallel ranks that share out weights, gradients and optimiser state (ZeRO 3), whose moments wait in host
memory, through the command line.

What each stage computes is in tests/actors/test_zero.py, without Ray. The last file of this folder, because it starts
actors of its own beside those of the session.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import SMALL


@pytest.fixture(scope="module", autouse=True)
def _end_what_was_started() -> Iterator[None]:
    """Two sets of actors hold several GiB."""
    from artifact.actors import session

    yield
    session.stop()


OWN = {**SMALL, "train.steps": 2, "train.component_norms_every": 0, "cluster.engine.count": 1, "evaluation.limit": 4}
SHARED = {
    **OWN,
    "cluster.student_workers": 2,
    "cluster.zero_stage": 3,
    "cluster.offload_optimiser": True,
    "optimiser.micro_batch_tokens": 256,
}


def _train(results: Path, changed: dict[str, Any]) -> tuple[list[dict[str, float]], Path]:
    """One run of CORE: (metrics by step, its folder)."""
    from artifact.cli import main as cli

    before = set((results / "runs").glob("*"))
    arguments = ["artifact", "train", "--method=core", "--seed=11", *(f"--set={k}={v}" for k, v in changed.items())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert not end.value.code
    (folder,) = set((results / "runs").glob("*")) - before
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()], folder


def test_a_run_on_two_ranks_at_stage_3_is_the_run_on_one(results: Path) -> None:
    """Same rollouts, so the same first step; every sync is proven; what is saved is the whole model."""
    from safetensors.torch import load_file

    shared, at = _train(results, SHARED)
    alone, beside = _train(results, OWN)
    assert len(shared) == len(alone) == 2
    assert all(row["sync/max_logprob_diff"] < 1e-4 for row in (*shared, *alone))
    assert shared[0]["micro_batches"] > alone[0]["micro_batches"]
    for name in ("loss", "loss/distil", "loss/contrast", "grad_norm", "distil/tokens", "contrast/tokens"):
        assert shared[0][name] == pytest.approx(alone[0][name], rel=1e-4), name
    assert shared[0]["grad_norm"] > 0
    found, expected = (load_file(folder / "weights" / "model.safetensors") for folder in (at, beside))
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in expected.items()}
    assert (at / "evaluation" / "evaluation.greedy.parquet").exists()

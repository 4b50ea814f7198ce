"""Two data-parallel ranks are one: the same gradient, loss and diagnostics, however unevenly the work is shared.

Two processes with gloo on the CPU; DeepSpeed itself is in tests/actors/test_zero.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train import rank as one_rank

from artifact.train.calls import merge_ranks

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.train.rank"]
    running = [subprocess.Popen([*command, str(rank), "2", str(folder)], cwd=ROOT) for rank in range(2)]
    try:
        assert [p.wait(timeout=240) for p in running] == [0, 0]
    finally:
        for p in running:
            p.kill()
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("step", [0, 1], ids=["uneven micro-batches", "one rank has nothing"])
def test_the_gradient_of_two_ranks_is_that_of_one(ranks: list[dict[str, Any]], step: int) -> None:
    alone = one_rank.two_steps(0, 1)
    for of in ranks:
        torch.testing.assert_close(of["gradients"][step], alone["gradients"][step], atol=1e-6, rtol=1e-6)
    passes = [of["metrics"][step]["micro_batches"] for of in ranks]
    assert passes[0] != passes[1] and (step == 0 or passes[1] == 0), "the case that it is meant to be"


@pytest.mark.parametrize("step", [0, 1])
def test_the_account_of_two_ranks_is_that_of_one(ranks: list[dict[str, Any]], step: int) -> None:
    """Losses add up, diagnostics are means over tokens, and a component's gradient is that of all ranks."""
    alone = one_rank.two_steps(0, 1)["metrics"][step]
    merged = merge_ranks([of["metrics"][step] for of in ranks])
    assert merged.keys() == alone.keys()
    for name, value in alone.items():
        if name != "micro_batches":
            assert merged[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_ranks_make_the_same_passes(ranks: list[dict[str, Any]]) -> None:
    """An engine that shares out gradients or weights exchanges them in every pass, and waits for the other rank."""
    calls = [of["backward_calls"] for of in ranks]
    assert calls[0] == calls[1] == [max(of["metrics"][step]["micro_batches"] for of in ranks) for step in (0, 1)]


def test_a_gradient_that_is_not_finite_stops_every_rank_with_the_same_words(ranks: list[dict[str, Any]]) -> None:
    """Also the ranks whose own gradient is fine: alone they would wait for the others."""
    named = r"gradient of model\.embedding\.weight \(and 0 more\) is not finite at step 2"
    assert all(re.match(named, of["error"]) for of in ranks)
    assert all(len(of["gradients"]) == 2 for of in ranks), "no step was made"

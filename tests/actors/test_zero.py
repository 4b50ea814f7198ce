"""Every ZeRO stage with one and with two ranks is plain torch on one rank, however unevenly the work is shared.

DeepSpeed itself in processes of its own, with gloo on the CPU and without Ray (`zero_rank.py`). The oracle is AdamW by
hand on the gradient of plain torch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.actors.zero_rank import CASES, EXAMPLES, LONG, OFFLOADED, PROBE, SHARED, run_settings, take_step
from tests.train.tiny import tiny_qwen3
from torch import Tensor

from artifact.actors.ports import free_ports
from artifact.train.examples import Example
from artifact.train.local import PlainEngine
from artifact.train.student import Policy, Student

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)

Seen = list[dict[Any, dict[str, Any]]]
"""Of each rank: what it saw of each case."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero")
    for model in ("tied", "untied"):
        tiny_qwen3(11, tied=model == "tied").save_pretrained(folder / model)
    return folder


def _run(folder: Path, world_size: int) -> Seen:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "tests.actors.zero_rank"]
    running = [
        subprocess.Popen([*command, str(rank), str(world_size), str(folder), str(port)], cwd=ROOT)
        for rank in range(world_size)
    ]
    try:
        assert [p.wait(timeout=800) for p in running] == [0] * world_size
    finally:
        for p in running:
            p.kill()
    return [torch.load(folder / f"rank-{r}-of-{world_size}.pt", weights_only=True) for r in range(world_size)]


class Worlds(dict[int, Seen]):
    """What was seen, by the number of ranks; they run when they are first asked about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, world_size: int) -> Seen:
        self[world_size] = _run(self.folder, world_size)
        return self[world_size]


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[int, Seen]:
    return Worlds(folder)


class Plain:
    """One rank of plain torch, three steps: metrics, weights after each, and the first moments after the first."""

    def __init__(self, model: str, steps: list[list[Example]] = EXAMPLES) -> None:
        network, start = tiny_qwen3(11, tied=model == "tied"), tiny_qwen3(11, tied=model == "tied")
        s = run_settings()
        engine = PlainEngine(Policy(network, s.losses), s)
        student = Student(engine.policy, engine, s.optimiser, s.losses, 4)
        self.metrics: list[dict[str, float]] = []
        self.weights: list[dict[str, Tensor]] = []
        for step, examples in enumerate(steps):
            self.metrics.append(take_step(student, start.requires_grad_(False), step, 0, 1, examples))
            self.weights.append({n: p.detach().clone() for n, p in network.named_parameters()})
            if step == 0:
                self.moments = {n: engine.optimizer.state[p]["exp_avg"].clone() for n, p in network.named_parameters()}
            if step == 1:
                self.probe = [torch.from_numpy(v) for v in student.logprobs(PROBE)]


@pytest.fixture(scope="module")
def plain() -> dict[str, Plain]:
    return {model: Plain(model) for model in ("tied", "untied")}


CASE = pytest.mark.parametrize(
    "case",
    [*CASES, *OFFLOADED],
    ids=lambda c: f"stage {c[0]}, {c[1]}, {'small kept' if c[2] else 'all'}{', offloaded' if len(c) > 3 else ''}",
)
RANKS = pytest.mark.parametrize("ranks", [1, 2])


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@CASE
@RANKS
def test_gradients_weights_and_accounts_are_those_of_plain_torch(
    case: Any, ranks: int, seen: dict[int, Seen], plain: dict[str, Plain]
) -> None:
    """The first moment after a step is (1 − β₁) times the clipped gradient: AdamW's step alone would hide its scale."""
    own, expected = [rank[case] for rank in seen[ranks]], plain[case[1]]
    for rank in own:
        same(rank["moments"], expected.moments)
        for found, value in zip(rank["probe"], expected.probe, strict=True):
            torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-5)
        for step, metrics in enumerate(rank["metrics"]):
            for name in (n for n in expected.metrics[step] if n.startswith("grad_norm")):
                if case[0] < 3 or name == "grad_norm":
                    assert metrics[name] == pytest.approx(expected.metrics[step][name], rel=1e-4, abs=1e-5), name
    same(own[0]["after one"], expected.weights[0])
    same(own[0]["uninterrupted"], expected.weights[2])
    passes = [[rank["metrics"][step]["micro_batches"] for step in range(3)] for rank in own]
    if ranks == 2:
        assert passes[0][0] > passes[1][0] > 0 and passes[1][1:] == [0.0, 0.0], "the cases that they are meant to be"
        assert not EXAMPLES[2][1::2]


@CASE
@RANKS
def test_saved_weights_and_sync_are_whole(case: Any, ranks: int, seen: dict[int, Seen]) -> None:
    """Spec and payload name every tensor in its full shape; what is sent is what is saved."""
    first = seen[ranks][0][case]
    network = tiny_qwen3(11, tied=case[1] == "tied")
    shapes = {n: tuple(p.shape) for n, p in network.named_parameters()}
    assert {n: tuple(t.shape) for n, t in first["uninterrupted"].items()} == shapes
    names, sizes = first["spec"]["names"], first["spec"]["shapes"]
    assert dict(zip(names, sizes, strict=True)) == shapes | {"lm_head.weight": (11, 16)}
    assert names[-1] == "lm_head.weight"
    saved = first["uninterrupted"]
    flat = [saved.get(n, saved["model.embed_tokens.weight"]).flatten() for n in names]
    assert torch.equal(torch.cat(first["sent"]), torch.cat(flat))
    assert all(rank[case]["spec"] == first["spec"] and rank[case]["sent"] == [] for rank in seen[ranks][1:])
    assert first["start"].keys() == shapes.keys()
    assert all(torch.equal(first["start"][n], p.detach()) for n, p in network.named_parameters())


@CASE
@RANKS
def test_a_run_resumed_from_its_checkpoint_has_the_bytes_of_an_uninterrupted_one(
    case: Any, ranks: int, seen: dict[int, Seen]
) -> None:
    for rank in seen[ranks]:
        own = rank[case]
        assert own["resumed metrics"] == own["metrics"][2]
        assert all(torch.equal(own["resumed"][n], t) for n, t in own["uninterrupted"].items())
    moved = seen[ranks][0][case]
    assert not torch.equal(moved["resumed"]["model.norm.weight"], moved["start"]["model.norm.weight"])


@CASE
@RANKS
def test_a_gradient_of_nan_on_one_rank_stops_all_before_the_weights_are_touched(
    case: Any, ranks: int, seen: dict[int, Seen]
) -> None:
    errors = {rank[case].get("error", "none").split(", problems")[0] for rank in seen[ranks]}
    bodys = sum(n != "lm_head.weight" for n, _ in tiny_qwen3(11, tied=case[1] == "tied").named_parameters()) - 1
    # All but the final norm, whose output is poisoned on the way back, and an output head of its own.
    assert errors == {f"gradient of model.embed_tokens.weight (and {bodys} more) is not finite at step 0"}
    first = seen[ranks][0][case]
    assert all(torch.equal(first["after the error"][n], t) for n, t in first["resumed"].items())


@pytest.mark.parametrize("case", OFFLOADED, ids=lambda c: f"stage {c[0]}")
@RANKS
def test_moments_that_wait_in_host_memory_leave_the_device_and_change_no_bit(
    case: Any, ranks: int, seen: dict[int, Seen]
) -> None:
    """Two moments in float32 of every weight, over the ranks from stage 1 on (DeepSpeed pads the last share)."""
    weights = sum(p.numel() for p in tiny_qwen3(11, tied=False).parameters())
    for rank in seen[ranks]:
        own, kept = rank[case], rank[case[:3]]
        assert own["bytes of moments"] == [0, 0]
        least = 8 * weights / (ranks if case[0] else 1)
        assert all(least <= held < 1.1 * least for held in kept["bytes of moments"])
        assert own["metrics"] == kept["metrics"] and own["resumed metrics"] == kept["resumed metrics"]
        for name in ("moments", "uninterrupted", "resumed"):
            assert all(torch.equal(own[name][n], t) for n, t in kept[name].items()), name
        halves = [rank[f"half {case[0]}{how}"] for how in ("", " offloaded")]
        assert halves[0]["metrics"] == halves[1]["metrics"]
        assert all(torch.equal(halves[1]["moments"][n], t) for n, t in halves[0]["moments"].items())


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@RANKS
def test_a_step_whose_prompts_are_shared_is_that_of_plain_torch_without(
    stage: int, checkpointed: bool, ranks: int, seen: dict[int, Seen]
) -> None:
    expected = Plain("untied", [SHARED])
    for rank in seen[ranks]:
        own = rank[f"shared {stage} {checkpointed}"]
        same(own["moments"], expected.moments)
        assert own["metrics"]["grad_norm"] == pytest.approx(expected.metrics[0]["grad_norm"], rel=1e-4)
        assert own["metrics"]["micro_batches"] > 1


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@RANKS
def test_gradients_of_a_bfloat16_policy_are_summed_in_float32_where_gradients_are_shared_out(
    stage: int, ranks: int, seen: dict[int, Seen]
) -> None:
    """Each pass rounds once, by 0.4 %: a sum of dozens in bfloat16 is off by 2 %."""
    expected = torch.cat([t.flatten() for t in Plain("untied", [LONG]).moments.values()])
    own = seen[ranks][0][f"half {stage}"]
    found = torch.cat([t.flatten().float() for t in own["moments"].values()])
    error = float((found - expected).norm() / expected.norm())
    assert error < (0.04 if stage < 2 else 0.01)
    assert own["metrics"]["grad_norm"] == pytest.approx(float(seen[1][0]["half 3"]["metrics"]["grad_norm"]), rel=0.02)
    assert own["dtypes"] == ["torch.bfloat16"]

"""What vLLM makes of the student's tensors is derived again, for real models of vLLM on one and on two workers.

The oracle is vLLM: it loads the weights its own way, and what its layers use must be what is derived, to the bit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.actors.arrangement_rank import CASES, damages

from artifact.actors.arrangement import Arrangement, Held, Piece
from artifact.actors.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)

SIZES: dict[str, Any] = {
    "vocab_size": 78,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
"""78 tokens are padded to 128 rows; heads times their width is the hidden size, which is no multiple of 64."""


def write(folder: Path) -> None:
    """The checkpoints of all cases, each with the weights that come later."""
    from transformers import (
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
    )

    made: dict[str, Any] = {
        "tied": (Qwen3ForCausalLM, Qwen3Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True)),
        "untied": (Qwen3ForCausalLM, Qwen3Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=False)),
        "one-head": (Qwen3ForCausalLM, Qwen3Config(**SIZES, num_key_value_heads=1, tie_word_embeddings=True)),
        "biased": (
            Qwen2ForCausalLM,
            Qwen2Config(**{k: v for k, v in SIZES.items() if k != "head_dim"}, num_key_value_heads=2),
        ),
        "experts": (
            Qwen3MoeForCausalLM,
            Qwen3MoeConfig(
                **SIZES, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
            ),
        ),
    }
    for name, (cls, config) in made.items():
        for seed, suffix in enumerate(("", "-next")):
            torch.manual_seed(seed)
            network = cls(config)
            with torch.no_grad():
                for parameter in network.parameters():  # norms and biases as well, and a zero with a sign
                    parameter.add_(torch.randn_like(parameter) * 0.1)
                    parameter.view(-1)[0] = -0.0
                    parameter.view(-1)[1] = 1e-39
            network.save_pretrained(folder / f"{name}{suffix}")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """By number of workers, what each of them found."""
    folder = tmp_path_factory.mktemp("arrangement")
    write(folder)
    out = {}
    for world_size in (1, 2):
        [port] = free_ports(1)
        command = [sys.executable, "-m", "tests.actors.arrangement_rank"]
        running = [
            subprocess.Popen([*command, str(rank), str(world_size), str(folder), str(port)], cwd=ROOT)
            for rank in range(world_size)
        ]
        try:
            assert [p.wait(timeout=600) for p in running] == [0] * world_size
        finally:
            for p in running:
                p.kill()
        out[world_size] = [
            json.loads((folder / f"found-{r}-of-{world_size}.json").read_text()) for r in range(world_size)
        ]
    return out


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {case[1]}")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_vllm_holds_is_what_is_derived(case: Any, workers: int, found: dict[int, list[dict[str, Any]]]) -> None:
    for rank in found[workers]:
        own = rank[" ".join(case)]
        assert own["differing"] == [] and own["unknown"] == {}
        attention = "model.layers.0.self_attn."
        assert own["targets"][f"{attention}qkv_proj.weight"] == [f"{attention}{p}_proj.weight" for p in "qkv"]
        assert own["targets"]["lm_head.weight"] == ["lm_head.weight"]
        assert (f"{attention}qkv_proj.bias" in own["targets"]) is (case[0] == "biased")
        keys = max(1, (1 if case[0] == "one-head" else 2) // workers)
        assert own["shapes"][f"{attention}qkv_proj.weight"] == [(4 // workers + 2 * keys) * 8, 32]
        assert own["shapes"]["model.layers.0.mlp.gate_up_proj.weight"] == [2 * 48 // workers, 32]
        assert own["shapes"]["model.layers.0.mlp.down_proj.weight"] == [32, 48 // workers]
        assert own["shapes"]["model.embed_tokens.weight"] == own["shapes"]["lm_head.weight"] == [128 // workers, 32]
        assert f"{attention}qkv_proj.weight" in own["packed"], "on a CPU vLLM packs it: what it uses is multiplied out"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_damage_is_found_where_it_is(workers: int, found: dict[int, list[dict[str, Any]]]) -> None:
    """One unit in the last place of one number, two rows exchanged, a row of the padding."""
    for rank in found[workers]:
        own = rank["tied float32"]
        assert [target for target, _ in own["damaged"]] == [target for target, _ in damages()]
        assert [found for _, found in own["damaged"]] == [[target] for target, _ in damages()]
        assert own["repaired"] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_did_not_arrive_is_named(workers: int, found: dict[int, list[dict[str, Any]]]) -> None:
    for rank in found[workers]:
        own = rank["tied float32"]
        assert own["without the head"] == ["lm_head.weight"]
        assert own["without a part"] == ["model.layers.0.self_attn.qkv_proj.weight"]


def test_an_arrangement_that_is_not_known_is_not_guessed(found: dict[int, list[dict[str, Any]]]) -> None:
    [worker] = found[1]
    assert worker["experts"]["unknown"], "experts are fused in ways that depend on the machine"
    assert all("experts" in target for target in worker["experts"]["unknown"])


def test_a_layer_with_a_second_path_is_looked_at_under_the_one_that_arrives(
    found: dict[int, list[dict[str, Any]]],
) -> None:
    """vLLM's experts hold the gate as well; a checkpoint has it once."""
    [worker] = found[1]
    own = "model.layers.0.mlp.gate"
    assert sorted(worker["experts"]["gates"]) == [own.replace("gate", "experts.gate"), own]
    assert worker["experts"]["differing"] == [], "as vLLM loaded it"
    assert worker["experts"]["damaged"] == [f"{own}.weight"]


def test_a_part_of_zeros_that_did_not_arrive_is_named() -> None:
    """Zeros add nothing to a fingerprint: what arrived tells, and nothing else."""
    held: Any = Held(None, "weight", [Piece("a.weight", 0, 0, None, 0)])
    held.used = lambda: torch.zeros(2, 2)
    arrangement: Any = Arrangement.__new__(Arrangement)
    arrangement.held = {"a.weight": held}
    assert arrangement.differing() == ["a.weight"]
    held.arrived.add("a.weight")
    assert arrangement.differing() == []

"""Costs on a GPU against what was published of one and against its own measurements; a step on H100s by hand."""

from __future__ import annotations

import json

import pytest

from artifact.config import load, read_yaml
from artifact.paths import project_root
from artifact.studies.gpu_rates import fit_decoding, gpu, gpu_rates, multiplied, read_weights
from artifact.studies.model_shape import ModelShape, shape_of, shape_of_model
from artifact.studies.simulate import simulated
from artifact.studies.simulator import layout_of

ROOT = project_root()
H100 = json.loads((ROOT / "results" / "gpu" / "h100.json").read_text(encoding="utf-8"))
PUBLISHED = read_yaml(ROOT / "configs" / "gpu_costs.yaml")
QWEN_1_7, QWEN_8 = shape_of_model("Qwen/Qwen3-1.7B"), shape_of_model("Qwen/Qwen3-8B")


def iteration(shape: ModelShape, running: float, cached: float) -> float:
    decoding = gpu().decoding(shape, 2, running)
    return decoding.iteration + running * (decoding.sampled + decoding.cached * cached)


def test_decoding_is_that_of_the_published_iterations() -> None:
    for p in PUBLISHED["decode"]["points"]:
        assert iteration(QWEN_8, p["running"], p["cached"]) == pytest.approx(p["seconds"], rel=0.01)
    fixed, bandwidth = fit_decoding(PUBLISHED["decode"])
    assert 0 < fixed < 0.003 and 2e12 < bandwidth < 3.35e12, "an H100's memory moves 3.35 TB a second at most"


def test_decoding_of_another_model_that_was_published() -> None:
    """vLLM's pull request 17866: Llama 3.2 1B, one sequence of 500 to 550 tokens, 2.64 ms a token in the median."""
    llama = shape_of(
        {
            "model_type": "llama",
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "tie_word_embeddings": True,
        },
        "Llama 3.2 1B",
    )
    assert iteration(llama, 1, 525) == pytest.approx(0.00264, rel=0.1)


def test_passes_take_what_they_were_measured_to_take() -> None:
    tokens = H100["student"]["tokens"]
    assert gpu().scoring(QWEN_8).token * tokens == pytest.approx(H100["teacher"]["teacher_scores"]["seconds"])
    one = layout_of("colocated", 1)
    for checkpointed, name in ((True, "checkpointed"), (False, "plain")):
        config = load("paper", {"method": "opd", "optimiser.gradient_checkpointing": checkpointed})
        rates = gpu_rates(config, one, "ipc", 1)
        assert rates.training.token * tokens == pytest.approx(H100["student"][name]["seconds"])
        engine = H100["engine"]["zero 1"]["seconds"] - H100["student"]["checkpointed"]["seconds"]
        assert rates.update == pytest.approx(engine, rel=1e-3) and rates.micro_batch == 0


def test_offloaded_moments_cross_twice_at_an_update() -> None:
    """Two float32 numbers a weight, each way at the rate that was measured of page-locked memory."""
    one, plain = layout_of("colocated", 1), {"method": "opd"}
    updates = [
        gpu_rates(load("paper", plain | {"cluster.offload_optimiser": offload}), one, "ipc", 1).update
        for offload in (False, True)
    ]
    pinned = [H100["copies"][way] * 1e9 for way in ("from_pinned", "to_pinned")]
    assert updates[1] - updates[0] == pytest.approx(sum(8 * QWEN_1_7.parameters / rate for rate in pinned))


def test_weights_that_are_multiplied_and_read() -> None:
    assert multiplied(QWEN_1_7) == QWEN_1_7.parameters  # tied
    assert multiplied(QWEN_8) == QWEN_8.parameters - 151_936 * 4096
    experts = shape_of_model("Qwen/Qwen3-30B-A3B")
    assert multiplied(experts) == pytest.approx(3.35e9 - 151_936 * 2048, rel=0.02), (
        "3.3 billion go along, one embedding"
    )
    assert read_weights(experts, 1) == pytest.approx(multiplied(experts))
    assert read_weights(experts, 1e6) == pytest.approx(experts.parameters - 151_936 * 2048)


def test_a_step_of_the_first_pair_by_hand() -> None:
    """The papers' layout at the budget: 64 responses of 4,096 tokens an engine, one teacher, one student, Gloo."""
    step = simulated(load("paper", {"method": "opd"})).phases()
    own, tokens = QWEN_1_7.parameters, 128 * (200 + 4096)
    fixed, bandwidth = fit_decoding(PUBLISHED["decode"])
    reads = 4096 * 2 * own + 64 * (4096 * 200 + 4096 * 4095 / 2) * (2 * 28 * 1024 * 2)
    prompts = 64 * 200 * 2 * own / (gpu().operations * gpu().score_share)
    assert step["rollout"] == pytest.approx(4096 * fixed + reads / bandwidth + prompts, rel=1e-6)
    assert step["teacher"] == pytest.approx(tokens / H100["teacher"]["teacher_scores"]["tokens_per_second"], rel=1e-3)
    handed = 128 * 4096 * (8 * 512 + 4) / (H100["copies"]["from_pageable"] * 1e9)
    passes = tokens / H100["student"]["checkpointed"]["tokens_per_second"]
    assert step["student"] == pytest.approx(passes + handed + 0.0845, rel=1e-3)
    sent = 2 * 2 * own / (H100["transfer"]["gloo"]["gb_per_second"] * 1e9)  # two rounds to two engines
    assert step["sync"] == pytest.approx(sent + 2 * H100["transfer"]["fingerprints"]["seconds"], rel=1e-3)


def test_more_gpus_never_make_a_step_longer_and_their_links_are_paid_for() -> None:
    config = load("paper", {"method": "opd"})
    for layout in ("separate", "colocated"):
        seconds = [simulated(config, layout, gpus).seconds for gpus in (4, 16, 64)]
        assert seconds == sorted(seconds, reverse=True)
        assert 64 * seconds[-1] > 4 * seconds[0], "but each of them does less"
    sent = 2 * QWEN_1_7.parameters
    for stage in (1, 2):  # gradients go to their owners once a step and come back as weights, or once a pass
        shared = load("paper", {"method": "opd", "cluster.zero_stage": stage})
        for n, link in ((8, 450e9), (16, 50e9)):
            rates, exchange = gpu_rates(shared, layout_of("colocated", n), "ipc", 1), sent * (n - 1) / n / link
            assert rates.update == pytest.approx(0.0845 / n + (2 * exchange if stage == 1 else 0), rel=1e-3)
            assert rates.micro_batch == pytest.approx(exchange if stage == 2 else 0)


def test_engines_sleep_where_the_roles_do_not_fit_together() -> None:
    pair = load("paper", {"method": "opd"})
    assert not simulated(pair, "colocated", 4).layout.sleeping
    crowded = simulated(
        load("paper", {"method": "opd", "models.student": "Qwen/Qwen3-4B", "cluster.zero_stage": 1}), "colocated", 4
    )
    assert crowded.layout.sleeping and crowded.phases()["switch"] == pytest.approx(2 * PUBLISHED["wake"]["seconds"])


def test_a_tiers_own_layout_is_the_one_that_is_planned() -> None:
    """Colocated by its configuration: the step is that of four GPUs which hold everything, with engines that sleep."""
    changed = {"cluster.layout": "colocated", "cluster.student_workers": 4, "cluster.engine.count": 4}
    changed |= {"cluster.engine.gpu_memory_utilization": 0.4}
    config = load("paper", {"method": "opd", **changed})
    own = simulated(config)
    assert own.layout.engines == own.layout.students == own.layout.scorers and len(own.layout.engines) == 4
    asleep = 2 * PUBLISHED["wake"]["seconds"]
    assert own.layout.sleeping and own.phases()["switch"] == pytest.approx(asleep)
    assert own.seconds == pytest.approx(simulated(config, "colocated", 4).seconds + asleep)
    assert simulated(config, gpus=4).layout.name == "colocated"
    apart = load("paper", {"method": "opd", "cluster.weight_transfer": "auto"})
    sent = 2 * 2 * QWEN_1_7.parameters / (450e9 / 2)
    assert simulated(apart).phases()["sync"] < simulated(load("paper", {"method": "opd"})).phases()["sync"] - sent

"""The cost of a step: its terms against torch's own count of operations, the fit against known coefficients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from artifact.files import write_json
from artifact.studies.step_cost import PHASES, CostModel, Point, Shape, Size, as_json, fit, measured, size_of

SMALL, LARGE = Size(10_000, 2_000, 2, 32), Size(90_000, 3_000, 4, 64)


def shapes() -> list[Shape]:
    base = Shape(64, 20.0, 50.0, 60.0, SMALL, SMALL)
    varied = [replace(base, rollouts=n) for n in (8, 32, 128, 512, 1024)]
    varied += [replace(base, response=y, longest=y) for y in (5.0, 10.0, 100.0, 300.0)]
    varied += [replace(base, rollouts=n, student=LARGE, teacher=s) for n in (16, 300) for s in (SMALL, LARGE)]
    varied += [replace(base, rollouts=n, engines=e, ranks=3 - e) for n in (100, 700) for e in (1, 2)]
    return [base, *varied]


def truth() -> CostModel:
    """Coefficients that are known, one of them 0."""
    names = {phase: list(terms) for phase, terms in shapes()[0].terms().items()}
    numbers = {p: {n: 1e-3 * (2 + i) for i, n in enumerate(of)} for p, of in names.items()}
    numbers["rollout"]["rollout"] = 0.0
    return CostModel(numbers)


def test_the_fit_finds_the_coefficients_of_steps_that_follow_them() -> None:
    model = truth()
    found = fit([Point(s, model.seconds(s)) for s in shapes()])
    for phase in PHASES:
        assert found.coefficients[phase] == pytest.approx(model.coefficients[phase], rel=1e-5, abs=1e-9), phase


def test_the_error_is_relative_and_of_the_whole_step() -> None:
    model, shape = truth(), shapes()[0]
    seconds = model.seconds(shape)
    slower = Point(shape, {phase: 1.25 * value for phase, value in seconds.items()})
    assert model.errors([Point(shape, seconds), slower]) == pytest.approx([0.0, -0.2])


def test_small_steps_count_as_much_as_large_ones() -> None:
    """Two steps of one term cannot both be met: the relative errors are balanced, not the seconds."""
    base = replace(shapes()[0], rollouts=10)
    larger = replace(base, rollouts=1000)
    ones = dict.fromkeys(PHASES, 1.0)
    found = fit([Point(base, ones | {"sync": 1.0}), Point(larger, ones | {"sync": 3.0})])
    predicted = found.seconds(base)["sync"]  # sync knows no rollouts: one value c for both
    assert predicted == pytest.approx((1 + 1 / 3) / (1 + 1 / 9))  # argmin of (c − 1)² + (c / 3 − 1)²


def test_no_coefficient_is_negative() -> None:
    falling = [Point(s, dict.fromkeys(PHASES, 1.0 / (1 + i))) for i, s in enumerate(shapes())]
    assert min(v for terms in fit(falling).coefficients.values() for v in terms.values()) >= 0


def test_nothing_can_be_fitted_to_nothing() -> None:
    with pytest.raises(ValueError, match=r"benchmarks/growth\.py"):
        fit([])


def test_iterations_by_hand() -> None:
    shape = Shape(300, 10.0, 40.0, 48.0, SMALL, SMALL, engines=2, max_num_seqs=100)
    assert shape.iterations == 2 * 2 * 48  # 150 a sequence each, in two waves
    assert replace(shape, max_num_seqs=150).iterations == 2 * 48


def test_products_are_what_torch_counts() -> None:
    """One forward pass of the embedded student on equal sequences, its head on all positions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from artifact.actors.checkpoints import load_network
    from artifact.paths import resolve_model

    network, size = load_network(resolve_model("models/tiny/student"), "float32"), size_of("models/tiny/student")
    assert size.weights == sum(p.numel() for p in network.parameters())
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(input_ids=torch.ones(3, 7, dtype=torch.long))
    linear = sum(
        n for name, n in counter.get_flop_counts()["Global"].items() if "mm" in str(name) and "bmm" not in str(name)
    )
    shape = Shape(3, 0.0, 7.0, 7.0, size, size)  # no prompt: the head is applied everywhere
    assert shape.products(size, 3, 0.0) * 1e9 == pytest.approx(linear, rel=5e-3)  # norms are weights, and no products


def test_a_shared_prompt_is_computed_once() -> None:
    """Two prompts of 10 tokens, six responses of 40: 2 · 10 + 6 · 40 tokens in place of 6 · 50, but not in vLLM."""
    apart = Shape(6, 10.0, 40.0, 48.0, SMALL, SMALL)
    shared = replace(apart, prompts=2)
    assert shared.terms()["teacher"]["token"] == shared.terms()["student"]["token"] == pytest.approx(2 * 10 + 6 * 40)
    products = 2 * (SMALL.body * (2 * 10 + 6 * 40) + SMALL.head * 6 * 40) / 1e9
    assert shared.terms()["student"]["products"] == pytest.approx(products)
    assert shared.terms()["rollout"] == apart.terms()["rollout"]
    assert replace(apart, prompts=6).terms() == apart.terms()
    fewer = replace(shared, scored=4.0, trained=1.0)  # a prompt is computed at most once a sequence
    assert fewer.terms()["teacher"]["token"] == pytest.approx(2 * 10 + 4 * 40)
    assert fewer.terms()["student"]["token"] == pytest.approx(10 + 40)


def test_an_untied_head_is_counted_once(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        tie_word_embeddings=False,
    )
    network = Qwen3ForCausalLM(config)
    network.save_pretrained(tmp_path)
    body = sum(p.numel() for n, p in network.named_parameters() if "embed" not in n and "lm_head" not in n)
    assert size_of(str(tmp_path)) == Size(body, 11 * 8, 1, 8)


def test_what_was_measured_says_how_far_it_is_off(tmp_path: Path) -> None:
    assert measured(tmp_path / "absent.json") is None
    near = {"shape": as_json(shapes()[0]), "held_out": False}
    far = {"shape": as_json(replace(shapes()[0], student=LARGE)), "held_out": True}
    axis = {"provenance": {"cpu": "a processor", "date": "2026-11-27T08:00:00Z"}, "points": [near, far]}
    error = {"fitted": {"n": 20, "median": 0.02, "largest": 0.1}, "held_out": {"n": 5, "median": 0.04, "largest": 0.12}}
    write_json(tmp_path / "growth.json", {"axes": {"width": axis}, "model": truth().coefficients, "error": error})
    found = measured(tmp_path / "growth.json")
    assert found is not None and found.model.total(shapes()[0]) == pytest.approx(truth().total(shapes()[0]))
    assert found.largest == SMALL.weights  # a point held out was not fitted to
    assert found.says() == (
        "fitted to 20 steps measured on a processor (2026-11-27); over 5 steps held out it is off by 4% in the median, "
        "12% at most"
    )

"""Bytes by formula against what torch keeps at true widths, and against a GPU's own account (results/gpu/h100.json)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from artifact.config import load
from artifact.errors import ConfigError
from artifact.paths import project_root
from artifact.studies import memory_model
from artifact.studies.memory_model import (
    DEVICE_GIB,
    GIB,
    PROCESS_GIB,
    Held,
    by_device,
    by_phase,
    held,
    nearest_change,
    require_memory,
    scorer,
    short_of,
    student,
)
from artifact.studies.model_shape import shape_of, shape_of_model

ROOT = project_root()
H100 = json.loads((ROOT / "results" / "gpu" / "h100.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("Qwen/Qwen3-1.7B", H100["student"]["parameters"]),
        ("Qwen/Qwen3-8B", H100["teacher"]["parameters"]),
        ("Qwen/Qwen3-30B-A3B", 30.5e9),  # as its page says
        ("Qwen/Qwen3-4B", 4.0e9),
        ("Qwen/Qwen2.5-3B-Instruct", 3.09e9),
    ],
)
def test_parameters_of_the_models_of_the_papers(model: str, parameters: float) -> None:
    exact = isinstance(parameters, int)
    assert shape_of_model(model).parameters == pytest.approx(parameters, rel=0 if exact else 0.01)


def network(family: str, **widths: Any) -> Any:
    """A random model of transformers with these widths."""
    from transformers import AutoConfig, AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **widths))


SMALL = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 16, "tie_word_embeddings": False}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("llama", {"tie_word_embeddings": False}),
        ("qwen3_moe", {"head_dim": 16, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_parameters_are_those_of_transformers(family: str, more: dict[str, Any]) -> None:
    made = network(family, **SMALL, **more)
    assert shape_of(made.config.to_dict(), family).parameters == sum(p.numel() for p in made.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B"])
def test_what_autograd_keeps_of_a_layer(model: str, dtype: str) -> None:
    """At true widths: what a second layer adds, counted by torch's own hooks, within 10 %."""
    shape, tokens, kept = shape_of_model(model), 96, []
    for layers in (1, 2):
        made = network(
            "qwen3",
            hidden_size=shape.hidden,
            intermediate_size=shape.inner,
            num_hidden_layers=layers,
            num_attention_heads=shape.queries // shape.head,
            num_key_value_heads=shape.keys // shape.head,
            head_dim=shape.head,
            vocab_size=32,
        ).to(getattr(torch, dtype))
        weights = {p.untyped_storage().data_ptr() for p in made.parameters()}
        seen: dict[int, int] = {}

        def keep(t: torch.Tensor, seen: dict[int, int] = seen, weights: set[int] = weights) -> torch.Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
            return t

        with saved_tensors_hooks(keep, lambda t: t):
            out = made.model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
        kept.append(sum(seen.values()))
        del out
    expected = tokens * shape.kept_per_token(memory_model.bytes_of(dtype))
    assert kept[1] - kept[0] == pytest.approx(expected, rel=0.1)


def test_a_student_on_a_gpu() -> None:
    """Activations of a plain pass, and peaks of a step under DeepSpeed at ZeRO 1, 2 and 3, within 10 %."""
    shape, tokens = shape_of_model("Qwen/Qwen3-1.7B"), H100["student"]["tokens"]
    plain = tokens * shape.layers * shape.kept_per_token(2) / GIB
    assert plain == pytest.approx(H100["student"]["plain"]["extra_gib"], rel=0.1)
    for stage in (1, 2, 3):
        rows = student(shape, "bfloat16", stage=stage, ranks=1, tokens=tokens, checkpointed=True)
        total = sum(row.nbytes for row in rows) / GIB
        assert total == pytest.approx(H100["engine"][f"zero {stage}"]["peak_gib"], rel=0.1), stage


def test_a_teacher_on_a_gpu() -> None:
    rows = scorer(shape_of_model("Qwen/Qwen3-8B"), "bfloat16", H100["teacher"]["tokens"], "teacher")
    measured = H100["teacher"]["teacher_scores"]
    assert sum(row.nbytes for row in rows) / GIB == pytest.approx(measured["peak_gib"], rel=0.1)
    assert rows[1].nbytes / GIB == pytest.approx(measured["extra_gib"], rel=0.1)


def test_ranks_share_what_the_stage_says() -> None:
    shape = shape_of_model("Qwen/Qwen3-1.7B")
    p = shape.parameters

    def of(stage: int, ranks: int) -> dict[str, float]:
        rows = student(shape, "bfloat16", stage=stage, ranks=ranks, tokens=1, checkpointed=True)
        return {row.component: row.nbytes for row in rows}

    for ranks in (1, 4):
        assert [of(z, ranks)["weights"] for z in range(4)] == [2 * p, 2 * p, 2 * p, 2 * p / ranks]
        assert [of(z, ranks)["optimiser"] for z in range(4)] == [12 * p] + [12 * p / ranks] * 3
        assert of(0, ranks)["gradients"] == 6 * p and of(2, ranks)["gradients"] == 4 * p / ranks


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_offloaded_moments_take_what_the_passes_have_left(stage: int, dtype: str) -> None:
    """8 bytes a weight are away until the update, which stage 3 makes by 1e9 weights, and needs no activations."""
    shape = shape_of_model("Qwen/Qwen3-8B")
    p, passing = shape.parameters, ("activations", "output head", "update")

    def of(tokens: int, offload: bool) -> dict[str, float]:
        rows = student(shape, dtype, stage=stage, ranks=2, tokens=tokens, checkpointed=True, offload=offload)
        return {row.component: row.nbytes for row in rows}

    for tokens in (1, 16_384, 262_144):
        on, off = of(tokens, offload=True), of(tokens, offload=False)
        assert off["optimiser"] - on["optimiser"] == 8 * p / 2 and "update" not in off
        assert {n: on[n] for n in on if n not in ("optimiser", "update")} == {
            n: off[n] for n in off if n != "optimiser"
        }
        at_once = 8e9 if stage == 3 else 4 * p
        assert sum(on[n] for n in passing) == max(at_once, off["activations"] + off["output head"])


def test_a_student_that_fits_offloaded_is_told_so() -> None:
    """The reference of CORE beside the third pair's student; a smaller micro-batch does not do, and is not named."""
    crowded, change = {"method": "core"}, {"cluster.offload_optimiser": True}
    assert nearest_change(load("paper-8b", crowded)) == change
    with pytest.raises(ConfigError, match=r"set cluster\.offload_optimiser = true$"):
        require_memory(load("paper-8b", crowded))
    assert short_of(load("paper-8b", crowded | change)) is None


def test_the_gpu_tiers_fit_and_what_does_not_is_refused_with_the_nearest_change() -> None:
    paper = load("paper", {"method": "core"})
    assert short_of(paper) is None and short_of(load("single-gpu", {"method": "core"})) is None
    placed = by_device(paper, held(paper))
    assert {row.role for row in placed[0]} == {"student-0", "reference"} and len(placed) == 4
    plain = {"method": "core", "optimiser.gradient_checkpointing": False}
    with pytest.raises(ConfigError, match=r"GPU 0 would hold .* set optimiser\.gradient_checkpointing = true$"):
        require_memory(load("paper", plain))
    assert nearest_change(load("paper", plain)) == {"optimiser.gradient_checkpointing": True}
    with pytest.raises(ConfigError, match=r"no setting of this tier is enough: use more GPUs"):
        require_memory(load("single-gpu", {"models.student": "Qwen/Qwen3-8B"}))
    with pytest.raises(ConfigError, match=r"an engine's KV cache would have .* one response of engine.max_model_len"):
        require_memory(load("paper", {"cluster.engine.gpu_memory_utilization": 0.041}))
    assert short_of(load("paper"), device_gib=24.0) is not None


def test_phase_1_is_held_by_the_teachers_own_engines() -> None:
    """Two GPUs for the engine of a teacher of 30.5 billion parameters, a third for the forward pass that proves it."""
    config = load("paper-8b", {"method": "uopd"})
    share = config.cluster.engine.gpu_memory_utilization * DEVICE_GIB + PROCESS_GIB
    proof = 2 * 30.5e9 / GIB + PROCESS_GIB
    first = by_phase(config).set_index("device")["phase 1"]
    judge = 2 * 3.09e9 / GIB + PROCESS_GIB  # its forward pass has the GPU of the teacher's, its engine the fourth
    assert first.to_dict() == pytest.approx({0: share, 1: share, 2: proof + judge, 3: share}, rel=0.01)
    exact = load("paper-8b", {"method": "uopd", "annotation.clustering": "symbolic"})
    assert by_phase(exact).set_index("device")["phase 1"][3] == 0, "no judge"
    half = {"method": "uopd", "cluster.engine.gpu_memory_utilization": 0.6}
    assert short_of(load("paper-8b", half)) is None, "57 GiB of weights on two GPUs of 48 each"
    alone = load("paper-8b", half | {"cluster.engines.teacher": {"tensor_parallel_size": 1}})
    assert "in phase 1 an engine's KV cache would have -" in str(short_of(alone))
    unproven = load("paper-8b", {"method": "uopd", "cluster.engines.teacher.prove_weights": False})
    phases = by_phase(unproven).set_index("device")["phase 1"]
    assert phases.to_dict() == pytest.approx({0: share, 1: share, 2: share, 3: judge}, rel=0.01)


def test_on_one_gpu_a_judge_is_beside_the_teacher_where_both_fit() -> None:
    """Shares of 0.3 and 0.25 fit with what proves them; two of 0.6 do not, and each has the GPU in its turn."""
    config = load("single-gpu", {"method": "uopd"})
    teacher, judge = (2 * b * 1e9 / GIB + PROCESS_GIB for b in (1.72, 3.09))
    both = (0.3 + 0.25) * DEVICE_GIB + 2 * PROCESS_GIB + teacher + judge
    assert by_phase(config)["phase 1"][0] == pytest.approx(both, rel=0.01)
    wide = {f"cluster.engines.{role}": {"gpu_memory_utilization": 0.6} for role in ("teacher", "judge")}
    alone = load("single-gpu", {"method": "uopd", **wide})
    assert by_phase(alone)["phase 1"][0] == pytest.approx(0.6 * DEVICE_GIB + PROCESS_GIB + judge, rel=0.01)


PAIRS: dict[str, dict[str, object]] = {
    "1.7B from 8B": {},
    "4B from 8B": {"models.student": "Qwen/Qwen3-4B", "cluster.student_workers": 2, "cluster.engine.count": 1},
    "8B from 30B-A3B": {
        "models.student": "Qwen/Qwen3-8B",
        "teacher": "qwen3-30b-a3b",
        "models.teachers": {"qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B"},
        "cluster.student_workers": 2,
        "cluster.engine.count": 1,
        "cluster.zero_stage": 3,
        "optimiser.micro_batch_tokens": 8192,
    },
}
"""UOPD's Table 1 on four GPUs of 80 GB, as far as the first pair's tier does not say it."""


@pytest.mark.parametrize("method", ["opd", "uopd", "grpo", "opsd", "seqkd"])
@pytest.mark.parametrize("pair", PAIRS)
def test_every_phase_of_the_three_pairs_fits(pair: str, method: str) -> None:
    config = load("paper", {"method": method, **PAIRS[pair]})
    assert short_of(config) is None
    phases = by_phase(config)
    assert len(phases) >= 3 and (phases[["phase 1", "training"]].max(axis=1) <= phases["capacity"]).all()


def test_a_device_holds_in_a_phase_what_lives_then() -> None:
    """The first GPU: the student with the reference beside it; both scoring passes are the teacher's phase."""
    first = by_phase(load("paper", {"method": "core"})).set_index("device").loc[0]
    own, tokens = shape_of_model("Qwen/Qwen3-1.7B"), 16384
    reference = scorer(own, "bfloat16", tokens, "reference")[1].nbytes / GIB
    rows = {r.component: r.nbytes / GIB for r in held(load("paper", {"method": "core"})) if r.role == "student-0"}
    passing = rows["activations"] + rows["output head"]
    assert first["teacher"] - first["rollout"] == pytest.approx(reference)
    assert first["student"] - first["rollout"] == pytest.approx(passing)
    assert first["training"] - first["rollout"] == pytest.approx(reference + passing)


def test_phase_1_is_looked_at_where_a_method_reads_it() -> None:
    """A teacher that no engine holds stops UOPD and not GRPO, which never samples it."""
    wanted: dict[str, object] = {
        **PAIRS["8B from 30B-A3B"],
        "cluster.engine.gpu_memory_utilization": 0.7,
        "cluster.engine.max_model_len": 8192,
    }
    why = short_of(load("paper", {"method": "uopd", **wanted}))
    assert why is not None and why.startswith("in phase 1 an engine's KV cache would have -")
    assert short_of(load("paper", {"method": "grpo", **wanted})) is None


def test_gpus_of_engines_are_given_to_a_student_that_needs_them() -> None:
    change = nearest_change(load("paper", {"method": "opd", "models.student": "Qwen/Qwen3-8B"}))
    assert change is not None and change["cluster.student_workers"] == 2 and change["cluster.engine.count"] == 1
    assert short_of(load("paper", {"method": "opd", "models.student": "Qwen/Qwen3-8B", **change})) is None


def test_what_is_not_counted_is_said() -> None:
    with pytest.raises(ConfigError, match="the widths of org/name are not known on this machine: fetch it, or add"):
        shape_of_model("org/name")
    with pytest.raises(ConfigError, match="x: model_type 'gpt2' is not counted"):
        shape_of({"model_type": "gpt2"}, "x")
    with pytest.raises(ConfigError, match=r"x: its config\.json says nothing of hidden_size"):
        shape_of({"model_type": "qwen3", "num_attention_heads": 2}, "x")
    with pytest.raises(ConfigError, match="a student with experts has not been measured"):
        shape_of_model("Qwen/Qwen3-30B-A3B").kept_per_token(2)


COLOCATED: dict[str, object] = {
    "method": "core",
    "cluster.layout": "colocated",
    "cluster.student_workers": 4,
    "cluster.engine.count": 4,
    "cluster.engine.gpu_memory_utilization": 0.4,
}


def test_a_colocated_device_holds_the_more_of_sampling_and_training() -> None:
    """Each of four holds all roles; its engine gives its memory up before the others begin, and they theirs to it."""
    config = load("paper", COLOCATED)
    of = by_device(config, held(config))
    assert [{row.role for row in of[d]} for d in range(4)] == [
        {f"{kind}-{d}" for kind in ("engine", "student", "teacher", "reference")} for d in range(4)
    ]
    processes = 4 * 1.5
    engine = 0.4 * 79.2
    stays = sum(r.nbytes for r in of[2] if r.component in ("weights", "optimiser", "gradients", "buffers")) / GIB
    stays -= sum(r.nbytes for r in of[2] if r.role == "engine-2" and r.component == "weights") / GIB
    passes = sum(r.nbytes for r in of[2] if r.component in ("activations", "output head", "scores")) / GIB
    found = by_phase(config).set_index("device").loc[2]
    assert found["rollout"] == pytest.approx(stays + processes + engine)
    assert found["training"] == pytest.approx(max(stays + processes + engine, stays + processes + passes))
    [scores] = [r for r in of[2] if r.component == "scores"]
    rollouts, tokens = (
        config.train.prompts_per_step * config.sampling.samples_per_prompt,
        config.sampling.max_new_tokens,
    )
    assert scores == Held("teacher-2", "scores", rollouts / 4 * tokens * (8 * config.losses.distil.top_k + 4))
    own = [r for r in of[2] if r.role == "student-2" and r.component in ("activations", "output head")]
    there = stays + processes + sum(r.nbytes for r in [*own, scores]) / GIB
    assert found["student"] == pytest.approx(there), "the scores are there until the student has read them"
    assert found["student"] < found["rollout"] and found["training"] < 79.2 and short_of(config) is None


def test_a_colocated_engine_with_too_large_a_share_is_refused_and_given_less() -> None:
    crowded = load("paper", COLOCATED | {"cluster.engine.gpu_memory_utilization": 0.85})
    assert (short_of(crowded) or "").startswith("GPU 0 would hold")
    change = nearest_change(crowded)
    assert change is not None and change["cluster.engine.gpu_memory_utilization"] in (0.6, 0.4)
    assert nearest_change(load("paper", COLOCATED | {"models.student": "Qwen/Qwen3-8B"})) is None

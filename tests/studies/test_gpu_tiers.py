"""The tiers of GPUs, as far as arithmetic goes: lengths, roles, memory, UOPD's pairs, and who builds their data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from artifact.actors.placement import place
from artifact.book.needs import studies_shown
from artifact.config import ConfigError, load, load_tier
from artifact.paths import project_root
from artifact.studies import suremath
from artifact.studies.memory_model import short_of
from artifact.studies.study import load_study
from artifact.studies.training_queue import union
from artifact.suremath.settings import load_settings

GPU_TIERS = ("paper", "paper-4b", "paper-8b", "single-gpu")


@pytest.mark.parametrize("tier", GPU_TIERS)
def test_every_budget_leaves_room_for_a_prompt_in_the_engine_that_samples_it(tier: str) -> None:
    """GSM8K's prompts with four examples are the longest: about 1,000 tokens."""
    for study in ("uopd", "core"):
        for _, config in load_study(study).runs(tier):
            engine = config.cluster.engine
            for budget in (config.sampling, config.annotation, config.evaluation):
                assert engine.max_model_len - budget.max_new_tokens >= 1024, (study, tier)
    generator = load(tier).as_role("generator").cluster.engine
    if suremath.trained_on(load(tier)):
        assert generator.max_model_len - load_settings("paper").generator.max_new_tokens >= 4096, "two parents, a rule"


@pytest.mark.parametrize("tier", GPU_TIERS)
def test_a_sync_in_half_precision_is_given_what_identical_weights_differ_by(tier: str) -> None:
    """0.06 nats in the mean on SmolLM2-135M, transformers against vLLM, and three times as much on other models."""
    config = load(tier)
    assert config.models.dtype == "bfloat16" and config.cluster.sync_tolerance >= 3 * 0.06


@pytest.mark.parametrize("tier", GPU_TIERS)
def test_gradients_of_half_precision_are_summed_in_single(tier: str) -> None:
    """Below stage 2 DeepSpeed sums them in bfloat16 (tests/actors/test_zero.py holds it to 4 % there, to 1 % here)."""
    config = load(tier)
    assert config.models.dtype == "bfloat16" and config.cluster.zero_stage >= 2


@pytest.mark.parametrize("tier", GPU_TIERS)
def test_no_run_asks_a_teacher_to_answer_with_the_calculator(tier: str) -> None:
    """`studies.runner.run` refuses it, in the middle of a series."""
    for _, config in union(studies_shown(tier), tier):
        assert not (config.make_method().needs.teacher_answers and config.task.calculator), config.method_options


@pytest.mark.parametrize("tier", GPU_TIERS)
def test_every_role_has_a_place_and_fits(tier: str) -> None:
    config = load(tier)
    assert short_of(config) is None and config.task.thinking is False
    for role in ("teacher", "judge", "generator"):
        cluster = config.as_role(role).cluster
        reference = ("reference",) if cluster.engine.prove_weights else ()
        placed = place(cluster, (*(f"sampler-{i}" for i in range(cluster.engine.count)), *reference))
        assert sum(b["GPU"] for b in placed.bundles) <= cluster.gpus


def test_the_papers_pairs_are_tiers() -> None:
    """UOPD, Table 1."""
    pairs = [(load(t).models.student, load(t).teacher_path) for t in ("paper", "paper-4b", "paper-8b")]
    assert pairs == [
        ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B"),
    ]
    assert all(load_tier(t).base == "paper" for t in ("paper", "paper-4b", "paper-8b"))
    assert [len(load_study("uopd").runs(t)) for t in ("paper", "paper-8b")] == [15, 15], "one teacher each"


def test_the_72b_generator_has_all_four_gpus_and_no_forward_pass_elsewhere() -> None:
    engine = load("paper").as_role("generator").cluster.engine
    assert (engine.count, engine.tensor_parallel_size, engine.prove_weights) == (1, 4, False)
    weights = 2 * 72.7e9 / 4 / 2**30  # GiB a GPU, of its 79.2
    assert weights < 79.2 * engine.gpu_memory_utilization < 79.2


def test_a_role_without_engines_of_its_own_has_the_students() -> None:
    config = load("tiny")
    assert config.as_role("judge") is config
    own = load("tiny", {"cluster.engines.judge": {"max_model_len": 512}})
    assert own.as_role("judge").cluster.engine.max_model_len == 512
    assert own.as_role("judge").cluster.engine.max_num_seqs == config.cluster.engine.max_num_seqs
    assert own.as_role("teacher") is own and own.cluster.engine == config.cluster.engine
    other = load("tiny", {"cluster.engines.teacher": {"count": 3}})
    engines = {
        model: other.measuring(f"models/tiny/{model}").cluster.engine.count for model in ("teacher-a", "student")
    }
    assert engines == {"teacher-a": 3, "student": config.cluster.engine.count}
    with pytest.raises(ConfigError, match="the teacher answers the student's prompts"):
        load("tiny", {"cluster.engines.teacher": {"max_model_len": 512}})
    with pytest.raises(ConfigError, match=r"engines\.judge\.max_model_lem"):
        load("tiny", {"cluster.engines.judge": {"max_model_lem": 512}})


def test_one_dataset_for_all_pairs_built_before_it_is_read(results: Path) -> None:
    assert [suremath.builder_of(t) for t in ("paper", "paper-4b", "paper-8b", "tiny-quick")] == [
        "paper",
        "paper",
        "paper",
        "tiny-quick",
    ]
    assert (dataset := suremath.unbuilt(load("paper-8b"))) and dataset.name == "sure-math"
    assert suremath.generator_of(load("paper")) == "Qwen/Qwen2.5-72B-Instruct"
    assert suremath.unbuilt(load("tiny")) is None and suremath.unbuilt(load("single-gpu")) is None
    folder = suremath.data_folder(load_settings("paper"))
    assert folder == results / "data" / "sure_math"
    folder.mkdir(parents=True)
    (folder / "train.parquet").touch()
    assert suremath.unbuilt(load("paper-8b")) is None and suremath.generator_of(load("paper")) is None


@pytest.mark.parametrize("tier", ("paper", "paper-4b", "paper-8b"))
def test_no_method_asks_a_solution_of_problems_that_a_language_model_wrote(tier: str) -> None:
    """8,000 of SURE-Math's 8,800 training problems are evolved: their answer is the labeller's, and no solution is."""
    trained = union(studies_shown(tier), tier)
    asked = {cell.id: c.make_method().needs.contexts for cell, c in trained if suremath.trained_on(c)}
    assert asked["opsd"] == ("answer",)
    assert not [cell for cell, contexts in asked.items() if "solution" in contexts]


def test_what_is_built_is_put_where_the_task_reads_it(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[tuple[Path, Path]] = []
    monkeypatch.setattr(suremath, "_built", lambda settings, config, force: tmp_path)
    monkeypatch.setattr(suremath, "export", lambda *paths: put.append(paths))
    assert suremath.build_suremath("paper-8b") == tmp_path
    assert put == [(tmp_path / "dataset", results / "data" / "sure_math")]


def test_the_tiers_name_splits_that_are_built() -> None:
    settings = yaml.safe_load((project_root() / "configs" / "suremath" / "paper.yaml").read_text())
    c = settings["curated"]
    assert c["size"] - c["validation"] == 1000 and c["test"] == 200, "the draft's 800 + 200"
    config = load("paper")
    assert {config.task.train_split, config.evaluation.validation, config.evaluation.final[-1]} == {
        "train",
        "validation",
        "test",
    }

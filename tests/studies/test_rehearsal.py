"""A rehearsal's folder: the tier's own settings but for lengths and numbers, and everything it reads under its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from artifact.config import ConfigError, load, read_yaml
from artifact.errors import ArtifactError
from artifact.files import read_json, write_json
from artifact.paths import project_root
from artifact.studies import rehearsal as module
from artifact.studies.rehearsal import (
    FACTOR,
    broken_claims,
    firsts,
    in_order,
    prepare,
    rehearse,
    rehearse_side_by_side,
    scaled,
    take_over,
    thinned,
)
from artifact.studies.study import study_names
from artifact.suremath.settings import load_settings

STUDIES = project_root() / "configs" / "studies"


@pytest.mark.parametrize("tier", ["paper", "paper-8b", "single-gpu"])
def test_only_responses_are_shorter_and_the_room_for_prompts_is_the_tiers(tier: str) -> None:
    own = load(tier)
    small = load(tier, scaled(own))
    for part in ("sampling", "annotation", "evaluation"):
        before, after = (getattr(c, part).max_new_tokens for c in (own, small))
        assert after == max(before // FACTOR, 24)

    def room(config: object) -> int:
        return config.cluster.engine.max_model_len - config.evaluation.max_new_tokens  # type: ignore[attr-defined]

    if tier != "single-gpu":
        assert own.evaluation.max_new_tokens == max(own.sampling.max_new_tokens, own.evaluation.max_new_tokens)
    assert room(small) == room(own)
    kept = ("lanes", "gpus", "student_workers", "zero_stage", "colocate_reference", "weight_transfer", "sync_tolerance")
    assert {n: getattr(small.cluster, n) for n in kept} == {n: getattr(own.cluster, n) for n in kept}
    assert small.cluster.device == "cpu" and small.models == own.models and small.losses == own.losses


def test_an_engine_that_evaluation_fills_is_found() -> None:
    """A tier whose engine is as long as evaluation's responses has no room for a prompt, and none in its rehearsal."""
    bad = load("paper", {"cluster.engine.max_model_len": 8192})
    small = load("paper", scaled(bad) | {})
    assert small.cluster.engine.max_model_len == small.evaluation.max_new_tokens


def test_an_engine_over_several_gpus_reserves_them_from_one_process() -> None:
    for tier, role, wide in (("paper", "generator", 4.0), ("paper-8b", "teacher", 2.0)):
        engine = load(tier, scaled(load(tier))).as_role(role).cluster.engine  # type: ignore[arg-type]
        assert (engine.tensor_parallel_size, engine.gpus) == (1, wide)


def test_a_study_keeps_one_of_the_cells_that_differ_in_numbers_and_little_of_each() -> None:
    studies = {name: read_yaml(STUDIES / f"{name}.yaml") for name in study_names()}
    trained = firsts(studies.values())

    def ids(name: str) -> list[str]:
        return [cell["id"] for cell in thinned(studies[name], trained)["cells"]]

    assert ids("core_alpha") == ["core-alpha-0.1", "core", "core-convex-0.5"]
    assert ids("uopd_top_k") == ["uopd-soft", "uopd-k-quarter", "uopd-k-full"]
    assert ids("uopd_methods") == ["opd", "uopd-soft", "grpo", "opsd", "seqkd"], "words are kept apart"
    assert ids("uopd_threshold") == ["opd", "uopd-binary-0.3", "uopd-binary-0.5", "uopd-soft"], "0.5 for study uopd"
    for name, own in studies.items():
        small = thinned(own, trained)
        assert {k: v for k, v in small.items() if k not in ("cells", "tiers", "more_seeds")}.items() <= own.items()
        for tier, settings in small["tiers"].items():
            counted = {"task.train_limit"} if "train.episodes" in settings else set()
            assert settings.keys() == own["tiers"][tier].keys() | counted, name
            assert settings.get("task.train_limit", 0) <= 16 and settings.get("train.episodes", 1) == 1
            assert settings.get("evaluation.limit", 0) <= 6 and settings.get("sampling.max_new_tokens", 0) <= 32
            assert settings.get("train.prompts_per_step", 0) <= 4
    few_samples = [c for c in thinned(studies["uopd_samples"], trained)["cells"] if c["id"] == "uopd-n-2"]
    assert few_samples[0]["overrides"] == {"annotation.samples": 2, "annotation.draw": 8}, "no draw of its own"
    core = thinned(studies["core"], trained)["tiers"]["paper"]
    assert core["task.calculator"] is True and core["task.template"] == "gsm8k_4shot"
    assert core["sampling.samples_per_prompt"] == 4, "of 8"
    assert (core["train.episodes"], core["task.train_limit"]) == (1, 8), "two steps of four prompts"
    assert "task.train_limit" not in thinned(studies["uopd_methods"], trained)["tiers"].get("paper", {})


def test_the_account_holds_every_go_and_the_cluster_always_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, ...]] = []

    def verb(environment: dict[str, str], *arguments: str) -> None:
        called.append(arguments)
        if arguments[-1] == "03":
            raise ArtifactError("the rehearsal failed")

    monkeypatch.setattr(module, "prepare", lambda tier, folder: {})
    monkeypatch.setattr(module, "verb", verb)
    for tier in ("paper", "paper-4b"):
        (tmp_path / "results" / "runs" / tier).mkdir(parents=True)
        write_json(tmp_path / "results" / "runs" / tier / "manifest.json", {"tier": tier})
    with pytest.raises(ArtifactError):
        rehearse("paper", tmp_path, "03")
    path = rehearse("paper", tmp_path)
    stop = ("cluster", "stop")
    assert called == [("run-all", "--tier", "paper", "--only", "03"), stop, ("run-all", "--tier", "paper"), stop]
    account = read_json(path, "")
    assert path == tmp_path / "results" / "rehearsed.paper.json" and account["runs"] == 1
    assert [(go["notebooks"], go["done"]) for go in account["goes"]] == [("03", False), ("all", True)]
    assert {go["source"] for go in account["goes"]} == {account["source"]}


def test_the_claims_that_could_not_be_judged_are_told(tmp_path: Path) -> None:
    path = tmp_path / "tables" / "paper" / "claims.csv"
    path.parent.mkdir(parents=True)
    rows = 'better,PASS,+1.0 points\nfalls,BROKEN,"figure f: no series, say more"\nlater,NOT RUN,needs tier paper\n'
    path.write_text(f"id,verdict,numbers\n{rows}")
    assert broken_claims("paper", tmp_path) == ["falls: figure f: no series, say more"]
    assert broken_claims("single-gpu", tmp_path) == [], "notebook 14 was not rehearsed"


def test_a_tier_that_reads_anothers_dataset_waits_until_it_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """UOPD's pairs read the SURE-Math that `paper` builds; one GPU has problems of its own."""
    assert in_order(["paper-4b", "single-gpu", "paper", "paper-4b"]) == ["single-gpu", "paper", "paper-4b"]
    with pytest.raises(ConfigError, match="unknown tier 'papr'"):
        in_order(["papr"])
    begun: dict[str, Any] = {}

    def run(commands: Any, heard: Any, *, ready: Any) -> dict[str, int]:
        begun.update(commands, ready=ready)
        return dict.fromkeys(commands, 0) | {"single-gpu": 1}

    monkeypatch.setattr(module, "run_side_by_side", run)
    with pytest.raises(ArtifactError, match="the rehearsal of single-gpu failed"):
        rehearse_side_by_side(["paper-4b", "single-gpu", "paper"], tmp_path, "03", print)
    ready = begun.pop("ready")
    assert list(begun) == ["single-gpu", "paper", "paper-4b"]
    asked = ["--tier", "paper-4b", "--only", "03", "--folder", str(tmp_path / "paper-4b")]
    assert begun["paper-4b"][-6:] == asked
    assert ready("single-gpu", []) and ready("paper", []) and not ready("paper-4b", ["single-gpu"])
    assert ready("paper-4b", ["paper"]), "it failed: this one builds its own, or says why not"
    made = tmp_path / "paper" / "results" / "suremath" / "key"
    made.mkdir(parents=True)
    assert not ready("paper-4b", []), "it is being built"
    (made / "manifest.json").write_text("{}")
    assert ready("paper-4b", [])


def test_alone_a_tier_waits_for_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def run(commands: Any, heard: Any, *, ready: Any) -> dict[str, int]:
        asked.extend(ready(tier, []) for tier in commands)
        return dict.fromkeys(commands, 0)

    monkeypatch.setattr(module, "run_side_by_side", run)
    rehearse_side_by_side(["paper-4b", "paper-8b"], tmp_path, None, print)
    assert asked == [True, True], "who builds their SURE-Math is not asked for: each builds it"


def test_what_another_tier_built_is_taken_over_whole(tmp_path: Path) -> None:
    made = tmp_path / "paper" / "results" / "suremath" / "key"
    (made / "dataset").mkdir(parents=True)
    (made / "dataset" / "train.parquet").write_bytes(b"rows")
    take_over("paper-8b", tmp_path / "paper-8b")
    assert not (tmp_path / "paper-8b").exists(), "unfinished: it has no manifest"
    (made / "manifest.json").write_text("{}")
    for _ in range(2):  # a second go finds it there
        take_over("paper-8b", tmp_path / "paper-8b")
    taken = tmp_path / "paper-8b" / "results" / "suremath" / "key"
    assert (taken / "dataset" / "train.parquet").read_bytes() == b"rows" and (taken / "manifest.json").is_file()
    take_over("paper", tmp_path / "paper")
    take_over("single-gpu", tmp_path / "single-gpu")
    assert not (tmp_path / "single-gpu").exists()


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of pair 3, and the environment in which it is a rehearsal."""
    folder = tmp_path_factory.mktemp("rehearsal")
    return folder, prepare("paper-8b", folder)


def run_there(environment: dict[str, str], program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_its_folder_has_everything_that_the_tier_names(rehearsal: tuple[Path, dict[str, str]]) -> None:
    """Start-up, which reads models and problems, is green in a process that has this folder and no network."""
    folder, environment = rehearsal
    tiers = folder / "configs" / "tiers"
    assert yaml.safe_load((tiers / "paper-8b.yaml").read_text())["extends"] == "paper"
    assert yaml.safe_load((tiers / "paper.yaml").read_text())["cluster"]["gpus"] == 4
    program = """
from artifact.config import load
from artifact.errors import Mismatch
from artifact.studies.inputs import check_judge, inputs_over, problems_of
from artifact.studies.suremath import unbuilt
from artifact.suremath.lineage import CURATED
from artifact.suremath.seeds import load_benchmarks, load_sources
from artifact.suremath.settings import load_settings
config, settings = load("paper-8b"), load_settings("paper")
assert (dataset := unbuilt(config)) and dataset.name == "sure-math", dataset
curated = [item.problem for item in load_sources(settings.curated.sources, CURATED).items]
inputs, report = inputs_over(config, curated)
assert len(inputs.train) == len(curated) > settings.curated.size, (len(inputs.train), len(curated))
assert inputs.vocabulary > config.losses.distil.top_k
check_judge(config, inputs.train)
sizes = {name: len(items) for name, items in load_benchmarks(settings.benchmarks).items()}
assert sizes == {"math-500": 500, "aime-2025": 30, "amo-bench": 50, "gsm8k-test": 1319}, sizes
assert len(problems_of(config.task, "aime-2025", None)) == 30
full = load("paper-8b", {"cluster.engine.max_model_len": config.evaluation.max_new_tokens})
try:
    inputs_over(full, curated)
except Mismatch as err:
    assert "cluster.engine.max_model_len" in str(err), err
else:
    raise AssertionError("an engine that a response of evaluation fills has no room for a prompt")
"""
    run_there(environment, program)
    small = yaml.safe_load((folder / "configs" / "suremath" / "paper.yaml").read_text())
    assert small["generator"]["model"] == load_settings("paper").generator.model


def test_sure_math_is_built_from_its_sources_and_each_role_has_engines_of_its_own(
    rehearsal: tuple[Path, dict[str, str]],
) -> None:
    """Up to the first engine: nothing of the dataset that is to be built is read, and the generator has all GPUs."""
    program = """
from artifact.studies import suremath
opened = []
class Opened(Exception):
    pass
def engines(config, model, inputs):
    opened.append((model, config.cluster.engine.count, config.cluster.engine.gpus))
    if len(opened) == 2:
        raise Opened
suremath.BoundSampler = engines
try:
    suremath.build_suremath("paper-8b")
except Opened:
    pass
assert opened == [("Qwen/Qwen3-8B", 2, None), ("Qwen/Qwen2.5-72B-Instruct", 1, 4.0)], opened
"""
    run_there(rehearsal[1], program)


def test_stand_ins_reach_an_engine_whole_and_are_scored_unrounded(rehearsal: tuple[Path, dict[str, str]]) -> None:
    """By the hub ids that the tier names, the judge's tied head too; logits against float64 products."""
    program = """
import torch
from artifact.actors.checkpoints import load_config, load_frozen, sound_tensors
from artifact.actors.weight_sync import with_explicit_head
from artifact.config import load
from artifact.paths import resolve_model
from artifact.train.scoring import FrozenModel
config = load("paper-8b")
tied = {}
for model in (config.models.student, config.teacher_path, config.models.judge):
    path = resolve_model(model)
    tied[model] = load_config(path).tie_word_embeddings
    given = dict(with_explicit_head(sound_tensors(path), tied[model]))
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= given.keys(), (model, list(given))
    assert torch.equal(given["lm_head.weight"], given["model.embed_tokens.weight"]) == tied[model], model
assert sorted(tied.values()) == [False, False, True], tied
teacher = FrozenModel(load_frozen(resolve_model(config.teacher_path), config.models.dtype, "cpu"))
asked = tuple(range(5, 15)), tuple(range(20, 60))
scores = teacher.teacher_scores({0: asked}, config.losses.distil.top_k)
_, _, hidden, weight = next(iter(teacher.passes([asked], 4096)))
exact = (hidden.double() @ weight.double().T).log_softmax(-1).gather(1, torch.as_tensor(scores.ids).long())
gap = float((torch.as_tensor(scores.logprobs) - exact).abs().max())
assert gap < 1e-4, gap
"""
    run_there(rehearsal[1], program)

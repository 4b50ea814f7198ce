"""What a plan counts beside runs: the dataset, annotations, references, and studies that share them; no network."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from tests.fake_hub import TINY, FakeHub

from artifact import models
from artifact.config import load
from artifact.studies import inputs
from artifact.studies.offline import absent, absent_models, problem_count
from artifact.studies.plan import Stage, dataset_stages, plan, together
from artifact.studies.plan_page import print_plan
from artifact.studies.study import load_study, studies_made_on
from artifact.studies.training_queue import planned
from artifact.suremath.settings import load_settings

FEW = {"task.train_limit": 20, "evaluation.limit": 30, "evaluation.max_new_tokens": 60, "annotation.max_new_tokens": 50}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no data at all: a results folder of its own, and no folder beside the project."""
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr("artifact.tasks.hub.data_dirs", lambda data_dir=None: [Path(data_dir)] if data_dir else [])
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Hosts that were asked for, on a machine that may ask the hub and cannot reach it."""
    import datasets
    from huggingface_hub import constants

    asked: list[str] = []

    def refused(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise AssertionError(f"{host} was asked for")  # of an error of the network there would be minutes of retries

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    return asked


@pytest.mark.parametrize("tier", ["paper", "single-gpu"])
def test_no_network_is_asked(tier: str, bare: Path, calls: list[str]) -> None:
    """Every study of a tier, and so every kind of task, where neither a model nor a data set is at hand."""
    out = io.StringIO()
    print_plan(tier, studies_made_on(tier), None, Console(file=out, width=200))
    assert calls == [] and "ifeval is not on this machine" in out.getvalue()
    kinds = {config.task.name for study in studies_made_on(tier) for _, config in load_study(study).runs(tier)}
    assert {"seed-instructions", "samsum", "wmt14-de-en", load(tier).task.name} <= kinds, (
        "those that this test is about"
    )


def test_what_is_stored_is_told_without_fetching_anything(bare: Path, calls: list[str]) -> None:
    """The keys of runs need models and data: `train-all --dry-run` says which are missing, and fetches none."""
    *_, together, stored = planned(["uopd", "text_instructions"], "paper")
    config = load("paper")
    assert together.startswith("all together: ") and stored.startswith("what is stored cannot be told here: ")
    for name in (config.models.student, config.teacher_path, config.models.judge, "sure-math/train", "/ifeval"):
        assert str(name) in stored
    assert calls == [] and not list((bare / "results").rglob("*"))


def test_a_model_in_the_hubs_cache_is_on_this_machine(hub: FakeHub) -> None:
    config = load("tiny", {"models.student": "lab/small", "models.teachers": {"A": "lab/large"}})
    models._resolved.clear()
    assert absent_models(config) == ["lab/small", "lab/large"]
    hub.put("lab/small", TINY / "student")
    hub.put("lab/large", TINY / "teacher-a")
    assert absent_models(config) == [] == absent(load("tiny"))


def by_name(stages: list[Stage]) -> dict[str, list[tuple[int, int | None, int | None]]]:
    """(times, rollouts, tokens) of the stages by their names."""
    found: dict[str, list[tuple[int, int | None, int | None]]] = {}
    for s in stages:
        found.setdefault(s.name, []).append((s.times, s.rollouts, s.tokens))
    return found


def test_the_dataset_is_counted_by_its_settings_until_it_is_built(bare: Path) -> None:
    """UOPD section 4.1 and appendix A.1: 800 curated and 8,000 evolved problems, 8 samples of each, 200 for testing."""
    settings, length = load_settings("paper"), load("paper").annotation.max_new_tokens
    seeds = {"easy": 3000, "medium": 1200 + 1500, "hard": 900 + 600, "competition": 4 * 30 + 50}
    asked = seeds["easy"] + 2 * seeds["medium"] + 3 * seeds["hard"] + 5 * seeds["competition"]
    assert settings.proposals == asked
    assert settings.sizes == {"train": 800 + 8000, "test": 200, "validation": 100}
    for tier in ("paper", "paper-4b"):
        assert by_name(dataset_stages(tier)) == {
            "evolve": [(1, asked, asked * 2048)],
            "label": [(1, 8 * asked, 8 * asked * length)],
            "entropies": [(1, 8 * 8800, 8 * 8800 * length)],
        }, tier
        assert [problem_count(load(tier), split)[0] for split in ("train", "test", "validation")] == [8800, 200, 100]
    price = {s.name: s.price.clock for s in dataset_stages("paper")}
    assert all(price.values()) and price["label"] > price["entropies"]  # type: ignore[operator]
    assert dataset_stages("tiny") == [] == dataset_stages("single-gpu"), "its runs train on other problems"


def test_a_dataset_that_is_there_is_not_planned(bare: Path) -> None:
    row = {"problem_id": "a", "question": "1 + 1?", "answer": "2", "solution": "2", "difficulty": "easy"}
    folder = bare / "data" / "sure_math"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    assert dataset_stages("paper") and dataset_stages("paper", {"task.data_dir": str(bare / "data")}) == []


def test_a_count_is_the_same_where_the_data_is_and_where_it_is_not(bare: Path) -> None:
    """AMO-Bench states 50 problems; of a file of two on this machine the plan says nothing else, nor does a table."""
    row = {"question_id": 1, "prompt": "1 + 1?", "answer": "2", "solution": "2", "answer_type": "number"}
    folder = bare / "data" / "amo_bench"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text((json.dumps(row) + "\n") * 2)
    counts = {problem_count(load("paper", own), "amo-bench") for own in ({}, {"task.data_dir": str(bare / "data")})}
    assert counts == {(50, "")}
    assert problem_count(load("paper", {"evaluation.limit": 20}), "amo-bench") == (20, "")


def test_settings_without_limits_have_no_size() -> None:
    settings = load_settings("paper")
    free = settings.seeds[0].model_copy(update={"limit": None})
    open_end = settings.model_copy(update={"seeds": (free, *settings.seeds[1:])})
    assert open_end.proposals is None and open_end.sizes["train"] == 8800, "as many as are kept"
    all_kept = open_end.model_copy(update={"evolution": settings.evolution.model_copy(update={"size": None})})
    assert all_kept.sizes["train"] is None
    few = settings.model_copy(update={"seeds": settings.seeds[-1:]})
    assert few.sizes["train"] == 800 + 5 * 50, "fewer proposals than are to be kept"


def test_references_are_measured_once_each() -> None:
    """The untrained student and two teachers, on one split; with samples where the study says so."""
    sampled = {"evaluation.sampled": {"k": 4, "limit": 5}}
    greedy, _ = plan("tiny", "uopd", FEW | sampled)
    assert by_name(greedy)["reference"] == [(1, 30, 30 * 60), (2, 60, 60 * 60)], "Base; two called Teacher"
    assert load_study("uopd_methods").references == "sampled"
    both, _ = plan("tiny", "uopd_methods", FEW | sampled)
    assert by_name(both)["reference"] == [(1, 30, 1800), (1, 20, 1200), (2, 60, 3600), (2, 40, 2400)]
    assert "reference" not in by_name(plan("tiny", "uopd_samples", FEW)[0]), "nothing there reads them"


def test_samples_that_are_clustered_in_part_are_drawn_once() -> None:
    """N = 2, 4, 8 and 16 of one draw of 16, where the tier draws 16; and N = 8 by itself where it draws 8;
    and 8 samples of the next seed.
    """
    assert load_study("uopd_samples").retests
    for tier, draws in (("tiny", (16, 8)), ("single-gpu", (16, 8, 8))):
        found = [s for s in plan(tier, "uopd_samples", FEW)[0] if s.name == "annotate"]
        counts = sorted((1, 20 * (1 + n), 20 * (1 + n) * 50) for n in draws)
        assert sorted(by_name(found)["annotate"]) == counts, tier
        assert {re.sub(r".*seed", "seed", s.what) for s in found} == {"seed 0", "seed 1"}


def test_what_two_studies_read_is_made_once() -> None:
    """The main study and the one of N share OPD and UOPD under teacher B, of which one has more seeds."""
    names = ["uopd", "uopd_samples"]
    first, second = (load_study(name).runs("tiny", FEW) for name in names)
    shared = sum(1 for _, config in second if config in [c for _, c in first])
    assert shared == 2 * 3, "two cells, three seeds"
    stages, configs = together("tiny", names, FEW)
    assert len(configs) == len(first) + len(second) - shared
    found = by_name(stages)
    assert sum(times for times, _, _ in found["train"]) == len(configs)
    assert found["reference"] == [(3, 90, 5400)]
    draws = [16, 16, 8]  # A and B, each once; B again for the retest
    assert found["annotate"] == [(3, sum(20 * (1 + n) for n in draws), sum(20 * (1 + n) * 50 for n in draws))]
    assert {s.what for s in stages} == {""}


def test_what_is_not_known_stands_apart_from_what_is(bare: Path) -> None:
    """SAMSum's size on the hub is not known, the dataset's of the other study is: neither spoils the other's count."""
    names = ["uopd_samples", "text_summaries"]
    stages, _ = together("paper", names)
    unknown = [s for s in stages if s.what == "number of problems unknown"]
    known = [s for s in stages if s.what == ""]
    assert {s.name for s in known} >= {"annotate", "train"} and all(s.tokens for s in known)
    assert {s.name for s in unknown} == {"annotate"}, "the local rows of a set that would be fetched say nothing"
    assert all(s.rollouts is None and s.price.clock is None for s in unknown)


def test_the_page_ends_with_all_of_it() -> None:
    out = io.StringIO()
    print_plan("tiny", ["uopd", "uopd_samples"], FEW, Console(file=out, width=200))
    stages, configs = together("tiny", ["uopd", "uopd_samples"], FEW)
    end = out.getvalue().split("All together")[1]
    assert f"{len(configs)} different runs of 2 studies" in end and "disk at most" in end
    assert f"{sum(s.tokens or 0 for s in stages):,}" in end and "sampling.max_new_tokens" in end
    narrow = io.StringIO()
    print_plan("tiny", ["uopd", "uopd_samples"], FEW, Console(file=narrow, width=60))
    assert "…" not in narrow.getvalue(), "nothing is cut"
    one = io.StringIO()
    print_plan("tiny", ["uopd"], FEW, Console(file=one, width=200))
    assert "All together" not in one.getvalue()


def test_prompts_are_read_where_no_problem_has_a_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Self-distillation on SVAMP: its problems have answers alone, of which the self-teacher is shown one."""
    found = SimpleNamespace(prompts={"none": (8, 12), "answer": (10, 30), "solution": (0, 0)})
    monkeypatch.setattr(inputs, "_measured", lambda *_: found)
    config = load("tiny")
    assert [inputs.mean_prompt_tokens(config, of) for of in ("none", "answer", "solution")] == [10, 20, 20]
    found.prompts["solution"] = (0, 40)
    assert inputs.mean_prompt_tokens(config, "solution") == 40, "of those that have one"

"""Runs, keys, stop ids and reports follow what a model's name stands for, and nothing begins with a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.fake_hub import TINY, FakeHub, copy_of
from tests.poison import POISONS, fill, with_config

from artifact import models
from artifact.book import notebooks
from artifact.config import load
from artifact.errors import ArtifactError, BrokenModel, Mismatch
from artifact.paths import project_root
from artifact.phase1.judge import JudgeError
from artifact.studies import annotate, inputs, keys, runner, suremath
from artifact.studies.benchmark_jobs import prepare
from artifact.studies.benchmark_targets import targets
from artifact.studies.doctor import check_models
from artifact.studies.inputs import build_inputs, config_file, stop_token_ids, tokenizer_of
from artifact.studies.plan_page import print_plan
from artifact.studies.runner import run_key

STUDENT, TEACHER = "lab/small", "lab/large"
ON_THE_HUB: dict[str, Any] = {"models.student": STUDENT, "models.teachers": {"A": TEACHER}}


@pytest.fixture(autouse=True)
def fresh() -> None:
    """As in a new process: nothing resolved, no tokenizer kept."""
    models._resolved.clear()
    tokenizer_of.cache_clear()
    for made in (inputs._checkpoint, inputs._measured, inputs._start_up, inputs._that_fit):
        made.cache_clear()


@pytest.fixture
def both(hub: FakeHub) -> FakeHub:
    hub.put(STUDENT, TINY / "student")
    hub.put(TEACHER, TINY / "teacher-a")
    return hub


def key_of(overrides: dict[str, Any]) -> str:
    config = load("tiny", overrides | {"method": "opd"})
    return run_key(config, config.make_method(), build_inputs(config))


def test_a_run_is_the_same_by_whatever_name_its_models_go(both: FakeHub) -> None:
    local = {"models.teachers": {"A": "models/tiny/teacher-a"}}
    assert key_of(ON_THE_HUB) == key_of(local)


@pytest.mark.parametrize("moved", [STUDENT, TEACHER])
def test_other_weights_behind_a_name_are_another_run(moved: str, both: FakeHub, tmp_path: Path) -> None:
    before = key_of(ON_THE_HUB)
    source = {STUDENT: "student", TEACHER: "teacher-a"}[moved]
    old = models.snapshot(moved).commit
    both.put(moved, copy_of(source, tmp_path / "other", fill("model.norm.weight", 0.5)))
    models._resolved.clear()
    assert key_of(ON_THE_HUB) != before
    both.move(moved, old)
    models._resolved.clear()
    assert key_of(ON_THE_HUB) == before


def test_stop_ids_of_a_hub_model_are_those_of_its_generation_config(hub: FakeHub, tmp_path: Path) -> None:
    def two_ends(folder: Path) -> None:
        path = folder / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [2, 7]}))

    folder = copy_of("student", tmp_path / "model", two_ends)
    hub.put(STUDENT, folder)
    assert config_file(STUDENT, "generation_config.json")["eos_token_id"] == [2, 7]
    assert stop_token_ids(STUDENT) == stop_token_ids(str(folder)) == (2, 7)


class Started(Exception):
    pass


def start(*arguments: object, **options: object) -> None:
    raise Started


@pytest.mark.parametrize("where", ["folder", "hub"])
@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("name", list(POISONS))
def test_no_run_begins_with_a_broken_model(
    name: str, role: str, where: str, hub: FakeHub, tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before a sample is drawn for phase 1 and before an actor is opened, as student and as teacher."""
    monkeypatch.setattr(runner, "phase_one", start)
    monkeypatch.setattr(runner, "open_actors", start)
    poison, words = POISONS[name]
    folder = copy_of("student" if role == "student" else "teacher-a", tmp_path / "bad", poison)
    if where == "hub":
        hub.put("lab/bad", folder)
    model = str(folder) if where == "folder" else "lab/bad"
    named: dict[str, Any] = {"models.student": model} if role == "student" else {"models.teachers": {"A": model}}
    with pytest.raises(ArtifactError, match=words) as refused:
        runner.run(load("tiny", named | {"method": "opd"}))
    assert model in str(refused.value)
    assert not list(results.rglob("manifest.json"))


def test_a_run_with_sound_models_of_the_hub_begins(
    both: FakeHub, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "open_actors", start)
    with pytest.raises(Started):
        runner.run(load("tiny", ON_THE_HUB | {"method": "opd"}))


def test_a_broken_judge_is_found_before_the_samples_are_drawn(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotate, "draw_samples", start)
    bad = str(copy_of("student", tmp_path / "bad", POISONS["NaN"][0]))
    asked: dict[str, Any] = {"annotation.clustering": "llm"}
    with pytest.raises(BrokenModel, match="holds NaN"):
        annotate.annotate(load("tiny", asked | {"models.judge": bad}))
    with pytest.raises(JudgeError, match="no single token for 'yes'"):  # sound, but it cannot be asked
        annotate.annotate(load("tiny", asked | {"models.judge": "models/tiny/teacher-b"}))


def test_a_broken_generator_is_found_before_the_build(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suremath, "BoundSampler", start)
    plain = suremath.load_settings("tiny")

    def with_generator(model: str) -> Any:
        generator = plain.generator.model_copy(update={"model": model})
        return lambda name: plain.model_copy(update={"generator": generator})

    bad = str(copy_of("student", tmp_path / "bad", POISONS["a tensor removed"][0]))
    monkeypatch.setattr(suremath, "load_settings", with_generator(bad))
    with pytest.raises(BrokenModel, match="1 tensors are missing"):
        suremath.build_suremath("tiny")
    monkeypatch.setattr(suremath, "load_settings", with_generator("models/tiny/student"))
    with pytest.raises(Started):
        suremath.build_suremath("tiny")


def test_an_evaluation_takes_a_hub_id_and_refuses_a_broken_tokenizer(hub: FakeHub, tmp_path: Path) -> None:
    base = load("tiny")
    hub.put(STUDENT, TINY / "student")
    job = prepare(base, {}, targets(base, None)[0], STUDENT, limit=2)
    local = prepare(base, {}, targets(base, None)[0], str(TINY / "student"), limit=2)
    assert job.prompts == local.prompts
    hub.put("lab/bad", copy_of("student", tmp_path / "bad", POISONS["broken tokenizer.json"][0]))
    with pytest.raises(Mismatch, match=r"no tokenizer of 'lab/bad' can be loaded: .*hf download lab/bad --revision"):
        prepare(base, {}, targets(base, None)[0], "lab/bad", limit=2)


def test_a_manifest_says_which_weights_they_were(both: FakeHub) -> None:
    commit = models.snapshot(STUDENT).commit
    content = keys.model_hash("models/tiny/student")
    assert keys.model_identity(STUDENT) == {"model": STUDENT, "commit": commit, "content": content}
    local = {"model": "models/tiny/student", "commit": None, "content": content}
    assert keys.model_identity("models/tiny/student") == local


def test_doctor_and_plan_show_the_commit(both: FakeHub, tmp_path: Path) -> None:
    config, commit = load("tiny", ON_THE_HUB), models.snapshot(STUDENT).commit
    content = keys.model_hash("models/tiny/student")
    found = {f.name: f for f in check_models(config)}
    assert found["student"].ok
    assert found["student"].found == f"{STUDENT} (commit {commit}, content {content})"
    console = Console(record=True, width=300)
    print_plan("tiny", [], ON_THE_HUB, console)
    assert f"{STUDENT}: commit {commit}, content {content}" in console.export_text()


def test_doctor_says_what_is_wrong_with_a_model(hub: FakeHub, tmp_path: Path) -> None:
    bad = str(copy_of("teacher-a", tmp_path / "bad", POISONS["truncated"][0]))
    config = load("tiny", {"models.student": "lab/absent", "models.teachers": {"A": bad, "B": "models/none"}})
    found = {f.name: f for f in check_models(config)}
    assert (found["student"].ok, found["student"].fatal) == (False, False)
    assert "hf download lab/absent" in found["student"].remedy
    assert found["teacher A"].fatal and "where its header says" in found["teacher A"].remedy
    assert found["teacher B"].fatal and "does not exist" in found["teacher B"].remedy


def test_a_plan_is_printed_without_the_models(hub: FakeHub) -> None:
    console = Console(record=True, width=400)
    print_plan("tiny", [], {"models.student": "lab/absent"}, console)
    assert "hf download lab/absent" in console.export_text()


def test_a_notebook_is_stale_when_a_hub_model_moved(both: FakeHub, tmp_path: Path) -> None:
    page = project_root() / "notebooks" / "01_overview.ipynb"
    named = [f"models.student={STUDENT}"]

    def part() -> str:
        models._resolved.clear()
        return notebooks.fingerprint(page, "tiny", {}, named)["models"]

    before = part()
    assert before == notebooks.fingerprint(page, "tiny", {}, [])["models"]
    both.put(STUDENT, copy_of("student", tmp_path / "other", with_config(rms_norm_eps=0.5)))
    assert part() != before
    both.place(STUDENT).rename(tmp_path / "gone")
    assert part() != before

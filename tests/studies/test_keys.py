"""Cache keys: what a result depends on changes its key, what it does not depend on leaves it."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artifact.config import load
from artifact.studies import keys, runner
from artifact.studies.annotate import annotation_key, samples_key
from artifact.studies.inputs import build_inputs
from artifact.studies.runner import run_key
from artifact.train.methods.base import Batch, Method, Needs

ROOT_MODULES = sorted({root for roots in keys.ROOTS.values() for root in roots})
SMALL = {"task.train_limit": 20, "evaluation.limit": 20}


def key(method: str = "opd", **overrides: Any) -> str:
    config = load("tiny", {**SMALL, "method": method, **{k.replace("__", "."): v for k, v in overrides.items()}})
    return run_key(config, config.make_method(), build_inputs(config))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"optimiser__lr": 0.5},
        {"losses__distil__top_k": 9},
        {"sampling__temperature": 0.8},
        {"task__train_limit": 21},
        {"evaluation__limit": 21},
        {"cluster__engine__count": 2},
        {"teacher": "B"},
        {"train__steps": 25},
        {"method": "core"},
    ],
    ids=str,
)
def test_what_a_run_depends_on_changes_its_key(change: dict[str, Any]) -> None:
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"description": "other words"},
        {"cluster__step_timeout_s": 17.0},
        {"cluster__lanes": 1},
        {"evaluation__sampled__k": 4},
        {"annotation__samples": 4},
        {"annotation__seed": 9},
        {"task__verifier_workers": 3},
    ],
    ids=str,
)
def test_what_it_does_not_depend_on_leaves_it(change: dict[str, Any]) -> None:
    assert key(**change) == key()


def test_a_method_without_a_teacher_has_one_run_for_all_teachers() -> None:
    for method in ("sft", "grpo", "opsd"):
        assert key(method, teacher="A") == key(method, teacher="B")
    assert key("seqkd", teacher="A") != key("seqkd", teacher="B")


def test_only_methods_that_read_phase_one_depend_on_it() -> None:
    for method in ("uopd", "seqkd"):
        assert key(method, annotation__seed=9) != key(method)


def test_prompts_that_are_fed_enter_every_key() -> None:
    config = load("tiny", SMALL)
    world, method = build_inputs(config), config.make_method()
    other = replace(world, encode=lambda p, context: (*world.encode(p, context), 5))
    for make_key in (samples_key, annotation_key):
        assert make_key(config, other) != make_key(config, world)
    assert run_key(config, method, other) != run_key(config, method, world)


def test_code_enters_without_comments_and_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key("uopd"), key("opd")
    plain = keys.source_hash

    def edited(modules: Any) -> str:
        return plain(modules) + ("x" if "artifact.phase1.weights" in modules else "")

    monkeypatch.setattr(keys, "source_hash", edited)
    assert key("uopd") != before[0], "an edit of the weighting schemes leaves stale runs"
    assert key("opd") == before[1]


def test_draw_and_n_belong_to_samples_and_annotation() -> None:
    world = build_inputs(load("tiny", SMALL))
    base, fewer = load("tiny", SMALL), load("tiny", {**SMALL, "annotation.samples": 4})
    assert samples_key(base, world) == samples_key(fewer, world), "N is nested in one draw"
    assert annotation_key(base, world) != annotation_key(fewer, world)


class Shortest(Method):
    needs = Needs(teacher=True)

    def batch(self, groups: Any, step: Any) -> Batch:
        return Batch((), {"distil": 1.0})


class Longest(Method):
    needs = Needs(teacher=True)

    def batch(self, groups: Any, step: Any) -> Batch:
        return Batch((), {"distil": 2.0})


def test_a_users_method_is_known_by_its_functions() -> None:
    assert keys.method_source(Shortest) == keys.method_source(Shortest)
    assert keys.method_source(Shortest) != keys.method_source(Longest)


def test_the_code_of_every_kind_of_result_is_what_makes_it_and_not_what_shows_it() -> None:
    makes = {
        "runs": ("train/losses/divergence.py", "actors/student.py", "train/rollouts.py", "tasks/verifier.py"),
        "checkpoints": ("actors/sampler.py", "train/rollouts.py", "tasks/equivalence.py"),
        "evaluations": ("actors/sampler.py", "train/rollouts.py", "tasks/equivalence.py"),
        "distances": ("actors/distance.py", "actors/engine.py"),
        "samples": ("actors/engine.py", "tasks/verifier_worker.py"),
        "annotations": ("phase1/entropy.py", "phase1/clustering.py", "tasks/symbolic.py", "tasks/verifier_process.py"),
        "suremath": ("suremath/filters.py", "phase1/entropy.py", "actors/engine.py"),
        "weighting": ("phase1/weights.py",),
        "llm judge": ("phase1/llm_judge.py",),
        "nli judge": ("phase1/nli.py",),
        "plain prompt": ("tasks/plain_prompt.py",),
    }
    assert makes.keys() == keys.ROOTS.keys()
    for what, modules in makes.items():
        code = keys.reachable(keys.ROOTS[what])
        assert set(modules) <= code.keys(), what
        assert not [name for name in code if name.startswith(("report/", "book/", "cli/"))], what
        if (
            what not in ("weighting", "llm judge", "nli judge") and "tasks/verifier_process.py" in code
        ):  # it starts the worker as a program: no import leads there
            assert {"tasks/verifier_worker.py", "tasks/answer_value.py"} <= code.keys(), what


def test_a_change_of_the_losses_reaches_what_trains_or_measures_by_them_alone() -> None:
    losses = {what for what, roots in keys.ROOTS.items() if any("losses/" in name for name in keys.reachable(roots))}
    assert losses == {"runs", "distances"}  # a distance is an entropy and a divergence of the two models


@pytest.mark.parametrize(
    ("part", "method"),
    [("method_source", "opd"), ("model_hash", "sft"), ("data_hash", "opd"), ("environment_hash", "opd")],
)
def test_every_part_of_a_run_enters_its_key(part: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(method)
    monkeypatch.setattr(keys, part, lambda *a: "another")
    assert key(method) != before


def test_the_annotation_is_in_the_keys_of_the_methods_that_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {method: key(method) for method in ("uopd", "seqkd", "opd")}
    monkeypatch.setattr(runner, "annotation_key", lambda *a: "another, by the same settings")
    assert [method for method in before if key(method) != before[method]] == ["uopd", "seqkd"]


CODE = "from artifact.below import f\n\ndef g(x):\n    return f(x) + 1\n"


@pytest.mark.parametrize(
    ("file", "text", "same"),
    [
        ("top.py", '"""What it does."""\n' + CODE, True),
        ("top.py", CODE.replace("x):\n", 'x):\n    """A docstring."""\n'), True),
        ("top.py", CODE.replace("return", "# why\n    return").replace("f(x) + 1", "(f(x)\n        + 1)"), True),
        ("top.py", CODE.replace("+ 1", "+ 2"), False),
        ("below.py", "def f(x):\n    return -x\n", False),
        ("beside.py", "def h(x):\n    return -x\n", True),
    ],
    ids=["docstring", "docstring of a function", "comment and layout", "code", "imported code", "unreached code"],
)
def test_code_is_what_is_executed_and_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, same: bool
) -> None:
    hashes = []
    for edit in (False, True):
        package = tmp_path / str(edit)
        package.mkdir()
        files = {"top.py": CODE, "below.py": "def f(x):\n    return x\n", "beside.py": "def h(x):\n    return x\n"}
        for name, content in (files | ({file: text} if edit else {})).items():
            (package / name).write_text(content)
        paths = {f"artifact.{Path(name).stem}": package / name for name in files}
        monkeypatch.setattr(keys, "PACKAGE", package)
        monkeypatch.setattr(keys, "_module_path", paths.get)
        hashes.append(keys.source_hash(["artifact.top"]))
    assert (hashes[0] == hashes[1]) == same


def test_as_many_processes_verify_as_the_task_says() -> None:
    from artifact.studies.inputs import answer_verifier

    tasks = [load("tiny", {"task.verifier_workers": n}).task for n in (1, 3)]
    assert [answer_verifier(task).workers for task in tasks] == [1, 3]


def test_lanes_may_ask_for_keys_at_the_same_time() -> None:
    """CPython 3.11: where `ast.parse` of one thread gives way to that of another, both may end in a SystemError.

    It gives way where a collection of garbage calls back into Python; here it is made to, often.
    """
    expected, threshold = keys.source_hash(ROOT_MODULES), gc.get_threshold()

    def give_way(*_: object) -> None:
        time.sleep(0)

    keys._tree.cache_clear()
    gc.callbacks.append(give_way)
    gc.set_threshold(200)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: keys.source_hash(ROOT_MODULES), range(4))) == {expected}
    finally:
        gc.callbacks.remove(give_way)
        gc.set_threshold(*threshold)

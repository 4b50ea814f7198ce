"""Stored evaluations from canned answers: what is asked, what is stored, resumption, and the cache. No engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.studies.test_benchmark_jobs import ROWS, STUDENT, data

from artifact.config import Config
from artifact.records import Problem, Rollout, read_parquet
from artifact.studies import benchmarking
from artifact.studies.benchmarking import evaluate_model

__all__ = ["data"]


class Canned:
    """A sampler that always answers 29, writes down what it was asked, and breaks at call number `breaks`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.breaks = 0
        self.text = r"\boxed{29}"

    def sample(self, prompts: Sequence[Any], n: int, **named: Any) -> list[tuple[Rollout, ...]]:
        self.calls.append({"prompts": prompts, "n": n, **named})
        if len(self.calls) == self.breaks:
            raise KeyboardInterrupt
        return [tuple(Rollout(i, j, x, (7, 2), (0.0, 0.0), self.text, "stop") for j in range(n)) for i, x in prompts]


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch, results: Path) -> Canned:
    sampler = Canned()
    monkeypatch.setattr(benchmarking, "open_actors", lambda *a, **k: SimpleNamespace(engines=[None]))
    monkeypatch.setattr(benchmarking, "load_checkpoint", lambda *a: 1e-6)
    monkeypatch.setattr(benchmarking, "sampler_for", lambda *a: sampler)
    return sampler


def measure(data: Path, **options: Any) -> list[Any]:
    options = {"max_new_tokens": 120} | options  # the tiny world has no room for what a benchmark gets by default
    return evaluate_model(
        STUDENT, ["gsm8k@mine"], data_dir=data, template=str(data / "bare.txt"), progress=False, **options
    )


def test_what_is_asked_and_what_is_stored(data: Path, canned: Canned) -> None:
    greedy, sampled = measure(data, protocols=["greedy", "avg3"], max_new_tokens=50)
    asked = [(c["n"], c["temperature"], c["top_p"], c["max_new_tokens"], len(c["prompts"])) for c in canned.calls]
    assert asked == [(1, 0.0, 1.0, 50, 2), (3, 1.2, 0.95, 50, 2)]
    stored = read_parquet(sampled.folder / "evaluation" / "test.avg3.parquet", Rollout)
    assert [(r.problem_id, r.sample, str(r.verdict.status)) for r in stored] == [
        ("gsm8k@mine-test-00000", 0, "correct"),
        ("gsm8k@mine-test-00000", 1, "correct"),
        ("gsm8k@mine-test-00000", 2, "correct"),
        ("gsm8k@mine-test-00001", 0, "wrong"),
        ("gsm8k@mine-test-00001", 1, "wrong"),
        ("gsm8k@mine-test-00001", 2, "wrong"),
    ]
    assert [p.question for p in read_parquet(greedy.folder / "problems.parquet", Problem)] == [
        r["question"] for r in ROWS
    ]
    manifest = json.loads((sampled.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["protocol"] == {"name": "avg3", "samples": 3, "temperature": 1.2, "top_p": 0.95}
    assert (manifest["model"], manifest["benchmark"], manifest["split"]) == (STUDENT, "gsm8k@mine", "test")
    assert manifest["origin"]["gradable"] == 2 and manifest["account"]["status/correct"] == 3
    assert not (sampled.folder / "shards").exists()


def test_a_teacher_has_the_engines_of_its_role(data: Path, canned: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where phase 1 samples it: their number, length and proof, grown to what the prompts need."""
    opened: list[tuple[int, int, int, bool]] = []

    def opening(config: Config, *, engines_for: str, reference: bool) -> SimpleNamespace:
        e = config.cluster.engine
        opened.append((e.count, e.max_num_seqs, e.max_model_len, reference))
        return SimpleNamespace(engines=[None])

    monkeypatch.setattr(benchmarking, "open_actors", opening)
    own = {"cluster.engines.teacher": {"count": 1, "max_num_seqs": 7, "prove_weights": False}}
    both = {"cluster.engine.count": 2, "cluster.engine.max_num_seqs": 9}
    for model in (STUDENT, "models/tiny/teacher-a"):
        evaluate_model(
            model,
            ["gsm8k@mine"],
            data_dir=data,
            template=str(data / "bare.txt"),
            progress=False,
            protocols=["greedy"],
            max_new_tokens=400,
            overrides=both | own,
        )
    assert [(n, seqs, proof) for n, seqs, _, proof in opened] == [(2, 9, True), (1, 7, False)]
    assert all(length >= 400 for _, _, length, _ in opened), "a role's engines grow as the student's do"


def test_nothing_is_asked_twice(data: Path, canned: Canned) -> None:
    [first] = measure(data)
    assert measure(data)[0] == first and len(canned.calls) == 1
    assert (
        evaluate_model(
            str(first.manifest["checkpoint"]),
            ["gsm8k@mine"],
            data_dir=data,
            progress=False,
            max_new_tokens=120,
            template=str(data / "bare.txt"),
        )[0].key
        == first.key
    )
    others = [measure(data, **o)[0].key for o in ({"limit": 1}, {"max_new_tokens": 9}, {"protocols": ["avg2"]})]
    assert len({first.key, *others}) == 4 and len(canned.calls) == 4
    assert measure(data, overrides={"seed": 5})[0].key == first.key  # greedy responses do not depend on it
    assert measure(data, protocols=["avg2"], overrides={"seed": 5})[0].key not in (first.key, *others)
    assert measure(data, force=True)[0].key == first.key and len(canned.calls) == 6


def test_an_interrupted_evaluation_goes_on_where_it_was(data: Path, canned: Canned, results: Path) -> None:
    small = {"cluster.engine.max_num_seqs": 1}  # two samples a shard: one problem
    canned.breaks = 2
    with pytest.raises(KeyboardInterrupt):
        measure(data, protocols=["avg2"], overrides=small)
    assert not list(results.glob("evaluations/*/manifest.json"))
    [info] = measure(data, protocols=["avg2"], overrides=small)
    assert [c["prompts"][0][0][-1] for c in canned.calls] == ["0", "1", "1"]
    stored = read_parquet(info.folder / "evaluation" / "test.avg2.parquet", Rollout)
    assert [(r.problem_id[-1], r.sample) for r in stored] == [("0", 0), ("0", 1), ("1", 0), ("1", 1)]


def test_sampling_as_the_command_says(data: Path, canned: Canned) -> None:
    [usual] = measure(data, protocols=["avg2"])
    [own] = measure(data, protocols=["avg2"], temperature=0.6, top_p=1.0)
    assert [(c["temperature"], c["top_p"]) for c in canned.calls] == [(1.2, 0.95), (0.6, 1.0)]
    assert own.key != usual.key and own.manifest["protocol"]["temperature"] == 0.6


def test_plain_prompts_are_another_evaluation(data: Path, canned: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarking, "start_up_checks", lambda job: [])  # the tiny world has no word for `Question:`
    [chat] = measure(data)
    canned.text = "\\boxed{29}\nQuestion: next?\nAnswer: \\boxed{6}"
    [plain] = measure(data, prompt="plain")
    assert plain.key != chat.key and (chat.manifest["prompt"], plain.manifest["prompt"]) == ("chat", "plain")
    stored = read_parquet(plain.folder / "evaluation" / "test.greedy.parquet", Rollout)
    assert {r.text for r in stored} == {"\\boxed{29}"}
    assert [str(r.verdict.status) for r in stored] == ["correct", "wrong"]  # by the first answer, not the invented one


def test_the_cluster_is_given_back_also_after_an_error(
    data: Path, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, str, int]] = []
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr(
        benchmarking,
        "release_actors",
        lambda config, model, own: given.append(
            (config.cluster.engine.max_model_len, model, own.cluster.engine.max_model_len)
        ),
    )
    [info] = measure(data)
    assert len(given) == 1 and given[0][1] == info.manifest["checkpoint"]
    canned.breaks = len(canned.calls) + 1
    with pytest.raises(KeyboardInterrupt):
        measure(data, max_new_tokens=440)
    grown, _, own = given[1]
    assert own == 448 < grown

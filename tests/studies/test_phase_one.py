"""What a run reads of phase 1: problems without a weight leave its training set, and a judge's gate stays shut.

The samples are canned and lie where `draw_samples` would have put them; everything after them is the real thing.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.studies.stored import seal

from artifact.config import Config, load
from artifact.phase1 import stream
from artifact.phase1.judge import JudgeError
from artifact.phase1.records import Annotation
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.studies import annotate, runner, store
from artifact.studies.annotate import annotation_key, samples_key
from artifact.studies.inputs import build_inputs
from artifact.train.inputs import RunInputs

SMALL: dict[str, Any] = {
    "method": "uopd",
    "task.train_limit": 8,
    "annotation.samples": 4,
    "annotation.draw": 4,
    "annotation.batch_prompts": 3,
    "annotation.min_valid": 3,
}
UNANSWERED = {0: 4, 3: 2, 7: 1}
"""Number of a problem → how many of its four samples have no answer; two of the three have fewer than `min_valid`."""


def canned(problem: Problem, silent: int) -> tuple[Rollout, ...]:
    """Four samples, the last `silent` of them without an answer."""
    rng, out = random.Random(problem.id), []
    for i in range(4):
        verdict = Verdict(Status.CORRECT, problem.answer) if i < 4 - silent else Verdict(Status.UNPARSED)
        out.append(Rollout(problem.id, i, (1, 2), (5, 6), (-rng.random(), -rng.random()), "", "stop", -1, verdict))
    return tuple(out)


@pytest.fixture
def drawn(results: Path) -> Config:
    """A configuration whose teacher samples are stored already."""
    config = load("tiny", SMALL)
    world = build_inputs(config)
    silent = {world.train[i].id: n for i, n in UNANSWERED.items()}
    key = samples_key(config, world)
    with store.result("samples", key, config) as out:
        account = stream.draw(
            world.train,
            lambda ps: [canned(p, silent.get(p.id, 0)) for p in ps],
            out.folder / "shards",
            batch=config.annotation.batch_prompts,
        )
        stream.join_shards(out.folder / "shards", out.folder / "samples.parquet", Rollout)
        out.run_info["seconds"]["sampling"] = account.pop("seconds")
        out.manifest["sampled"] = account
    return config


def test_a_problem_below_min_valid_leaves_the_training_set(drawn: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunInputs] = []

    def train(config: Config, method: Any, world: RunInputs, known: Any, folder: Path, *rest: Any) -> dict[str, float]:
        seen.append(world)
        assert set(known.weights) == {p.id for p in world.train}
        return {"seconds": {"train": 0.0, "total": 0.0}, "peak_memory_gib": {}}

    monkeypatch.setattr(runner, "_train_and_evaluate", train)
    info = runner.run(drawn, progress=False)
    everything = build_inputs(drawn).train
    kept = [p for i, p in enumerate(everything) if UNANSWERED.get(i, 0) < 2]
    assert len(everything) == 8 and len(kept) == 6
    assert [p.id for p in seen[0].train] == [p.id for p in kept]
    assert info.manifest["training_problems"] == 6
    made = next((info.folder.parents[1] / "annotations").glob("*/manifest.json")).parent
    dropped = store.finished(made)["dropped"]
    assert set(dropped) == {everything[0].id, everything[3].id}
    assert all("min_valid = 3" in why for why in dropped.values())


def test_a_method_that_reads_no_weights_keeps_every_problem(drawn: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(
        runner,
        "_train_and_evaluate",
        lambda c, m, world, *a: (sizes.append(len(world.train)), {"seconds": {"total": 0.0}})[1],
    )
    runner.run(load("tiny", SMALL | {"method": "seqkd"}), progress=False)
    assert sizes == [8]


def store_annotation(config: Config, judge: dict[str, Any]) -> Path:
    """A finished annotation under the key of `config`, made by `judge`."""
    key = annotation_key(config, build_inputs(config))
    with store.result("annotations", key, config) as out:
        out.manifest["judge"] = judge
    return out.folder


def test_a_stored_annotation_of_a_judge_that_failed_its_calibration_is_refused(results: Path) -> None:
    config = load("tiny", SMALL)
    folder = store_annotation(config, {"name": "parrot", "usable": False, "faults": ["says yes to everything"]})
    with pytest.raises(JudgeError, match=r"by judge 'parrot', which says yes to everything: .*accept_poor_judge"):
        annotate.annotate(config)
    assert annotate.annotate(load("tiny", SMALL | {"annotation.accept_poor_judge": True})) == folder


@pytest.mark.parametrize("judge", [{"name": "symbolic"}, {"name": "good", "usable": True, "faults": []}])
def test_a_stored_annotation_of_a_usable_judge_is_read(results: Path, judge: dict[str, Any]) -> None:
    config = load("tiny", SMALL)
    folder = store_annotation(config, judge)
    assert annotate.annotate(config) == folder


def test_weights_come_from_the_annotations_that_were_kept(drawn: Config) -> None:
    folder = annotate.annotate(drawn)
    annotations = read_parquet(folder / "annotations.parquet", Annotation)
    assert len(annotations) == 6 and all(a.n_valid >= 3 for a in annotations)
    assert annotate.annotate(drawn) == folder  # from the store


def samples_folder_of(config: Config) -> Path:
    return store.folder_of("samples", samples_key(config, build_inputs(config)))


def test_symbolic_answers_are_clustered_by_algebra_and_accounted_for(
    drawn: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored samples whose answers say one thing in three ways, and another: two classes, by the real path."""
    samples = samples_folder_of(drawn)
    manifest, run_info = store.finished(samples), store.run_info(samples)
    spelled = ("x+1", r"\frac{2x+2}{2}", "1+x", "x+2")
    for shard in (samples / "shards").glob("*.parquet"):
        rows = read_parquet(shard, Rollout)
        write_parquet(shard, [r.with_verdict(Verdict(Status.WRONG, spelled[r.sample])) for r in rows], Rollout)
    seal(samples, manifest, run_info)
    folder = annotate.annotate(drawn)
    annotations = read_parquet(folder / "annotations.parquet", Annotation)
    assert len(annotations) == 8 and {a.cluster_ids for a in annotations} == {(0, 0, 0, 1)}
    manifest = store.finished(folder)
    assert manifest["judge"] == {"name": "symbolic"}
    clustered = manifest["clustered"]
    assert (clustered["accidents"], clustered["undecided"], clustered["contradicted"]) == (0, 0, 0)
    assert clustered["judge_calls"] == sum(len(a.judgements) for a in annotations) >= 8 * 3

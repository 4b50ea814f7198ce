"""The first point of the curve: measured once, the same file in every run, and under a key of all it depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifact.config import Config, load
from artifact.files import DamagedFile
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.studies import store, untrained
from artifact.studies.results import transcripts
from artifact.studies.untrained import FIRST, first_point
from artifact.studies.verify import verify

PROBLEMS = [Problem(f"p{i}", f"{i}+1?", str(i + 1), None, "tinymath", "easy") for i in range(3)]


class Asked:
    """What is measured, and how often it was; logs are no round numbers, as those of an engine are none."""

    def __init__(self, fails: bool = False) -> None:
        self.times, self.fails = 0, fails

    def __call__(self) -> list[tuple[Rollout, ...]]:
        self.times += 1
        if self.fails:
            raise ConnectionError("the engine died")
        return [
            (
                Rollout(
                    p.id,
                    0,
                    (1, 2, 3),
                    (4, 5),
                    (-0.10000000149011612, -1.9073486328125e-06),
                    p.answer,
                    "stop",
                    0,
                    Verdict(Status.CORRECT, p.answer, "equal", "boxed"),
                ),
            )
            for p in PROBLEMS
        ]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path))


def inputs(problems: list[Problem] = PROBLEMS, prompt: int = 7) -> Any:
    return SimpleNamespace(curve=problems, prompts=lambda ps: [(p.id, (prompt,)) for p in ps])


def changed(**overrides: Any) -> Config:
    return load("tiny", {name.replace("__", "."): value for name, value in overrides.items()})


def test_the_first_run_measures_and_all_have_what_it_found(tmp_path: Path) -> None:
    measure = Asked()
    found = [first_point(changed(seed=seed), inputs(), measure) for seed in range(3)]
    assert measure.times == 1 and found[0] == found[1] == found[2]
    direct, through = tmp_path / "direct.parquet", tmp_path / "through.parquet"
    write_parquet(direct, (r for g in Asked()() for r in g), Rollout)
    write_parquet(through, (r for g in found[1] for r in g), Rollout)
    assert direct.read_bytes() == through.read_bytes(), "a run stores the bytes it would have measured"


def test_what_a_run_learns_is_nothing_of_it_and_what_the_engine_is_told_is() -> None:
    measure = Asked()
    first_point(changed(), inputs(), measure)
    same = [
        changed(method="core"),
        changed(teacher="B"),
        changed(optimiser__lr=1e-4, train__steps=2, train__curve_every=1),
        changed(evaluation__final=["validation"], sampling__temperature=1.0),
        changed(cluster__step_timeout_s=7, cluster__lanes=1),
    ]
    for config in same:
        first_point(config, inputs(), measure)
    assert measure.times == 1
    other: list[tuple[Config, Any]] = [
        (changed(cluster__engine__max_num_seqs=8), inputs()),
        (changed(cluster__engine__scheduler="vllm"), inputs()),
        (changed(models__dtype="bfloat16"), inputs()),
        (changed(evaluation__max_new_tokens=9), inputs()),
        (changed(evaluation__curve="curve[:3]"), inputs()),
        (changed(task__extraction_rules=["last_number"]), inputs()),
        (changed(models__student="models/tiny/teacher-a"), inputs()),
        (changed(), inputs(prompt=8)),
        (changed(), inputs([*PROBLEMS[:2], replace(PROBLEMS[2], answer="4")])),
    ]
    for n, (config, given) in enumerate(other, 2):
        first_point(config, given, measure)
        assert measure.times == n


@pytest.mark.parametrize("part", ["source_of", "environment_hash"])
def test_code_and_lock_are_of_its_key(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    measure = Asked()
    first_point(changed(), inputs(), measure)
    monkeypatch.setattr(untrained.keys, part, lambda name: f"another {name}")
    first_point(changed(), inputs(), measure)
    assert measure.times == 2


def test_a_measurement_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        first_point(changed(), inputs(), Asked(fails=True))
    (left,) = (p for p in (tmp_path / "untrained").iterdir() if p.is_dir())
    assert left.name.endswith(".partial")
    write_parquet(left / FIRST, [Asked()()[0][0]], Rollout)  # cut after the file, before the manifest
    measure = Asked()
    assert len(first_point(changed(), inputs(), measure)) == 3 and measure.times == 1


def test_it_is_accounted_for_and_can_be_read(tmp_path: Path) -> None:
    first_point(changed(), inputs(), Asked())
    (folder,) = (tmp_path / "untrained").iterdir()
    (finding,) = verify(folder.name)
    assert finding.kind == "untrained" and not finding.wrong
    manifest = store.finished(folder)
    assert list(manifest["files"]) == [FIRST] and manifest["settings"] == untrained.settings_of(changed())
    write_parquet(folder / FIRST, read_parquet(folder / FIRST, Rollout)[:2], Rollout)
    assert verify(folder.name)[0].wrong
    with pytest.raises(DamagedFile, match="untrained"):
        first_point(changed(), inputs(), Asked())


def test_its_responses_are_shown_as_those_of_a_run() -> None:
    problems = list(untrained_problems())
    given = inputs(problems)
    rollouts = [(replace(Asked()()[0][0], problem_id=p.id),) for p in problems]
    first_point(changed(), given, lambda: rollouts)
    (folder,) = store.folder_of("untrained", "x").parent.iterdir()
    assert transcripts(folder.name)["problem_id"].tolist() == [p.id for p in problems]


def untrained_problems() -> list[Problem]:
    from artifact.studies.inputs import evaluation_problems

    return list(evaluation_problems(changed(), "curve[:200]")[:3])

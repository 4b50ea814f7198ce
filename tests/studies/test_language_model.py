"""Held-out distance as a stored result: what its key holds, seconds of sampling alone, masks; without any actor."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.studies.stored import seal

from artifact.actors.session import Actors
from artifact.config import Config, load
from artifact.errors import Mismatch
from artifact.records import Problem, Rollout, write_parquet
from artifact.stats.held_out import MEASURES
from artifact.studies import language_model as L
from artifact.studies.inputs import build_inputs
from artifact.studies.runner import RunInfo

SMALL = {"task.train_limit": 8, "evaluation.limit": 4}


def key(**overrides: Any) -> str:
    config = load("tiny", {**SMALL, **{k.replace("__", "."): v for k, v in overrides.items()}})
    return L.distance_key(config, build_inputs(config), config.models.student, 4, 1)


def test_what_a_distance_depends_on_changes_its_key() -> None:
    assert key() == key(optimiser__lr=0.5) == key(train__steps=7)
    changes = ({"task__extraction_rules": ["last_number"]}, {"seed": 1}, {"teacher": "B"}, {"sampling__top_p": 0.9})
    assert len({key(), *(key(**change) for change in changes)}) == 1 + len(changes)


def test_seconds_are_those_of_the_sampling_whatever_attempt_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes 100 s and sampling 7 by this clock; an attempt that finds the samples reads the same 7 s."""
    clock = [0.0]

    def load_checkpoint(*arguments: object) -> float:
        clock[0] += 100
        return 0.0

    class Sampler:
        def sample(self, prompts: Any, n: int, **decoding: Any) -> list[tuple[Rollout, ...]]:
            clock[0] += 7
            return [(Rollout(i, 0, x, (3,), (-0.5,), "5", "stop"),) for i, x in prompts]

    class Stopwatch:
        def __init__(self) -> None:
            self.begin = clock[0]

        def __call__(self) -> float:
            return clock[0] - self.begin

    config = load("tiny", SMALL)
    world = build_inputs(config)
    monkeypatch.setattr(L, "load_checkpoint", load_checkpoint)
    monkeypatch.setattr(L, "sampler_for", lambda *a: Sampler())
    monkeypatch.setattr(L.store, "Stopwatch", Stopwatch)
    first = L.own_rollouts(config, world, Actors(), config.models.student, 3, 1, tmp_path)
    assert first[1] == 7 and len(first[0]) == 3 and all(r.verdict is not None for r in first[0])
    assert L.own_rollouts(config, world, Actors(), config.models.student, 3, 1, tmp_path) == first
    assert clock[0] == 107, "the second attempt neither loaded nor sampled"


def test_tool_tokens_are_neither_counted_nor_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("tiny", SMALL)
    sent: dict[str, Any] = {}

    def remote(function: Any, *arguments: Any, **options: Any) -> list[dict[str, float]]:
        sent.update(options, sequences=arguments[2])
        return [dict.fromkeys(MEASURES, 0.5) for _ in arguments[2]]

    monkeypatch.setattr(L, "call", lambda refs, *a: refs)
    rollouts = [
        Rollout("p", 0, (1,), (2, 3, 4), (-1.0, 0.0, -1.0), "", "stop", response_mask=(True, False, True)),
        Rollout("q", 0, (1,), (2, 3), (-1.0, -1.0), "", "stop"),
    ]
    workers = Actors(teachers=[SimpleNamespace(__ray_call__=SimpleNamespace(remote=remote))])
    rows = L._score(config, workers, config.models.student, "own", rollouts)
    assert [d.tokens for d in rows] == [2, 2] and sent["masks"] == [(True, False, True), None]
    assert sent["sequences"] == [((1,), (2, 3, 4)), ((1,), (2, 3))], "the context keeps the tool's tokens"


def problem(i: int, question: str) -> Problem:
    return Problem(f"p{i}", question, "1", None, "svamp", "easy", {})


def test_openings_are_counted_and_a_shared_question_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {
        "train": [problem(0, "Ann has 3 cats. How many?"), problem(1, "Bo runs 2 miles. How far?")],
        "held": [problem(2, "Ann has 3 cats. How many legs?"), problem(3, "Cy sits. How many chairs?")],
    }
    config = load("tiny", {"task.train_split": "train", "evaluation.final": ["held"], "evaluation.limit": 2})
    monkeypatch.setattr(L, "problems_of", lambda task, split, limit: tuple(splits[split][:limit]))
    monkeypatch.setattr(L, "that_fit", lambda config, reading: tuple(splits[reading.split][: reading.limit]))
    assert L.same_openings(config) == 1 and L.same_openings(config, 2) == 1
    splits["held"][1] = problem(4, "Bo runs 2 miles. How far?")
    with pytest.raises(Mismatch, match=r"1 question.* of 'held' are also in 'train', first 'Bo runs"):
        L.same_openings(config)


def test_a_run_is_found_by_the_id_of_its_cell() -> None:
    runs = [RunInfo("Shown", "opd", t, 0, f"{cell} {t}", Path(), {}, cell) for cell in ("opd", "core") for t in "AB"]
    assert L.run_of(runs, "core").key == "core A"
    with pytest.raises(Mismatch, match="no run is of the cell 'sft'; the cells are opd, core"):
        L.run_of(runs, "sft")


def test_rows_say_teacher_seed_and_key(tmp_path: Path) -> None:
    write_parquet(tmp_path / "distances.parquet", [L.Distance("own", "p", 0, 2, *(0.5,) * 7)], L.Distance)
    seal(tmp_path, {})
    infos = [RunInfo("OPD", "opd", t, s, f"{t}{s}", tmp_path, {}, "opd") for t, s in (("A", 0), ("B", 1))]
    frame = L.distance_frame(infos)
    told = frame[["label", "cell", "teacher", "seed", "key"]].values.tolist()
    assert told == [["OPD", "opd", "A", 0, "A0"], ["OPD", "opd", "B", 1, "B1"]]


@pytest.mark.parametrize("name", ["language_model", "language_model_gsm8k"])
def test_real_references_are_masked_where_the_calculator_would_write(name: str) -> None:
    """The tier's own tokenizer: `<<`, the expression and `=` are the policy's, `value>>` is the tool's."""
    from artifact.paths import resolve_model
    from artifact.studies.inputs import tokenizer_of
    from artifact.studies.study import load_study
    from artifact.tasks.hub import DataAbsent

    config: Config = load_study(name).runs("cpu-llm", {"task.train_limit": 3})[-1][1]
    try:
        resolve_model(config.models.student)
    except FileNotFoundError as err:
        pytest.skip(str(err))
    try:
        world = build_inputs(config)
    except DataAbsent as err:
        pytest.skip(f"no problems here: {err}")
    if not config.task.calculator:
        assert world.mask_text("6*8=48") is None
        return
    text = "There are 6 * 8 = <<6*8=48>>48 rolls, $<<48/2=24>>24 each.\n#### 24"
    ids, mask = world.encode_text(text), world.mask_text(text)
    assert mask is not None and len(ids) == len(mask) and mask[-1]
    tokenizer = tokenizer_of(config.models.student)
    assert tokenizer.decode(ids[:-1]) == text
    assert [tokenizer.decode([i]) for i, own in zip(ids, mask, strict=True) if not own] == [
        "4",
        "8",
        ">>",
        "2",
        "4",
        ">>",
    ]
    solution = world.train[0].solution
    assert solution is not None and solution.count("<<") > 0
    hidden = tokenizer.decode(
        [i for i, own in zip(world.encode_text(solution), world.mask_text(solution) or (), strict=True) if not own]
    )
    assert hidden == "".join(piece.partition("=")[2].partition(">>")[0] + ">>" for piece in solution.split("<<")[1:])
    assert json.dumps(config.method_options) == '{"chosen_order": ["reference", "own"], "fallback": "skip"}'

"""A run's stored files as frames: costs up to each point of the curve; what was measured is not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.studies.stored import seal

from artifact.config import SampledEvaluation, load
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.studies import runner
from artifact.studies.results import curve_frame, metrics_frame
from artifact.studies.runner import RunInfo

PROBLEMS = [Problem("p0", "q", "1", None, "t", "easy"), Problem("p1", "q", "1", None, "t", "hard")]


def rollout(problem: Problem, status: Status) -> Rollout:
    return Rollout(problem.id, 0, (1,), (2,), (-0.5,), "1", "stop", 0, Verdict(status, "1"))


def test_a_point_of_the_curve_counts_what_was_spent_before_it(tmp_path: Path) -> None:
    rows = [
        {"step": i, "response_tokens": 10 * 2**i, "teacher_tokens": 3**i, "seconds/a": 1.0, "seconds/b": 0.5}
        for i in range(4)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_parquet(tmp_path / "problems.parquet", PROBLEMS, Problem)
    for step, statuses in ((0, (Status.WRONG, Status.UNPARSED)), (2, (Status.CORRECT, Status.WRONG))):
        responses = [rollout(p, s) for p, s in zip(PROBLEMS, statuses, strict=True)]
        write_parquet(tmp_path / "curve" / f"step-{step:06d}.parquet", responses, Rollout)
    manifest = seal(tmp_path, {"tier": "tiny", "config": load("tiny").model_dump(mode="json")})
    info = RunInfo("OPD", "opd", "A", 3, "k", tmp_path, manifest, "opd")
    frame = curve_frame([info])
    assert frame["step"].tolist() == [0, 0, 2, 2] and frame["correct"].tolist() == [False, False, True, False]
    assert frame["response_tokens_so_far"].tolist() == [0, 0, 30, 30]  # steps 0 and 1
    assert frame["teacher_tokens_so_far"].tolist() == [0, 0, 4, 4] and frame["seconds_so_far"].tolist() == [0, 0, 3, 3]
    assert frame["difficulty"].tolist() == ["easy", "hard"] * 2 and set(frame["seed"]) == {3}
    assert metrics_frame([info])["step"].tolist() == [0, 1, 2, 3]


def test_a_split_that_is_on_disk_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def evaluate(sampler: Any, problems: Any, prompts: Any, verify: Any, **how: Any) -> list[list[Rollout]]:
        asked.append(how)
        return [[rollout(p, Status.CORRECT)] for p in problems]

    monkeypatch.setattr(runner, "evaluate", evaluate)
    monkeypatch.setattr(runner, "evaluation_problems", lambda *a: PROBLEMS)
    sampled = {"k": 4, "temperature": 0.7, "top_p": 0.9}
    config = load("tiny", {"seed": 5, "evaluation.final": ["validation"]})
    inputs = SimpleNamespace(prompts=lambda problems: [], verify=None)
    for how in (None, SampledEvaluation(**sampled, limit=1)) * 2:
        runner.evaluate_splits(config, inputs, None, tmp_path, how)  # type: ignore[arg-type]
    budget = {"max_new_tokens": config.evaluation.max_new_tokens, "seed": 5}
    assert asked == [budget, budget | sampled], "greedy and sampled once each, whoever asks again"
    for name, problems in (("greedy", ["p0", "p1"]), ("avg4", ["p0"])):
        stored = read_parquet(tmp_path / "evaluation" / f"validation.{name}.parquet", Rollout)
        assert [r.problem_id for r in stored] == problems, "sampled: the first so many problems"

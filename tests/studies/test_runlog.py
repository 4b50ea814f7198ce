"""A run goes on from its last commit: what came after is gone, what came before is as it was, nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifact.files import DamagedFile
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet
from artifact.studies.runlog import RunLog

PROBLEM = Problem("p", "q", "1", None, "t", "easy")


class NoTensorBoard(RunLog):
    """A log without event files."""

    @property
    def tensorboard(self) -> NoTensorBoard:
        return self

    def add_scalar(self, *event: object) -> None:
        """Nothing is drawn."""


def rollout(step: int, sample: int) -> Rollout:
    return Rollout("p", sample, (1,), (2,), (-0.5,), f"step {step}", "stop", step, Verdict(Status.CORRECT, "1"))


def train(log: RunLog, steps: range, commits: tuple[int, ...]) -> None:
    """Two groups of two rollouts per step; after each step of `commits` a curve point, a checkpoint and a commit."""
    for step in steps:
        groups = [[rollout(step, 0), rollout(step, 1)], [rollout(step, 2), rollout(step, 3)]]
        log.step(step, groups, {"loss": 1.0 / (step + 1)}, {"student": 0.25})
        if step + 1 in commits:
            log.curve(step + 1, [PROBLEM], [[rollout(step, 0)]])
            (log.checkpoints / f"step-{step + 1}").mkdir(parents=True)
            log.commit(step + 1)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_commit_keeps_every_rollout_and_one_checkpoint(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    assert log.resume() == 0
    train(log, range(4), commits=(2, 4))
    assert sorted(p.name for p in (tmp_path / "rollouts").iterdir()) == ["step-000002.parquet", "step-000004.parquet"]
    for newest, steps in ((2, (0, 1)), (4, (2, 3))):
        stored = read_parquet(tmp_path / "rollouts" / f"step-{newest:06d}.parquet", Rollout)
        assert stored == [rollout(step, sample) for step in steps for sample in range(4)]
    assert [p.name for p in log.checkpoints.iterdir()] == ["step-4"]
    rows = [json.loads(line) for line in log.metrics_path.read_text().splitlines()]
    assert rows == [{"step": i, "loss": 1.0 / (i + 1), "seconds/student": 0.25} for i in range(4)]


def test_a_run_resumed_after_a_kill_leaves_the_files_of_one_that_was_not(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(NoTensorBoard(whole, "run", progress=False), range(6), commits=(2, 4, 6))
    first = NoTensorBoard(killed, "run", progress=False)
    train(first, range(3), commits=(2,))
    first.curve(3, [PROBLEM], [[rollout(2, 0)]])  # newer than the commit, and so is the row of step 2
    (killed / "rollouts" / "step-000004.parquet").write_bytes(b"a commit that was cut short")
    with first.metrics_path.open("a") as handle:
        handle.write('{"step": 3, "lo')
    again = NoTensorBoard(killed, "run", progress=False)
    assert again.resume() == 2
    assert sorted(files(killed)) == [
        "commit.json",
        "curve/step-000002.parquet",
        "metrics.jsonl",
        "rollouts/step-000002.parquet",
    ]
    assert [json.loads(line)["step"] for line in again.metrics_path.read_text().splitlines()] == [0, 1]
    train(again, range(2, 6), commits=(4, 6))
    assert files(killed) == files(whole)


def test_without_a_commit_a_run_begins_anew(tmp_path: Path) -> None:
    first = NoTensorBoard(tmp_path, "run", progress=False)
    train(first, range(1), commits=())
    first.curve(0, [PROBLEM], [[rollout(0, 0)]])
    (first.checkpoints / "step-1").mkdir(parents=True)
    assert NoTensorBoard(tmp_path, "run", progress=False).resume() == 0
    assert not files(tmp_path) and not first.checkpoints.exists()


def test_a_damaged_commit_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "commit.json").write_text('{"ste')
    with pytest.raises(DamagedFile, match=r"commit\.json is damaged .*start the run again"):
        NoTensorBoard(tmp_path, "run", progress=False).resume()


def test_rollouts_are_on_disk_before_the_commit_that_promises_them(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    log.step(0, [[rollout(0, 0)]], {"loss": 1.0}, {})
    (tmp_path / "rollouts").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        log.commit(1)
    assert not (tmp_path / "commit.json").exists()

"""A run goes on from its last commit: what came after is gone, what came before is as it was, nothing is lost."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from artifact.files import DamagedFile
from artifact.records import Problem, Rollout, Status, Verdict, read_parquet, write_parquet
from artifact.studies import runlog
from artifact.studies.runlog import RunLog
from artifact.train.token_records import TokenRecord

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
            (log.checkpoints / f"step-{step + 1}" / "state").write_text(f"weights after {step + 1}")
            log.commit(step + 1)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_commit_keeps_every_rollout_and_two_checkpoints(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    assert log.resume() == 0
    train(log, range(6), commits=(2, 4, 6))
    assert sorted(p.name for p in (tmp_path / "rollouts").iterdir()) == [f"step-00000{i}.parquet" for i in (2, 4, 6)]
    for newest, steps in ((2, (0, 1)), (4, (2, 3)), (6, (4, 5))):
        stored = read_parquet(tmp_path / "rollouts" / f"step-{newest:06d}.parquet", Rollout)
        assert stored == [rollout(step, sample) for step in steps for sample in range(4)]
    assert sorted(p.name for p in log.checkpoints.iterdir()) == ["step-4", "step-6"]
    rows = [json.loads(line) for line in log.metrics_path.read_text().splitlines()]
    assert rows == [{"step": i, "loss": 1.0 / (i + 1), "seconds/student": 0.25} for i in range(6)]


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
        "checkpoints.partial/step-2/commit.json",
        "checkpoints.partial/step-2/state",
        "curve/step-000002.parquet",
        "metrics.jsonl",
        "rollouts/step-000002.parquet",
    ]
    assert [json.loads(line)["step"] for line in again.metrics_path.read_text().splitlines()] == [0, 1]
    train(again, range(2, 6), commits=(4, 6))
    assert files(killed) == files(whole)


def test_rollouts_drawn_ahead_are_a_part_of_their_checkpoint(tmp_path: Path) -> None:
    """Verdicts are still to come, and every log-probability is there to the bit; damaged, they take the commit down."""
    log = NoTensorBoard(tmp_path, "run", progress=False)
    drawn = [replace(rollout(2, sample), verdict=None, logprobs=(float(np.float32(-1 / 3)),)) for sample in range(2)]
    train(log, range(2), commits=(2,))
    log.keep_ahead(4, drawn)
    (log.checkpoints / "step-4" / "state").write_text("weights after 4")
    train(log, range(2, 4), commits=())
    log.commit(4)
    again = NoTensorBoard(tmp_path, "run", progress=False)
    assert again.resume() == 4 and again.ahead(4) == drawn
    flip(log.checkpoints / "step-4" / "ahead.parquet")
    assert NoTensorBoard(tmp_path, "run", progress=False).resume() == 2


def test_the_versions_of_rollouts_are_counted_over_an_interruption(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    for step, lag in enumerate((0, 1, 1)):
        log.step(step, [], {f"lag/{lag}": 4.0, f"lag/{1 - lag}": 0.0}, {})
    assert NoTensorBoard(tmp_path, "run", progress=False).policy_versions() == {"0 behind": 4, "1 behind": 8}


def test_without_a_commit_a_run_begins_anew(tmp_path: Path) -> None:
    first = NoTensorBoard(tmp_path, "run", progress=False)
    train(first, range(1), commits=())
    first.curve(0, [PROBLEM], [[rollout(0, 0)]])
    (first.checkpoints / "step-1").mkdir(parents=True)
    assert NoTensorBoard(tmp_path, "run", progress=False).resume() == 0
    assert not files(tmp_path) and not list(first.checkpoints.iterdir())


DAMAGE = {
    "commit.json cut": lambda run: cut(run / "checkpoints.partial/step-4/commit.json"),
    "commit.json empty": lambda run: (run / "checkpoints.partial/step-4/commit.json").write_bytes(b""),
    "commit.json of something else": lambda run: (run / "checkpoints.partial/step-4/commit.json").write_text("[4]"),
    "checkpoint torn": lambda run: cut(run / "checkpoints.partial/step-4/state"),
    "checkpoint altered": lambda run: (run / "checkpoints.partial/step-4/state").write_text("weights after 9"),
    "checkpoint file gone": lambda run: (run / "checkpoints.partial/step-4/state").unlink(),
    "rollouts cut": lambda run: cut(run / "rollouts/step-000004.parquet"),
    "rollouts altered": lambda run: flip(run / "rollouts/step-000004.parquet"),
    "rollouts gone": lambda run: (run / "rollouts/step-000004.parquet").unlink(),
    "curve altered": lambda run: (run / "curve/step-000004.parquet").write_bytes(
        (run / "curve/step-000002.parquet").read_bytes()
    ),
    "metrics cut": lambda run: cut(run / "metrics.jsonl", 0.7),
}


def cut(path: Path, share: float = 0.95) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_commit_that_does_not_hold_is_passed_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    train(NoTensorBoard(whole, "run", progress=False), range(6), commits=(2, 4, 6))
    train(NoTensorBoard(hurt, "run", progress=False), range(5), commits=(2, 4))
    DAMAGE[damage](hurt)
    again = NoTensorBoard(hurt, "run", progress=False)
    assert again.resume() == 2
    assert "run: going on from step 2; the commit of step 4 does not hold: " in capsys.readouterr().out
    train(again, range(2, 6), commits=(4, 6))
    assert files(hurt) == files(whole)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rollouts/step-000002.parquet", r"rollouts/step-000002\.parquet is missing or cut"),
        ("metrics.jsonl", r"metrics\.jsonl does not begin as it did"),
    ],
)
def test_a_run_none_of_whose_commits_holds_is_refused_with_the_remedy(tmp_path: Path, name: str, said: str) -> None:
    train(NoTensorBoard(tmp_path, "run", progress=False), range(4), commits=(2, 4))
    (tmp_path / name).write_bytes(b"")
    before = files(tmp_path)
    with pytest.raises(DamagedFile, match=rf"step 4 does not hold: .*{said}.*step 2 does not.*begin anew with --force"):
        NoTensorBoard(tmp_path, "run", progress=False).resume()
    assert files(tmp_path) == before, "what may be repaired is left alone"


def test_a_kill_while_a_checkpoint_is_deleted_leaves_no_half_commit(tmp_path: Path) -> None:
    train(NoTensorBoard(tmp_path, "run", progress=False), range(4), commits=(2, 4))
    log = NoTensorBoard(tmp_path, "run", progress=False)
    (log.checkpoints / "step-2").rename(log.checkpoints / "step-2.gone.partial")
    assert log.resume() == 4 and [p.name for p in log.checkpoints.iterdir()] == ["step-4"]


def test_rollouts_are_on_disk_before_the_commit_that_promises_them(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    log.step(0, [[rollout(0, 0)]], {"loss": 1.0}, {})
    (tmp_path / "rollouts").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        log.commit(1)
    assert not list(tmp_path.rglob("commit.json"))


def long_rollouts(step: int, n: int, tokens: int) -> list[tuple[Rollout, ...]]:
    """n groups of one rollout of so many tokens, the odd ones without a verdict and with a mask."""
    rng, out = random.Random(step), []
    for i in range(n):
        ids, logprobs = tuple(rng.choices(range(78), k=tokens)), tuple(-rng.random() for _ in range(tokens))
        verdict, mask = (None, (True,) * tokens) if i % 2 else (Verdict(Status.WRONG, None, "", "boxed"), None)
        out.append((Rollout(f"p{i}", 0, ids[:9], ids, logprobs, f"{step}/{i}", "stop", step, verdict, mask),))
    return out


@pytest.mark.parametrize(("steps", "n", "tokens"), [(1, 1, 3), (8, 32, 70), (6, 16, 2500)])
def test_a_commit_has_the_bytes_of_all_its_rollouts_written_at_once(
    tmp_path: Path, steps: int, n: int, tokens: int
) -> None:
    """Also where a column is several pages of a megabyte: what lies in files of steps is joined, then encoded."""
    log = NoTensorBoard(tmp_path, "run", progress=False)
    for step in range(steps):
        log.step(step, long_rollouts(step, n, tokens), {}, {})
    (log.checkpoints / "step-9").mkdir(parents=True)
    log.commit(9)
    everything = (r for step in range(steps) for g in long_rollouts(step, n, tokens) for r in g)
    write_parquet(tmp_path / "at_once.parquet", everything, Rollout)
    assert (tmp_path / "rollouts/step-000009.parquet").read_bytes() == (tmp_path / "at_once.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["checkpoints.partial", "rollouts"]


def test_more_than_a_row_group_holds_is_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has 8 rollouts of 500 tokens, at least 8 bytes a token: three are more than 70,000 bytes, two are not."""
    monkeypatch.setattr(runlog, "GROUP_BYTES", 70_000)
    log = NoTensorBoard(tmp_path, "run", progress=False)
    for step in range(7):
        log.step(step, long_rollouts(step, 8, 500), {}, {})
    (log.checkpoints / "step-7").mkdir(parents=True)
    log.commit(7)
    path = tmp_path / "rollouts/step-000007.parquet"
    found = pq.read_metadata(path)
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [24, 24, 8]
    stored = read_parquet(path, Rollout)
    assert [(r.policy_version, r.response_ids) for r in stored] == [
        (step, g[0].response_ids) for step in range(7) for g in long_rollouts(step, 8, 500)
    ]


def test_between_commits_no_rollout_stays_in_memory(tmp_path: Path) -> None:
    """Sixty steps hold what two do; the tokens of one step alone are 36 kB of Python's memory."""
    log = NoTensorBoard(tmp_path, "run", progress=False)
    tracemalloc.start()
    held = []
    for step in range(60):
        log.step(step, long_rollouts(step, 4, 500), {}, {})
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[-1] - held[1] < 36_000


def test_rollouts_of_steps_that_were_not_committed_are_discarded(tmp_path: Path) -> None:
    train(NoTensorBoard(tmp_path, "run", progress=False), range(4), commits=(2,))
    assert sorted(p.name for p in (tmp_path / "rollouts.partial").iterdir()) == [
        f"step-00000{i}.parquet" for i in (2, 3)
    ]
    assert NoTensorBoard(tmp_path, "run", progress=False).resume() == 2
    assert not (tmp_path / "rollouts.partial").exists()


def token_record(step: int, tokens: int) -> TokenRecord:
    values = tuple(-0.125 * t for t in range(tokens))
    return TokenRecord(
        step, "p", 0, "distil", 3, 0.5, (1,), (2,) * tokens, (True,) * tokens, 1, values, values, (2,) * tokens, values
    )


def test_token_records_stay_as_far_as_the_commit_goes(tmp_path: Path) -> None:
    log = NoTensorBoard(tmp_path, "run", progress=False)
    assert log.recorded_tokens() == {}
    train(log, range(2), commits=())
    log.tokens(0, [token_record(0, 3), token_record(0, 5)])
    log.tokens(1, [])
    (log.checkpoints / "step-2").mkdir(parents=True)
    log.commit(2)
    log.tokens(2, [token_record(2, 4)])  # newer than the commit
    again = NoTensorBoard(tmp_path, "run", progress=False)
    assert again.resume() == 2
    [path] = (tmp_path / "tokens").iterdir()
    assert path.name == "step-000000.parquet" and read_parquet(path, TokenRecord) == [
        token_record(0, n) for n in (3, 5)
    ]
    size = round(path.stat().st_size / 8, 1)
    assert again.recorded_tokens() == {"responses": 2, "tokens": 8, "bytes_per_token": size}

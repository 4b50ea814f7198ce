"""What a run leaves behind while it trains: metrics, rollouts, curve, TensorBoard, checkpoints; and how it resumes.

A run is only ever resumed from a *commit*: a checkpoint that is on disk with all rollouts and metrics before it.
`commit.json` in the checkpoint's folder is written last and says which files those are, with their SHA-256. Whatever
was written after the last commit is discarded, so that a resumed run leaves the same files as an uninterrupted one.

The rollouts of a step are written at the step, to a file of their own in a folder that is no part of the result; a
commit joins those since the last one into the one file of the result, `GROUP_BYTES` at a time. So what is held in
memory is at most that (twice, while it is encoded) or the rollouts of one step, however many steps lie between commits.

The two newest commits are kept. A commit that does not hold what it promised (a torn checkpoint, a rollout file cut
short) is passed over for the one before; where none holds, the run is refused and says what is wrong. Checkpoints lie
in a folder that is no part of the result (`files.PARTIAL`) and go once the result is final (`store.result`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artifact.files import PARTIAL, DamagedFile, discard, read_json, sync, sync_tree, write_json
from artifact.provenance import bytes_sha256
from artifact.records import Problem, Rollout, concat_parquet, read_parquet, stream_parquet, write_parquet
from artifact.report.output_manifest import say
from artifact.studies.inventory import account_of, altered, file_sizes, misplaced
from artifact.train.token_records import TokenRecord

COMMIT = "commit.json"
KEPT = 2
"""Commits that stay on disk: the newest has not been read back yet."""

PARTS = ("rollouts", "curve", "tokens")
"""Folders of a run that grow while it trains."""

GROUP_BYTES = 256 * 2**20
"""Size of a row group of a file of rollouts, in memory: some 30 million tokens. Fewer are one row group."""


class RunLog:
    """The growing files of one run in `folder`."""

    def __init__(self, folder: Path, label: str, progress: bool = True, lane: int = 0) -> None:
        self.folder, self.label, self.lane = folder, label, lane
        self.checkpoints, self.weights = folder / f"checkpoints{PARTIAL}", folder / "weights"
        self.metrics_path = folder / "metrics.jsonl"
        self._progress = progress and sys.stderr.isatty()
        self._pending = folder / f"rollouts{PARTIAL}"
        self._writer: Any = None
        self._first_step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def _commits(self) -> list[int]:
        """The steps that were committed, newest first."""
        names = (p.parent.name.removeprefix("step-") for p in self.checkpoints.glob(f"step-*/{COMMIT}"))
        return sorted((int(n) for n in names if n.isdigit()), reverse=True)

    def resume(self) -> int:
        """The step to go on from: 0 for a fresh run. Removes everything newer than the commit it goes on from.

        Raises DamagedFile when there are commits and none of them holds what it promised.
        """
        done, kept = self._newest_whole()
        for path in sorted(self.checkpoints.glob("*")):
            if done == 0 or path.name not in {f"step-{step}" for step in self._commits() if step <= done}:
                discard(path)
        for part in PARTS:
            for name in {*file_sizes(self.folder / part)} - {n.removeprefix(f"{part}/") for n in kept["files"]}:
                discard(self.folder / part / name)
        discard(self._pending)
        discard(self.weights)
        if done:
            with self.metrics_path.open("r+b") as handle:
                handle.truncate(kept["metrics"]["bytes"])  # rows after the commit; the last may be torn
        else:
            discard(self.metrics_path)
            discard(self.folder / "tensorboard")
        self._first_step = done
        return done

    def _newest_whole(self) -> tuple[int, dict[str, Any]]:
        """(step, what it promised) of the newest commit that holds; 0 where nothing was ever committed."""
        faults: list[str] = []
        for step in self._commits():
            wrong, promised = self._faults(step)
            if not wrong:
                if faults:
                    say(f"{self.label}: going on from step {step}; {'; '.join(faults)}")
                return step, promised
            faults.append(f"the commit of step {step} does not hold: {', '.join(wrong)}")
        if faults:
            raise DamagedFile(
                f"{self.folder} cannot be gone on with; {'; '.join(faults)}. Put the files back, or begin anew with "
                "--force (or delete the folder)"
            )
        return 0, {"files": {}}

    def _faults(self, step: int) -> tuple[list[str], dict[str, Any]]:
        """What is wrong with the commit of `step`, in words, and what it promised."""
        folder = self.checkpoints / f"step-{step}"
        try:
            promised = read_json(folder / COMMIT, "it is passed over")
        except DamagedFile as err:
            return [str(err)], {}
        if not isinstance(promised, dict) or not {"checkpoint", "files", "metrics"} <= set(promised):
            return [f"{folder / COMMIT} is of another version"], {}
        wrong = misplaced(folder, promised["checkpoint"], besides=(COMMIT,)) + altered(folder, promised["checkpoint"])
        found = {name: size for part in PARTS for name, size in self._sizes(part).items()}
        wrong += [
            f"{name} is missing or cut" for name, of in promised["files"].items() if found.get(name) != of["bytes"]
        ]
        wrong += altered(self.folder, {n: of for n, of in promised["files"].items() if n in found})
        if self._metrics(promised["metrics"]["bytes"]) != promised["metrics"]:
            wrong.append(f"{self.metrics_path.name} does not begin as it did")
        return wrong, promised

    def _sizes(self, part: str) -> dict[str, int]:
        return {f"{part}/{name}": size for name, size in file_sizes(self.folder / part).items()}

    def _metrics(self, size: int | None = None) -> dict[str, Any]:
        """The account of the first `size` bytes of the metrics (all of them: None)."""
        content = self.metrics_path.read_bytes()[:size] if self.metrics_path.is_file() else b""
        return {"bytes": len(content), "sha256": bytes_sha256(content)}

    def progress(self, steps: range) -> Iterable[int]:
        """`steps` with a progress bar: rate and time left, on a terminal only."""
        from tqdm import tqdm

        return tqdm(
            steps,
            desc=self.label,
            unit="step",
            disable=not self._progress,
            leave=False,
            initial=steps.start,
            total=steps.stop,
            position=self.lane,
        )

    def step(
        self, index: int, groups: Sequence[Sequence[Rollout]], metrics: dict[str, float], seconds: dict[str, float]
    ) -> None:
        """Record optimiser step `index` (0-based)."""
        row = {"step": index, **metrics, **{f"seconds/{k}": round(v, 4) for k, v in seconds.items()}}
        with self.metrics_path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row, sort_keys=True) + "\n")
        if any(groups):
            write_parquet(self._pending / f"step-{index:06d}.parquet", (r for g in groups for r in g), Rollout)
        for name, value in row.items():
            if name != "step":
                self.tensorboard.add_scalar(name, value, index)

    def total(self, name: str) -> float:
        """The sum of metric `name` over all steps so far, also those before an interruption; 0 where it is absent."""
        rows = map(json.loads, self.metrics_path.read_text(encoding="utf-8").splitlines())
        return float(sum(row.get(name, 0.0) for row in rows))

    def policy_versions(self) -> dict[str, int]:
        """How many rollouts the run trained on, by how many versions older than the student they were."""
        return {f"{lag} behind": round(self.total(f"lag/{lag}")) for lag in (0, 1)}

    @property
    def tensorboard(self) -> Any:
        """The TensorBoard writer of the run."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self._first_step)
        return self._writer

    def curve(self, step: int, problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]]) -> None:
        """Record an evaluation on the curve split after `step` optimiser steps."""
        write_parquet(self.folder / "curve" / f"step-{step:06d}.parquet", (r for g in groups for r in g), Rollout)
        flat = [r for g in groups for r in g]
        accuracy = sum(r.correct for r in flat) / len(flat)
        self.tensorboard.add_scalar("curve/accuracy", accuracy, step)

    def tokens(self, step: int, records: Sequence[TokenRecord]) -> None:
        """Record what the models said of single tokens in optimiser step `step`."""
        if records:
            write_parquet(self.folder / "tokens" / f"step-{step:06d}.parquet", records, TokenRecord)

    def recorded_tokens(self) -> dict[str, float]:
        """How many responses and tokens are recorded, and how many bytes of disk a token takes; {} without any."""
        files = sorted((self.folder / "tokens").glob("*.parquet"))
        records = [r for path in files for r in stream_parquet(path, TokenRecord)]
        tokens, size = sum(len(r.response_ids) for r in records), sum(path.stat().st_size for path in files)
        return (
            {"responses": len(records), "tokens": tokens, "bytes_per_token": round(size / tokens, 1)} if tokens else {}
        )

    def keep_ahead(self, step: int, rollouts: Sequence[Rollout]) -> None:
        """Put `rollouts`, drawn for `step` already, into the folder of its checkpoint, of which they are a part."""
        write_parquet(self._ahead_of(step), rollouts, Rollout)

    def ahead(self, step: int) -> list[Rollout]:
        """What `keep_ahead` put into the checkpoint of `step`. Raises RecordError where it cannot be read."""
        return read_parquet(self._ahead_of(step), Rollout)

    def _ahead_of(self, step: int) -> Path:
        return self.checkpoints / f"step-{step}" / "ahead.parquet"

    def commit(self, step: int) -> None:
        """The checkpoint of `step` is complete: what came before it is now permanent, all but two checkpoints go."""
        if pending := sorted(self._pending.glob("*.parquet")):
            concat_parquet(pending, self.folder / "rollouts" / f"step-{step:06d}.parquet", Rollout, GROUP_BYTES)
            discard(self._pending)
        folder = self.checkpoints / f"step-{step}"
        sync_tree(folder)
        sync(self.checkpoints)
        if self.metrics_path.is_file():
            sync(self.metrics_path)
        sync(self.folder)
        promised = {
            "step": step,
            "checkpoint": account_of(folder),
            "files": account_of(self.folder, [name for part in PARTS for name in self._sizes(part)]),
            "metrics": self._metrics(),
        }
        write_json(folder / COMMIT, promised)
        for older in self._commits()[KEPT:]:
            discard(self.checkpoints / f"step-{older}")

    def close(self) -> None:
        """Flush what is buffered, and take the machine's name, which TensorBoard puts there, from its files' names."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for i, path in enumerate(sorted((self.folder / "tensorboard").glob("events.out.tfevents.*"))):
            path.rename(path.with_name(f"events.out.tfevents.{path.name.split('.')[3]}.{i:03d}"))

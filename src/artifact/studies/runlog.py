"""What a run leaves behind while it trains: metrics, rollouts, curve, TensorBoard, checkpoints; and how it resumes.

A run is only ever resumed from a *commit*: a checkpoint whose rollouts and metrics are on disk. Whatever was written
after the last commit is discarded, so that a resumed run leaves the same files as an uninterrupted one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artifact.files import read_json, write_json, write_text
from artifact.records import Problem, Rollout, write_parquet


class RunLog:
    """The growing files of one run in `folder`."""

    def __init__(self, folder: Path, label: str, progress: bool = True, lane: int = 0) -> None:
        self.folder, self.label, self.lane = folder, label, lane
        self.checkpoints, self.weights = folder / "checkpoints", folder / "weights"
        self.metrics_path = folder / "metrics.jsonl"
        self._progress = progress and sys.stderr.isatty()
        self._pending: list[Rollout] = []
        self._writer: Any = None
        self._first_step = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def _commit_path(self) -> Path:
        return self.folder / "commit.json"

    def resume(self) -> int:
        """The step to go on from: 0 for a fresh run. Removes everything newer than the last commit."""
        remedy = f"delete {self.folder} and start the run again"
        done = read_json(self._commit_path, remedy)["step"] if self._commit_path.exists() else 0
        self._first_step = int(done)
        if done == 0:
            for path in (
                self.folder / "rollouts",
                self.folder / "curve",
                self.checkpoints,
                self.folder / "tensorboard",
            ):
                shutil.rmtree(path, ignore_errors=True)
            self.metrics_path.unlink(missing_ok=True)
            return 0
        kept = self.metrics_path.read_text().splitlines()[:done]  # one line per step; a later one may be cut off
        write_text(self.metrics_path, "".join(line + "\n" for line in kept))
        for folder, newest in (("rollouts", done), ("curve", done)):
            for path in (self.folder / folder).glob("step-*.parquet"):
                if int(path.stem.split("-")[1]) > newest:
                    path.unlink()
        return int(done)

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
        self._pending += [r for g in groups for r in g]
        for name, value in row.items():
            if name != "step":
                self.tensorboard.add_scalar(name, value, index)

    def total(self, name: str) -> float:
        """The sum of metric `name` over all steps so far, also those before an interruption; 0 where it is absent."""
        rows = map(json.loads, self.metrics_path.read_text(encoding="utf-8").splitlines())
        return float(sum(row.get(name, 0.0) for row in rows))

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

    def commit(self, step: int) -> None:
        """The checkpoint of `step` is complete: what came before it is now permanent, older checkpoints go."""
        if self._pending:
            write_parquet(self.folder / "rollouts" / f"step-{step:06d}.parquet", self._pending, Rollout)
            self._pending = []
        write_json(self._commit_path, {"step": step})
        for path in self.checkpoints.glob("step-*"):
            if path.name != f"step-{step}":
                shutil.rmtree(path)

    def close(self) -> None:
        """Flush what is buffered, and take the machine's name, which TensorBoard puts there, from its files' names."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for i, path in enumerate(sorted((self.folder / "tensorboard").glob("events.out.tfevents.*"))):
            path.rename(path.with_name(f"events.out.tfevents.{path.name.split('.')[3]}.{i:03d}"))

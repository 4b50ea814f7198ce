"""Runs side by side, each with the actors of its own lane, are byte for byte what they are alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.integration.conftest import SMALL

from artifact.config import Config, load


def left_behind(folder: Path) -> dict[str, object]:
    """What a run leaves, whoever runs beside it: weights, rollouts, evaluation as bytes; metrics but for times."""
    files = ["weights/model.safetensors", *(str(p.relative_to(folder)) for p in folder.glob("*/*.parquet"))]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in row.items() if not k.startswith(("seconds", "time"))} for row in rows]
    return {name: (folder / name).read_bytes() for name in files} | {"metrics": metrics}


def test_two_lanes_at_once_leave_what_one_lane_leaves(workers) -> None:
    from artifact.studies.lanes import side_by_side
    from artifact.studies.runner import run

    pair = [load("tiny", {**SMALL, "method": "opd", "seed": seed, "train.steps": 2}) for seed in (41, 42)]
    alone = [left_behind(run(c, progress=False).folder) for c in pair]
    assert alone[0]["weights/model.safetensors"] != alone[1]["weights/model.safetensors"]
    spans: dict[int, tuple[float, float]] = {}

    def work(config: Config, lane: int) -> Path:
        begin = time.monotonic()
        folder = run(config, force=True, progress=False, lane=lane).folder
        spans[lane] = (begin, time.monotonic())
        return folder

    together = [left_behind(folder) for folder in side_by_side(pair, 2, work)]
    assert set(spans) == {0, 1} and max(b for b, _ in spans.values()) < min(e for _, e in spans.values())
    assert together == alone

"""`artifact evaluate` for real: a tiny model in vLLM under Ray, on a file of one's own in GSM8K's format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.integration.conftest import SMALL

from artifact.records import Rollout, read_parquet
from artifact.worlds.tiny.splits import load_split

pytestmark = pytest.mark.integration
SETS = [f"--set={k}={v}" for k, v in SMALL.items() if k.startswith("cluster.")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight problems of the tiny world as GSM8K would write them, and a template of their words only."""
    (tmp_path / "mine").mkdir()
    rows = [{"question": p.question, "answer": f"{p.solution}\n#### {p.answer}"} for p in load_split("evaluation")[:8]]
    (tmp_path / "mine" / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (tmp_path / "bare.txt").write_text("answer: boxed\n\n[user]\n{question}\n", encoding="utf-8")
    return tmp_path


def artifact(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "artifact.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_model_on_a_benchmark_from_end_to_end(workers: object, results: Path, data: Path) -> None:
    command = [
        "evaluate",
        "--model=models/tiny/student",
        "--benchmark=gsm8k@mine",
        f"--data-dir={data}",
        *SETS,
        f"--template={data / 'bare.txt'}",
        f"--out={data / 'out'}",
        "--protocol=greedy,avg4",
        "--k=2,4",
        "--limit=6",
        "--max-new-tokens=120",
        "--graders",
        "--export=lm-eval",
    ]
    before = set((results / "evaluations").glob("*/manifest.json"))
    first = artifact(*command)
    manifests = [json.loads(p.read_text()) for p in set((results / "evaluations").glob("*/manifest.json")) - before]
    assert sorted(m["protocol"]["name"] for m in manifests) == ["avg4", "greedy"]
    table = pd.read_csv(data / "out" / "benchmarks.csv").set_index("metric")
    assert set(table.index) == {"pass@1", "avg@4", "pass@2", "pass@4", "maj@2", "maj@4"}
    assert (table["problems"] == 6).all() and (table["of"] == 8).all()
    for manifest in manifests:
        name = manifest["protocol"]["name"]
        folder = results / "evaluations" / manifest["key"]
        responses = read_parquet(folder / "evaluation" / f"test.{name}.parquet", Rollout)
        assert len(responses) == 6 * manifest["protocol"]["samples"] and all(r.verdict for r in responses)
        assert manifest["load_max_logprob_diff"] < 2e-4  # the engine holds the checkpoint that was named
        mean = sum(r.verdict.correct for r in responses) / len(responses)  # type: ignore[union-attr]
        assert table.loc["pass@1" if name == "greedy" else "avg@4", "estimate"] == pytest.approx(mean)
        shown = artifact("transcripts", manifest["key"], "--limit=1")
        assert f"1 of {len(responses)} responses" in shown.stdout
    sampled = next(m for m in manifests if m["protocol"]["name"] == "avg4")
    responses = read_parquet(results / "evaluations" / sampled["key"] / "evaluation" / "test.avg4.parquet", Rollout)
    assert len({r.text for r in responses}) > 6  # T = 1.2 gives different samples
    lines = next((data / "out" / "lm-eval").rglob("samples_gsm8k@mine_avg4_*.jsonl")).read_text().splitlines()
    assert [r for line in lines for r in json.loads(line)["resps"][0]] == [r.text for r in responses]
    again = artifact(*command)
    assert again.stdout.count(", stored,") == 2 and first.stdout.count(", stored,") == 0

"""Whole runs through the command line: cache, resumption after kill -9, and clear answers to wrong input."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tests.integration.conftest import SMALL

SETS = [f"--set={k}={v}" for k, v in SMALL.items()]


def _main(*arguments: str, **env: str) -> tuple[int, str]:
    """The command line in this process, which has its libraries already: (exit code, standard error)."""
    from artifact.cli import main as cli

    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(err):
        patch.setattr(sys, "argv", ["artifact", *arguments])
        for name, value in env.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0), err.getvalue()


def _finished(results: Path) -> list[Path]:
    """Folders of the finished runs of this file: other tests share the results folder."""
    manifests = [p for p in (results / "runs").glob("*/manifest.json") if not p.parent.name.endswith(".partial")]
    return [p.parent for p in manifests if json.loads(p.read_text())["seed"] == 7]


@pytest.fixture(scope="module")
def uninterrupted(workers, results) -> Path:
    code, err = _main("train", "--method=opd", "--seed=7", *SETS)
    assert code == 0, err
    return _finished(results)[-1]


def test_a_run_leaves_manifest_metrics_rollouts_evaluation_and_weights(uninterrupted: Path):
    manifest = json.loads((uninterrupted / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 7
    assert manifest["key"] == uninterrupted.name
    assert len((uninterrupted / "metrics.jsonl").read_text().splitlines()) == SMALL["train.steps"]
    assert (uninterrupted / "evaluation" / "evaluation.greedy.parquet").exists()
    assert (uninterrupted / "weights" / "model.safetensors").exists()
    from artifact.records import Rollout, read_parquet

    rollouts = [r for p in sorted((uninterrupted / "rollouts").glob("*.parquet")) for r in read_parquet(p, Rollout)]
    assert (
        len(rollouts) == SMALL["train.steps"] * SMALL["train.prompts_per_step"] * SMALL["sampling.samples_per_prompt"]
    )
    assert sorted({r.policy_version for r in rollouts}) == [0, 1, 2, 3]


def test_ray_may_be_imported_before_the_cluster_is_joined(workers) -> None:
    """Ray reads its authentication settings at import; a notebook may have imported it long before."""
    code = "import ray; from artifact.actors import session; print([r['name'] for r in session.status()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0 and "student-0@" in done.stdout, done.stderr


def test_a_finished_run_is_not_computed_again(uninterrupted: Path):
    before = (uninterrupted / "manifest.json").stat().st_mtime_ns
    assert _main("train", "--method=opd", "--seed=7", *SETS)[0] == 0
    assert (uninterrupted / "manifest.json").stat().st_mtime_ns == before


def test_a_run_killed_half_way_ends_with_the_same_weights(uninterrupted: Path, tmp_path: Path):
    env = {**os.environ, "ARTIFACT_RESULTS": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "artifact.cli.main", "train", "--method=opd", "--seed=7", *SETS],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/*.partial/checkpoints.partial/step-*/commit.json")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint was committed in time"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not _finished(tmp_path), "killed too late: the run was finished"
    (partial,) = tmp_path.glob("runs/*.partial")
    assert partial.name == f"{uninterrupted.name}.partial", "another process gives the same run another key"
    code, err = _main("train", "--method=opd", "--seed=7", *SETS, ARTIFACT_RESULTS=str(tmp_path))
    assert code == 0, err
    resumed = _finished(tmp_path)[-1]
    assert resumed.name == uninterrupted.name
    for name in ("weights/model.safetensors", "evaluation/evaluation.greedy.parquet"):
        assert (resumed / name).read_bytes() == (uninterrupted / name).read_bytes(), name

    def strip(folder: Path) -> list[dict]:
        rows = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]

    assert strip(resumed) == strip(uninterrupted)


def test_uopd_reads_its_annotation(workers, results: Path):
    code, err = _main("train", "--method=uopd", "--seed=1", *SETS)
    assert code == 0, err
    folders = list((results / "annotations").glob("*/manifest.json"))
    assert len(folders) == 1
    manifest = json.loads(folders[0].read_text())
    assert manifest["problems"] == SMALL["task.train_limit"]
    from artifact.records import Rollout, read_parquet
    from artifact.studies.annotate import samples_folder

    samples = read_parquet(samples_folder(folders[0].parent) / "samples.parquet", Rollout)
    assert len(samples) == SMALL["task.train_limit"] * SMALL["annotation.draw"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--tier=tinny"], "unknown tier 'tinny'"),
        (["train", "--set=optimiser.learning_rat=1"], "unknown key 'optimiser.learning_rat'"),
        (["train", "--method=uodp"], "did you mean 'uopd'"),
        (["train", "--method=uopd", "--set=method_options.weightin=soft"], "did you mean 'weighting'"),
        (["train", "--set=models.student=models/tiny/nobody"], "does not exist"),
        (["annotate", "--set=annotation.samples=1"], "annotation.samples"),
        (["annotate", "--teacher=C"], "teacher 'C' is not one of models.teachers"),
    ],
)
def test_wrong_input_is_answered_clearly(arguments: list[str], message: str):
    code, err = _main(*arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err and "Traceback" not in err


def test_results_that_cannot_be_written_are_reported(workers):
    code, err = _main("train", "--method=opd", *SETS, ARTIFACT_RESULTS="/dev/null/results")
    assert code == 2
    assert "cannot write to" in err


def test_teacher_and_student_with_other_vocabularies_are_refused(config, tmp_path: Path):
    import shutil

    from artifact.config import load
    from artifact.errors import Mismatch
    from artifact.paths import resolve_model
    from artifact.studies.inputs import build_inputs

    other = tmp_path / "teacher"
    shutil.copytree(resolve_model(config.teacher_path), other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokens = tokenizer["model"]["vocab"]
    first, second = list(tokens)[-2:]
    tokens[first], tokens[second] = tokens[second], tokens[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(Mismatch, match="different vocabularies: 2 tokens differ"):
        build_inputs(load("tiny", {"models.teachers": {"A": str(other)}}))


def test_an_empty_split_is_an_error(monkeypatch: pytest.MonkeyPatch):
    from artifact.config import load
    from artifact.errors import EmptyDataset
    from artifact.studies import inputs

    class Nothing:
        def load(self, split: str) -> list:
            return []

    monkeypatch.setattr(inputs, "task_of", lambda section: Nothing())
    with pytest.raises(EmptyDataset, match="holds no problem"):
        inputs.problems_of(load("tiny").task, "train", 12345)


def test_an_annotation_killed_half_way_ends_with_the_same_bytes(workers, tmp_path: Path):
    small = [*SETS, "--set=annotation.batch_prompts=3"]
    folders = {}
    for name in ("whole", "killed"):
        env = {**os.environ, "ARTIFACT_RESULTS": str(tmp_path / name)}
        if name == "killed":
            process = subprocess.Popen(
                [sys.executable, "-m", "artifact.cli.main", "annotate", *small],
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            deadline = time.monotonic() + 200
            while not list((tmp_path / name).glob("samples/*.partial/shards/*.parquet")):
                assert process.poll() is None, "the annotation ended before it could be killed"
                assert time.monotonic() < deadline, "no shard was written in time"
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        code, err = _main("annotate", *small, ARTIFACT_RESULTS=str(tmp_path / name))
        assert code == 0, err
        folders[name] = next((tmp_path / name / "annotations").glob("*/manifest.json")).parent
    from artifact.studies.annotate import samples_folder

    assert folders["whole"].name == folders["killed"].name
    read = [(f / "annotations.parquet").read_bytes() for f in folders.values()]
    assert read[0] == read[1]
    samples = []
    for name, folder in folders.items():
        key = samples_folder(folder).name
        samples.append((tmp_path / name / "samples" / key / "samples.parquet").read_bytes())
    assert samples[0] == samples[1]

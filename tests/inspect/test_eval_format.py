"""The log for inspect-ai: read by that library where it is installed, and its entries by the standard library."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inspect.world import KEY, stored_annotation, stored_run
from typer.testing import CliRunner

from artifact import inspect
from artifact.cli.main import app
from artifact.inspect.eval_format import write_eval


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTIFACT_RESULTS", str(folder))
        stored_run()
        stored_annotation()
        yield folder


def test_every_rollout_is_a_sample_with_its_verdict(results: Path, tmp_path: Path) -> None:
    table = inspect.rollouts(KEY)
    path = write_eval(table, tmp_path / "run.eval")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        entries = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    header, summaries = entries["header.json"], entries["summaries.json"]
    assert entries["_journal/start.json"]["eval"] == header["eval"] and header["status"] == "success"
    samples = [entries[name] for name in sorted(entries) if name.startswith("samples/")]
    assert len(samples) == len(summaries) == len(table) == header["results"]["total_samples"]
    assert len({s["uuid"] for s in samples}) == len(samples)
    by_name = {(s["id"], s["metadata"]["sample"]): s for s in samples}
    right = 0
    for shown in table:
        s, r = by_name[f"{shown.problem.id}@{shown.step}", shown.rollout.sample], shown.rollout
        assert (
            s["output"]["completion"] == s["messages"][1]["content"] == r.text and s["target"] == shown.problem.answer
        )
        assert s["scores"]["verifier"]["value"] == ("C" if r.correct else "I")
        assert s["scores"]["verifier"]["answer"] == r.verdict.extracted  # type: ignore[union-attr]
        assert s["metadata"]["weight"] == {"p0": 0.667, "p1": 1.0}.get(shown.problem.id)
        right += r.correct
    accuracy = header["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert accuracy == pytest.approx(right / len(table)) and right > 0


def test_the_same_rollouts_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    table = inspect.rollouts(KEY, "evaluation")
    first, second = (write_eval(table, tmp_path / name).read_bytes() for name in ("a.eval", "b.eval"))
    assert first == second


@pytest.mark.parametrize("form", ["eval", "html"])
def test_the_verb_writes_where_it_is_told(form: str, results: Path, tmp_path: Path) -> None:
    out = tmp_path / f"x.{form}"
    done = CliRunner().invoke(app, ["export-rollouts", KEY, "--format", form, "--part", "curve", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.is_file() and "6 curve" in done.output


@pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is None, reason="inspect-ai is not among our dependencies")
def test_inspect_ai_reads_it(results: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    table = inspect.rollouts(KEY)
    path = str(write_eval(table, tmp_path / "run.eval"))
    log = read_eval_log(path)
    assert log.status == "success" and log.eval.dataset.samples == len(table) == len(log.samples or [])
    assert len(read_eval_log_sample_summaries(path)) == len(table)
    texts = {s.output.completion for s in log.samples or []}
    assert texts == {s.rollout.text for s in table}

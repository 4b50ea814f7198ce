"""What is read from stored evaluations: the table by hand, transcripts, graders, and the files of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tests.studies.stored import PROBLEMS, stored

from artifact.errors import ArtifactError, EmptyDataset, Mismatch
from artifact.evaluate.protocol import ProtocolError
from artifact.studies.benchmark_results import benchmark_table, export_lm_eval, stored_evaluations, write_report
from artifact.studies.results import evaluation_frame, graded_frame, transcripts


def test_the_table_by_hand(results: Path) -> None:
    greedy, sampled = stored(results, "a"), stored(results, "b", samples=2, left_out={"description": 11})
    table = benchmark_table([greedy, sampled], resamples=200)
    assert table["metric"].tolist() == ["pass@1", "avg@2", "pass@2", "maj@2"]
    assert table["estimate"].tolist() == pytest.approx([2 / 3, (1 + 0.5 + 0) / 3, 2 / 3, 1.5 / 3])
    first, second = table.iloc[0], table.iloc[1]
    assert (first.benchmark, first.split, first.protocol, first.problems, first.of) == (
        "gsm8k",
        "test",
        "greedy",
        3,
        1319,
    )
    assert (first.truncated, first.unparsed, first.response_tokens) == pytest.approx((1 / 3, 1 / 3, 1))
    assert (second.responses, second.truncated, second.response_tokens) == (6, pytest.approx(1 / 6), 1.5)
    assert (second.left_out, second.temperature, second.tier, second.key) == ("11 description", 1.2, "tiny", "b")
    assert second.folder == str(sampled.folder)


def test_k_of_the_table(results: Path) -> None:
    greedy, sampled = stored(results, "a"), stored(results, "b", samples=2)
    assert benchmark_table([greedy, sampled], [1], resamples=50)["metric"].tolist() == ["pass@1", "avg@2"]
    with pytest.raises(ProtocolError, match="k = 3 cannot be measured with the 2"):
        benchmark_table([sampled], [3])


def test_evaluations_of_training_runs_are_read_too(results: Path) -> None:
    info = stored(results, "a")
    old = {k: v for k, v in info.manifest.items() if k not in ("protocol", "benchmark", "origin", "checkpoint")}
    [found] = stored_evaluations([type(info)("CORE", "core", "A", 3, "a", info.folder, old | {"kind": "run"})])
    assert (found.benchmark, found.split, found.protocol.greedy) == ("gsm8k", "test", True)
    assert found.problems == tuple(PROBLEMS) and found.frame["correct"].tolist() == [True, True, False]
    (info.folder / "evaluation" / "test.greedy.parquet").unlink()
    with pytest.raises(EmptyDataset, match="none of these results"):
        stored_evaluations([info])


def test_any_number_leads_to_its_transcripts(results: Path) -> None:
    info = stored(results, "b", samples=2)
    frame = transcripts(info.folder)
    assert len(frame) == 6 and frame["status"].eq("correct").mean() == benchmark_table([info])["estimate"].iloc[0]
    row = transcripts("b", problem="p2", limit=1).iloc[0]  # by key
    assert (row.question, row.gold, row.response) == (PROBLEMS[2].question, "6", "[bold]3*2=")
    assert (row.status, row.finish_reason, row.response_tokens, row.source) == ("unparsed", "length", 1, "test.avg2")
    assert pd.isna(row.extracted)
    assert transcripts("b", wrong=True)["problem_id"].tolist() == ["p1", "p2", "p2"]
    assert transcripts("b", problem="p0", wrong=True).empty
    assert transcripts(evaluation_frame([info], "avg2")["key"].iloc[0])["problem_id"].nunique() == 3


def test_transcripts_that_are_not_there(results: Path) -> None:
    info = stored(results, "a")
    for arguments, said in (
        ({"folder": "nothing"}, "no finished run or evaluation"), ({"folder": "a", "problem": "p9"}, "no problem 'p9'"),
        ({"folder": "a", "what": "rollouts"}, "holds no rollouts"), ({"folder": "a", "what": "dreams"}, "'dreams'"),
    ):  # fmt: skip
        with pytest.raises(ArtifactError, match=said):
            transcripts(**arguments)
    (info.folder / "manifest.json").write_text('{"kind": "samples"}', encoding="utf-8")
    with pytest.raises(ArtifactError, match="those of runs and evaluations"):
        transcripts("a")


def test_graders_judge_what_is_stored(results: Path) -> None:
    frame = graded_frame([stored(results, "b", samples=2)], "avg2").set_index(["problem_id", "sample"])
    assert frame["math_verify"].tolist() == ["correct", "correct", "correct", "wrong", "unparsed", "wrong"]
    assert frame["strict_string"].tolist() == ["correct", "wrong", "wrong", "wrong", "wrong", "wrong"]
    assert frame.loc[("p1", 0), "numeric_last_number"] != "correct"  # the last number of \frac12 is no 0.5
    assert set(frame["key"]) == {"b"} and set(frame["split"]) == {"test"}
    with pytest.raises(EmptyDataset, match="'greedy'"):
        graded_frame([stored(results, "b", samples=2)])


def test_a_report_and_its_files(results: Path, tmp_path: Path) -> None:
    infos = [stored(results, "a"), stored(results, "b", samples=2)]
    written = write_report(infos, tmp_path / "out", graders=True, lm_eval_files=True)
    assert all(p.is_file() and p.stat().st_size for p in written.paths)
    table = pd.read_csv(tmp_path / "out" / "benchmarks.csv")
    assert table["metric"].tolist() == ["pass@1", "avg@2", "pass@2", "maj@2"]
    text = (tmp_path / "out" / "benchmarks.md").read_text(encoding="utf-8")
    assert text == written.shown[0] and "66.7 (" in text and "not a paper number" in text
    assert len(pd.read_parquet(tmp_path / "out" / "responses.parquet")) == 9
    divided = pd.read_csv(tmp_path / "out" / "disagreements.csv")
    assert divided[["protocol", "problem_id", "sample"]].to_numpy().tolist() == [
        ["greedy", "p1", 0], ["avg2", "p0", 1], ["avg2", "p1", 0]
    ]  # fmt: skip
    samples = [p for p in written.paths if p.suffix == ".jsonl"]
    assert [p.name.rpartition("_")[0] for p in samples] == ["samples_gsm8k", "samples_gsm8k_avg2"]
    first = json.loads(samples[1].read_text(encoding="utf-8").splitlines()[0])
    assert first["resps"] == [[r"2+3=5;\boxed{5}", r"\boxed{5 books}"]] and first["avg@2"] == 1.0
    assert first["arguments"]["gen_args_0"]["arg_1"]["until"] == ["<|im_end|>"]
    assert first["arguments"]["gen_args_0"]["arg_0"] == "<|bos|><|im_end|>"  # ids 1 and 2
    default = write_report(infos[:1])
    assert default.paths[0] == results / "benchmarks" / "models__tiny__student" / "benchmarks.md"


def test_an_export_is_of_one_model(results: Path, tmp_path: Path) -> None:
    one, two = stored(results, "a"), stored(results, "b", samples=2)
    two.manifest["checkpoint"] = "models/tiny/teacher-a"
    with pytest.raises(Mismatch, match="one model"):
        export_lm_eval([one, two], tmp_path)

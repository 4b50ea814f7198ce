"""What is read from stored evaluations: the table by hand, transcripts, graders, and the files of a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.studies.stored import PROBLEMS, seal, stored

from artifact.config import load
from artifact.errors import ArtifactError, ConfigError, EmptyDataset, Mismatch
from artifact.records import Rollout, write_parquet
from artifact.studies import benchmark_results
from artifact.studies.benchmark_results import benchmark_table, export_lm_eval, stored_evaluations, write_report
from artifact.studies.results import evaluation_frame, graded_frame, rollout_groups, transcripts
from artifact.studies.runner import RunInfo
from artifact.worlds.tiny.splits import load_split


def test_the_table_by_hand(results: Path) -> None:
    greedy, sampled = stored(results, "a"), stored(results, "b", samples=2, left_out={"description": 11})
    table = benchmark_table(stored_evaluations([greedy, sampled]), resamples=200)
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
    assert second.folder == "results/evaluations/b" and sampled.folder == results / "evaluations" / "b"


def test_k_of_the_table(results: Path) -> None:
    both = stored_evaluations([stored(results, "a"), stored(results, "b", samples=2)])
    assert benchmark_table(both, [1], resamples=50)["metric"].tolist() == ["pass@1", "avg@2"]
    with pytest.raises(ArtifactError, match="k = 3 cannot be measured with the 2"):
        benchmark_table(both[1:], [3])


def test_evaluations_of_training_runs_are_read_too(results: Path) -> None:
    info = stored(results, "a")
    old = {k: v for k, v in info.manifest.items() if k not in ("protocol", "benchmark", "origin", "checkpoint")}
    [found] = stored_evaluations([type(info)("CORE", "core", "A", 3, "a", info.folder, old | {"kind": "runs"}, "core")])
    assert (found.benchmark, found.split, found.protocol.greedy) == ("gsm8k", "test", True)
    assert found.problems == tuple(PROBLEMS) and found.frame["correct"].tolist() == [True, True, False]
    (info.folder / "evaluation" / "test.greedy.parquet").unlink()
    seal(info.folder, info.manifest)
    with pytest.raises(EmptyDataset, match="none of these results"):
        stored_evaluations([info])


def test_any_number_leads_to_its_transcripts(results: Path) -> None:
    info = stored(results, "b", samples=2)
    frame = transcripts(info.folder)
    assert (
        len(frame) == 6
        and frame["status"].eq("correct").mean() == benchmark_table(stored_evaluations([info]))["estimate"].iloc[0]
    )
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
        ({"folder": "nothing"}, "no finished result"),
        ({"folder": "a", "problem": "p9"}, "no problem 'p9'"),
        ({"folder": "a", "what": "rollouts"}, "holds no rollouts"),
        ({"folder": "a", "what": "dreams"}, "'dreams'"),
    ):
        with pytest.raises(ArtifactError, match=said):
            transcripts(**arguments)
    seal(info.folder, {"kind": "suremath"})
    with pytest.raises(ArtifactError, match="is of a 'suremath'; transcripts are those of evaluations, checkpoints"):
        transcripts("a")
    (info.folder / "evaluation" / "test.greedy.parquet").unlink()
    seal(info.folder, {"kind": "suremath"})
    with pytest.raises(ArtifactError, match="holds no responses"):
        transcripts("a")


def test_transcripts_of_distances_samples_and_annotations(results: Path) -> None:
    config = load("tiny").model_dump(mode="json")
    rollouts = {}
    for split in ("train", "evaluation"):
        p = load_split(split, 1)[0]
        rollouts[split] = Rollout(p.id, 0, (1,), (2,), (0.0,), f"said on {split}", "stop")

    def put(kind: str, key: str, manifest: dict[str, object], **files: str) -> None:
        for name, split in files.items():
            write_parquet(results / kind / key / f"{name}.parquet", [rollouts[split]], Rollout)
        (results / kind / key).mkdir(parents=True, exist_ok=True)
        seal(results / kind / key, manifest)

    write_parquet(
        results / "samples" / "s" / "greedy" / "00000.parquet", [rollouts["train"]] * 2, Rollout
    )  # its shards
    put("distances", "d", {"kind": "distances", "config": config}, rollouts="evaluation")
    put("samples", "s", {"kind": "samples", "settings": {"task": config["task"]}}, samples="train", greedy="train")
    put("annotations", "t", {"kind": "annotations", "samples": "s"})
    for key, what, split, source in (
        ("d", None, "evaluation", "rollouts"),
        ("d", "rollouts", "evaluation", "rollouts"),
        ("s", None, "train", "samples"),
        ("s", "greedy", "train", "greedy"),
        ("t", None, "train", "samples"),
        (str(results / "annotations" / "t"), "greedy", "train", "greedy"),
    ):
        frame = transcripts(key, what)
        assert frame[["source", "response"]].to_numpy().tolist() == [[source, f"said on {split}"]]
        assert frame["question"].tolist() == [load_split(split, 1)[0].question]
    with pytest.raises(ArtifactError, match="holds no evaluation"):
        transcripts("d", "evaluation")


def test_graders_judge_what_is_stored(results: Path) -> None:
    frame = graded_frame([stored(results, "b", samples=2)], "avg2").set_index(["problem_id", "sample"])
    assert frame["math_verify"].tolist() == ["correct", "correct", "correct", "wrong", "unparsed", "wrong"]
    assert frame["strict_string"].tolist() == ["correct", "wrong", "wrong", "wrong", "unparsed", "wrong"]
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
        ["greedy", "p1", 0],
        ["avg2", "p0", 1],
        ["avg2", "p1", 0],
    ]
    samples = [p for p in written.paths if p.suffix == ".jsonl"]
    assert [p.name.rpartition("_")[0] for p in samples] == ["samples_gsm8k", "samples_gsm8k_avg2"]
    first = json.loads(samples[1].read_text(encoding="utf-8").splitlines()[0])
    assert first["resps"] == [[r"2+3=5;\boxed{5}", r"\boxed{5 books}"]] and first["avg@2"] == 1.0
    assert first["arguments"]["gen_args_0"]["arg_1"]["until"] == ["<|im_end|>"]
    assert first["arguments"]["gen_args_0"]["arg_0"] == "<|bos|><|im_end|>"  # ids 1 and 2


def test_a_report_folder_holds_one_set_of_results(results: Path, tmp_path: Path) -> None:
    infos = [stored(results, "a"), stored(results, "b", samples=2)]
    one, both, turned = write_report(infos[:1]), write_report(infos, graders=True), write_report(infos[::-1])
    folders = [written.paths[0].parent for written in (one, both, turned)]
    assert folders[0].parent == results / "benchmarks" / "models__tiny__student" == folders[1].parent
    assert folders[0] != folders[1] == folders[2]
    assert "avg2" not in (folders[0] / "benchmarks.csv").read_text(encoding="utf-8")

    out = tmp_path / "out"
    write_report(infos, out, graders=True, lm_eval_files=True)
    (out / "notes.txt").write_text("the user's own")
    again = write_report(infos[:1], out)
    assert {p for p in out.rglob("*") if p.is_file()} == {*again.paths, out / "notes.txt", out / "report.json"}


def test_a_report_takes_nothing_that_is_the_users(results: Path, tmp_path: Path) -> None:
    """Neither its own names in a foreign folder, nor a file of an earlier report that was changed by hand."""
    infos, out = [stored(results, "a")], tmp_path / "out"
    out.mkdir()
    (out / "benchmarks.csv").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds benchmarks\.csv, which no earlier report wrote there"):
        write_report(infos, out)
    assert [p.name for p in out.iterdir()] == ["benchmarks.csv"]
    (out / "benchmarks.csv").unlink()
    write_report(infos, out, graders=True)
    (out / "agreement.csv").write_text("changed by hand")
    write_report(infos, out)
    assert sorted(p.name for p in out.iterdir()) == [
        "agreement.csv",
        "benchmarks.csv",
        "benchmarks.md",
        "report.json",
        "responses.parquet",
    ]


def second_split(info: RunInfo) -> None:
    """The same responses as if they were on `train` too."""
    evaluation = info.folder / "evaluation"
    shutil.copy(evaluation / "test.greedy.parquet", evaluation / "train.greedy.parquet")
    seal(info.folder, info.manifest)


def test_two_splits_of_a_benchmark_stay_apart(results: Path, tmp_path: Path) -> None:
    info = stored(results, "a")
    second_split(info)
    written = write_report([info], tmp_path, graders=True, lm_eval_files=True)
    assert sorted(p.name.rpartition("_")[0] for p in written.paths if p.suffix == ".jsonl") == [
        "samples_gsm8k",
        "samples_gsm8k_train",
    ]
    for name in ("graders.csv", "agreement.csv"):
        frame = pd.read_csv(tmp_path / name)
        assert frame.groupby(["benchmark", "split", "protocol"]).ngroups == 2
    assert (pd.read_csv(tmp_path / "graders.csv")["responses"] == 3).all()  # not six


def test_stored_responses_are_read_once(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [stored(results, "a"), stored(results, "b", samples=2)]
    read: list[Path] = []
    monkeypatch.setattr(benchmark_results, "rollout_groups", lambda path: read.append(path) or rollout_groups(path))
    write_report(infos, tmp_path, graders=True, lm_eval_files=True)
    assert len(read) == len(set(read)) == 2


def test_an_export_of_plain_prompts_says_so(results: Path, tmp_path: Path) -> None:
    info = stored(results, "a")
    info.manifest["prompt"] = "plain"
    paths = export_lm_eval(stored_evaluations([info]), tmp_path)
    whole = json.loads(paths[0].read_text(encoding="utf-8"))
    assert (whole["chat_template"], whole["chat_template_sha"], whole["fewshot_as_multiturn"]) == (None, None, False)
    assert whole["configs"]["gsm8k"]["generation_kwargs"]["until"] == ["<|im_end|>", "\nQuestion:"]


def test_an_export_is_of_one_model(results: Path, tmp_path: Path) -> None:
    one, two = stored(results, "a"), stored(results, "b", samples=2)
    two.manifest["checkpoint"] = "models/tiny/teacher-a"
    with pytest.raises(Mismatch, match="one model"):
        export_lm_eval(stored_evaluations([one, two]), tmp_path)

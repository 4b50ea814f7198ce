"""lm-evaluation-harness's files: fields, types and hashes written down by hand from lm_eval 0.4.13's schema."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from artifact.errors import EmptyDataset
from artifact.evaluate.lm_eval import HarnessTask, results, sample_rows, sanitized, write
from artifact.records import Problem, Rollout, Status, Verdict

SAMPLE_FIELDS = {  # result_schema.SampleResult
    "doc_id": int,
    "doc": dict,
    "target": str,
    "arguments": dict,
    "resps": list,
    "filtered_resps": list,
    "filter": str,
    "metrics": list,
    "doc_hash": str,
    "prompt_hash": str,
    "target_hash": str,
}
RESULT_FIELDS = {  # result_schema.EvalResults: those that every consumer reads, and their types
    "results": dict,
    "group_subtasks": dict,
    "configs": dict,
    "versions": dict,
    "n-shot": dict,
    "higher_is_better": dict,
    "n-samples": dict,
    "config": dict,
    "model_source": str,
    "model_name": str,
    "model_name_sanitized": str,
    "task_hashes": dict,
    "git_hash": str,
    "date": float,
    "chat_template": str,
    "chat_template_sha": str,
    "total_evaluation_time_seconds": str,
}
FACTS = {
    "git_hash": "abc",
    "date": 1.5,
    "chat_template": "t",
    "chat_template_sha": "s",
    "total_evaluation_time_seconds": "2.5",
}
GENERATION = {"until": ["<|im_end|>"], "max_gen_toks": 8, "do_sample": False, "temperature": 0.0, "top_p": 1.0}


def rollout(problem: str, sample: int, text: str, answer: str | None, correct: bool = False) -> Rollout:
    status = Status.UNPARSED if answer is None else Status.CORRECT if correct else Status.WRONG
    return Rollout(problem, sample, (1,), (2,), (0.0,), text, "stop", verdict=Verdict(status, answer))


def greedy() -> HarnessTask:
    problems = [Problem(f"p{i}", f"question ü {i}", str(i), None, "gsm8k", "easy", {"family": "sum"}) for i in range(3)]
    groups = [
        (rollout("p0", 0, "it is 0", "0", True),),
        (rollout("p1", 0, "it is 5", "5"),),
        (rollout("p2", 0, "hm", None),),
    ]
    values = pd.DataFrame({"exact_match": [1.0, 0.0, 0.0]}, index=["p0", "p1", "p2"])
    return HarnessTask("gsm8k", problems, groups, ["<a>", "<b>", "<c>"], GENERATION, values, original=10, shots=4)


def sampled() -> HarnessTask:
    task = greedy()
    groups = [(rollout("p0", 0, "a", "0", True), rollout("p0", 1, "b", None))]
    values = pd.DataFrame({"avg@2": [0.5], "pass@2": [1.0]}, index=["p0"])
    return replace(task, name="gsm8k_avg2", problems=task.problems[:1], groups=groups, prompts=["<a>"], values=values)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_line_has_the_fields_and_types_of_the_schema() -> None:
    for row, metrics in ((sample_rows(greedy())[1], {"exact_match"}), (sample_rows(sampled())[0], {"avg@2", "pass@2"})):
        assert set(row) == set(SAMPLE_FIELDS) | metrics == set(SAMPLE_FIELDS) | set(row["metrics"])
        assert all(isinstance(row[name], kind) for name, kind in SAMPLE_FIELDS.items())
        assert all(isinstance(row[m], float) for m in metrics)


def test_a_line_by_hand() -> None:
    row = sample_rows(greedy())[1]
    doc = {
        "id": "p1",
        "question": "question ü 1",
        "answer": "1",
        "solution": None,
        "task": "gsm8k",
        "difficulty": "easy",
        "meta": {"family": "sum"},
    }
    written = (
        '{\n  "id": "p1",\n  "question": "question ü 1",\n  "answer": "1",\n  "solution": null,\n  "task": "gsm8k",\n'
        '  "difficulty": "easy",\n  "meta": {\n    "family": "sum"\n  }\n}'
    )
    assert row == {
        "doc_id": 1,
        "doc": doc,
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": "<b>", "arg_1": GENERATION}},
        "resps": [["it is 5"]],
        "filtered_resps": ["5"],
        "filter": "math-verify",
        "metrics": ["exact_match"],
        "doc_hash": digest(written),
        "prompt_hash": digest("<b>"),
        "target_hash": digest("1"),
        "exact_match": 0.0,
    }


def test_answers_that_were_not_found_and_repeats() -> None:
    assert sample_rows(greedy())[2]["filtered_resps"] == ["[invalid]"]
    row = sample_rows(sampled())[0]
    assert (row["resps"], row["filtered_resps"]) == ([["a", "b"]], [["0", "[invalid]"]])
    assert (row["avg@2"], row["pass@2"]) == (0.5, 1.0)


def test_results_by_hand() -> None:
    found = results([greedy(), sampled()], "models/tiny", {"limit": 3}, FACTS)
    assert found["results"]["gsm8k"] == {
        "name": "gsm8k",
        "alias": "gsm8k",
        "sample_len": 3,
        "exact_match,math-verify": pytest.approx(1 / 3),
        "exact_match_stderr,math-verify": pytest.approx(1 / 3),  # SD of (1, 0, 0) is 1/√3, by √3
    }
    assert found["results"]["gsm8k_avg2"]["avg@2_stderr,math-verify"] == "N/A"  # one document
    assert found["n-samples"]["gsm8k"] == {"original": 10, "effective": 3}
    assert found["n-shot"] == {"gsm8k": 4, "gsm8k_avg2": 4}
    assert found["higher_is_better"]["gsm8k_avg2"] == {"avg@2": True, "pass@2": True}
    assert found["config"] == {"model": "artifact", "model_args": "pretrained=models/tiny", "limit": 3}


def test_files_as_the_harness_names_them(tmp_path: Path) -> None:
    now = datetime(2026, 3, 4, 5, 6, 7, 890)
    paths = write(tmp_path, [greedy(), sampled()], "org/model:1", {}, FACTS, now)
    date = "2026-03-04T05-06-07.000890"
    names = [f"results_{date}.json", f"samples_gsm8k_{date}.jsonl", f"samples_gsm8k_avg2_{date}.jsonl"]
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == [f"org__model__1/{n}" for n in names]
    content = json.loads(paths[0].read_text(encoding="utf-8"))
    assert {k: type(content[k]) for k in RESULT_FIELDS} == RESULT_FIELDS
    lines = [json.loads(line) for line in paths[1].read_text(encoding="utf-8").splitlines()]
    assert [line["doc_id"] for line in lines] == [0, 1, 2]
    joined = "".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines)
    assert content["task_hashes"]["gsm8k"] == digest(joined)
    assert content["model_name_sanitized"] == sanitized("org/model:1") == "org__model__1"


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="no evaluations"):
        write(tmp_path, [], "m", {}, FACTS)
    with pytest.raises(EmptyDataset, match="'gsm8k' holds no document"):
        sample_rows(replace(greedy(), problems=[], groups=[], prompts=[]))
    with pytest.raises(ValueError, match="share a name"):
        write(tmp_path, [greedy(), greedy()], "m", {}, FACTS)

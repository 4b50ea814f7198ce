"""One site of a small world, built once, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.escape.browser import Page, opened
from tests.escape.payloads import HOSTILE
from tests.site import world

from artifact.site.builder import NotebookPage, build
from artifact.studies.study import load_study

STORABLE = [text for text in HOSTILE if text.isascii() or text.encode("utf-8", "ignore").decode() == text]
"""What Parquet can hold: half a surrogate pair is no text to it."""

MANY, HOSTILE_RUN = "d" * 16, "e" * 16


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[world.Made]]:
    """The world, a run of ten thousand rollouts, and one whose responses are hostile; the site lies beside them."""
    results = tmp_path_factory.mktemp("site") / "results"
    with pytest.MonkeyPatch.context() as patch:
        stored_in(patch, results)
        runs = world.make(results)
        config = next(f for c, f in load_study("uopd").runs("tiny") if c.id == "opd")
        many = config.model_copy(update={"seed": 90})
        world.run(results, many, MANY, frozenset(), [f"step {i}: \\boxed{{{i % 97}}}" for i in range(10_000)])
        world.run(results, config.model_copy(update={"seed": 91}), HOSTILE_RUN, frozenset(), STORABLE)
        (results / "01_a.html").write_text("<!doctype html><title>a</title><p>page", encoding="utf-8")
        build("tiny", results / "site", books(results), more=[live])
    return results, runs


def stored_in(patch: pytest.MonkeyPatch, results: Path) -> None:
    patch.setenv("ARTIFACT_RESULTS", str(results))
    patch.setenv("ARTIFACT_FIGURES", str(results / "figures"))


def books(results: Path) -> list[NotebookPage]:
    return [NotebookPage("01_a", HOSTILE[0], 61.0, results / "01_a.html")]


def live(folder: Path) -> None:
    """In place of the page of the models."""
    (folder / "live").mkdir()
    (folder / "live" / "index.html").write_text("<!doctype html><title>live</title>", encoding="utf-8")


@pytest.fixture(scope="module")
def made(built: tuple[Path, list[world.Made]]) -> Iterator[list[world.Made]]:
    """The runs of the world, which is what is stored as long as a module looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        stored_in(patch, built[0])
        yield built[1]


@pytest.fixture(scope="module")
def site(made: list[world.Made]) -> Path:
    return Path(os.environ["ARTIFACT_RESULTS"]) / "site"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as tab:
        tab.call("Log.enable")
        yield tab


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, fetched once from the npm registry; what needs it is skipped where it cannot be."""
    npm, kept = shutil.which("npm"), Path.home() / ".cache" / "artifact-tests" / "axe-core-4.14.1.min.js"
    if not kept.is_file():
        if npm is None:
            pytest.skip("no npm on this machine to fetch axe-core with")
        folder = tmp_path_factory.mktemp("axe")
        done = subprocess.run(
            [npm, "pack", "axe-core@4.14.1", "--silent"], cwd=folder, capture_output=True, timeout=120, check=False
        )
        packed = next(folder.glob("*.tgz"), None)
        if done.returncode or packed is None:
            pytest.skip("axe-core cannot be fetched here: no registry is reachable")
        shutil.unpack_archive(packed, folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "package" / "axe.min.js", kept)
    return kept.read_text(encoding="utf-8")

"""The studies of a notebook are found in its code, and their runs are counted once over a series."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.book.toys import write

from artifact.book.needs import runs_of, studies_of, studies_shown
from artifact.book.notebooks import discover
from artifact.errors import ArtifactError
from artifact.studies.training_queue import union

CALL = "from artifact.studies.runner import run_study"


def test_the_names_in_the_code_of_one_that_trains(tmp_path: Path) -> None:
    direct = write(tmp_path, "01_a.ipynb", CALL, 'run_study("uopd", tier)', '# run_study("core")\nx = "no study"')
    assert studies_of(direct) == ["uopd"]
    loop = write(tmp_path, "02_b.ipynb", CALL, 'for name in ["uopd_controls", "core"]:\n    run_study(name, tier)')
    assert studies_of(loop) == ["uopd_controls", "core"]
    words = write(tmp_path, "03_c.ipynb", 'x = row["core"]')
    assert studies_of(words) == [], "it trains nothing"


def test_code_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"01_a\.ipynb: .*plain Python"):
        studies_of(write(tmp_path, "01_a.ipynb", "run_study(("))


def test_a_run_counts_for_the_first_notebook_that_shows_it() -> None:
    sources = discover(tier="tiny")
    counts = {source.stem[:2]: n for source, n in runs_of(sources, "tiny").items()}
    shown = {source.stem[:2]: union(studies_of(source), "tiny") for source in sources}
    assert counts["01"] == counts["03"] == 0 and counts["07"] == len(shown["07"]) > 0
    assert 0 < counts["08"] < len(shown["08"]), "runs that notebook 07 shows are not trained again"
    assert sum(counts.values()) == len(union(studies_shown("tiny"), "tiny"))


def test_every_study_that_a_notebook_asks_for_is_known_before_it_runs() -> None:
    assert {"uopd", "uopd_methods", "core"} <= set(studies_shown("tiny"))
    assert set(studies_shown("cpu-llm")) >= {"language_model", "language_model_gsm8k"}

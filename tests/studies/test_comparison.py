"""Several studies as one matrix: rows once, in order, under one set of settings."""

from __future__ import annotations

import pytest

from artifact.config import ConfigError
from artifact.studies import comparison
from artifact.studies.comparison import merge_studies
from artifact.studies.study import Study, load_study
from artifact.studies.training_queue import identity_of, union

ROWS = "sft seqkd opd uopd-soft opsd grpo core-distil core-contrast core".split()


def test_rows_stand_once_and_in_order_and_are_the_runs_of_their_own_study():
    merged = merge_studies(["core", "uopd_methods"], ROWS)
    assert [c.id for c in merged.cells] == ROWS
    alone = {
        (c.id, config)
        for name in ("core", "uopd_methods")
        for c, config in ((c, r.model_dump_json()) for c, r in load_study(name).runs("tiny"))
    }
    assert {(c.id, config.model_dump_json()) for c, config in merged.runs("tiny")} == alone


def test_the_seeds_of_a_row_are_those_that_any_of_its_studies_gives_it() -> None:
    merged = merge_studies(["core", "uopd_methods"], ROWS)
    more = {i for i in ROWS if len(merged.seeds_of(i)) > len(merged.seeds)}
    assert more == {"opd", "uopd-soft", "core"}, "both headline pairs"
    assert all(merged.seeds_of(i) == (0, 1, 2, 3, 4, 5) for i in more)


def test_a_row_that_no_study_has_is_named():
    with pytest.raises(ConfigError, match="Sorcery"):
        merge_studies(["core", "uopd_methods"], [*ROWS, "Sorcery"])


@pytest.mark.parametrize(("change", "message"), [({"seeds": (7,)}, "teachers or seeds"), ({}, "another cell")])
def test_studies_that_cannot_share_a_table_are_refused(change, message, monkeypatch):
    core = load_study("core")
    cells = tuple(c.model_copy(update={"method": "opd"}) if c.id == "sft" else c for c in core.cells)
    other: Study = core.model_copy(update={"study": "other", "cells": cells, **change})
    monkeypatch.setattr(comparison, "load_study", {"core": core, "other": other}.get)
    with pytest.raises(ConfigError, match=message):
        merge_studies(["core", "other"], ["sft"])


@pytest.mark.parametrize("tier", ["tiny", "paper", "single-gpu"])
def test_the_queue_and_the_plan_know_every_row_of_cores_table(tier):
    """Notebook 08 shows rows of two studies under CORE's settings, which on tier `paper` are no run of the other."""
    merged = merge_studies(["core", "uopd_methods"], ROWS).runs(tier)
    shown = {identity_of(config) for _, config in merged}
    assert shown == {identity_of(config) for _, config in union(["core"], tier)}

"""Which runs a row comes from: told by ids, against results whose makers are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.site import world

from artifact.config import Config
from artifact.report import stored
from artifact.site.rollouts import annotation_of
from artifact.site.sources import Source, behind, labels, sources
from artifact.studies.annotate import clustering_settings, sampling_settings
from artifact.studies.study import load_study
from artifact.studies.training_queue import identity_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[world.Made]]:
    results = tmp_path_factory.mktemp("world") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTIFACT_RESULTS", str(results))
        patch.setenv("ARTIFACT_FIGURES", str(results / "figures"))
        yield world.make(results)


@pytest.fixture(scope="module")
def found(made: list[world.Made]) -> dict[str, Source]:
    return sources("tiny")


def test_a_run_is_the_cell_whose_configuration_it_has(made: list[world.Made], found: dict[str, Source]) -> None:
    for m in made:
        source = found[m.key]
        assert m.cell in source.cells and (source.teacher, source.seed) == (m.teacher, m.seed)
        assert source.name == f"{world.CELLS[m.cell]}, teacher {m.teacher}, seed {m.seed}"
    assert found["ba5e000000000000"].cells == {"base"} and found["ba5e000000000000"].teacher is None
    assert not found["aa00000000000000"].cells and found["aa00000000000000"].teacher == "A"


def test_the_order_of_keys_tells_no_two_runs_apart() -> None:
    """A manifest sorts them; a study states options in the order in which they are written."""
    config = next(f for c, f in load_study("uopd").runs("tiny") if c.id == "uopd-binary-0.5")
    again = Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json"), sort_keys=True)))
    assert list(again.method_options) != list(config.method_options)
    assert identity_of(again) == identity_of(config)


def test_a_row_comes_from_the_runs_that_it_names(made: list[world.Made], found: dict[str, Source]) -> None:
    by_label = labels()
    for name in ("accuracy", "differences"):
        output = stored.read("table", name, "tiny")
        assert output is not None
        among = [found[key] for key in output.keys]
        for row in json.loads(output.frame.to_json(orient="records")):
            cells = {row["cell"], row.get("reference_cell")}
            right = {m.key for m in made if m.cell in cells and m.teacher == row["teacher"]}
            right |= {"ba5e000000000000"} if row["cell"] == "base" else set()
            assert {s.key for s in behind(row, among, by_label)} == right
            printed_only = {k: v for k, v in row.items() if k not in ("cell", "reference_cell")}
            assert {s.key for s in behind(printed_only, among, by_label)} == right


def test_a_row_of_one_seed_and_of_one_decoding() -> None:
    def source(key: str, seed: int, decoding: str) -> Source:
        return Source(key, "checkpoints", Path(), {}, "x", "A", seed, frozenset({"opd"}), decoding)

    among = [source("a", 0, "greedy"), source("b", 0, "avg16"), source("c", 1, "greedy"), source("d", 1, "avg16")]
    row = {"cell": "opd", "teacher": "A"}
    assert [s.key for s in behind(row | {"metric": "pass@1"}, among, {})] == ["a", "c"]
    assert [s.key for s in behind(row | {"metric": "avg@16", "seed": 1}, among, {})] == ["d"]
    assert [s.key for s in behind({"phase": "rollout"}, among, {})] == ["a", "b", "c", "d"], "nothing tells them apart"
    assert [s.key for s in behind({"metric": "loss", "seed": 1}, among, {})] == ["c", "d"], (
        "no way of drawing responses"
    )
    assert [s.key for s in behind(row | {"runs": "b e d"}, among, {})] == ["b", "d"], "it says so itself"
    assert [s.key for s in behind(row | {"run": None}, among, {})] == []
    assert [s.key for s in behind(row | {"runs": 4, "seed": 0}, among, {})] == ["a", "b"], "a number of runs is no key"


def test_weights_are_those_of_the_annotation_with_the_settings_of_the_run(
    made: list[world.Made], found: dict[str, Source]
) -> None:
    annotations = [s for s in found.values() if s.kind == "annotations"]
    config = Config.model_validate(found[made[-1].key].manifest["config"])
    fits = annotation_of(config, annotations)
    assert fits is not None and fits.key == "ab00000000000000"
    other = config.model_copy(update={"annotation": config.annotation.model_copy(update={"samples": 4})})
    assert annotation_of(other, annotations) is None
    undrawn = config.model_copy(update={"annotation": config.annotation.model_copy(update={"draw": None})})
    settings = sampling_settings(undrawn) | clustering_settings(undrawn)
    own = replace(annotations[0], manifest={"settings": settings, "model": undrawn.teacher_path})
    assert annotation_of(undrawn, [own]) is own, "as many samples are drawn as are counted"
    assert annotation_of(undrawn, annotations) is None

"""One real cluster for all integration tests, on tiny models: Ray, two vLLM engines, DeepSpeed, teacher, reference."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifact.config import Config, load

SMALL = {
    "task.train_limit": 24,
    "evaluation.limit": 20,
    "train.steps": 4,
    "train.prompts_per_step": 4,
    "train.curve_every": 0,
    "train.checkpoint_every": 2,
    "sampling.samples_per_prompt": 2,
    "annotation.samples": 4,
    "annotation.draw": 6,
    "annotation.batch_prompts": 10,
    "cluster.lanes": 1,
    "cluster.engine.count": 2,
    "cluster.engine.enforce_eager": True,
    "train.component_norms_every": 1,
}
"""Overrides that make a tiny run take seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Integration tests come last, since they share one cluster and results folder to the end of the session.

    The first of them waits for Ray and, on a new machine, for the engines to compile: that takes minutes.
    """
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents)
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A results folder of its own for the whole session."""
    folder = tmp_path_factory.mktemp("results")
    before = os.environ.get("ARTIFACT_RESULTS")
    os.environ["ARTIFACT_RESULTS"] = str(folder)
    yield folder
    if before is None:
        os.environ.pop("ARTIFACT_RESULTS")
    else:
        os.environ["ARTIFACT_RESULTS"] = before


@pytest.fixture(scope="session")
def config(results: Path) -> Config:
    return load("tiny", SMALL)


@pytest.fixture(scope="session")
def workers(config: Config):
    """The actors; started once (about a minute), stopped at the end."""
    from artifact.actors import session

    yield session.open_actors(config, engines_for=config.models.student, student=True, teacher=True, reference=True)
    session.stop()


@pytest.fixture(scope="session")
def world(config: Config):
    from artifact.studies.inputs import build_inputs

    return build_inputs(config)

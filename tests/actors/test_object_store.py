"""A step whose teacher scores do not fit into the object store is refused before anything starts."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from artifact.actors import object_store, ray_head
from artifact.actors.object_store import (
    GIB,
    bytes_needed,
    bytes_per_token,
    require_memory,
    require_room,
    require_room_in_cluster,
)
from artifact.config import load, tier_names
from artifact.errors import ConfigError
from artifact.studies import runner
from artifact.train.scoring import TeacherScores

LARGE = {
    "train.prompts_per_step": 256,
    "sampling.samples_per_prompt": 4,
    "sampling.max_new_tokens": 4096,
    "losses.distil.top_k": 512,
    "cluster.lanes": 1,
}
"""1,024 responses of 4,096 tokens: 16 GiB of scores at k = 512."""


@pytest.mark.parametrize("support", ["renorm", "tail"])
def test_a_token_takes_the_bytes_of_its_row(support: str) -> None:
    k, tail = 7, np.zeros(1, np.float32)
    row = TeacherScores(
        np.zeros((1, k), np.int32),
        np.zeros((1, k), np.float32),
        np.zeros(1, np.float32),
        np.array([0, 1]),
        np.array([0]),
        tail if support == "tail" else None,
    )
    config = load("tiny", {"losses.distil.top_k": k, "losses.distil.support": support})
    assert bytes_per_token(config, 78) == bytes_per_token(config, None) == row.nbytes
    assert bytes_per_token(config, k - 1) == row.nbytes - 8, "no more than the vocabulary"


def test_the_need_is_that_of_every_response_at_its_longest() -> None:
    assert bytes_needed(load("tiny", LARGE), None) == 1024 * 4096 * (512 * 8 + 4)
    assert bytes_needed(load("tiny", LARGE | {"cluster.lanes": 3}), None) == 3 * 1024 * 4096 * (512 * 8 + 4)
    assert bytes_needed(load("tiny", LARGE), 78) == 1024 * 4096 * (78 * 8 + 4)


def test_what_does_not_fit_is_refused_with_settings_that_do() -> None:
    """16.02 GiB of 80 %: 20.1 GiB are enough and 20.0 are not, and 2.0 GiB hold a tenth of the tokens."""
    with pytest.raises(ConfigError) as refused:
        require_room(load("tiny", LARGE), None)
    said = str(refused.value)
    assert "scores of a step can be 16.0 GiB" in said and "80% of an object store of 2.0 GiB" in said
    least = re.search(
        r"cluster\.object_store_gib to ([\d.]+) or more, or sampling\.max_new_tokens to (\d+) or less", said
    )
    assert least is not None and least.groups() == ("20.1", "409")
    require_room(load("tiny", LARGE | {"cluster.object_store_gib": 20.1}), None)
    require_room(load("tiny", LARGE | {"sampling.max_new_tokens": 409}), None)
    for almost in ({"cluster.object_store_gib": 20.0}, {"sampling.max_new_tokens": 410}):
        with pytest.raises(ConfigError):
            require_room(load("tiny", LARGE | almost), None)


@pytest.mark.parametrize("tier", tier_names())
def test_the_tiers_fit(tier: str) -> None:
    require_room(load(tier), None)


def test_a_store_larger_than_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 * GIB // 4096}.get)
    require_memory(4 * GIB)
    with pytest.raises(ConfigError, match=r"object_store_gib = 5\.0, and this machine has 4\.0 GiB .* set it to 3\.2"):
        require_memory(5 * GIB)


@pytest.mark.parametrize(("address", "remedy"), [("", "artifact cluster stop"), ("other:6379", "RAY_ADDRESS")])
def test_a_cluster_that_runs_with_a_smaller_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, remedy: str
) -> None:
    """Whatever is configured, the largest store of the living nodes counts."""
    nodes = [
        {"Alive": True, "Resources": {"object_store_memory": 1.0 * GIB}},
        {"Alive": True, "Resources": {}},
        {"Alive": False, "Resources": {"object_store_memory": 64.0 * GIB}},
    ]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setenv("RAY_ADDRESS", address)
    config = load("tiny", LARGE | {"cluster.object_store_gib": 32})
    require_room(config, None)
    with pytest.raises(ConfigError, match=rf"store of 1\.0 GiB may be used: .*{remedy}"):
        require_room_in_cluster(config)
    nodes[1]["Resources"] = {"object_store_memory": 32.0 * GIB}
    require_room_in_cluster(config)


@pytest.mark.parametrize(("method", "refused"), [("opd", True), ("sft", False)])
def test_a_run_is_refused_before_its_key_where_its_method_has_scores(
    monkeypatch: pytest.MonkeyPatch, method: str, refused: bool
) -> None:
    """At 78 tokens of vocabulary 628 bytes a token, 2.5 GiB a step."""

    class Reached(Exception):
        pass

    def key(*_: object) -> str:
        raise Reached

    monkeypatch.setattr(runner, "run_key", key)
    monkeypatch.setattr(runner, "build_inputs", lambda config: SimpleNamespace(vocabulary=78, train=()))
    with pytest.raises(ConfigError if refused else Reached):
        runner.run(load("tiny", LARGE | {"method": method}))


def test_the_head_is_started_with_what_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    commands: list[list[str]] = []

    def start(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(ray_head, "state_folder", lambda: tmp_path)
    monkeypatch.setattr(ray_head, "ray_folder", lambda: tmp_path / "ray")
    monkeypatch.setattr(ray_head, "stop", lambda: False)
    monkeypatch.setattr(ray_head, "_is_up", lambda head, log: True)
    monkeypatch.setattr(ray_head.subprocess, "Popen", start)
    ray_head.start(16, 3 * GIB)
    assert f"--object-store-memory={3 * GIB}" in commands[0]

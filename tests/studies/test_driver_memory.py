"""A run whose problems or step do not fit into this machine's memory is refused before anything starts."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from artifact.config import load, tier_names
from artifact.errors import ConfigError
from artifact.records import Problem
from artifact.studies import annotate, driver_memory, runner
from artifact.studies.driver_memory import GIB, bytes_needed, require_memory
from artifact.studies.inputs import build_inputs

PROBLEMS = [Problem(f"p{i}", "q" * 300, "1", "s" * 700, "t", "easy") for i in range(2000)]


def machine(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A machine with `size` bytes of memory."""
    real, stated = os.sysconf, {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": size}
    monkeypatch.setattr(driver_memory.os, "sysconf", lambda name: stated[name] if name in stated else real(name))


def test_the_need_is_that_of_texts_records_and_tokens() -> None:
    assert bytes_needed([], 0) == GIB
    assert bytes_needed(PROBLEMS, 0) - GIB == 2000 * (2048 + 1000)
    assert bytes_needed(PROBLEMS, 1024 * 4096) - bytes_needed(PROBLEMS, 0) == 160 * 1024 * 4096


@pytest.mark.parametrize(
    ("sizes", "tokens", "remedy"),
    [
        ({"train.prompts_per_step": 256, "sampling.samples_per_prompt": 4, "cluster.lanes": 2}, 2048, "cluster.lanes"),
        ({"annotation.batch_prompts": 400, "annotation.draw": 8, "cluster.lanes": 1}, 3200, "annotation.batch_prompts"),
    ],
)
def test_what_does_not_fit_is_refused_to_the_byte_with_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, sizes: dict[str, Any], tokens: int, remedy: str
) -> None:
    """The larger of a step of all lanes and a batch of phase 1 counts, beside the object store."""
    limits = {"sampling.max_new_tokens": 50, "annotation.max_new_tokens": 50, "cluster.object_store_gib": 1.5}
    limits |= {"annotation.batch_prompts": 10}
    config = load("tiny", limits | sizes)
    need = int(1.5 * GIB) + bytes_needed(PROBLEMS, 50 * tokens)
    machine(monkeypatch, need)
    require_memory(config, PROBLEMS)
    machine(monkeypatch, need - 1)
    with pytest.raises(ConfigError, match=rf"2,000 training problems, .* 1\.5 GiB.*task\.train_limit.*{remedy}"):
        require_memory(config, PROBLEMS)


@pytest.mark.parametrize("tier", tier_names())
def test_the_tiers_fit_a_machine_of_sixteen_gib(monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    config = load(tier)
    machine(monkeypatch, int((16 + config.cluster.object_store_gib) * GIB))
    require_memory(config, PROBLEMS)


def test_a_run_and_an_annotation_are_refused_before_they_begin(monkeypatch: pytest.MonkeyPatch, results: Any) -> None:
    config = load("tiny", {"task.train_limit": 8, "method": "sft"})  # which reads nothing of phase 1
    monkeypatch.setattr(annotate, "draw_samples", lambda *_: pytest.fail("sampled"))
    monkeypatch.setattr(runner, "_train_and_evaluate", lambda *_: pytest.fail("trained"))
    machine(monkeypatch, GIB)
    assert len(build_inputs(config).train) == 8
    for start in (runner.run, annotate.annotate):
        with pytest.raises(ConfigError, match=r"this machine has 1\.0 GiB of memory"):
            start(config)
    assert not re.findall("runs|samples", " ".join(p.name for p in results.glob("*"))), "nothing was stored"

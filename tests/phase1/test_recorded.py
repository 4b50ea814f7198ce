"""The recorded judge replays what was measured: its rates are those counted by hand from the recorded masses."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from artifact.phase1 import llm_judge
from artifact.phase1.judge import JudgeError
from artifact.phase1.judge_calibration import calibrate, known_pairs, require_usable
from artifact.phase1.recorded import recorded_judge, recording


def test_its_rates_are_those_of_the_recorded_masses() -> None:
    rows = recording("smollm2")["pairs"]
    merged = {True: 0, False: 0}
    for pair, row in zip(known_pairs(), rows, strict=True):
        odds = [math.log(y / n) for y, n in zip(row["yes"], row["no"], strict=True)]
        merged[pair.equal] += sum(odds) / 2 > 0
    report = calibrate(recorded_judge("smollm2"))
    assert (report.total.equal_merged, report.total.different_merged) == (merged[True], merged[False])
    assert (report.total.equal, report.total.different) == (80, 80)


def test_a_judge_at_chance_level_is_refused_in_plain_words() -> None:
    with pytest.raises(JudgeError, match=r"SmolLM2-135M-Instruct \(recorded\)' is not usable"):
        require_usable(calibrate(recorded_judge("smollm2")))


def test_the_recording_was_made_with_the_prompt_that_is_shipped() -> None:
    shipped = hashlib.sha256(Path(llm_judge.PROMPT).read_bytes()).hexdigest()
    assert recording("smollm2")["prompt_sha256"] == shipped


def test_an_unknown_recording_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(JudgeError, match="there are: smollm2"):
        recording("gpt")

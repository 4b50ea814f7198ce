"""The verb that draws a step: what it prints is labelled as planned, what it cannot know is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact.cli.plans import simulate
from artifact.errors import ConfigError


def test_a_timeline_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = tmp_path / "step.png"
    simulate("paper", method="opd", layout="colocated", gpus=4, response_tokens=3000, figure=drawn)
    out = capsys.readouterr().out
    assert out.startswith("planned, not measured: ") and "3,000 tokens on average, 4,096 at most" in out
    rows = [line for line in out.splitlines() if line.lstrip().startswith("GPU ")]
    assert len(rows) == 4 and all(set("rts") <= set(row.split("|")[1]) for row in rows)
    assert drawn.stat().st_size > 1000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tier": "tiny", "gpus": 4}, "runs on CPUs, which have one layout"),
        ({"tier": "paper", "method": "opd", "layout": "spread"}, "layout 'spread' is none of"),
        ({"tier": "paper", "method": "core", "streamed": True}, "of distillation alone"),
        ({"tier": "paper", "method": "opd", "response_tokens": 5000.0}, "not between 0 and the budget"),
        (
            {
                "tier": "paper",
                "method": "opd",
                "gpus": 1,
                "layout": "colocated",
                "sets": ["models.student=Qwen/Qwen3-8B"],
            },
            "1 GPUs that hold all roles would need",
        ),
    ],
)
def test_what_nobody_knows_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        simulate(**asked)  # type: ignore[arg-type]


def test_a_processor_without_measured_steps_has_no_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifact.studies.simulate.step_times", lambda: None)
    with pytest.raises(ConfigError, match=r"no step of models/tiny/student taught by .* was measured on a CPU"):
        simulate("tiny", method="opd")

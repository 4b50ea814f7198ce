"""Which benchmarks and splits a command means, and the list of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact.config import ConfigError, load
from artifact.errors import ArtifactError
from artifact.studies.benchmark_targets import Target, benchmark_list, main_split, targets
from artifact.tasks import register
from artifact.worlds.tiny.splits import load_split


def test_what_is_measured() -> None:
    tiny, paper = load("tiny"), load("paper")
    assert targets(tiny, None) == [Target("tinymath", "evaluation")]
    assert targets(tiny, None, "curve") == [Target("tinymath", "curve")]
    assert targets(tiny, ["gsm8k", "tinymath", "gsm8k"]) == [Target("gsm8k", "test"), Target("tinymath", "evaluation")]
    assert targets(tiny, ["svamp"], "all[-200:]") == [Target("svamp", "all[-200:]")]
    assert targets(paper, None) == [
        Target(name, "test") for name in ("math-500", "aime-2025", "amo-bench", "sure-math")
    ]
    for wrong, near in (("gsm9k", "gsm8k"), ("tinymth", "tinymath"), ("math500", "math-500"), ("gsm9k@x", "gsm8k@x")):
        with pytest.raises(ArtifactError, match=f"did you mean '{near}'"):
            targets(tiny, [wrong])
    with pytest.raises(ConfigError, match="goes with one benchmark"):
        targets(tiny, ["gsm8k", "svamp"], "train")


def test_the_split_that_is_meant() -> None:
    assert [main_split(n) for n in ("gsm8k", "gsm8k@mine", "svamp", "tinymath")] == [
        "test",
        "test",
        "all",
        "evaluation",
    ]
    register("own-task")(type("OwnTask", (), {}))
    assert main_split("own-task") == ""
    with pytest.raises(ArtifactError, match="say which of its splits"):
        targets(load("tiny"), ["own-task"])


def test_the_list_of_benchmarks(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text("{}")
    register("own-task")(type("OwnTask", (), {}))
    frame = benchmark_list(tmp_path).set_index("name")
    assert frame.loc["gsm8k", "data"] == str(tmp_path / "gsm8k" / "test.jsonl")
    assert (frame.loc["gsm8k", "main"], frame.loc["gsm8k", "rows"]) == ("test", "1319")
    assert {"math-500", "aime-2025", "amo-bench", "sure-math"} <= set(frame.index)
    tiny = frame.loc["tinymath"]
    assert (tiny["main"], tiny["data"]) == ("evaluation", "made by the package")
    assert {"train", "validation", "curve", "evaluation"} == set(tiny["splits"].split(", "))
    assert int(tiny["rows"]) == len(load_split("evaluation"))
    assert frame.loc["own-task", ["main", "data"]].tolist() == ["", "registered"]

"""The drafts' own tables: their rows in their order, and a mark on the best only where verdicts give one."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.config import load
from artifact.errors import ArtifactError
from artifact.report.main_table import CORE_MAIN_TABLE, UOPD_TABLE_1, columns_said, format_main, main_table, pair_names
from artifact.studies.study import load_study

ROWS = {"base": "Base", "opd": "Standard OPD", "grpo": "GRPO", "teacher": "Teacher"}


def frame(right: dict[str, list[int]], *, of: int = 200, samples: int = 1, split: str = "test", teacher: str = "A"):
    """Cell → how many of the first problems each seed answers correctly, in every sample."""
    rows = [
        {
            "cell": cell,
            "label": cell,
            "teacher": teacher,
            "seed": seed,
            "split": split,
            "problem_id": f"p{i:03d}",
            "sample": sample,
            "correct": i < count,
            "reads_gold": cell == "grpo",
        }
        for cell, counts in right.items()
        for seed, count in enumerate(counts)
        for i in range(of)
        for sample in range(samples)
    ]
    return pd.DataFrame(rows)


def best(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [(r.teacher, r.label, r.metric) for r in table[table["best"]].itertuples()]


CLEAR = {"teacher": [190], "grpo": [100, 101, 102], "opd": [140, 141, 142], "base": [60]}
CLOSE = CLEAR | {"grpo": [139, 142, 141]}


def test_rows_and_columns_are_the_drafts_and_not_the_frames() -> None:
    greedy, sampled = frame(CLEAR), frame(CLOSE, samples=2)
    table = main_table({"pass@1": greedy, "avg@2": sampled}, ROWS, resamples=200)
    assert (
        table["label"].tolist() == [*ROWS.values()] * 2 and table["metric"].tolist() == ["pass@1"] * 4 + ["avg@2"] * 4
    )
    row = table.set_index(["label", "metric"]).loc[("GRPO", "pass@1")]
    assert (row["accuracy"], row["seeds"], row["problems"], row["samples"]) == (pytest.approx(0.505), 3, 200, 1)
    assert row["sd"] == pytest.approx(0.005) and row["reads_gold"]
    shown = format_main(table, {"A": "Student: s, teacher: t"})
    assert list(shown.columns) == ["pair", "method", "reads labels", "seeds", "test pass@1", "test avg@2"]
    assert shown["method"].tolist() == [*ROWS.values()] and shown["reads labels"].tolist() == ["no", "no", "yes", "no"]
    assert shown["test pass@1"].tolist() == ["30.0", "70.5 ± 0.5 *", "50.5 ± 0.5", "95.0"]
    assert columns_said(table) == (
        "pass@1 on test: one greedy response to each of 200 problems, 1 to 3 seeds; "
        "avg@2 on test: 2 samples to each of 200 problems, 1 to 3 seeds"
    )


def test_the_best_is_marked_only_where_it_is_claimed_to_lie_above_every_other_student() -> None:
    table = main_table({"pass@1": frame(CLEAR), "avg@2": frame(CLOSE, samples=2)}, ROWS, resamples=200)
    assert best(table) == [("A", "Standard OPD", "pass@1")], "the teacher lies above it, and GRPO too close in avg@2"
    one_seed = main_table({"pass@1": frame({cell: counts[:1] for cell, counts in CLEAR.items()})}, ROWS, resamples=200)
    assert best(one_seed) == [], "one seed supports no claim"


def test_every_pair_and_benchmark_is_a_block_of_its_own() -> None:
    parts = [frame(CLEAR, split=split, teacher=teacher) for teacher in "BA" for split in ("math-500", "aime-2025")]
    table = main_table({"pass@1": pd.concat(parts)}, ROWS, resamples=200)
    assert len(best(table)) == 4
    shown = format_main(table, {"A": "pair a", "B": "pair b"})
    assert shown["pair"].tolist() == ["pair b"] * 4 + ["pair a"] * 4
    assert list(shown.columns[4:]) == ["math-500 pass@1", "aime-2025 pass@1"]


def test_a_row_that_was_not_measured_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"test / A, avg@2: the row\(s\) grpo were not measured"):
        measured = {"pass@1": frame(CLEAR), "avg@2": frame({k: v for k, v in CLEAR.items() if k != "grpo"})}
        main_table(measured, ROWS, resamples=50)


def test_the_drafts_rows_are_cells_of_the_studies_behind_the_tables() -> None:
    untrained = {"base", "teacher"}
    for study, rows in (("uopd_methods", UOPD_TABLE_1), ("core", CORE_MAIN_TABLE)):
        assert set(rows) - untrained <= {cell.id for cell in load_study(study).cells}
    assert list(UOPD_TABLE_1.values())[:5] == ["Base", "Standard OPD", "GRPO", "Self-Distilled Reasoner", "UOPD (Ours)"]


@pytest.mark.parametrize("tier", ["single-gpu", "paper"])
def test_the_columns_of_uopds_table_are_those_of_the_tier(tier: str) -> None:
    config = load(tier)
    assert config.evaluation.final[:3] == ("math-500", "aime-2025", "amo-bench") and len(config.evaluation.final) == 4
    assert config.evaluation.sampled is not None
    assert (config.evaluation.sampled.k, config.evaluation.sampled.temperature) == (16, 1.2)
    (name,) = pair_names(config).values()
    assert name in ("Student: Qwen3-1.7B, teacher: Qwen3-8B", "Student: Qwen3-0.6B, teacher: Qwen3-1.7B")

"""What a run uses: every number against one that is worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from artifact.config import load
from artifact.report import resources
from artifact.report.figures_timeline import timelines
from artifact.report.outputs import save_figure
from artifact.studies import memory_model


def metrics() -> pd.DataFrame:
    rows = []
    for seed, gap in ((0, 0.1), (1, 0.3)):
        for cell, extra in (("opd", 0.0), ("uopd-soft", gap)):
            for step in (0, 1):
                seconds = {"seconds/rollout": 1.0 + step, "seconds/teacher": 0.5 + extra}
                sent = {"teacher_tokens": 10.0, "bytes/teacher": 680.0, "bytes/weights": 4000.0}
                named = {"teacher": "A", "cell": cell, "label": cell.upper(), "seed": seed, "step": step}
                rows.append({**named, **seconds, **sent})
    return pd.DataFrame(rows)


def test_bytes_of_a_step() -> None:
    row = resources.bytes_moved(metrics()).set_index("cell").loc["opd"]
    assert row["teacher's top-k"] == 680 and row["weights to the engines"] == 4000 and row["steps"] == 4
    assert row["bytes_per_scored_token"] == 68 and row["reference log-probabilities"] == 0


def test_both_ratios_of_the_drafts() -> None:
    row = resources.truncation(151_936, (512,), {512: 4100.0}).iloc[0]
    assert (row["bytes_whole"], row["bytes_kept"], row["bytes_logged"]) == (607_744, 4_100, 4_100)
    assert row["ratio_of_numbers"] == pytest.approx(296.75) and row["ratio_of_bytes"] == pytest.approx(148.23, abs=0.01)


def test_overhead_is_paired_by_seed() -> None:
    table = resources.overhead(metrics(), "uopd-soft", "opd").set_index("phase")
    assert table.loc["rollout", "seconds_difference"] == 0 and table.loc["rollout", "seconds_reference"] == 1.5
    whole = table.loc["whole step"]
    half = stats.t.ppf(0.975, 1) * 0.1  # differences 0.1 and 0.3: SD 0.141, over √2
    assert whole["seconds_difference"] == pytest.approx(0.2) and whole["seeds"] == 2
    assert (whole["low"], whole["high"]) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))
    assert whole["share_of_step_time"] == pytest.approx(0.1)
    (said,) = resources.overhead_in_words(table.reset_index())
    assert "cannot be told from the reference's: +0.200 s" in said and "over 2 seeds" in said
    certain = table.assign(low=0.1).reset_index()
    assert "a step takes more: +0.200 s" in resources.overhead_in_words(certain)[0]
    (alone,) = resources.overhead_in_words(table.assign(seeds=1, low=float("nan"), high=float("nan")).reset_index())
    assert "one seed, so without an interval" in alone and "nan" not in alone


def test_the_highest_peak_of_each_actor() -> None:
    table = resources.memory_by_actor(
        [{"peak_memory_gib": {"teacher": 1.0}}, {"peak_memory_gib": {"teacher": 2.0}}, {}]
    )
    assert table.to_dict("records") == [{"actor": "teacher", "peak_gib": 2.0}]


def test_the_fullest_rank_stands_beside_the_model() -> None:
    rank = {"parameters": 1, "held": 2**20, "peak": 2**21}
    fuller = {**rank, "held": 3 * 2**20}
    case = {"stage": 1, "ranks": 2, "model": {"held": 2 * 2**20, "peak": 2**21}, "measured": [rank, fuller]}
    row = resources.zero_table({"cases": [case]}).iloc[0]
    assert (row["held_mib"], row["held_model_mib"], row["held_ratio"], row["peak_ratio"]) == (3, 2, 1.5, 1)


def test_planned_memory_is_drawn_by_device(results: object) -> None:
    table = memory_model.planned({"x": load("paper", {"method": "core"})})
    assert table.groupby("device")["planned"].sum().max() < table["capacity"].iloc[0]
    figure, data = resources.draw_planned(table)
    assert len(figure.axes[0].get_yticklabels()) == 4 and data is table
    save_figure(figure, "planned", data, tier="tiny", keys=[], caption="c")


def test_devices_that_do_the_same_are_one_row_of_a_timeline(results: object) -> None:
    spans = [("GPU 0", "rollout", 0.0, 2.0), ("GPU 1", "rollout", 0.0, 2.0), ("GPU 2", "teacher", 2.0, 1.0)]
    frame = pd.DataFrame(spans, columns=["device", "phase", "from_s", "lasts_s"]).assign(layout="x")
    figure, data = timelines({"one": frame, "two": frame.iloc[2:]})
    assert [(r.step, r.device) for r in data.itertuples()] == [
        ("one", "GPU 0 to GPU 1"),
        ("one", "GPU 2"),
        ("two", "GPU 2"),
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["GPU 0 to GPU 1", "GPU 2"]
    assert figure.axes[0].get_xlim() == (0.0, 3.0)
    save_figure(figure, "timeline", data, tier="tiny", keys=[], caption="c")

"""Table and figure of judges: what they show against the reports they were given."""

from __future__ import annotations

import pytest

from artifact.phase1.judge import ExactJudge, SymbolicJudge
from artifact.phase1.judge_calibration import calibrate
from artifact.report.judges import MEASURES, format_judges, judge_rates, judges_table

REPORTS = [calibrate(SymbolicJudge()), calibrate(ExactJudge())]


def test_table_shows_rates_in_percent_and_who_is_usable() -> None:
    shown = format_judges(REPORTS)
    assert shown["judge"].tolist() == ["symbolic", "exact"] and shown["usable"].tolist() == ["yes", "no"]
    assert shown["pairs"].tolist() == ["160", "160"]
    assert shown[MEASURES["true_merge"] + " %"].str.startswith(("80.0 (", "0.0 (")).all()


def test_figure_draws_every_kind_of_every_judge_once_with_its_interval() -> None:
    figure, data = judge_rates(REPORTS)
    assert len(data) == 2 * 9 * 3 and ((data["low"] <= data["rate"]) & (data["rate"] <= data["high"])).all()
    assert len(figure.axes) == 3 and [a.get_title() for a in figure.axes] == list(MEASURES.values())
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()][:2] == ["all", "fraction"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["symbolic", "exact"]
    first = figure.axes[0].containers[0].lines[0].get_xdata()
    part = data[(data["judge"] == "symbolic") & (data["measure"] == "true_merge")]
    assert list(first) == part["rate"].tolist()


def test_two_judges_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        judges_table([REPORTS[0], REPORTS[0]])

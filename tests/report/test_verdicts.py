"""The calibration of verdicts: variances that are known go in, the rates that follow from them come out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from artifact.report import verdicts
from artifact.stats.crossed import Components, power

PROBLEMS = 150


def evaluation(difference: Components, seeds: int, seed: int = 0) -> pd.DataFrame:
    """`opd` and `core`, whose accuracies on each problem and seed differ as `difference` says, in shares of samples."""
    rng = np.random.default_rng(seed)
    d = difference.mean + np.sqrt(difference.seeds) * rng.standard_normal((seeds, 1))
    d = d + np.sqrt(difference.problems) * rng.standard_normal((1, PROBLEMS))
    d = d + np.sqrt(difference.rest) * rng.standard_normal((seeds, PROBLEMS))
    rows = [
        {
            "cell": cell,
            "label": cell.upper(),
            "teacher": "A",
            "seed": s,
            "split": "test",
            "problem_id": f"p{p:03d}",
            "sample": 0,
            "correct": 0.5 + sign * d[s, p] / 2,
        }
        for cell, sign in (("opd", -1), ("core", 1))
        for s in range(seeds)
        for p in range(PROBLEMS)
    ]
    return pd.DataFrame(rows)


KNOWN = Components(0.0, 0.01**2, 0.15**2, 0.15**2)


def test_the_variances_are_measured_and_the_rates_follow_from_them() -> None:
    frame = evaluation(KNOWN, 12)
    table = verdicts.calibration(frame, [("core", "opd")], comparisons=4, planted=0.05, rounds=120)
    row = table.iloc[0]
    assert (row["label"], row["reference"], row["seeds"], row["problems"], row["rounds"]) == (
        "CORE",
        "OPD",
        12,
        150,
        120,
    )
    assert (row["sd_problems"], row["sd_rest"]) == (pytest.approx(0.15, rel=0.15), pytest.approx(0.15, rel=0.1))
    most = binom.ppf(0.999, 120, 0.05) / 120  # of a rule that is wrong once in twenty, 999 of 1,000 times
    assert row["false_same"] <= most and row["false_mean"] <= most
    measured = Components(0.0, row["sd_seeds"] ** 2, row["sd_problems"] ** 2, row["sd_rest"] ** 2)
    assert row["found"] == pytest.approx(power(measured, 0.05, 12, PROBLEMS), abs=0.12)
    assert row["found_in_table"] == pytest.approx(power(measured, 0.05, 12, PROBLEMS, 0.05 / 4), abs=0.14)
    assert power(measured, row["effect_found"], 12, PROBLEMS, 0.05 / 4) == pytest.approx(0.8, abs=1e-6)


def test_how_many_seeds_a_difference_needs_is_the_least_that_finds_it() -> None:
    row = verdicts.calibration(evaluation(KNOWN, 6), [("core", "opd")], 1, planted=0.06, rounds=1).iloc[0]
    measured = Components(0.0, row["sd_seeds"] ** 2, row["sd_problems"] ** 2, row["sd_rest"] ** 2)
    needed = int(row["seeds_needed"])
    assert needed > 2 and power(measured, 0.06, needed, PROBLEMS) >= 0.8
    never = verdicts.calibration(evaluation(KNOWN, 6), [("core", "opd")], 1, planted=0.01, rounds=1).iloc[0]
    assert pd.isna(never["seeds_needed"]), "150 problems limit what any number of seeds can find"
    assert verdicts.format_calibration(pd.DataFrame([never]))["seeds for 1.0 points"].tolist() == ["–"]


def test_the_rule_that_is_measured_is_the_rule_of_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "verdict", lambda row: "higher")
    row = verdicts.calibration(evaluation(KNOWN, 3), [("core", "opd")], 4, rounds=3).iloc[0]
    assert (row["false_same"], row["false_mean"], row["found"], row["found_in_table"]) == (1, 1, 1, 1)
    assert verdicts.halves(evaluation(KNOWN, 6), ["core"])["false_claims"].tolist() == [10]


def test_what_is_found_in_a_table_is_found_after_holm() -> None:
    """Half the experiments find it alone: among a thousand comparisons hardly one does."""
    row = verdicts.calibration(evaluation(KNOWN, 6), [("core", "opd")], 1000, planted=0.05, rounds=40).iloc[0]
    assert row["found"] > 0.3 and row["found_in_table"] < row["found"] - 0.2


def test_halves_are_all_splits_of_one_methods_seeds() -> None:
    frame = evaluation(Components(0.1, 0.0, 0.15**2, 0.15**2), 6)
    table = verdicts.halves(frame, ["opd", "core"]).set_index("label")
    assert table.loc["CORE", ["seeds", "splits", "problems"]].tolist() == [3, 10, 150], "6 choose 3, mirrored ones once"
    assert set(table["false_claims"]) <= {0, 1} and (table["largest"] < 0.05).all()
    assert verdicts.halves(evaluation(KNOWN, 5), ["opd"])["splits"].tolist() == [3], "of five seeds the first four"
    assert verdicts.format_halves(table.reset_index())["seeds against seeds"].tolist() == ["3 against 3"] * 2


def test_one_seed_is_nothing_to_calibrate() -> None:
    frame = evaluation(KNOWN, 1)
    table, real = verdicts.calibration(frame, [("core", "opd")], 8), verdicts.halves(frame, ["core"])
    assert pd.isna(table.iloc[0]["found"]) and real["splits"].tolist() == [0]
    assert verdicts.format_calibration(table)["A/A claimed, %"].tolist() == ["–"]
    assert verdicts.sentences(table, real) == [
        "every method has one seed, from which nothing may be claimed, so there is nothing to calibrate"
    ]


def test_what_was_found_is_said_with_its_n() -> None:
    frame = evaluation(KNOWN, 6)
    table = verdicts.calibration(frame, [("core", "opd")], 8, rounds=20).assign(false_same=0.05, false_mean=0.0)
    same, mean, real, pair = verdicts.sentences(table, verdicts.halves(frame, ["core"]))
    assert same.startswith("of 20 simulated comparisons of two names of one method, 1 were claimed: 5.0 (")
    assert mean.endswith("0 were claimed: 0.0 (0.0 to 16.1) %"), "Wilson's interval of 0 of 20"
    assert real.startswith("of 10 real ones") and "CORE against OPD: 2.0 points are found in" in pair
